"""Records of `logging` in a lab's record: what the lines say, and that nobody else's logging notices."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from patchbay_runner.errors import HostError
from patchbay_runner.library import logs
from patchbay_runner.model.logfilter import LogFilter
from patchbay_runner.parsers.logrecords import parse_log_line
from patchbay_runner.results.node_logs import NodeLogs, remove_logs, stem_of

Keep = Callable[..., Path]


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Keep]:
    """Begins to keep what is logged, in a directory of `tmp_path`."""
    ending: list[Callable[[], None]] = []

    def begin(wanted: str = "info", name: str = "record") -> Path:
        directory = tmp_path / name
        directory.mkdir()
        kept = NodeLogs(directory)
        sink = logs.Sink(kept, LogFilter.parse(wanted))
        ending.extend((kept.close, lambda: logs.end(sink)))
        logs.begin(sink)
        return directory

    yield begin
    for end in reversed(ending):
        end()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def messages(directory: Path, name: str = "lab") -> list[str]:
    path = directory / f"{name}.tracing.jsonl"
    return [line["fields"]["message"] for line in lines(path)] if path.exists() else []


def test_a_record_is_a_line_that_fmt_log_reads(keep: Keep) -> None:
    record = keep()
    logging.getLogger("app.net").warning("dialled %s", "peer", extra={"port": 9000, "path": Path("/x")})
    (line,) = lines(record / "lab.tracing.jsonl")
    assert line["level"] == "WARN"
    assert line["target"] == "app.net"
    assert line["fields"] == {"message": "dialled peer", "port": 9000, "path": "/x"}
    parsed = parse_log_line((record / "lab.tracing.jsonl").read_bytes())
    assert parsed is not None
    assert (parsed.message, parsed.fields) == ("dialled peer", (("port", 9000), ("path", "/x")))
    assert parsed.time.endswith("Z")


def test_events_have_a_file_of_their_own(keep: Keep) -> None:
    record = keep("info,quiet=off")
    logging.getLogger("app._events.Connected").info("", extra={"peer": "10.0.0.1", "ms": 1.5})
    logging.getLogger("app::_events::Lost").info("after %(after_s)d s", {"after_s": 3})
    logging.getLogger("quiet._events.Connected").info("")
    logging.getLogger("app.my_events.Other").info("")
    first, second = lines(record / "lab.events.jsonl")
    assert (first["kind"], first["fields"]) == ("Connected", {"peer": "10.0.0.1", "ms": 1.5})
    assert (second["kind"], second["fields"]) == ("Lost", {"message": "after 3 s", "after_s": 3})
    assert len(messages(record)) == 3


def test_what_cannot_be_shown_is_shown_as_well_as_possible(keep: Keep) -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError("never")

    record = keep()
    log = logging.getLogger("app")
    log.propagate = False  # handlers would complain of what does not fit
    loop: list[Any] = []
    loop.append(loop)
    log.info("%d", "text")
    log.info("a \udcff", extra={"odd": Odd(), "loop": loop, "big": 1 << 80, "nan": float("nan"), "bytes": b"\xff"})
    log.info({"event": "structured", "n": 1})
    log.propagate = True
    first, second, third = (line["fields"] for line in lines(record / "lab.tracing.jsonl"))
    assert first == {"message": "%d ('text',)"}
    assert second["message"] == "a \\udcff"
    assert (second["odd"], second["loop"], second["nan"]) == ("<Odd>", "[[...]]", None)
    assert second["big"] == 1 << 80
    assert third == {"message": "structured", "n": 1}


def test_handlers_and_levels_are_what_they_were(keep: Keep, caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("app.levels")
    log.setLevel(logging.ERROR)
    before = logging.Logger.callHandlers, logging.Logger.isEnabledFor, logging.Logger.makeRecord
    record = keep("debug")
    seen = io.StringIO()
    handler = logging.StreamHandler(seen)
    log.addHandler(handler)
    try:
        log.debug("for the record alone")
        log.error("for all")
        log.handle(logging.makeLogRecord({"name": "app.levels", "levelno": 10, "msg": "handed over"}))
        assert log.getEffectiveLevel() == logging.ERROR
        logging.disable(logging.CRITICAL)
        log.critical("for nobody")
        logging.disable(logging.NOTSET)
        log.disabled = True
        log.critical("for nobody")
        log.disabled = False
    finally:
        log.removeHandler(handler)
        log.setLevel(logging.NOTSET)
    assert seen.getvalue() == "for all\nhanded over\n"
    assert [each.getMessage() for each in caplog.records] == ["for all", "handed over"]
    assert messages(record) == ["for the record alone", "for all", "handed over"]
    assert logging.Logger.callHandlers is not before[0]


def test_logging_is_as_before_once_nothing_is_kept(keep: Keep) -> None:
    before = logging.Logger.callHandlers
    kept = NodeLogs(keep())
    sink = logs.Sink(kept, LogFilter.parse("trace"))
    logs.begin(sink)
    during = logging.Logger.callHandlers
    logs.end(sink)
    assert logging.Logger.callHandlers is during  # for the other
    assert during is not before


def test_what_others_change_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    original = logging.Logger.callHandlers
    sink = logs.Sink(NodeLogs(tmp_path), LogFilter.parse("info"))
    logs.begin(sink)
    ours = logging.Logger.callHandlers

    def theirs(logger: logging.Logger, record: logging.LogRecord) -> None:
        seen.append(record.getMessage())
        ours(logger, record)

    logging.Logger.callHandlers = theirs  # type: ignore[method-assign]
    logs.end(sink)
    assert logging.Logger.callHandlers is theirs
    logs.begin(sink)
    logging.getLogger("app").warning("once")
    logging.Logger.callHandlers = ours  # type: ignore[method-assign]
    logs.end(sink)
    assert logging.Logger.callHandlers is original
    assert seen == ["once"]
    assert messages(tmp_path) == ["once"]


def test_filters_of_loggers_come_first(keep: Keep) -> None:
    def redact(record: logging.LogRecord) -> bool:
        record.msg = record.msg.replace("secret", "***")
        return "never" not in record.msg

    record = keep()
    log = logging.getLogger("app.filtered")
    log.addFilter(redact)
    try:
        log.info("the secret")
        log.info("never")
    finally:
        log.removeFilter(redact)
    assert messages(record) == ["the ***"]


def test_code_of_a_node_is_told_apart_in_threads_and_tasks(keep: Keep) -> None:
    record = keep()
    sink = logs._tap.sinks[-1]
    log = logging.getLogger("app")

    async def task(name: str) -> None:
        with logs.code_of(sink, stem_of("device", name)):
            await asyncio.sleep(0)
            await asyncio.create_task(deeper(name))

    async def deeper(name: str) -> None:
        log.info(name)

    async def both() -> None:
        await asyncio.gather(task("a"), task("b.c"))
        log.info("outside")

    asyncio.run(both())
    with logs.code_of(sink, stem_of("router", "r")):
        thread = threading.Thread(target=log.info, args=("a thread of nobody",))
        thread.start()
        thread.join()
        log.info("r")
    with logs.code_of(None, "device.of-a-lab-without-record"):
        log.info("nowhere")
    assert messages(record, "device.a") == ["a"]
    assert messages(record, "device.b.c") == ["b.c"]
    assert messages(record, "router.r") == ["r"]
    assert messages(record) == ["outside", "a thread of nobody"]


def test_all_labs_get_what_belongs_to_none(keep: Keep) -> None:
    one, other = keep("info", "one"), keep("error", "other")
    logging.getLogger("app").info("hello")
    assert (messages(one), messages(other)) == (["hello"], [])


def test_many_threads_and_forked_children_tear_no_line(keep: Keep) -> None:
    record = keep()
    log = logging.getLogger("app")
    text = "x" * 5000

    def write() -> None:
        for number in range(100):
            log.info("%d %s", number, text)

    child = os.fork() if threading.active_count() == 1 else None  # which nobody should do beside threads
    if child == 0:
        write()
        os._exit(0)
    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if child:
        assert os.waitpid(child, 0)[1] == 0
    found = messages(record)
    assert len(found) == 100 * (5 if child else 4)
    assert {len(message.split()[1]) for message in found} == {5000}


def test_a_disk_that_is_full_is_told(tmp_path: Path) -> None:
    (tmp_path / "lab.tracing.jsonl").symlink_to("/dev/full")
    sink = logs.Sink(NodeLogs(tmp_path), LogFilter.parse("info"))
    logs.begin(sink)
    try:
        with pytest.raises(HostError, match=r"lab\.tracing\.jsonl"):
            logging.getLogger("app").info("no room")
    finally:
        logs.end(sink)


def test_empty_logs_and_those_of_earlier_records_go(tmp_path: Path) -> None:
    kept = NodeLogs(tmp_path)
    for fd in kept.open("device.d"):
        os.close(fd)
    assert len(list(tmp_path.iterdir())) == 2
    kept.close()
    assert list(tmp_path.iterdir()) == []
    for name in ("device.a.tracing.jsonl", "lab.tracing.jsonl", "router.r.events.jsonl", "events.jsonl", "mine.jsonl"):
        (tmp_path / name).write_text("{}\n")
    remove_logs(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events.jsonl", "mine.jsonl"]
