"""A certificate authority of one's own, and a certificate for the loopback interface."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Certificates:
    """Paths of PEM files: the authority, and a server's certificate with its key."""

    authority: Path
    server: Path

    def server_context(self) -> ssl.SSLContext:
        """What a TLS server on 127.0.0.1 needs."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server)
        return context

    def client_context(self) -> ssl.SSLContext:
        """What a caller needs who trusts the authority and nobody else."""
        return ssl.create_default_context(cafile=str(self.authority))


HOUR = datetime.timedelta(hours=1)


def make_certificates(
    directory: Path, *, address: str = "127.0.0.1", valid_for: datetime.timedelta = HOUR
) -> Certificates:
    """Make an authority and a certificate for 127.0.0.1 that is valid for an hour.

    Args:
        directory: where to put them.
        address: the host that it is made for, if it is to be another one.
        valid_for: from now on; less than nothing makes one that has ended.
    """
    authority_key, server_key = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
    )
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
    authority = (
        _builder(name, name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    host = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
    server = (
        _builder(host, name, server_key.public_key(), valid_for)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )
    found = Certificates(directory / "authority.pem", directory / "server.pem")
    found.authority.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    key = server_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    found.server.write_bytes(key + server.public_bytes(serialization.Encoding.PEM))
    return found


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    valid_for: datetime.timedelta = HOUR,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=400))
        .not_valid_after(now + valid_for)
    )
