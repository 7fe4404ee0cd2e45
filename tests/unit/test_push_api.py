"""Pushes as a server answers them: a real one, on loopback."""

from __future__ import annotations

import json
import os
import re
import socket
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from patchbay_runner.errors import HostError
from patchbay_runner.results.origin import read_origin
from patchbay_runner.server.pushed.retention import overdue
from patchbay_runner.server.pushed.store import MARK_NAME, RunStore
from patchbay_runner.server.pushed.unpack import Limits
from tests.unit.push_archives import a_file, a_run, gzipped, packed, special
from tests.unit.push_server import KEY, PushServer, push_server, wait_until


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PushServer]:
    """A server that several tests share, as they bring nothing into it."""
    with push_server(tmp_path_factory.mktemp("runs")) as server:
        yield server


def message(response: httpx.Response) -> str:
    return str(response.json()["error"]["message"])


def test_a_push_is_answered_as_the_book_says_and_stored_whole(tmp_path: Path) -> None:
    origin = {"project": "other", "branch": "main", "pr": 7, "pr_url": "https://example.com/7", "title": 'a "title"'}
    with push_server(tmp_path) as server:
        response = server.push(a_run(a_file("./sim/sim.json", b"{}"), a_file("run.json", json.dumps(origin).encode())))
        answer = response.json()
        name = answer["run"]
        assert (response.status_code, answer) == (200, {"ok": True, "project": "web", "run": name, "invocation": name})
        assert re.fullmatch(
            r"web-\d{8}_\d{6}-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", name
        )
        assert (server.runs, server.incoming) == ([name], [])
        assert (tmp_path / name / "sim" / "sim.json").read_bytes() == b"{}"
        stored = read_origin(tmp_path / name)
    assert stored is not None
    assert (stored.project, stored.branch, stored.pr, stored.title) == ("web", "main", 7, 'a "title"')
    assert stored.created_at


@pytest.mark.parametrize("run_json", [None, b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000, b"{}" + b" " * 70_000])
def test_a_run_json_that_cannot_be_used_costs_nobody_a_run(tmp_path: Path, run_json: bytes | None) -> None:
    with push_server(tmp_path) as server:
        files = [] if run_json is None else [a_file("run.json", run_json)]
        name = server.push(a_run(*files)).json()["run"]
        stored = read_origin(tmp_path / name)
    assert stored is not None
    assert (stored.project, stored.branch) == ("web", None)


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", f"Basic {KEY}", f"Bearer {KEY}x", KEY, "Bearer \xff"])
def test_a_wrong_key_is_refused(empty: PushServer, header: str) -> None:
    headers = {"Authorization": header.encode("latin-1")}
    response = httpx.post(f"{empty.url}/api/push/web", content=a_run(), headers=headers)
    assert (response.status_code, response.headers["www-authenticate"]) == (401, 'Bearer realm="patchbay"')
    assert (empty.runs, empty.incoming) == ([], [])


def test_the_scheme_of_the_key_has_any_case(tmp_path: Path) -> None:
    with push_server(tmp_path) as server:
        headers = {"Authorization": f"bearer {KEY}"}
        assert httpx.post(f"{server.url}/api/push/web", content=a_run(), headers=headers).status_code == 200


def test_a_client_that_sends_first_and_listens_then_hears_that_its_key_is_wrong(tmp_path: Path) -> None:
    with push_server(tmp_path) as server:
        assert server.push(bytes(10_000_000), key="wrong").status_code == 401


@pytest.mark.parametrize("project", ["a.b", "a%20b", "..", "%2e%2e", "a%2Fb", "%00", "p" * 101, "größe", "."])
def test_a_bad_name_of_a_project_is_refused(empty: PushServer, project: str) -> None:
    response = empty.push(a_run(), project=project)
    assert response.status_code in (400, 404)  # 404 where the path means another one
    assert empty.runs == []


def test_only_post_is_answered(empty: PushServer) -> None:
    assert httpx.get(f"{empty.url}/api/push/web").status_code == 405


@pytest.mark.parametrize(
    ("body", "limits", "status"),
    [
        (b"hello", Limits(), 400),
        (a_run()[:-9], Limits(), 400),
        (a_run(a_file("../x")), Limits(), 400),
        (a_run(special("x", tarfile.SYMTYPE, "/")), Limits(), 400),
        (a_run(a_file("x", bytes(5000))), Limits(bytes=4000), 413),
        (gzipped(b"x" * 100_000), Limits(bytes=50), 413),
        (packed(*(a_file(str(number)) for number in range(9))), Limits(files=5), 413),
    ],
)
def test_what_is_refused_leaves_nothing(tmp_path: Path, body: bytes, limits: Limits, status: int) -> None:
    with push_server(tmp_path, limits=limits) as server:
        response = server.push(body)
        assert response.status_code == status
        assert message(response)
        wait_until(lambda: not server.incoming)
        assert server.runs == []


def test_the_mark_of_the_server_cannot_be_pushed(tmp_path: Path) -> None:
    with push_server(tmp_path) as server:
        name = server.push(a_run(a_file(MARK_NAME, b"forged"), a_file(f"./{MARK_NAME}", b"forged"))).json()["run"]
        assert json.loads((tmp_path / name / MARK_NAME).read_bytes())["name"] == name


