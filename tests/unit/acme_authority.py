"""A certificate authority for tests: Debian's pebble, with a resolver by which every name is this machine."""

from __future__ import annotations

import datetime
import json
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import dns.message
import dns.rrset
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DEADLINE_S = 30.0


@dataclass(slots=True)
class Authority:
    """`directory_url` for clients, which have to trust `trusted`; proofs are looked for at `http_port`."""

    directory_url: str
    trusted: Path
    http_port: int
    log: Path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def self_signed(name: str, lifetime: datetime.timedelta, age: datetime.timedelta) -> bytes:
    """A key and a certificate for `name` that began `age` ago, as PEM text."""
    key = ec.generate_private_key(ec.SECP256R1())
    begins = datetime.datetime.now(datetime.UTC) - age
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(begins).not_valid_after(begins + lifetime)
    names = [x509.DNSName(name), x509.IPAddress(ip_address("127.0.0.1"))]
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    encoding, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    text = key.private_bytes(encoding, private, serialization.NoEncryption())
    return text + certificate.public_bytes(encoding)


@contextmanager
def authority(directory: Path, http_port: int) -> Iterator[Authority]:
    """Pebble until the block ends."""
    own = directory / "authority.pem"
    own.write_bytes(self_signed("localhost", datetime.timedelta(days=1), datetime.timedelta(hours=1)))
    port = free_port()
    config = {
        "listenAddress": f"127.0.0.1:{port}",
        "managementListenAddress": f"127.0.0.1:{free_port()}",
        "certificate": str(own),
        "privateKey": str(own),
        "httpPort": http_port,
        "tlsPort": 1,
    }
    (directory / "pebble.json").write_text(json.dumps({"pebble": config}))
    log = directory / "pebble.log"
    environment = os.environ | {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
    with resolver() as resolver_address, log.open("wb") as output:
        command = ["pebble", "-config", directory / "pebble.json", "-dnsserver", resolver_address]
        pebble = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            _wait_for(port, pebble, log)
            yield Authority(f"https://127.0.0.1:{port}/dir", own, http_port, log)
        finally:
            pebble.kill()
            pebble.wait()


def _wait_for(port: int, pebble: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            assert pebble.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        else:
            return


@contextmanager
def resolver() -> Iterator[str]:
    """A name server that knows every name, and no IPv6."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as service:
        service.bind(("127.0.0.1", 0))

        def answer() -> None:
            while True:
                query, client = service.recvfrom(4096)
                if not query:
                    return
                asked = dns.message.from_wire(query)
                reply = dns.message.make_response(asked)
                question = asked.question[0]
                if question.rdtype == dns.rdatatype.A:
                    reply.answer.append(dns.rrset.from_text(question.name, 1, "IN", "A", "127.0.0.1"))
                service.sendto(reply.to_wire(), client)

        thread = threading.Thread(target=answer)
        thread.start()
        host, port = service.getsockname()
        try:
            yield f"{host}:{port}"
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closing:
                closing.sendto(b"", (host, port))
            thread.join()


def shown_certificate(port: int, name: str) -> x509.Certificate:
    """What a TLS listener on this machine shows to whoever asks for `name`."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as connection,
        context.wrap_socket(connection, server_hostname=name) as tls,
    ):
        content = tls.getpeercert(binary_form=True)
    assert content is not None
    return x509.load_der_x509_certificate(content)
