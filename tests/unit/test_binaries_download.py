"""Downloads from a real server with the faults of real servers."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx  # noqa: TC002 - as the other imports
import pytest

from patchbay_runner.binaries import download
from patchbay_runner.binaries.cache import Cache
from patchbay_runner.binaries.download import Fetched, open_client, shown_url
from patchbay_runner.binaries.progress import Cancellation, Cancelled, Task
from patchbay_runner.errors import BinaryError
from tests.serving import Site, serving
from tests.unit.binaries_support import Told, task

Fetch = Callable[[str, str | None, Cache, Task], Fetched]
BODY = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(scope="module")
def shared_client() -> Iterator[httpx.Client]:
    with open_client() as client:
        yield client


@pytest.fixture
def fetch(shared_client: httpx.Client) -> Fetch:
    return partial(download.fetch, client=shared_client)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as found:
        yield found


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_FIRST_PAUSE_S", 0.01)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def parts(cache: Cache) -> list[Path]:
    return [path for path in (cache.root / "downloads").iterdir() if path.suffix != ".json"]


def test_a_file_is_fetched_once_and_asked_for_again(site: Site, cache: Cache, fetch: Fetch) -> None:
    url = site.put("/tool", BODY)
    told = Told()
    fetched = fetch(url, None, cache, task(told))
    assert (fetched.sha256, fetched.path.read_bytes()) == (SHA256, BODY)
    assert told.starts == [f"tool: downloading {url} 0/{len(BODY)}"]
    assert fetch(url, None, cache, task()) == fetched
    assert site.sent == [len(BODY), 0]
    assert parts(cache) == []


def test_a_file_that_changes_is_fetched_again(site: Site, cache: Cache, fetch: Fetch) -> None:
    url = site.put("/tool", BODY)
    fetch(url, None, cache, task())
    site.put("/tool", b"newer")
    assert fetch(url, None, cache, task()).path.read_bytes() == b"newer"


def test_a_connection_that_breaks_is_gone_on_from_where_it_broke(site: Site, cache: Cache, fetch: Fetch) -> None:
    url = site.put("/tool", BODY, cuts=[400_000, 300_000])
    assert fetch(url, SHA256, cache, task()).path.read_bytes() == BODY
    assert site.sent == [400_000, 300_000, len(BODY) - 700_000]
    assert [request.headers.get("Range") for request in site.requests] == [None, "bytes=400000-", "bytes=700000-"]


def test_a_run_that_is_interrupted_leaves_what_the_next_goes_on_from(site: Site, cache: Cache, fetch: Fetch) -> None:
    go_on, cancelled = threading.Event(), Cancellation()
    url = site.put("/tool", BODY, chunk=200_000, go_on=go_on)
    with ThreadPoolExecutor() as pool:
        running = pool.submit(fetch, url, None, cache, task(cancelled=cancelled))
        deadline_s = time.monotonic() + 20
        while not (parts_dir := cache.root / "downloads").exists() or not any(parts_dir.glob("*.part")):
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        cancelled.set()
        go_on.set()
        with pytest.raises(Cancelled):
            running.result()
    assert not (cache.root / "content").exists()
    fetched = fetch(url, None, cache, task())
    assert fetched.path.read_bytes() == BODY


@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"])
def test_a_server_that_is_silent_holds_nobody_who_wants_to_stop(greeting: bytes, cache: Cache, fetch: Fetch) -> None:
    cancelled = Cancellation()
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as pool:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/tool"
        running = pool.submit(fetch, url, None, cache, task(cancelled=cancelled))
        connection, _ = server.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(greeting)
            began_s = time.monotonic()
            cancelled.set()
            with pytest.raises(Cancelled):
                running.result()
            assert time.monotonic() - began_s < download._SILENCE_S / 3


def test_a_beginning_of_another_version_is_thrown_away(site: Site, cache: Cache, fetch: Fetch) -> None:
    url = site.put("/tool", b"x" * 500_000, cuts=[100_000, 0, 0, 0, 0])
    with pytest.raises(BinaryError, match="cannot be reached"):
        fetch(url, None, cache, task())
    assert len(parts(cache)) == 2
    site.put("/tool", BODY)
    assert fetch(url, None, cache, task()).path.read_bytes() == BODY
    assert parts(cache) == []


@pytest.mark.parametrize("options", [{"has_ranges": False}, {"has_etag": False}])
def test_a_server_that_cannot_go_on_begins_anew(
    site: Site, cache: Cache, fetch: Fetch, options: dict[str, bool]
) -> None:
    url = site.put("/tool", BODY, cuts=[300_000], **options)
    assert fetch(url, None, cache, task()).path.read_bytes() == BODY
    assert site.sent == [300_000, len(BODY)]


def test_a_part_that_is_longer_than_the_file_is_thrown_away(site: Site, cache: Cache, fetch: Fetch) -> None:
    url = site.put("/tool", BODY, cuts=[500_000, 0, 0, 0, 0])
    with pytest.raises(BinaryError):
        fetch(url, None, cache, task())
    (part,) = [path for path in parts(cache) if path.suffix == ".part"]
    part.write_bytes(BODY + b"more")
    site.put("/tool", BODY)
    assert fetch(url, None, cache, task()).path.read_bytes() == BODY


def test_a_part_that_was_damaged_is_found_by_the_hash(site: Site, cache: Cache, fetch: Fetch) -> None:
    url = site.put("/tool", BODY, cuts=[500_000, 0, 0, 0, 0])
    with pytest.raises(BinaryError):
        fetch(url, SHA256, cache, task())
    (part,) = [path for path in parts(cache) if path.suffix == ".part"]
    part.write_bytes(b"?" * 500_000)
    site.put("/tool", BODY)
    assert fetch(url, SHA256, cache, task()).path.read_bytes() == BODY
    assert site.sent[-2:] == [len(BODY) - 500_000, len(BODY)]


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_refusal_is_an_error_also_with_a_warm_cache(site: Site, cache: Cache, fetch: Fetch, status: int) -> None:
    url = site.put("/tool", BODY)
    fetch(url, None, cache, task())
    site.put("/tool", status=status)
    with pytest.raises(BinaryError, match=f"{url} answers {status}"):
        fetch(url, None, cache, task())


def test_a_server_that_is_away_is_answered_for_by_the_cache(site: Site, cache: Cache, fetch: Fetch) -> None:
    url = site.put("/tool", BODY)
    fetched = fetch(url, None, cache, task())
    site.put("/tool", status=503)
    told = Told()
    assert fetch(url, None, cache, task(told)) == fetched
    assert len(told.notes) == 1
    assert "503 Service Unavailable" in told.notes[0]
    assert "from the cache" in told.notes[0]


def test_nobody_there_and_nothing_cached(cache: Cache, fetch: Fetch) -> None:
    with serving() as gone:
        url = gone.put("/tool")
    with pytest.raises(BinaryError, match=r"cannot be reached: .*refused"):
        fetch(url, None, cache, task())


def test_a_wrong_hash_keeps_nothing(site: Site, cache: Cache, fetch: Fetch) -> None:
    url = site.put("/tool", b"something else")
    with pytest.raises(BinaryError) as raised:
        fetch(url, SHA256, cache, task())
    assert raised.value.expected == SHA256
    assert url in raised.value.message
    assert parts(cache) == []
    assert not (cache.root / "content").exists()


def test_what_a_hash_names_is_never_asked_for_again(site: Site, cache: Cache, fetch: Fetch) -> None:
    fetched = fetch(site.put("/tool", BODY), SHA256, cache, task())
    assert fetch(f"{site.url}/elsewhere", SHA256, cache, task()) == fetched
    assert len(site.requests) == 1


def test_redirects_are_followed_but_not_in_circles(site: Site, cache: Cache, fetch: Fetch) -> None:
    site.put("/tool", BODY)
    moved = site.put("/moved", status=302, location="/tool")
    assert fetch(moved, None, cache, task()).sha256 == SHA256
    with pytest.raises(BinaryError, match="redirects"):
        fetch(site.put("/circle", status=302, location="/circle"), None, cache, task())
    with pytest.raises(BinaryError, match="cannot be fetched"):
        fetch(site.put("/ftp", status=302, location="ftp://example.org/x"), None, cache, task())


class CountingCache(Cache):
    """Counts who has come to its locks."""

    arrived = 0

    @contextmanager
    def lock(self, key: str, task: Task, wait: Callable[[], None] = lambda: None) -> Iterator[None]:
        self.arrived += 1
        with super().lock(key, task, wait):
            yield


def test_many_who_want_the_same_fetch_it_once(site: Site, tmp_path: Path, fetch: Fetch) -> None:
    go_on, cache = threading.Event(), CountingCache(tmp_path)
    url = site.put("/tool", BODY, has_etag=False, go_on=go_on)
    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(fetch, url, None, cache, task()) for _ in range(8)]
        deadline_s = time.monotonic() + 20
        while cache.arrived < 8 and time.monotonic() < deadline_s:
            time.sleep(0.01)
        go_on.set()
        assert len({future.result() for future in running}) == 1
    assert site.sent == [len(BODY)]


def test_an_empty_file(site: Site, cache: Cache, fetch: Fetch) -> None:
    assert fetch(site.put("/tool"), None, cache, task()).path.read_bytes() == b""


def test_passwords_are_not_shown() -> None:
    assert shown_url("https://me:secret@example.org/x?y") == "https://***@example.org/x?y"
    assert shown_url("https://example.org/x@y") == "https://example.org/x@y"
