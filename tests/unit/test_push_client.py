"""`patchbay push`, as a CI job calls it, against a real server and against servers that fail."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from patchbay_runner.errors import InputError, PushError
from patchbay_runner.pushing.archive import packed
from patchbay_runner.pushing.contents import contents_of
from patchbay_runner.pushing.origins import merged, origin_in
from patchbay_runner.pushing.upload import Target, server_url, upload
from patchbay_runner.results import lock
from patchbay_runner.results.origin import RunOrigin, origin_of, read_origin
from patchbay_runner.server.pushed.unpack import Limits, Unpacker
from tests.unit.acme_authority import self_signed
from tests.unit.push_server import KEY, push_server, served

if TYPE_CHECKING:
    from starlette.requests import Request

MANIFEST = {
    "schema": 1,
    "run": "sim-260313-120059",
    "status": "done",
    "started_at": "2026-03-13T12:00:59Z",
    "ended_at": "2026-03-13T12:01:09Z",
    "runtime_ms": 10_000,
    "success": True,
    "environment": {
        "os": "linux",
        "arch": "x86_64",
        "family": "unix",
        "kernel": "6.18",
        "python": "3.11",
        "current_dir": "/",
        "executable": "python",
        "patchbay_version": "0.1.0",
    },
    "simulations": [],
}


def a_run(directory: Path, **fields: object) -> Path:
    """The directory of a run with a few logs."""
    node = directory / "sim" / "nodes" / "größe"
    node.mkdir(parents=True)
    (node / "stdout.log").write_bytes(b"line\n" * 20_000)
    (node / "empty.log").touch()
    (directory / ".lock").touch()
    (directory / "manifest.json").write_text(json.dumps(MANIFEST | fields))
    return directory


def tree(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def push(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, without the variables of the CI job that runs the tests."""
    ci = ("GITHUB_", "GITLAB_", "CI_", "PATCHBAY_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ci) and name != "CI"}
    command = [sys.executable, "-m", "patchbay_runner", "push", *arguments]
    return subprocess.run(command, env=inherited | environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_ci_job_pushes_its_run_and_gets_the_address(tmp_path: Path) -> None:
    work_dir, event = tmp_path / "work", tmp_path / "event.json"
    run = a_run(work_dir / "sim-260313-120059")
    (work_dir / "latest").symlink_to(run.name)
    event.write_text(json.dumps({"pull_request": {"number": 7, "html_url": "https://g.example/7", "title": 'a "b"'}}))
    job = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_REPOSITORY": "someone/my.web",
        "GITHUB_HEAD_REF": "feature",
        "GITHUB_SHA": "abc123",
        "GITHUB_EVENT_PATH": str(event),
    }
    with push_server(tmp_path / "runs") as server:
        done = push(work_dir, PATCHBAY_URL=server.url + "/", PATCHBAY_API_KEY=KEY, **job)
        assert (done.returncode, done.stdout) == (0, f"{server.url}/#/run/{server.runs[0]}\n"), done.stderr
        stored = tmp_path / "runs" / server.runs[0]
    expected = RunOrigin("my-web", "feature", "abc123", 7, "https://g.example/7", 'a "b"')
    origin = read_origin(stored)
    assert origin is not None
    assert merged(RunOrigin(created_at=origin.created_at), expected) == origin
    pushed = {
        name: content for name, content in tree(stored).items() if name not in ("run.json", ".patchbay-push.json")
    }
    assert pushed == {name: content for name, content in tree(run).items() if name != ".lock"}
    assert read_origin(run) is None  # nothing is written where the run stands


def test_lab_records_are_pushed_as_a_group(tmp_path: Path) -> None:
    record = tmp_path / "testdir" / "tests" / "nat"
    record.mkdir(parents=True)
    (record / "events.jsonl").write_text("{}\n")
    (tmp_path / "testdir" / "run.json").write_text('{"project": "web", "branch": "from-file"}')
    with push_server(tmp_path / "runs") as server:
        arguments = (tmp_path / "testdir", "--url", server.url, "--title", "by hand")
        done = push(*arguments, PATCHBAY_API_KEY=KEY)
        assert (done.returncode, done.stdout) == (0, f"{server.url}/#/inv/{server.runs[0]}\n"), done.stderr
        origin = read_origin(tmp_path / "runs" / server.runs[0])
    assert origin is not None
    assert (origin.project, origin.branch, origin.title) == ("web", "from-file", "by hand")


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ([], {"PATCHBAY_API_KEY": KEY}, "which server? Give --url, or set PATCHBAY_URL"),
        (["--url", "localhost:8080"], {"PATCHBAY_API_KEY": KEY}, "no address of a server"),
        (["--url", "http://localhost:x"], {"PATCHBAY_API_KEY": KEY}, "expected one such as"),
        (["--url", "http://localhost/?x"], {"PATCHBAY_API_KEY": KEY}, "no address of a server"),
        (["--url", "http://localhost"], {}, "set PATCHBAY_API_KEY"),
        (["--url", "http://localhost"], {"PATCHBAY_API_KEY": "a\nb"}, "characters that a key cannot have"),
        (["--url", "http://localhost"], {"PATCHBAY_API_KEY": KEY}, "which project? Give --project"),
        (["--url", "http://localhost", "--project", "a/b"], {"PATCHBAY_API_KEY": KEY}, "no name of a project"),
        (["--url", "http://localhost", "--pr", "0"], {"PATCHBAY_API_KEY": KEY}, "--pr"),
    ],
)
def test_bad_command_lines_push_nothing(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], message: str
) -> None:
    done = push(a_run(tmp_path / "run"), *arguments, **environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_a_refused_push_fails_and_says_why(tmp_path: Path) -> None:
    with push_server(tmp_path / "runs") as server:
        done = push(a_run(tmp_path / "run"), "--url", server.url, "--project", "web", PATCHBAY_API_KEY="wrong")
    assert (done.returncode, done.stdout) == (1, "")
    assert "it answers 401 Unauthorized: the key is missing or wrong" in done.stderr


def test_what_cannot_be_pushed(tmp_path: Path) -> None:
    a_run(tmp_path / "two" / "a")
    a_run(tmp_path / "two" / "b")
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"there are 2 runs in it: a, b; expected one of them"):
        contents_of(tmp_path / "two")
    with pytest.raises(InputError, match=r"there is no manifest\.json"):
        contents_of(tmp_path / "none")
    with pytest.raises(InputError, match="no such directory"):
        contents_of(tmp_path / "missing")
    with pytest.raises(InputError, match="this is no directory"):
        contents_of(tmp_path / "two" / "a" / "manifest.json")


