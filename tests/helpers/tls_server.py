"""A server whose certificate nobody has signed: what a client with a wrong CA meets."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

# Certificate and key. The key is no secret: nobody trusts this certificate.
PEM = Path(__file__).parent / "tls" / "nobody_signed.pem"


@contextlib.contextmanager
def unsigned_server() -> Iterator[str]:
    """Its address. It does the handshake, as far as the client goes on with it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            # The listening socket is closed at the end, and a client leaves in the handshake.
            with contextlib.suppress(OSError):
                while True:
                    line, _ = listening.accept()
                    with line, contextlib.suppress(OSError):
                        line.settimeout(5)
                        context.wrap_socket(line, server_side=True).close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        # accept() does not notice a close.
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
    thread.join(10)
