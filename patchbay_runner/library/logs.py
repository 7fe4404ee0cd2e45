"""Records of `logging` on their way into the records of labs.

While a lab keeps a record, every logger also hands what it logs to here: before its handlers, whatever its level, and
without a handler of ours, so that handlers, levels and `caplog` find what they always did. That is why `Logger` itself
is changed meanwhile: a handler on the root logger would not see what levels keep back, and would keep
`logging.basicConfig` from doing anything.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from patchbay_runner.errors import Diagnostic, InputError
from patchbay_runner.model.logfilter import EXPECTED, LogFilter
from patchbay_runner.results.node_logs import LAB

_VARIABLES = ("PATCHBAY_LOG", "RUST_LOG")
_DEFAULT = "info"
# Marks a record that the logger's own level keeps from its handlers.
_OURS_ALONE = "_patchbay_alone"


class Logs(Protocol):
    """Where records are kept."""

    def add(self, stem: str, record: logging.LogRecord, /) -> None: ...


class Sink:
    """A record that is being kept, and which records of loggers it wants. `stem` is where those of no node belong."""

    def __init__(self, logs: Logs, wanted: LogFilter, stem: str = LAB) -> None:
        self._logs = logs
        self._stem = stem
        self.least = wanted.least

    def take(self, record: logging.LogRecord, stem: str | None = None) -> None:
        """Keeps a record if it is wanted. Raises HostError."""
        if record.levelno >= self.least(record.name):
            self._logs.add(stem or self._stem, record)


# The lab's sink, None when it keeps no record, and the node whose code runs.
_place: ContextVar[tuple[Sink | None, str] | None] = ContextVar("patchbay_node", default=None)


def directives(environment: Mapping[str, str]) -> str:
    """What the environment says is to be logged. Raises InputError when that is malformed."""
    for variable in _VARIABLES:
        text = environment.get(variable, "").strip()
        if not text:
            continue
        try:
            LogFilter.parse(text)
        except ValueError as error:
            hint = "" if variable == _VARIABLES[0] else f" ({_VARIABLES[0]} would come first)"
            raise InputError([Diagnostic(variable, 0, "", f"{error}{hint}", EXPECTED)]) from error
        return text
    return _DEFAULT


def begin(sink: Sink) -> None:
    """Has it take what is logged from now on."""
    _tap.begin(sink)


def end(sink: Sink) -> None:
    """Keeps nothing more in it."""
    _tap.end(sink)


@contextmanager
def code_of(sink: Sink | None, stem: str) -> Iterator[None]:
    """What is logged in this block, thread and task, and in tasks that it starts, belongs to a node."""
    token = _place.set((sink, stem))
    try:
        yield
    finally:
        _place.reset(token)


class _Tap:
    """The sinks of this process, and the changed methods of `logging.Logger` while there are some."""

    def __init__(self) -> None:
        self.sinks: tuple[Sink, ...] = ()
        self._lock = threading.Lock()
        self._before: dict[str, Any] = {}
        self._ours: dict[str, Any] = {}

    def begin(self, sink: Sink) -> None:
        with self._lock:
            self._install()
            self.sinks = (*self.sinks, sink)

    def end(self, sink: Sink) -> None:
        with self._lock:
            self.sinks = tuple(each for each in self.sinks if each is not sink)
            if not self.sinks:
                self._remove()

    def take(self, record: logging.LogRecord) -> None:
        """Gives a record to the lab whose node's code runs, or to all. Raises HostError."""
        place = _place.get()
        for sink in self.sinks:
            if place is None:
                sink.take(record)
            elif sink is place[0]:
                sink.take(record, place[1])

    def _install(self) -> None:
        """Changes what is there now, which may be others' change already."""
        if self._ours:
            return
        names = ("isEnabledFor", "makeRecord", "callHandlers")
        self._before = {name: getattr(logging.Logger, name) for name in names}
        self._ours = dict(zip(names, _changed(*self._before.values()), strict=True))
        for name, method in self._ours.items():
            setattr(logging.Logger, name, method)

    def _remove(self) -> None:
        """Stays where others have changed something since: without sinks ours do what those before them do."""
        if all(getattr(logging.Logger, name) is method for name, method in self._ours.items()):
            for name, method in self._before.items():
                setattr(logging.Logger, name, method)
            self._ours = {}


def _changed(
    is_enabled_for: Callable[[logging.Logger, int], bool],
    make_record: Callable[..., logging.LogRecord],
    call_handlers: Callable[[logging.Logger, logging.LogRecord], None],
) -> tuple[Callable[..., Any], ...]:
    def is_enabled_for_us_too(logger: logging.Logger, level: int) -> bool:
        if is_enabled_for(logger, level):
            return True
        if logger.disabled or logger.manager.disable >= level:
            return False
        return any(level >= sink.least(logger.name) for sink in _tap.sinks)

    def make_marked_record(
        logger: logging.Logger, name: str, level: int, *arguments: Any, **keywords: Any
    ) -> logging.LogRecord:
        record = make_record(logger, name, level, *arguments, **keywords)
        if not is_enabled_for(logger, level):
            setattr(record, _OURS_ALONE, True)
        return record

    def call_handlers_after_us(logger: logging.Logger, record: logging.LogRecord) -> None:
        _tap.take(record)
        if _OURS_ALONE not in record.__dict__:
            call_handlers(logger, record)

    return is_enabled_for_us_too, make_marked_record, call_handlers_after_us


_tap = _Tap()