def test_a_run_that_is_not_over_is_not_pushed_and_one_that_was_killed_is(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", status="running", ended_at=None, runtime_ms=None, success=None)
    held = lock.hold(run)
    try:
        with pytest.raises(InputError, match="not over yet"):
            contents_of(run)
    finally:
        os.close(held)
    assert contents_of(run).is_run


def test_what_means_nothing_elsewhere_is_left_out_and_told(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    (run / "sim" / "link").symlink_to("/etc/passwd")
    (run / "sim" / "elsewhere").symlink_to("/etc")
    os.mkfifo(run / "sim" / "pipe")
    (run / "sim" / "a\nb").touch()
    (run / "sim" / os.fsdecode(b"\xff")).touch()
    contents = contents_of(run)
    assert {line.rpartition(": ")[2] for line in contents.left_out} == {
        "a link",
        "neither file nor directory",
        "its name cannot be sent",
    }
    assert len(contents.left_out) == 5
    assert [name for name, _ in contents.files] == [
        "manifest.json",
        "sim/nodes/größe/empty.log",
        "sim/nodes/größe/stdout.log",
    ]


def test_files_that_change_while_they_are_packed_leave_the_archive_whole(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    (run / "a-grows.log").write_bytes(b"a" * 3000)
    (run / "b-shrinks.log").write_bytes(b"b" * 600_000)
    pieces = packed(contents_of(run), b"{}", lambda _: (run / "b-shrinks.log").write_bytes(b"b" * 300_000))
    target = tmp_path / "target"
    target.mkdir()
    unpacker = Unpacker(target, Limits())
    for piece in pieces:
        unpacker.feed(piece)
    unpacker.finish()
    assert (target / "run.json").read_bytes() == b"{}"
    assert (target / "a-grows.log").read_bytes() == b"a" * 3000


def test_a_file_that_went_away_is_named(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    contents = contents_of(run)
    (run / "manifest.json").unlink()
    with pytest.raises(PushError, match=r"manifest\.json cannot be read"):
        deque(packed(contents, b"{}", lambda _: None), maxlen=0)


@dataclass(slots=True)
class Faulty:
    """Answers in order; the last one again and again."""

    answers: list[Response]
    ids: list[str] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: Request) -> Response:
        await request.body()
        self.ids.append(request.headers["idempotency-key"])
        return self.answers[min(len(self.ids), len(self.answers)) - 1]


@contextmanager
def faulty(*answers: Response) -> Iterator[Faulty]:
    server = Faulty(list(answers))
    with served(Starlette(routes=[Route("/api/push/{project}", server.answer, methods=["POST"])])) as server.url:
        yield server


OK = JSONResponse({"ok": True, "run": "r", "invocation": "i"})


def try_upload(url: str, *pauses_s: float) -> tuple[str, list[str]]:
    notes: list[str] = []
    pushed = upload(Target(url, "web", KEY), lambda: iter([b"body"]), notes.append, pauses_s or (0.0, 0.0, 0.0))
    return pushed.run, notes


def test_a_server_that_is_busy_is_tried_again_with_the_same_id() -> None:
    busy = JSONResponse({"error": {"code": "busy", "message": "later"}}, 503, {"Retry-After": "0"})
    with faulty(busy, Response(status_code=502), OK) as server:
        run, notes = try_upload(server.url)
    assert run == "r"
    assert ["503 Service Unavailable: later" in notes[0], "502 Bad Gateway" in notes[1], len(notes)] == [True, True, 2]
    assert (len(server.ids), len(set(server.ids))) == (3, 1)


def test_a_server_that_stays_away_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(PushError, match="Connection refused; given up after 3 attempts"):
        try_upload(url, 0.0, 0.0)


def test_a_certificate_of_nobody_is_not_tried_again(tmp_path: Path) -> None:
    certificate = tmp_path / "certificate.pem"
    certificate.write_bytes(self_signed("localhost", timedelta(days=1), timedelta(hours=1)))
    app = Starlette(routes=[])
    with served(app, ssl_certfile=certificate) as url, pytest.raises(PushError, match="not to be trusted: self-signed"):
        try_upload(url.replace("http:", "https:"), 60.0)


def test_a_connection_that_breaks_is_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            for _ in range(2):
                connection, _address = listener.accept()
                connection.recv(10)
                connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(PushError, match="given up after 2 attempts"):
            try_upload(f"http://127.0.0.1:{listener.getsockname()[1]}", 0.0)
        thread.join()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (JSONResponse({"error": {"code": "no_room", "message": "full"}}, 507), "507 Insufficient Storage: full"),
        (Response("<html>no</html>", 404), "it answers 404 Not Found"),
        (Response("<html>yes</html>", 200), "no patchbay-serve"),
        (Response(status_code=308, headers={"Location": "https://b.example/api/push/web"}), "https://b.example: push"),
    ],
)
def test_what_trying_again_would_not_help(answer: Response, message: str) -> None:
    with faulty(answer) as server, pytest.raises(PushError, match=message):
        try_upload(server.url)
    assert len(server.ids) == 1


def test_gitlab_tells_about_merge_requests() -> None:
    job = {
        "GITLAB_CI": "true",
        "CI_PROJECT_NAME": "web",
        "CI_COMMIT_REF_NAME": "refs/merge-requests/5/head",
        "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "feature",
        "CI_COMMIT_SHA": "abc",
        "CI_MERGE_REQUEST_IID": "5",
        "CI_MERGE_REQUEST_PROJECT_URL": "https://gitlab.example/group/web",
        "CI_MERGE_REQUEST_TITLE": "Title",
        "CI_COMMIT_TITLE": "Commit",
    }
    url = "https://gitlab.example/group/web/-/merge_requests/5"
    assert origin_in(job) == RunOrigin("web", "feature", "abc", 5, url, "Title")
    branch = {name: value for name, value in job.items() if "MERGE" not in name}
    expected = RunOrigin("web", "refs/merge-requests/5/head", "abc", title="Commit")
    assert origin_in(branch) == expected
    assert origin_in({}) == RunOrigin()


def test_github_tells_the_branch_and_the_commit_without_a_pull_request(tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"head_commit": {"message": "subject\n\nbody"}, "pull_request": None}))
    job = {"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "a/web", "GITHUB_REF_NAME": "main", "GITHUB_SHA": "abc"}
    assert origin_in(job | {"GITHUB_EVENT_PATH": str(event)}) == RunOrigin("web", "main", "abc", title="subject")
    assert origin_in(job | {"GITHUB_EVENT_PATH": "/missing"}) == RunOrigin("web", "main", "abc")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"pr": "12", "commit": "", "branch": 3}, RunOrigin(pr=12)),
        ({"pr": True, "title": "  two\nlines"}, RunOrigin(title="two")),
        ({"pr": -1, "pr_url": "javascript:alert(1)"}, RunOrigin()),
        ({"pr_url": "https://[", "project": "a b"}, RunOrigin("a b")),
        ({"pr": 10**400, "title": "t" * 1000}, RunOrigin(title="t" * 500)),
    ],
)
def test_what_is_unusable_in_run_json_is_left_out(fields: dict[str, object], expected: RunOrigin) -> None:
    assert origin_of(fields) == expected


@pytest.mark.parametrize(
    "text", ["ftp://x", "x", "", "https://", "http://h:99999", "https://h/#a", "http://[::1", "http://a:b@h"]
)
def test_addresses_that_are_no_server(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        server_url(text)


def test_a_server_may_stand_below_a_path() -> None:
    assert server_url(" https://example.com/patchbay/ ") == "https://example.com/patchbay"
