"""Certificates of a secured folder: an authority, the servers' certificate, and one for a client.

Made once, where they are missing or end soon. Nobody trusts this authority but the clients that are
given its file; its own key is thrown away as soon as it has signed.
"""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from devstack.endpoints import HOST
from devstack.state import write_private

FOLDER, CA_FILE = "certificates", "ca.pem"
# Key and certificate in one file, as Kafka and the clients' libraries read them.
SERVER, CLIENT = "server", "client"
DAYS = 825
# Made anew when they end within this time.
RENEW_DAYS = 30


def ca_file(folder: Path) -> Path:
    """The authority's certificate, for clients."""
    return folder / FOLDER / CA_FILE


def pem_file(folder: Path, name: str) -> Path:
    """The key and the certificate of SERVER or CLIENT."""
    return folder / FOLDER / f"{name}.pem"


def keep_certificates(folder: Path) -> None:
    """Make them where they are missing or end soon. Whoever calls it holds the folder's lock."""
    now = datetime.datetime.now(datetime.UTC)
    if _good_until(ca_file(folder)) > now + datetime.timedelta(days=RENEW_DAYS):
        return
    (folder / FOLDER).mkdir(mode=0o700, exist_ok=True)
    authority = ec.generate_private_key(ec.SECP256R1())
    subject = _name("seckill devstack")
    # By these, whoever has two authorities of one name takes the right one.
    identifier = x509.SubjectKeyIdentifier.from_public_key(authority.public_key())
    signed = (
        _certificate(subject, authority, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(identifier, critical=False)
    )
    for name in (SERVER, CLIENT):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _certificate(_name(name), key, now)
            .issuer_name(subject)
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.IPAddress(ipaddress.ip_address(HOST)), x509.DNSName("localhost")]
                ),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
                critical=False,
            )
            .add_extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
                ),
                critical=False,
            )
            .sign(authority, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        write_private(pem_file(folder, name), (private + _pem(certificate)).decode())
    # Last: without it all are made again.
    root = signed.issuer_name(subject).sign(authority, hashes.SHA256())
    write_private(ca_file(folder), _pem(root).decode())


def _certificate(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # The clocks of containers and hosts may differ a little.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _good_until(file: Path) -> datetime.datetime:
    try:
        return x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return datetime.datetime.min.replace(tzinfo=datetime.UTC)
