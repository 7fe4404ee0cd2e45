"""JSON log lines of well-known loggers, as those write them, to records and to text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchbay_runner.cli.logtext import LogFormatter
from patchbay_runner.parsers.logrecords import Level, LogRecord, parse_log_line

PLAIN = LogFormatter(has_colours=False)

# What each logger's documentation shows, and how it reads.
LINES = {
    "tracing": (
        '{"timestamp":"2022-02-15T18:47:10.821315Z","level":"INFO","fields":{"message":"preparing to shave yaks",'
        '"number_of_yaks":3},"target":"fmt_json","span":{"yak":3,"name":"shave"},'
        '"spans":[{"yaks":3,"name":"shaving_yaks"},{"yak":3,"name":"shave"}]}',
        "2022-02-15T18:47:10.821315Z  INFO shaving_yaks{yaks=3}:shave{yak=3}: fmt_json: "
        "preparing to shave yaks number_of_yaks=3",
    ),
    "tracing, flattened, current span only": (
        '{"timestamp":"2022-02-15T18:47:10.821495Z","level":"TRACE","message":"hello! I\'m gonna shave a yak",'
        '"excitement":"yay!","target":"app::yak","span":{"name":"shave"}}',
        "2022-02-15T18:47:10.821495Z TRACE shave: app::yak: hello! I'm gonna shave a yak excitement=yay!",
    ),
    "tracing, an event without a message": (
        '{"timestamp":"t","level":"ERROR","fields":{"error":"no such yak"},"target":"app","spans":[]}',
        't ERROR app: error="no such yak"',
    ),
    "tracing, a field called as one of the line's own": (
        '{"timestamp":"t","level":"INFO","fields":{"message":"moved","target":"b","n":1},"target":"app"}',
        't  INFO app: moved fields={"target":"b"} n=1',
    ),
    "structlog": (
        '{"event": "user logged in", "user": "an na", "logger": "app.auth", "level": "warning", '
        '"timestamp": "2024-05-01T10:00:00.123456Z", "nested": {"a": [1, 2]}}',
        '2024-05-01T10:00:00.123456Z  WARN app.auth: user logged in user="an na" nested={"a":[1,2]}',
    ),
    "structlog, an exception": (
        '{"event": "failed", "level": "critical", "exception": "Traceback (most recent call last):\\n  File\\nOops"}',
        "FATAL failed\n    exception:\n    Traceback (most recent call last):\n      File\n    Oops",
    ),
    "bunyan": (
        '{"name":"myapp","hostname":"banana","pid":40161,"level":30,"msg":"hi","time":"2013-01-04T18:46:23.851Z","v":0}',
        "2013-01-04T18:46:23.851Z  INFO myapp: hi hostname=banana pid=40161 v=0",
    ),
    "pino": (
        '{"level":50,"time":1531171074631,"pid":657,"hostname":"box","msg":"oh no"}',
        "2018-07-09T21:17:54.631Z ERROR oh no pid=657 hostname=box",
    ),
    "pino, a level of one's own": ('{"level":35,"msg":"x"}', "INFO(35) x"),
    "zap": (
        '{"level":"info","ts":1449876543.5,"caller":"zap/x.go:21","msg":"Failed to fetch URL.","url":"http://x",'
        '"attempt":3,"logger":"http"}',
        "2015-12-11T23:29:03.500Z  INFO http: Failed to fetch URL. caller=zap/x.go:21 url=http://x attempt=3",
    ),
    "zap, a panic": ('{"level":"dpanic","msg":"m","stacktrace":"a\\nb"}', "FATAL m\n    stacktrace:\n    a\n    b"),
    "logrus": (
        '{"animal":"walrus","level":"debug","msg":"A group","size":10,"time":"2014-03-10 19:57:38 -0400 EDT"}',
        "2014-03-10 19:57:38 -0400 EDT DEBUG A group animal=walrus size=10",
    ),
    "slog": (
        '{"time":"2022-11-08T15:28:26.000000000-05:00","level":"INFO+2","source":{"file":"m.go","line":7},"msg":"hello"}',
        '2022-11-08T15:28:26.000000000-05:00 INFO+2 hello source={"file":"m.go","line":7}',
    ),
    "python-json-logger": (
        '{"asctime": "2024-01-01 00:00:00,000", "levelname": "ERROR", "name": "root", "message": "bad"}',
        "2024-01-01 00:00:00,000 ERROR root: bad",
    ),
    "ECS": (
        '{"@timestamp":"2024-01-01T00:00:00Z","log.level":"error","message":"bad","log.logger":"root"}',
        "2024-01-01T00:00:00Z ERROR root: bad",
    ),
    "GCP": ('{"severity":"NOTICE","message":"m"}', " INFO m"),
    "a level nobody knows": ('{"level":"chatty","msg":"m"}', "chatty m"),
    "a number as text": ('{"level":"40","msg":"m"}', " WARN m"),
    "no level": ('{"msg":"m","b":true,"n":null,"empty":""}', 'm b=true n=null empty=""'),
    "no message": ('{"level":"info","a":1.5}', " INFO a=1.5"),
    "a message that is no text": ('{"level":"info","msg":{"a":1}}', ' INFO msg={"a":1}'),
    "several lines": ('{"level":"info","msg":"a\\nb\\n\\tc"}', " INFO a\n    b\n    \tc"),
    "what a terminal would obey": (
        '{"level":"info","msg":"\\u001b[2Jgone\\r","\\u001b]0;t\\u0007":"\\u009b1m"}',
        " INFO \\x1b[2Jgone\\x0d \\x1b]0;t\\x07=\\x9b1m",
    ),
    "fields that fill a table beside": (
        '{"level":"info","msg":"outer","fields":{"msg":"inner"}}',
        ' INFO outer fields={"msg":"inner"}',
    ),
    "seconds, microseconds": ('{"ts":1700000000,"msg":"m"}', "2023-11-14T22:13:20Z m"),
    "nanoseconds": ('{"ts":1700000000000000000,"msg":"m"}', "2023-11-14T22:13:20Z m"),
    "a time beyond all clocks": ('{"ts":1e300,"msg":"m"}', "1e+300 m"),
}


@pytest.mark.parametrize("name", LINES)
def test_a_line_reads(name: str) -> None:
    line, text = LINES[name]
    record = parse_log_line(f"{line}\r\n".encode())
    assert record is not None
    assert PLAIN.render(record) == text


@pytest.mark.parametrize(
    "line",
    [b"", b"\n", b"plain text", b"{", b"{}", b"[1]", b'"level"', b'{"a": 1}', b'{"level": true}', b'{"level": null}',
     b'{"level": "info"', b'{"level": "info"} trailing', b'{"msg": "\xff"}', b'{"msg": 1}', b"{" * 100_000,
     b'{"a":' * 50_000],
)  # fmt: skip
def test_what_is_no_record_stays_as_it_is(line: bytes) -> None:
    assert parse_log_line(line) is None


def test_colours_are_those_of_the_level_and_end() -> None:
    shown = LogFormatter(has_colours=True).render(LogRecord(level=Level.WARN, level_text="WARN", message="m", time="t"))
    assert shown == "\x1b[2mt\x1b[0m \x1b[33m WARN\x1b[0m m"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_KEYS = (
    st.sampled_from(["level", "msg", "message", "time", "ts", "fields", "span", "spans", "name", "target"]) | st.text()
)


@given(st.dictionaries(_KEYS, _JSON, max_size=8))
def test_any_object_is_shown_without_an_escape_or_left_alone(document: dict[str, object]) -> None:
    record = parse_log_line(json.dumps(document).encode("utf-8", "surrogatepass"))
    if record is not None:
        shown = PLAIN.render(record)
        assert "\x1b" not in shown
        assert "\r" not in shown