def test_an_upload_is_seen_when_it_is_whole_and_not_before(tmp_path: Path) -> None:
    body = a_run(a_file("log", os.urandom(2_000_000)))
    with push_server(tmp_path) as server, raw_push(server, body) as connection:
        connection.sendall(body[: len(body) // 2])
        wait_until(lambda: any(path.stat().st_size for path in tmp_path.glob(".incoming/*/log")))
        assert server.runs == []
        connection.sendall(body[len(body) // 2 :])
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert len(server.runs) == 1


def test_a_client_that_goes_away_leaves_nothing(tmp_path: Path) -> None:
    body = a_run(a_file("log", bytes(100_000)))
    with push_server(tmp_path) as server:
        with raw_push(server, body) as connection:
            connection.sendall(body[:-10])
            wait_until(lambda: server.incoming)
        wait_until(lambda: not server.incoming)
        assert server.runs == []


def raw_push(server: PushServer, body: bytes) -> socket.socket:
    """A connection over which the head of a push has gone."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    head = (
        f"POST /api/push/web HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n"
    )
    connection.sendall(f"{head}\r\n".encode())
    return connection


def test_the_same_push_again_makes_no_second_run(tmp_path: Path) -> None:
    push_id = "6f1b0a4e-1111-4222-8333-444455556666"
    with push_server(tmp_path) as server:
        names = {server.push(a_run(), **{"Idempotency-Key": push_id}).json()["run"] for _ in range(3)}
        assert names == set(server.runs)
        assert len(names) == 1
        assert server.push(a_run(), project="other", **{"Idempotency-Key": push_id}).json()["run"] not in names
        assert server.push(a_run(), **{"Idempotency-Key": "../../x"}).status_code == 400


def test_pushes_at_the_same_time_all_become_runs_of_their_own(tmp_path: Path) -> None:
    answers: list[str] = []
    with push_server(tmp_path) as server:
        clients = [
            threading.Thread(target=lambda: answers.append(server.push(a_run()).json()["run"])) for _ in range(6)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        assert sorted(answers) == server.runs
        assert len(set(answers)) == 6


def test_more_pushes_at_once_than_the_server_takes_are_told_to_wait(tmp_path: Path) -> None:
    body = a_run()
    with push_server(tmp_path) as server:
        connections = [raw_push(server, body) for _ in range(8)]
        wait_until(lambda: len(server.incoming) == 8)
        response = server.push(body)
        assert (response.status_code, response.headers["retry-after"]) == (503, "5")
        for connection in connections:
            connection.close()
        wait_until(lambda: not server.incoming)
        assert server.push(body).status_code == 200


def test_retention_deletes_the_oldest_runs_that_were_pushed_and_nothing_else(tmp_path: Path) -> None:
    foreign = tmp_path / "aaa-20200101_000000-mine"
    (foreign / "sim").mkdir(parents=True)
    (foreign / "big.log").write_bytes(bytes(1_000_000))
    (tmp_path / "link").symlink_to(foreign)
    with push_server(tmp_path, retention_bytes=400_000) as server:
        names = [push_of_100_kb(server, project) for project in ("zebra", "ant")]
        copy = tmp_path / "kept"
        (tmp_path / names[0]).rename(copy)  # somebody keeps it: under another name it is not ours any more
        names += [push_of_100_kb(server, "middle") for _ in range(4)]
        assert server.runs == sorted(["aaa-20200101_000000-mine", "kept", "link", *names[-3:]])
        wait_until(lambda: not server.incoming)


def push_of_100_kb(server: PushServer, project: str) -> str:
    return str(server.push(a_run(a_file("log", bytes(100_000))), project=project).json()["run"])


def test_a_run_that_is_read_stays_and_the_next_one_goes(tmp_path: Path) -> None:
    with push_server(tmp_path, retention_bytes=250_000) as server:
        first, second = push_of_100_kb(server, "a"), push_of_100_kb(server, "a")
        assert httpx.get(f"{server.url}/api/runs/{first}%2Fsim/state").status_code == 404  # asked for all the same
        third = push_of_100_kb(server, "a")
        assert server.runs == sorted([first, third])
        assert second not in server.runs


def test_a_run_larger_than_retention_is_refused(tmp_path: Path) -> None:
    with push_server(tmp_path, retention_bytes=50_000) as server:
        assert server.push(a_run(a_file("log", bytes(100_000)))).status_code == 413


def test_what_a_crash_left_is_removed_at_the_start(tmp_path: Path) -> None:
    (tmp_path / ".incoming" / "half" / "nodes").mkdir(parents=True)
    (tmp_path / ".incoming" / "half" / "nodes" / "log").write_bytes(b"x")
    (tmp_path / "foreign").mkdir()
    RunStore(tmp_path).close()
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".incoming", ".lock", "foreign"]


def test_two_servers_do_not_store_in_the_same_place(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    try:
        with pytest.raises(HostError, match="another patchbay-serve"):
            RunStore(tmp_path)
    finally:
        store.close()


def test_runs_are_known_again_after_a_restart(tmp_path: Path) -> None:
    with push_server(tmp_path) as server:
        name = server.push(a_run()).json()["run"]
    with push_server(tmp_path, retention_bytes=30_000) as server:
        assert [mark.name for mark in server.store.runs()] == [name]
        later = server.push(a_run(a_file("log", bytes(8000)))).json()["run"]
        assert server.runs == [later]


def test_the_newest_run_is_never_overdue(tmp_path: Path) -> None:
    with push_server(tmp_path) as server:
        server.push(a_run())
        runs = server.store.runs()
    assert overdue(runs, 0, lambda _: False) == []
