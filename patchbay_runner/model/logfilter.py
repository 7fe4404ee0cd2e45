"""Which log records are wanted: the directives of Rust's `tracing` and `env_logger`, for loggers of any language.

`info,myapp.net=trace`: `info` and above of every logger, everything of `myapp.net` and the loggers below it. The most
specific directive decides; a logger that none speaks of is silent. Pure.
"""

from __future__ import annotations

import re
import sys

# As Python's `logging` numbers them.
OFF, ERROR, WARN, INFO, DEBUG, TRACE = sys.maxsize, 40, 30, 20, 10, 1
_LEVELS = {
    "off": OFF,
    "error": ERROR,
    "warn": WARN,
    "info": INFO,
    "debug": DEBUG,
    "trace": TRACE,
    # tracing also counts them; the last two are Python's words.
    **dict(zip("012345", (OFF, ERROR, WARN, INFO, DEBUG, TRACE), strict=True)),
    "warning": WARN,
    "critical": 50,
}
EXPECTED = "directives such as info,myapp.net=trace; levels are trace, debug, info, warn, error and off"
_SEPARATOR = re.compile(r",(?![^\[]*\])")
_DIRECTIVE = re.compile(r"(?P<logger>[\w.:/@-]*)(?P<span>\[[^\[\]]*\])?(?:=(?P<level>.*))?")


class LogFilter:
    """The least level that is wanted of each logger. `by_logger` has names with dots, "" is every other logger."""

    def __init__(self, by_logger: dict[str, int]) -> None:
        self._by_logger = by_logger
        self._found: dict[str, int] = {}

    @classmethod
    def parse(cls, text: str) -> LogFilter:
        """Raises ValueError for the first directive that is none.

        Directives for spans, `app[request{id=7}]=debug`, are `tracing`'s own: they apply to no logger.
        """
        by_logger: dict[str, int] = {}
        for directive in filter(None, map(str.strip, _SEPARATOR.split(text))):
            match = _DIRECTIVE.fullmatch(directive)
            if match is None:
                raise ValueError(f"{directive!r} is no directive")
            logger, level = match["logger"], match["level"]
            if level is not None and level.lower() not in _LEVELS:
                raise ValueError(f"{directive!r} has no level {level!r}")
            if match["span"]:
                continue
            if level is None and logger.lower() in _LEVELS:
                logger, level = "", logger
            elif not logger:
                raise ValueError(f"{directive!r} names no logger")
            by_logger[_dotted(logger)] = _LEVELS[(level or "trace").lower()]
        return cls(by_logger)

    def least(self, logger: str) -> int:
        """The level from which on records of a logger are wanted."""
        found = self._found.get(logger)
        if found is None:
            found = self._found[logger] = self._look_up(_dotted(logger))
        return found

    def _look_up(self, name: str) -> int:
        while name and name not in self._by_logger:
            name = name.rpartition(".")[0]
        return self._by_logger.get(name, OFF)


def _dotted(name: str) -> str:
    return name.replace("::", ".")
