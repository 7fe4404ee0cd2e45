"""Files over HTTP, and whoever tries to read others or to make a browser run them."""

import http.client
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from patchbay_runner.server.refusals import Refusal
from patchbay_runner.server.rooted import Root
from tests.unit.server_support import make_run, run_path, serving

SECRET = "do-not-serve-me"


@pytest.fixture(scope="module")
def work_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Beside the served directory lies a secret, and links lead to it."""
    place = tmp_path_factory.mktemp("place")
    (place / "secret").write_text(SECRET)
    work = place / "work"
    run = make_run(work)
    run = run.rename(work / "run")
    sim = run / "web"
    (sim / "files").mkdir()
    (sim / "files" / "ten.txt").write_text("0123456789")
    (sim / "files" / "page.html").write_text("<script>alert(1)</script>")
    (sim / "files" / "picture.svg").write_text("<svg onload='alert(1)'/>")
    (sim / "files" / "empty.log").write_text("")
    (sim / "files" / "trace.pcapng").write_bytes(b"\x0a\x0d\x0d\x0a")
    (sim / "files" / ".hidden").write_text(SECRET)
    (sim / "files" / "ü %2e\n.txt").write_text("odd")
    (sim / "link").symlink_to(place / "secret")
    (sim / "way").symlink_to(place)
    (work / "outside").symlink_to(place)
    (sim / "events-too.jsonl").symlink_to(place / "secret")
    os.mkfifo(sim / "pipe.log")
    return work


@pytest.fixture(scope="module")
def client(work_dir: Path) -> Iterator[httpx.Client]:
    with serving(work_dir) as client:
        yield client


def file_path(name: str) -> str:
    return run_path("run", "files", "web", "files", name)


def test_all_files_are_listed_but_links_and_pipes(client: httpx.Client) -> None:
    listed = client.get(run_path("run", "sims", "web", "files")).json()
    paths = {file["path"]: file for file in listed["files"]}
    assert listed["is_cut"] is False
    assert paths["files/ten.txt"]["size"] == 10
    assert "files/ü %2e\n.txt" in paths
    assert not {"link", "pipe.log", "files/.hidden", "events-too.jsonl"} & paths.keys()
    assert all(not path.startswith("way") for path in paths)


@pytest.mark.parametrize(
    ("asked", "status", "body", "content_range"),
    [
        ("bytes=0-3", 206, "0123", "bytes 0-3/10"),
        ("bytes=7-", 206, "789", "bytes 7-9/10"),
        ("bytes=-2", 206, "89", "bytes 8-9/10"),
        ("bytes=-99", 206, "0123456789", "bytes 0-9/10"),
        ("bytes=5-99", 206, "56789", "bytes 5-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=-0", 416, None, "bytes */10"),
        ("bytes=5-3", 200, "0123456789", None),
        ("bytes=0-1,3-4", 200, "0123456789", None),
        ("lines=0-1", 200, "0123456789", None),
        ("bytes=99999999999999999999-", 200, "0123456789", None),
    ],
)
def test_ranges(client: httpx.Client, asked: str, status: int, body: str | None, content_range: str | None) -> None:
    reply = client.get(file_path("ten.txt"), headers={"Range": asked})
    assert reply.status_code == status
    assert reply.headers.get("content-range") == content_range
    if body is not None:
        assert reply.text == body


def test_a_range_is_of_the_file_that_it_was_asked_of(client: httpx.Client) -> None:
    first = client.get(file_path("ten.txt"))
    for condition, status in ((first.headers["etag"], 206), (first.headers["last-modified"], 206), ('"x"', 200)):
        reply = client.get(file_path("ten.txt"), headers={"Range": "bytes=0-0", "If-Range": condition})
        assert reply.status_code == status
    again = client.get(file_path("ten.txt"), headers={"If-None-Match": f'W/"y", {first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    head = client.head(file_path("ten.txt"))
    assert (head.headers["content-length"], head.content) == ("10", b"")


@pytest.mark.parametrize(
    ("name", "kind", "place"),
    [
        ("ten.txt", "text/plain; charset=utf-8", "inline"),
        ("page.html", "text/html", "attachment"),
        ("picture.svg", "image/svg+xml", "attachment"),
        ("trace.pcapng", "application/vnd.tcpdump.pcap", "attachment"),
        ("%C3%BC%20%252e%0A.txt", "text/plain; charset=utf-8", "inline"),
    ],
)
def test_nothing_in_a_file_runs(client: httpx.Client, name: str, kind: str, place: str) -> None:
    reply = client.get(file_path(name))
    assert (reply.status_code, reply.headers["content-type"].partition(" charset")[0]) == (
        200,
        kind.partition(" ch")[0],
    )
    assert reply.headers["content-disposition"].startswith(f"{place}; filename*=UTF-8''")
    assert reply.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert reply.headers["x-content-type-options"] == "nosniff"
    asked = client.get(file_path(name), params={"download": "true"})
    assert asked.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize(
    "path",
    [
        "/api/runs/run/files/web/link",
        "/api/runs/run/files/web/way/secret",
        "/api/runs/run/files/web/events-too.jsonl",
        "/api/runs/run/files/../../secret",
        "/api/runs/run/files/..%2f..%2fsecret",
        "/api/runs/run/files/%2e%2e/%2e%2e/secret",
        "/api/runs/run/files/web%2f..%2f..%2f..%2fsecret",
        "/api/runs/run/files/%252e%252e%252fsecret",
        "/api/runs/run/files//etc/passwd",
        "/api/runs/run/files/%2fetc%2fpasswd",
        "/api/runs/run/files/web/files/.hidden",
        "/api/runs/run/files/.lock",
        "/api/runs/run/files/web/files%00.txt",
        "/api/runs/run/files/web/files",
        "/api/runs/run/files/web/pipe.log",
        "/api/runs/run/files/" + "x" * 300,
        "/api/runs/run/files/" + "x/" * 1000,
        "/api/runs/run/files/%c0%ae%c0%ae/secret",
        "/api/runs/outside",
        "/api/runs/outside%2Fwork%2Frun",
        "/api/runs/..",
        "/api/runs/..%2Fwork%2Frun",
        "/api/runs/%2e%2e%2fwork%2frun/sims/web",
        "/api/runs/run/sims/..",
        "/api/runs/run/sims/..%2F..",
        "/api/runs/run/sims/web/logs/..%2F..%2F..%2Fsecret",
        "/api/runs/run/sims/web/logs/link",
        "/api/runs/run/sims/web/logs/pipe.log",
        "/api/stream?run=run&sim=web&log=..%2F..%2F..%2Fsecret",
        "/../secret",
        "/assets/../../refusals.py",
        "/..%2f..%2fserver%2fapp.py",
        "/%2e%2e/app.py",
    ],
)
def test_nothing_outside_is_read(client: httpx.Client, path: str) -> None:
    connection = http.client.HTTPConnection(client.base_url.host, client.base_url.port, timeout=20)
    connection.request("GET", path)  # as it stands: httpx would make it harmless
    reply = connection.getresponse()
    body = reply.read()
    connection.close()
    assert reply.status in (400, 403, 404), body
    assert SECRET.encode() not in body
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


def test_a_link_that_is_put_in_place_meanwhile_is_not_followed(tmp_path: Path) -> None:
    """A directory and a link to another take turns under the same name."""
    served, outside = tmp_path / "served", tmp_path / "outside"
    for directory in (served / "real", outside):
        directory.mkdir(parents=True)
    (served / "real" / "file").write_text("mine")
    (outside / "file").write_text(SECRET)
    (served / "link").symlink_to(outside)
    (served / "real").rename(served / "name")
    root, is_over = Root(served), threading.Event()

    def swap() -> None:
        while not is_over.is_set():
            for content, other in (("real", "link"), ("link", "real")):
                (served / "name").rename(served / content)
                (served / other).rename(served / "name")

    swapping = threading.Thread(target=swap)
    swapping.start()
    read, refused, deadline = [], 0, time.monotonic() + 30
    try:
        while len(read) + refused < 2000 or not (read and refused):
            assert time.monotonic() < deadline, "the two never took turns"
            try:
                descriptor = root.open_file(("name", "file"))
            except Refusal:
                refused += 1
                continue
            read.append(os.read(descriptor, 100))
            os.close(descriptor)
    finally:
        is_over.set()
        swapping.join()
    assert set(read) == {b"mine"}


HOSTS = [
    ({"Host": "evil.example"}, 421),
    ({"Host": "127.0.0.1.evil.example:80"}, 421),
    ({"Host": "localhost:1"}, 200),
    ({"Host": "[::1]:7421"}, 200),
    ({"Host": "127.8.9.1"}, 200),
    ({"Host": "10.0.0.1"}, 421),
    ({"Host": "localhost@evil.example"}, 400),
    ({"Host": ""}, 400),
    ({"Origin": "http://evil.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
    ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
    ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, 200),
]


@pytest.mark.parametrize(("headers", "status"), HOSTS)
@pytest.mark.parametrize("path", ["/", "/api/runs"])
def test_other_sites_get_nothing(client: httpx.Client, headers: dict[str, str], status: int, path: str) -> None:
    reply = client.get(path, headers=headers)
    assert reply.status_code == status
    if status != 200:
        assert b"run" not in reply.content.replace(b"this server", b"")
    assert "access-control-allow-origin" not in reply.headers


def test_the_servers_own_page_may_ask(client: httpx.Client) -> None:
    own = f"http://{client.base_url.host}:{client.base_url.port}"
    assert client.get("/api/runs", headers={"Origin": own}).status_code == 200


def test_the_page_allows_nothing_but_itself(client: httpx.Client) -> None:
    for path in ("/", "/runs"):
        reply = client.get(path)
        policy = reply.headers["content-security-policy"]
        assert reply.status_code == 200
        assert reply.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert reply.headers["referrer-policy"] == "no-referrer"
