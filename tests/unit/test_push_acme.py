"""Certificates by ACME, from a real authority (Debian's pebble), for a server that never restarts."""

from __future__ import annotations

import datetime
import re
import ssl
from contextlib import closing
from http.client import HTTPSConnection
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from patchbay_runner.server.hosting.acme import AcmeFailed, Issuer, Request
from patchbay_runner.server.hosting.certificate import renewal_time
from patchbay_runner.server.hosting.front import Front
from tests.unit.acme_authority import Authority, authority, free_port, self_signed, shown_certificate
from tests.unit.push_archives import a_run
from tests.unit.push_server import KEY, served, wait_until
from tests.unit.serve_command import serving

DOMAIN = "patchbay.example.com"
NINETY_DAYS = datetime.timedelta(days=90)


def acme_arguments(found: Authority, https_port: int) -> list[str]:
    return [
        *("--acme-domain", DOMAIN, "--acme-email", "me@example.org", "--acme-directory", found.directory_url),
        *("--http-bind", f"127.0.0.1:{found.http_port}", "--https-bind", f"127.0.0.1:{https_port}"),
    ]


def test_a_certificate_is_had_and_renewed_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server finds a certificate that has 20 of 90 days left, answers with it, and then with a new one."""
    data, https_port = tmp_path / "data", free_port()
    kept = data / "acme" / "127.0.0.1" / f"{DOMAIN}.pem"
    old = self_signed(DOMAIN, NINETY_DAYS, age=datetime.timedelta(days=70))
    kept.parent.mkdir(parents=True)
    kept.write_bytes(old)
    with authority(tmp_path, free_port()) as found:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(found.trusted))
        with serving(data, "--accept-push", *acme_arguments(found, https_port)) as server:
            assert server.address == f"https://{DOMAIN}:{https_port}/runs"
            with closing(HTTPSConnection("127.0.0.1", https_port, timeout=30, context=trusting())) as early:
                assert status_of(early) == 200
                connection = early.sock
                wait_until(lambda: "Pebble" in shown_certificate(https_port, DOMAIN).issuer.rfc4514_string())
                assert (status_of(early), early.sock) == (200, connection)
            new = shown_certificate(https_port, DOMAIN)
            names = new.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            assert names.get_values_for_type(x509.DNSName) == [DOMAIN]
            check_answers(found, https_port)
            assert server.end() == 0
        told = re.findall(r"certificate until (\S+)", server.log.read_text())
    ends = [certificate.not_valid_after_utc.isoformat() for certificate in (*read(old), new)]
    assert told == ends
    assert read(kept.read_bytes())[0] == new
    assert [path.stat().st_mode & 0o077 for path in kept.parent.iterdir()] == [0, 0]


def read(text: bytes) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(text)


def trusting() -> ssl.SSLContext:
    """Asks for no proof: what is shown is looked at by the test."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def status_of(connection: HTTPSConnection) -> int:
    connection.request("GET", "/healthz", headers={"Host": DOMAIN})
    response = connection.getresponse()
    response.read()
    return response.status


def check_answers(found: Authority, https_port: int) -> None:
    """HTTP leads to HTTPS; HTTPS answers for its own name only, and takes pushes."""
    plain = f"http://127.0.0.1:{found.http_port}"
    response = httpx.get(f"{plain}/runs?x=1", headers={"Host": DOMAIN})
    assert (response.status_code, response.headers["location"]) == (308, f"https://{DOMAIN}/runs?x=1")
    response = httpx.post(f"{plain}/api/push/web", content=b"", headers={"Host": f"{DOMAIN}:{found.http_port}"})
    assert (response.status_code, response.headers["location"]) == (308, f"https://{DOMAIN}:{https_port}/api/push/web")
    assert httpx.get(f"{plain}/.well-known/acme-challenge/x").status_code == 404
    with httpx.Client(base_url=f"https://127.0.0.1:{https_port}", verify=False) as client:
        assert client.get("/healthz").status_code == 421
        headers = {"Host": DOMAIN, "Authorization": f"Bearer {KEY}"}
        assert client.get("/healthz", headers=headers).status_code == 200
        assert client.post("/api/push/web", content=a_run(), headers=headers).status_code == 200


def test_an_account_is_the_same_after_a_restart_and_refusals_tell_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with authority(tmp_path, free_port()) as found:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(found.trusted))
        request = Request(found.directory_url, DOMAIN, "me@example.org")
        for _ in range(2):  # nothing answers at the port where the authority looks
            with pytest.raises(AcmeFailed, match=rf"{DOMAIN}: .*connection refused"):
                Issuer(request, tmp_path).issue()
        assert found.log.read_text().count("There are now 1 accounts in memory") == 1


@pytest.mark.parametrize(
    ("url", "message"),
    [("https://127.0.0.1:1/dir", "127.0.0.1:1"), ("https://127.0.0.1:1", "Connection refused")],
)
def test_an_authority_that_is_away_is_a_failure_to_try_again(tmp_path: Path, url: str, message: str) -> None:
    with pytest.raises(AcmeFailed, match=message):
        Issuer(Request(url, DOMAIN, "me@example.org"), tmp_path).issue()


@pytest.mark.parametrize("days", [90, 6])
def test_a_third_of_its_time_is_left_when_a_certificate_is_renewed(days: int) -> None:
    lifetime = datetime.timedelta(days=days)
    certificate = x509.load_pem_x509_certificates(self_signed(DOMAIN, lifetime, datetime.timedelta()))[0]
    left = certificate.not_valid_after_utc - renewal_time(certificate)
    assert abs(left - lifetime / 3) < datetime.timedelta(seconds=2)


def test_plain_http_leads_nowhere_but_to_the_domain() -> None:
    with served(Front(DOMAIN, 443, {"token": "text"})) as url:
        assert httpx.get(f"{url}/.well-known/acme-challenge/token").text == "text"
        for path in ("//evil.example/", "/%0d%0aX:y", "/\\evil.example"):
            location = httpx.get(url + path, headers={"Host": "evil.example"}).headers["location"]
            assert location.startswith(f"https://{DOMAIN}/")
