"""`patchbay-serve` as its users start it: command lines, crashes, full disks, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import click
import httpx
import pytest
import schemathesis

from patchbay_runner.cli.patchbay_serve import patchbay_serve
from tests.unit.push_archives import a_file, a_run
from tests.unit.push_server import KEY, wait_until
from tests.unit.serve_command import ServeCommand, serve_command, serving


def refused(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command line that cannot work."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PATCHBAY_")}
    command = serve_command(*arguments)
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=inherited | environment, check=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--accept-push"], "--accept-push needs a key"),
        (["--accept-push", "--api-key", ""], "--accept-push needs a key"),
        (["--accept-push", "--api-key", "größe"], "cannot carry"),
        (["--retention", "10GB"], "--retention needs --accept-push"),
        (["--retention", "ten"], "'ten' is not a size; expected a size such as"),
        (["--http-bind", "http://x:80"], "is no HOST:PORT, such as 0.0.0.0:8080"),
        (["--https-bind", "127.0.0.1:99999"], "is no HOST:PORT, such as 0.0.0.0:4443"),
        (["--acme-domain", "a.example.com"], "--acme-domain and --acme-email belong together"),
        (["--acme-email", "me@example.com"], "--acme-domain and --acme-email belong together"),
        (["--acme-domain", "https://x.example", "--acme-email", "me@example.com"], "is no domain"),
        (["--acme-domain", "localhost", "--acme-email", "me@example.com"], "is no domain"),
        (["--acme-domain", "a.example.com", "--acme-email", "me"], "is no e-mail address"),
        (["--acme-domain", "a.example.com", "--acme-email", "a@b.c", "--acme-directory", "x"], "no https address"),
        (["--max-files", "0"], "--max-files"),
        (["more"], "unexpected extra argument"),
    ],
)
def test_bad_command_lines(arguments: list[str], message: str) -> None:
    with pytest.raises(click.ClickException) as caught:
        patchbay_serve.main(arguments, standalone_mode=False, auto_envvar_prefix=None)
    assert message in caught.value.format_message()


def test_the_command_ends_with_2_for_a_bad_command_line(tmp_path: Path) -> None:
    done = refused("--accept-push", "--data-dir", tmp_path / "data")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: patchbay-serve")
    assert not (tmp_path / "data").exists()


def test_an_address_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = refused("--run-dir", tmp_path, "--http-bind", address)
    assert (done.returncode, done.stderr) == (
        4,
        f"error: cannot listen on {address}: Address already in use\n  try: another port; port 0 is any that is free\n",
    )


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = refused("--run-dir", tmp_path / "missing", "--http-bind", "127.0.0.1:0")
    assert (done.returncode, "there is no directory" in done.stderr) == (4, True)


def runs_in(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "runs").iterdir() if not path.name.startswith("."))


def test_a_pushed_run_is_served_and_listed(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--accept-push", "--retention", "10GB") as server:
        name = server.push(a_run(a_file("run.json", b'{"branch": "main"}'))).json()["run"]
        assert httpx.get(f"{server.url}/api/info").json()["is_accepting_pushes"] is True
        wait_until(lambda: names_of(server) == [name])
        run = httpx.get(f"{server.url}/api/runs/{name}").json()
        assert (run["project"], run["branch"]) == ("web", "main")
        assert httpx.get(f"{server.url}/runs").status_code == 200
        described = schemathesis.openapi.from_dict(httpx.get(f"{server.url}/openapi.json").json())
        assert described["/api/push/{project}"]["POST"].path == "/api/push/{project}"
        assert httpx.get(f"{server.url}/api/runs/.incoming").status_code == 404
        refused_push = httpx.post(f"{server.url}/api/push/web", content=a_run(), headers={"Authorization": "Bearer x"})
        assert refused_push.status_code == 401
        assert server.end() == 0


def names_of(server: ServeCommand) -> list[str]:
    return [run["name"] for run in httpx.get(f"{server.url}/api/runs").json()["runs"]]


def test_without_accept_push_nothing_is_taken_or_made(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with serving(tmp_path / "data", "--run-dir", tmp_path / "runs") as server:
        assert server.push(a_run()).status_code in (404, 405)
        assert httpx.get(f"{server.url}/api/info").json()["is_accepting_pushes"] is False
        assert server.end(signal.SIGINT) == 0
    assert list((tmp_path / "runs").iterdir()) == []


def start_upload(server: ServeCommand, body: bytes) -> socket.socket:
    """A push of which the last byte is missing."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    head = f"POST /api/push/web HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {KEY}\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-1])
    return connection


