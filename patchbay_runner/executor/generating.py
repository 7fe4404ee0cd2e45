"""`gen-certs` and `gen-file`: files that programs of the sim read."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

from patchbay_runner.executor.interpolation import Resolver
from patchbay_runner.executor.session import Session
from patchbay_runner.model.steps import GenCerts, GenFile

_VALID_DAYS = 3650
_PRIVATE = 0o600


async def gen_file(session: Session, step: GenFile, resolver: Resolver) -> None:
    """Writes `files/<id>/content`; captures its path."""
    content = await resolver.text(step.content)
    path = session.recorder.write_file(f"files/{step.id}/content", content.encode())
    session.record(step.id, {"path": str(path)})
    session.recorder.emit("file_generated", id=step.id, path=str(path), size=len(content.encode()))


async def gen_certs(session: Session, step: GenCerts, resolver: Resolver) -> None:
    """Writes `certs/<id>/cert.pem` and `key.pem`; captures their paths and contents."""
    common_name = await resolver.text(step.cn)
    names = [str(address) for address in await _addresses(session, step, resolver)]
    names += [await resolver.text(name) for name in step.san]
    certificate, key = self_signed(common_name, names)
    certificate_path = session.recorder.write_file(f"certs/{step.id}/cert.pem", certificate)
    key_path = session.recorder.write_file(f"certs/{step.id}/key.pem", key, _PRIVATE)
    values = {
        "cert_pem_path": str(certificate_path),
        "key_pem_path": str(key_path),
        "cert_pem": certificate.decode(),
        "key_pem": key.decode(),
    }
    session.record(step.id, values)
    session.recorder.emit("certificate_generated", id=step.id, path=str(certificate_path), names=names)


async def _addresses(session: Session, step: GenCerts, resolver: Resolver) -> Iterable[IPv4Address | IPv6Address]:
    if step.device is not None:
        return session.network.addresses(await resolver.text(step.device))
    if step.id in {device.name for device in session.plan.topology.devices}:
        return session.network.addresses(step.id)
    return ()


def self_signed(common_name: str, names: Iterable[str]) -> tuple[bytes, bytes]:
    """A certificate and its private key, both PEM: ECDSA on P-256, for servers and clients, valid for ten years.

    `names` become subject alternative names, those that are IP addresses as such, the others as DNS names.
    """
    # Imported here because most sims need no certificate, and the library takes 60 ms to load.
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Programs with a clock of their own may be a little behind.
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_VALID_DAYS))
        # Not a certification authority: some TLS libraries refuse one as a server's own certificate.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
    )
    alternatives = [
        x509.DNSName(name) if (address := _as_address(name)) is None else x509.IPAddress(address)
        for name in dict.fromkeys(names)
    ]
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _as_address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(name)
    except ValueError:
        return None
