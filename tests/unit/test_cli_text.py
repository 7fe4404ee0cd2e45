from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchbay_runner.cli.text import counted, elapsed, printable, shown_path


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0004, "0 ms"),
        (0.42, "420 ms"),
        (0.9996, "1.0 s"),
        (4.24, "4.2 s"),
        (59.96, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert elapsed(seconds) == text


def test_paths_are_relative_where_that_is_shorter() -> None:
    assert shown_path(Path.cwd() / "a" / "b") == "a/b"
    assert shown_path(Path("/elsewhere/a")) == "/elsewhere/a"


def test_numbers_go_with_their_nouns() -> None:
    assert (counted(1, "sim"), counted(0, "sim"), counted(3, "step")) == ("1 sim", "0 sims", "3 steps")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("bell\x07 back\x08 return\r", "bell back return"),
        ("tab\tstop", "tab     stop"),
        ("\x9b2Jclear", "2Jclear"),
    ],
)
def test_what_a_program_printed_cannot_steer_the_terminal(raw: str, shown: str) -> None:
    assert printable(raw) == shown


@given(st.text())
def test_nothing_that_is_shown_is_a_control_character(text: str) -> None:
    assert not any((ord(char) < 32 and char != "\n") or 127 <= ord(char) < 160 for char in printable(text))
