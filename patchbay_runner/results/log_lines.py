"""Records of Python's `logging` as lines of JSON: as `tracing` writes them, and events for the page's timeline."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

_LEVELS = ((50, "CRITICAL"), (40, "ERROR"), (30, "WARN"), (20, "INFO"), (10, "DEBUG"))
# What every record has; the rest came by `extra`.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_EVENT = re.compile(r"(?:^|\.|::)_events(?:\.|::)(.+)")


def tracing_line(record: logging.LogRecord) -> bytes:
    """The record in tracing-subscriber's JSON format, with `extra`, and arguments by name, among its fields."""
    fields = {"message": _message(record), **_fields(record)}
    head = {"timestamp": _time(record), "level": _level(record.levelno)}
    return _encoded({**head, "fields": fields, "target": record.name})


def event_line(record: logging.LogRecord) -> bytes | None:
    """The event that a record of a logger `…_events.Name` is; None when it is of another."""
    match = _EVENT.search(record.name)
    if match is None:
        return None
    message = _message(record)
    fields = {**({"message": message} if message else {}), **_fields(record)}
    return _encoded({"kind": match[1], "timestamp": _time(record), "fields": fields})


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _level(number: int) -> str:
    return next((name for least, name in _LEVELS if number >= least), "TRACE")


def _message(record: logging.LogRecord) -> str:
    if isinstance(record.msg, dict):  # structlog hands its events over so
        return str(record.msg.get("event", ""))
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that do not fit, or that cannot be shown: the logger's handlers tell
        return f"{record.msg} {_legible(record.args)}"


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if isinstance(record.msg, dict):
        found |= {str(key): value for key, value in record.msg.items() if key != "event"}
    if isinstance(record.args, Mapping):
        found |= record.args
    found |= {key: value for key, value in vars(record).items() if key not in _OWN and not key.startswith("_")}
    if record.exc_info and record.exc_info[0] is not None:
        found["exception"] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
    if record.stack_info:
        found["stack"] = record.stack_info
    found.pop("message", None)
    return found


def _encoded(document: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(document, enc_hook=str) + b"\n"
    except Exception:  # noqa: BLE001 - whatever a value's own `__str__` raises, or what JSON cannot carry
        fields = {_text(key): _legible(value) for key, value in document["fields"].items()}
        return msgspec.json.encode({**document, "fields": fields}) + b"\n"


def _legible(value: Any) -> Any:
    """The value if JSON can carry it, else how Python shows it."""
    try:
        msgspec.json.encode(value, enc_hook=str)
    except Exception:  # noqa: BLE001 - as above
        return _text(value)
    return value if isinstance(value, str | int | float | bool | None) else msgspec.to_builtins(value, enc_hook=str)


def _text(value: Any) -> str:
    try:
        shown = value if isinstance(value, str) else repr(value)
    except Exception:  # noqa: BLE001 - as above
        shown = f"<{type(value).__name__}>"
    return shown.encode("utf-8", "backslashreplace").decode()
