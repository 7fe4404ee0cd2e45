"""The small grammars of the model: durations, interpolation, assertions, patterns, picks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchbay_runner.model.assertions import Assertion, parse_assertion
from patchbay_runner.model.durations import format_duration, parse_duration
from patchbay_runner.model.interpolation import BinaryRef, CaptureRef, Literal, Variable, rename_captures, tokenize
from patchbay_runner.model.patterns import compile_pattern


@given(st.floats(0, 1e9))
def test_a_formatted_duration_reads_back_exactly(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.5, "500ms"), (0.0015, "1.5ms"), (1, "1s"), (1.25, "1.25s"), (90, "90s"), (1e6, "1000000s")],
)
def test_durations_are_written_short(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "-5s", "1e3s", "5d", "1.s", ".5s", "5s 5s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", (Literal(""),)),
        ("plain", (Literal("plain"),)),
        ("$A", (Variable("A"),)),
        ("a$A/b", (Literal("a"), Variable("A"), Literal("/b"))),
        ("${NETSIM_IP_x}", (Variable("NETSIM_IP_x"),)),
        ("${netsim_ip_x}", (Variable("netsim_ip_x"),)),
        ("${HOME}", (Literal("${HOME}"),)),
        ("${a.b}", (CaptureRef("a.b"),)),
        ("${a-1.b.c}", (CaptureRef("a-1.b.c"),)),
        ("${binary.x-y}", (BinaryRef("x-y"),)),
        ("$${a.b}", (Literal("${a.b}"),)),
        ("$$$A", (Literal("$"), Variable("A"))),
        ("$1 $( $", (Literal("$1 $( $"),)),
        ("${f%.txt} ${f##*.} ${a[0]} ${x:-y.z} ${x/./_}", (Literal("${f%.txt} ${f##*.} ${a[0]} ${x:-y.z} ${x/./_}"),)),
    ],
)
def test_interpolation(text: str, tokens: tuple[object, ...]) -> None:
    assert tokenize(text) == tokens


def test_renaming_touches_captures_alone() -> None:
    text = "${a.b} $${a.b} ${binary.a} $A ${NETSIM_IP_a} ${a%.b} ${c.d.e}"
    assert rename_captures(text, str.upper) == "${A.B} $${a.b} ${binary.a} $A ${NETSIM_IP_a} ${a%.b} ${C.D.E}"


@given(st.text("$ab.{}-", max_size=30))
def test_renaming_to_the_same_changes_nothing(text: str) -> None:
    assert rename_captures(text, lambda key: key) == text


@pytest.mark.parametrize(
    ("text", "assertion"),
    [
        ("a.b == c", Assertion("a.b", "==", "c")),
        ("  a.b   contains  c d  ", Assertion("a.b", "contains", "c d")),
        ("a.b !=", Assertion("a.b", "!=", "")),
        ("${a.b} >= 1e3", Assertion("a.b", ">=", "1e3")),
        ("a.b < ${c.d}", Assertion("a.b", "<", "${c.d}")),
        ("a.b matches ^[[a-z]", Assertion("a.b", "matches", "^[[a-z]")),
        ("a.b == x == y", Assertion("a.b", "==", "x == y")),
    ],
)
def test_assertions(text: str, assertion: Assertion) -> None:
    assert parse_assertion(text) == assertion
    assert parse_assertion(str(assertion)) == assertion


@pytest.mark.parametrize(
    "text", ["", "a.b", "a.b=c", "a == b", "a.b is c", "a.b < x", "a.b matches (", ".b == c", "a. == c"]
)
def test_what_is_no_assertion(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_assertion(text)


@pytest.mark.parametrize("pattern", ["[[a]", "[a||b]", "[a&&b]"])
def test_remarks_on_future_syntax_are_left_out(pattern: str) -> None:
    assert compile_pattern(pattern).pattern == pattern


@pytest.mark.parametrize("pattern", ["(", "*", "[", "a{99999999999}"])
def test_bad_patterns(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        compile_pattern(pattern)
