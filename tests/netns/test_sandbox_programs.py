"""Real programs as steps of whoever runs the tests: servers, captures, a database, TLS."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.sandbox_inside import (
    as_ordinary_user,
    give_away,
    inside,
    new_node,
    postgresql,
    run,
    spawn,
    wait_until,
)

from patchbay_runner.kernel import process
from patchbay_runner.kernel.sandbox import SandboxContext


@pytest.fixture
def directory() -> Iterator[Path]:
    """A short path that other users may enter, which pytest's own directories are not."""
    with tempfile.TemporaryDirectory(prefix="pb") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _log(directory: Path, name: str) -> int:
    return os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)


def test_nginx_serves_port_80(directory: Path) -> None:
    (directory / "index.html").write_text("served by nginx\n")
    (directory / "nginx.conf").write_text(
        f"""daemon off; pid {directory}/nginx.pid; error_log {directory}/error.log; worker_processes 2;
events {{}}
http {{
  access_log off; client_body_temp_path {directory}/b; proxy_temp_path {directory}/p;
  fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  server {{ listen 80; listen [::]:80; root {directory}; }}
}}"""
    )

    def serve(_: SandboxContext) -> tuple[str, str, int | None]:
        node = new_node("web", "127.0.0.1 web.example\n")
        server = spawn(
            node, ["nginx", "-e", f"{directory}/error.log", "-c", f"{directory}/nginx.conf"], _log(directory, "out")
        )
        fetch = ["curl", "-sS", "--retry", "20", "--retry-connrefused", "--retry-delay", "1", "--max-time", "15"]
        pages = [run(node, [*fetch, url]).output for url in ("http://web.example/", "http://[::1]/")]
        process.signal_group(server, signal.SIGQUIT)
        return pages[0], pages[1], process.wait(server, 10)

    assert inside(serve) == ("served by nginx\n", "served by nginx\n", 0), (directory / "error.log").read_text()


def test_tcpdump_captures_and_writes(directory: Path) -> None:
    directory.chmod(0o777)  # as root it becomes the user tcpdump first, and that must work too

    def capture(_: SandboxContext) -> tuple[int | None, str, str]:
        node = new_node("n")
        log = _log(directory, "log")
        pcap = f"{directory}/dump.pcap"
        dump = spawn(node, ["tcpdump", "-i", "lo", "-U", "-c", "4", "-w", pcap, "icmp"], log)
        wait_until(lambda: "listening on" in (directory / "log").read_text())
        assert run(node, ["ping", "-c", "3", "-i", "0.2", "127.0.0.1"]).code == 0
        code = process.wait(dump, 10)
        return code, run(node, ["tcpdump", "-nr", pcap]).output, (directory / "log").read_text()

    code, packets, log = inside(capture)
    assert code == 0, log
    assert packets.count("ICMP echo re") == 4


def test_postgresql_serves_in_a_node(directory: Path) -> None:
    """initdb, the server and psql, none of which runs as uid 0."""
    give_away(directory)
    data = f"{directory}/data"
    options = f"-c listen_addresses='*' -c unix_socket_directories={directory} -c fsync=off"

    def serve(_: SandboxContext) -> tuple[str, str]:
        node = new_node("db", "127.0.0.1 localhost\n127.0.0.1 db.example\n")
        made = run(
            node, as_ordinary_user([postgresql("initdb"), "-D", data, "-A", "trust", "-U", "me", "-N"]), timeout_s=60
        )
        assert made.code == 0, made.output
        control = [postgresql("pg_ctl"), "-D", data, "-l", f"{directory}/log", "-w", "-t", "30"]
        started = run(node, as_ordinary_user([*control, "-o", options, "start"]), timeout_s=40)
        assert started.code == 0, started.output + (directory / "log").read_text()
        query = [postgresql("psql"), "-h", "db.example", "-U", "me", "-Atc", "select 6 * 7", "postgres"]
        answer = run(node, as_ordinary_user(query))
        stopped = run(node, as_ordinary_user([*control, "-m", "fast", "stop"]), timeout_s=40)
        return answer.output, stopped.output

    answer, stopped = inside(serve, timeout_s=110)
    assert answer == "42\n"
    assert "server stopped" in stopped


def test_tls_server_is_found_by_name_and_trusted(directory: Path) -> None:
    def serve(_: SandboxContext) -> str:
        node = new_node("tls", "127.0.0.1 tls.example\n")
        key, certificate = f"{directory}/key.pem", f"{directory}/cert.pem"
        names = ["-subj", "/CN=tls.example", "-addext", "subjectAltName=DNS:tls.example"]
        files = ["-keyout", key, "-out", certificate]
        made = run(node, ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names, *files])
        assert made.code == 0, made.output
        server = ["openssl", "s_server", "-accept", "443", "-key", key, "-cert", certificate, "-www", "-quiet"]
        spawn(node, server, _log(directory, "log"))
        fetch = ["curl", "-sS", "--cacert", certificate, "--retry", "20", "--retry-connrefused", "--retry-delay", "1"]
        return run(node, [*fetch, "--max-time", "15", "https://tls.example/"]).output

    assert "TLSv1.3" in inside(serve)


def test_ping_reaches_both_families_of_loopback() -> None:
    def ping(_: SandboxContext) -> list[int | None]:
        node = new_node("n")
        return [run(node, ["ping", "-c", "1", "-W", "5", address]).code for address in ("127.0.0.1", "::1")]

    assert inside(ping) == [0, 0]


def test_a_program_may_change_its_own_network_but_not_the_hosts() -> None:
    def change(_: SandboxContext) -> tuple[int | None, int | None]:
        node = new_node("n")
        return run(node, ["ip", "addr", "add", "10.1.2.3/32", "dev", "lo"]).code, run(
            node, ["nft", "add", "table", "inet", "mine"]
        ).code

    assert inside(change) == (0, 0)