def test_a_server_killed_amid_an_upload_leaves_nothing_behind(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data, "--accept-push") as server:
        kept = server.push(a_run()).json()["run"]
        with start_upload(server, a_run(a_file("log", os.urandom(3_000_000)))):
            wait_until(lambda: any(path.stat().st_size for path in data.glob("runs/.incoming/*/log")))
            server.end(signal.SIGKILL)
    assert list((data / "runs" / ".incoming").iterdir()) != []
    assert runs_in(data) == [kept]
    with serving(data, "--accept-push") as server:
        wait_until(lambda: not list((data / "runs" / ".incoming").iterdir()))
        again = server.push(a_run()).json()["run"]
        assert runs_in(data) == sorted([kept, again])


def test_a_server_that_is_told_to_end_does_not_wait_for_a_slow_upload(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data, "--accept-push") as server, start_upload(server, a_run(a_file("log", os.urandom(3_000_000)))):
        wait_until(lambda: list((data / "runs" / ".incoming").iterdir()))
        assert server.end() == 0
    assert list((data / "runs" / ".incoming").iterdir()) == []
    assert runs_in(data) == []


FULL_DISK = """
set -eu
mount -t tmpfs -o size=2M tmpfs "$1"
shift
exec "$@"
"""


def has_user_namespaces() -> bool:
    return subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode == 0


def test_a_full_disk_is_answered_with_507_and_later_pushes_fit(tmp_path: Path) -> None:
    """On a real small disk where namespaces can be had; they can wherever labs can."""
    assert has_user_namespaces()
    disk = tmp_path / "disk"
    disk.mkdir()
    launcher = ["unshare", "-rm", "sh", "-c", FULL_DISK, "sh", str(disk)]
    with serving(tmp_path / "data", "--accept-push", "--run-dir", disk, launcher=launcher) as server:
        response = server.push(a_run(a_file("log", os.urandom(4_000_000))))
        assert (response.status_code, response.json()["error"]["code"]) == (507, "no_room")
        assert server.push(a_run(a_file("log", os.urandom(1_400_000)))).status_code == 200
        assert server.push(a_run(a_file("log", os.urandom(1_000_000)))).status_code == 507
        assert server.push(a_run()).status_code == 200


def test_an_upload_takes_no_memory(tmp_path: Path) -> None:
    """64 MB through a server that gets 24 MB more than it needs for a small push."""
    with serving(tmp_path / "data", "--accept-push") as server:
        assert server.push(a_run()).status_code == 200
        before = peak_memory(server.process.pid)
        assert server.push(a_run(a_file("log", bytes(64_000_000)), level=0)).status_code == 200
        assert peak_memory(server.process.pid) - before < 24_000_000


def peak_memory(process: int) -> int:
    """Bytes."""
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def test_the_page_of_the_command_names_every_option(checkout: Path) -> None:
    page = (checkout / "docs" / "commands" / "patchbay-serve.md").read_text()
    options = [name for parameter in patchbay_serve.params for name in parameter.opts if name != "--version"]
    assert [name for name in options if f"`{name}" not in page] == []


def test_the_unit_file_starts_what_there_is(checkout: Path) -> None:
    unit = (checkout / "contrib" / "patchbay-serve.service").read_text()
    command = re.search(r"^ExecStart=(.+)$", unit, re.MULTILINE)
    assert command is not None
    words = command[1].split()
    known = {name for parameter in patchbay_serve.params for name in parameter.opts}
    assert words[0].endswith("/patchbay-serve")
    assert {word for word in words if word.startswith("--")} <= known
