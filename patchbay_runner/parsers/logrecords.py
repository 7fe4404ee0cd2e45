"""JSON log lines to records: what Rust's `tracing`, Python's `structlog` and the plain JSON loggers write.

Formats: tracing-subscriber's `json()` with fields nested or flattened; structlog's JSONRenderer; bunyan and pino
(levels as numbers); zap, logrus and slog of Go; python-json-logger; ECS and GCP names. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any

import msgspec

_TIMES = ("timestamp", "time", "ts", "@timestamp", "asctime")
_LEVELS = ("level", "levelname", "severity", "log.level", "lvl")
_MESSAGES = ("message", "msg", "event")
_TARGETS = ("target", "logger", "log.logger", "name")
# Of `tracing`, where they say where the line comes from.
_SPANS = ("spans", "span")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Whoever counts since 1970 in smaller units reaches larger numbers: the first bound that a time is below decides.
_UNITS = ((1e11, 1), (1e14, 1_000), (1e17, 1_000_000), (1e20, 1_000_000_000))
_LEVEL_WITH_OFFSET = re.compile(r"([A-Za-z]+)([+-]\d+)?")  # slog: "DEBUG-4"


class Level(IntEnum):
    """Severities, in the numbers of bunyan and pino."""

    TRACE = 10
    DEBUG = 20
    INFO = 30
    WARN = 40
    ERROR = 50
    FATAL = 60


_NAMES = {level.name: level for level in Level} | {
    "VERBOSE": Level.TRACE,
    "NOTICE": Level.INFO,
    "INFORMATION": Level.INFO,
    "WARNING": Level.WARN,
    "ERR": Level.ERROR,
    "EXCEPTION": Level.ERROR,
    "CRITICAL": Level.FATAL,
    "PANIC": Level.FATAL,
    "DPANIC": Level.FATAL,
    "ALERT": Level.FATAL,
    "EMERGENCY": Level.FATAL,
}

Fields = tuple[tuple[str, Any], ...]


class Span(msgspec.Struct, frozen=True):
    """A period that the line falls into; `fields` hold JSON values."""

    name: str
    fields: Fields = ()


class LogRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line. `level_text` is what to show; spans stand from the outermost inwards."""

    time: str = ""
    level: Level | None = None
    level_text: str = ""
    target: str = ""
    message: str = ""
    fields: Fields = ()
    spans: tuple[Span, ...] = ()


def parse_log_line(line: bytes) -> LogRecord | None:
    """The record that a line holds; None when it is no JSON object, or one with neither a level nor a message."""
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        document = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return _record(document) if isinstance(document, dict) else None


def _record(document: dict[str, Any]) -> LogRecord | None:
    rest = dict(document)
    _unnest(rest)
    level_value, message = _take(rest, _LEVELS, (str, int)), _take(rest, _MESSAGES, (str,))
    if level_value is None and message is None:
        return None
    level, level_text = _level(level_value)
    spans = _spans(rest)
    return LogRecord(
        time=_time(_take(rest, _TIMES, (str, int, float))),
        level=level,
        level_text=level_text,
        target=_take(rest, _TARGETS, (str,)) or "",
        message=message or "",
        fields=tuple(rest.items()),
        spans=spans,
    )


def _unnest(rest: dict[str, Any]) -> None:
    """tracing keeps an event's own fields, the message among them, in a table unless told to flatten them.

    Those that are called as something beside the table stay in it.
    """
    nested = rest.get("fields")
    if not isinstance(nested, dict):
        return
    clashing = {key: value for key, value in nested.items() if key in rest}
    rest.update({key: value for key, value in nested.items() if key not in rest})
    if clashing:
        rest["fields"] = clashing
    else:
        del rest["fields"]


def _take(rest: dict[str, Any], names: Iterable[str], kinds: tuple[type, ...]) -> Any:
    """The value of the first of `names` that holds one of `kinds`, taken away; None when there is none."""
    for name in names:
        value = rest.get(name)
        if isinstance(value, kinds) and not isinstance(value, bool):
            return rest.pop(name)
    return None


def _time(value: str | float | None) -> str:
    """As written, or in ISO 8601 and UTC when it counts from 1970, in whichever unit."""
    if value is None or isinstance(value, str):
        return value or ""
    for bound, per_second in _UNITS:
        if abs(value) < bound:
            moment = _EPOCH + timedelta(seconds=value / per_second)
            return moment.isoformat(timespec="milliseconds" if value % per_second else "seconds").replace("+00:00", "Z")
    return str(value)


def _level(value: str | int | None) -> tuple[Level | None, str]:
    if value is None:
        return None, ""
    if isinstance(value, int):
        return _numbered(value)
    match = _LEVEL_WITH_OFFSET.fullmatch(value.strip())
    level = _NAMES.get(match[1].upper()) if match else None
    if level is None:
        return (None, value) if not value.strip().isdecimal() else _numbered(int(value.strip()[:9]))
    assert match is not None
    return level, f"{level.name}{match[2] or ''}"


def _numbered(value: int) -> tuple[Level, str]:
    """bunyan's numbers, and those between, which stand for the next lower name."""
    level = Level(min(max(value // 10 * 10, Level.TRACE), Level.FATAL))
    return level, level.name if value == level else f"{level.name}({value})"


def _spans(rest: dict[str, Any]) -> tuple[Span, ...]:
    """tracing writes the current span, and all of them with the current one last."""
    for name in _SPANS:
        value = rest.get(name)
        if value == []:
            del rest[name]
            continue
        entries = value if isinstance(value, list) else [value]
        spans = [span for entry in entries if (span := _span(entry)) is not None]
        if len(spans) == len(entries):
            for each in _SPANS:
                rest.pop(each, None)
            return tuple(spans)
    return ()


def _span(entry: Any) -> Span | None:
    name = entry.get("name") if isinstance(entry, dict) else None
    if not isinstance(name, str):
        return None
    return Span(name, tuple((key, value) for key, value in entry.items() if key != "name"))
