"""Directives of PATCHBAY_LOG and RUST_LOG."""

import pytest

from patchbay_runner.errors import InputError
from patchbay_runner.library.logs import directives
from patchbay_runner.model.logfilter import DEBUG, ERROR, INFO, OFF, TRACE, WARN, LogFilter


@pytest.mark.parametrize(
    ("text", "logger", "least"),
    [
        ("info", "any.thing", INFO),
        ("INFO,mycrate::net=trace", "mycrate.net.tcp", TRACE),
        ("info,mycrate::net=trace", "mycrate", INFO),
        ("info,mycrate.net=trace", "mycrate::net", TRACE),
        ("info,mycrate.net=trace", "mycrate.network", INFO),
        ("myapp=debug", "other", OFF),
        ("myapp", "myapp.net", TRACE),
        ("warn,myapp=debug,myapp.net=off", "myapp.net.tcp", OFF),
        ("warn,myapp=debug,myapp.net=off", "myapp.web", DEBUG),
        ("warn,myapp=Warning,myapp=error", "myapp", ERROR),
        (" warn , ,myapp=4 ", "myapp", DEBUG),
        ("2", "myapp", WARN),
        ('warn,myapp[request{id=7,name="x"}]=trace,[span]', "myapp", WARN),
        ("off", "root", OFF),
    ],
)
def test_the_most_specific_directive_decides(text: str, logger: str, least: int) -> None:
    assert LogFilter.parse(text).least(logger) == least


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("info,app=loud", "'app=loud' has no level 'loud'"),
        ("app=", "'app=' has no level ''"),
        ("=info", "'=info' names no logger"),
        ("my app=info", "'my app=info' is no directive"),
        ("app*=info", "is no directive"),
        ("app[span=info", "is no directive"),
        ("info/regex.*", "is no directive"),
    ],
)
def test_what_is_malformed_is_told(text: str, problem: str) -> None:
    with pytest.raises(InputError) as wrong:
        directives({"PATCHBAY_LOG": text, "RUST_LOG": "info"})
    assert str(wrong.value).startswith("PATCHBAY_LOG: ")
    assert problem in str(wrong.value)
    assert "expected directives such as info,myapp.net=trace" in str(wrong.value)


def test_patchbay_log_comes_first_then_rust_log_then_info() -> None:
    assert directives({"PATCHBAY_LOG": "debug", "RUST_LOG": "x=y"}) == "debug"
    assert directives({"PATCHBAY_LOG": " ", "RUST_LOG": "warn"}) == "warn"
    assert directives({}) == "info"
    with pytest.raises(InputError, match=r"^RUST_LOG: 'x=y' has no level 'y' \(PATCHBAY_LOG would come first\)"):
        directives({"RUST_LOG": "x=y"})
