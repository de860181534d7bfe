"""Commands as a shell runs them, and a web process."""

import re
import signal
import urllib.error
import urllib.request

from tests.helpers.forge import Process

DEAD_REDIS = "redis://127.0.0.1:1/0"


# Seconds for a process to start or end, at most.
PATIENCE_S = 160.0


class Ended:
    """A process that has ended: its exit code and all of its output."""

    def __init__(self, process: Process) -> None:
        self.output, _ = process.communicate(timeout=PATIENCE_S)
        self.code = process.returncode


class Web:
    """A running `run_control_api`: its address, and questions to it."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.said: list[str] = []
        assert process.stdout is not None
        for line in process.stdout:
            self.said.append(line)
            if "admin " in line:
                break
        found = re.search(r"http://127\.0\.0\.1:(\d+)/admin/", "".join(self.said))
        assert found, "".join(self.said)
        self.port = int(found[1])

    def ask(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
        """Status code and body of a GET."""
        address = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(address, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> Ended:
        """Ask for the end, and await it."""
        self.process.send_signal(number)
        return Ended(self.process)
