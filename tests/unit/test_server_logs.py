"""Windows into logs, line numbers and searching, and which files are logs."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchbay_runner.server import lineindex
from patchbay_runner.server.lineindex import LineIndex, LineIndexes
from patchbay_runner.server.loglist import list_logs
from patchbay_runner.server.logs import LONGEST_LINE_BYTES, LogReader
from patchbay_runner.server.shapes import Log, Window
from tests.unit.server_support import eventually, make_run, serving, sim_path


@contextmanager
def reader_of(path: Path, content: bytes | None = None, *, is_over: bool = True) -> Iterator[LogReader]:
    if content is not None:
        path.write_bytes(content)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield LogReader(descriptor, LineIndexes(), is_over=is_over)
    finally:
        os.close(descriptor)


def shown(window: Window) -> list[tuple[int, str]]:
    return list(zip(window.offsets, window.lines, strict=True))


CONTENT = b"one\ntwo\r\n\nfour \xff\nfive"


def test_windows_begin_where_they_are_asked_to(tmp_path: Path) -> None:
    with reader_of(tmp_path / "log", CONTENT) as reader:
        whole = reader.after(0, 1000)
        assert shown(whole) == [(0, "one"), (4, "two"), (9, ""), (10, "four �"), (17, "five")]
        assert (whole.start, whole.end, whole.size) == (0, 21, 21)
        assert (whole.first_line, whole.total_lines) == (1, 5)
        assert shown(reader.after(1, 5)) == [(4, "two")]
        assert shown(reader.at(6, 5)) == [(4, "two")]
        assert shown(reader.line(4, 8)) == [(10, "four �")]
        assert reader.line(4, 8).first_line == 4
        assert shown(reader.line(99, 8)) == []
        assert shown(reader.before(None, 11)) == [(10, "four �"), (17, "five")]
        assert shown(reader.before(10, 7)) == [(4, "two"), (9, "")]
        assert shown(reader.before(0, 7)) == []
        assert shown(reader.after(999, 7)) == []


def test_a_line_that_is_being_written_is_not_given(tmp_path: Path) -> None:
    with reader_of(tmp_path / "log", CONTENT, is_over=False) as reader:
        assert [line for _, line in shown(reader.after(10, 1000))] == ["four �"]
        assert [line for _, line in shown(reader.before(None, 7))] == ["four �"]
        assert shown(reader.after(17, 1000)) == []
        assert reader.after(17, 1000).end == 17


def test_a_line_that_is_longer_than_the_window_is_given_cut(tmp_path: Path) -> None:
    long = b"x" * (LONGEST_LINE_BYTES + 5)
    with reader_of(tmp_path / "log", b"a\n" + long + b"\nb\n") as reader:
        window = reader.after(2, 100)
        assert (len(window.lines[0]), window.cut, window.end) == (LONGEST_LINE_BYTES, (0,), 2 + len(long) + 1)
        assert shown(reader.after(window.end, 100)) == [(len(long) + 3, "b")]
        back = reader.before(window.end, 100)
        assert (back.start, back.end, back.cut) == (2, window.end, (0,))
    with reader_of(tmp_path / "log", long, is_over=False) as reader:
        assert reader.after(0, 100).end == 0


@given(
    st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"")), max_size=12),
    st.booleans(),
    st.integers(1, 12),
)
def test_windows_one_after_the_other_are_the_whole_log(lines: list[bytes], ends_whole: bool, limit: int) -> None:
    content = b"\n".join(lines) + (b"\n" if ends_whole and lines else b"")
    expected = [line.removesuffix(b"\r").decode(errors="replace") for line in content.removesuffix(b"\n").split(b"\n")]
    descriptor = os.memfd_create("log")
    try:
        os.write(descriptor, content)
        reader = LogReader(descriptor, LineIndexes(), is_over=True)
        forward, place = [], 0
        while place < len(content):
            window = reader.after(place, limit)
            assert window.end > place
            forward += window.lines
            place = window.end
        backward, place = [], len(content)
        while place > 0:
            window = reader.before(place, limit)
            assert window.start < place
            backward[:0] = window.lines
            place = window.start
    finally:
        os.close(descriptor)
    if content:
        assert forward == expected
        assert backward == expected


def test_lines_are_counted_across_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineindex, "PIECE_BYTES", 7)
    content = b"".join(b"%d\n" % number for number in range(1, 101))
    with reader_of(tmp_path / "log", content) as reader:
        for number in (1, 2, 9, 10, 50, 99, 100):
            window = reader.line(number, 4)
            assert (window.lines[0], window.first_line, window.total_lines) == (str(number), number, 100)


def test_a_large_log_is_counted_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineindex, "_AT_ONCE_BYTES", 0)
    may_count = threading.Event()
    count = LineIndex.extend

    def slow(index: LineIndex, descriptor: int, line: int | None = None) -> None:
        assert may_count.wait(20)
        count(index, descriptor, line)

    monkeypatch.setattr(LineIndex, "extend", slow)
    line = b"x" * 1023 + b"\n"
    with reader_of(tmp_path / "log", line * 3000) as reader:
        window = reader.before(None, 2048)
        assert (len(window.lines), window.first_line, window.total_lines) == (2, None, None)
        may_count.set()
        assert eventually(lambda: reader.before(None, 2048).total_lines) == 3000


def test_a_log_that_was_made_shorter_is_counted_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineindex, "PIECE_BYTES", 4)
    indexes, path = LineIndexes(), tmp_path / "log"
    for content in (b"\n" * 40, b"abcdefghijkl\nm\n"):
        path.write_bytes(content)
        descriptor = os.open(path, os.O_RDONLY)
        total = LogReader(descriptor, indexes, is_over=True).after(0, 1).total_lines
        os.close(descriptor)
        assert total == content.count(b"\n")


def test_searching_finds_lines_and_places(tmp_path: Path) -> None:
    content = "Error one\nfine\n😀 error, ERROR\nend"
    with reader_of(tmp_path / "log", content.encode()) as reader:
        found = reader.search("error", 0, 10, is_case_kept=False)
        assert [(match.line, match.text) for match in found.matches] == [(1, "Error one"), (3, "😀 error, ERROR")]
        assert found.matches[1].spans == ((3, 8), (10, 15))
        assert found.is_end
        exact = reader.search("error", 0, 10, is_case_kept=True)
        assert [match.offset for match in exact.matches] == [15]
        first = reader.search("e", 0, 1, is_case_kept=True)
        assert (len(first.matches), first.is_end) == (1, False)
        rest = reader.search("e", first.next, 10, is_case_kept=True)
        assert [match.line for match in rest.matches] == [2, 3, 4]
        assert reader.search("e.d", 0, 10, is_case_kept=True).matches == ()


def test_searching_gives_way_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("patchbay_runner.server.logs._SEARCH_BYTES", 64)
    monkeypatch.setattr("patchbay_runner.server.logs._SEARCH_S", 0.0005)
    content = b"".join(b"line %d\n" % number for number in range(20_000))
    with reader_of(tmp_path / "log", content) as reader:
        place, found, rounds = 0, [], 0
        while not (page := reader.search("line 1999", place, 1000, is_case_kept=True)).is_end:
            found += page.matches
            assert page.next > place
            place, rounds = page.next, rounds + 1
        found += page.matches
    assert rounds > 1
    assert [match.line for match in found] == [2000, *range(19991, 20001)]


def logs_of(directory: Path) -> dict[str, Log]:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        return {log.path: log for log in list_logs(descriptor)}
    finally:
        os.close(descriptor)


def test_logs_are_what_the_record_names_and_what_programs_write_beside(tmp_path: Path) -> None:
    files = {
        "nodes/c/app.jsonl": b'{"level": "INFO"}\n',
        "nodes/c/deep/trace.log": b"\x1b[31mred\x1b[0m\n",
        "nodes/c/core.bin.log": b"\0\1\2",
        "nodes/c/data.bin": b"x",
        "nodes/c/q.qlog": b"{}",
        "device.client.fetch.stdout.log": b"plain\n",
        "router.home.tracing.jsonl": b'{"a": 1}\n',
        "events.jsonl": b"{}\n",
        "certs/tls/notes.txt": b"no log",
        "empty.log": b"",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "nodes" / "c" / "link.log").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "nodes" / "c" / "pipe.log")
    found = logs_of(tmp_path)
    assert {path: log.format for path, log in found.items()} == {
        "nodes/c/app.jsonl": "jsonl",
        "nodes/c/deep/trace.log": "ansi",
        "nodes/c/q.qlog": "qlog",
        "device.client.fetch.stdout.log": "text",
        "router.home.tracing.jsonl": "jsonl",
        "empty.log": "empty",
    }
    flat = found["device.client.fetch.stdout.log"]
    assert (flat.node, flat.step, flat.stream) == ("client", "fetch", "stdout")
    assert found["router.home.tracing.jsonl"].node == "home"
    assert found["nodes/c/app.jsonl"].node == "c"


def test_a_log_is_read_and_searched_over_http(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    log = run / "web" / "nodes" / "c" / "a b.log"
    log.parent.mkdir(parents=True)
    log.write_bytes(CONTENT)
    with serving(tmp_path) as client:
        for path in ("logs/nodes/c/a%20b.log", "logs/nodes%2Fc%2Fa%20b.log"):
            window = client.get(sim_path(run, "web", path), params={"before": "end", "limit": 5}).json()
            assert window["lines"] == ["five"]
        found = client.get(sim_path(run, "web", "logs/nodes/c/a%20b.log/search"), params={"q": "O"}).json()
        assert [match["line"] for match in found["matches"]] == [1, 2, 4]
        led = client.get(f"/api/runs/{run.name}/logs/nodes/c/a%20b.log?line=2&limit=1", follow_redirects=True)
        assert led.json()["lines"] == ["two"]
        assert client.get(sim_path(run, "web", "logs/a/search")).status_code == 400
        for bad in ("after=1&at=2", "before=x", "before=-1", "after=-1", "limit=0", f"limit={5 << 20}"):
            assert client.get(sim_path(run, "web", f"logs/nodes/c/a%20b.log?{bad}")).status_code == 400
