"""Lines out of chunks, and regular expressions on them."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchbay_runner.model.steps import Capture
from patchbay_runner.parsers import stream_parser
from patchbay_runner.parsers.lines import LineBuffer

CAPTURE = Capture(name="x", regex=r"v=(\w+)")


def values(captures: list[Capture], *chunks: bytes, line_limit: int = 1 << 20) -> dict[str, list[str]]:
    """What the text parser finds in the chunks."""
    parser = stream_parser("text", captures, "stdout", line_limit)
    assert parser is not None
    found: dict[str, list[str]] = {}
    for part in [parser.feed(chunk) for chunk in chunks] + [parser.finish()]:
        for name, new in part.items():
            found.setdefault(name, []).extend(new)
    return found


def test_group_1_or_the_whole_match() -> None:
    captures = [
        CAPTURE,
        Capture(name="whole", regex=r"v=\w+"),
        Capture(name="optional", regex=r"v=(\d+)?[a-z]*"),
    ]
    assert values(captures, b"v=1\nnothing\nv=b v=c\n") == {
        "x": ["1", "b"],
        "whole": ["v=1", "v=b"],
        "optional": ["1", "v=b"],
    }


def test_anchors_mean_lines() -> None:
    assert values([Capture(name="x", regex=r"^a(\d)$")], b"a1\nba2\na3\r\na4 \n") == {"x": ["1", "3"]}


def test_a_last_line_without_newline_counts() -> None:
    assert values([CAPTURE], b"v=1\nv=", b"2") == {"x": ["1", "2"]}


def test_bytes_that_are_not_utf8_do_not_matter() -> None:
    assert values([CAPTURE], b"\xff\xfe v=1 \xc3\n\x80v=2\n") == {"x": ["1", "2"]}
    assert values([Capture(name="x", regex="v=(.*)")], b"v=\xff\n") == {"x": ["\ufffd"]}


def test_characters_split_between_chunks() -> None:
    text = "v=größe\n".encode()
    assert values([CAPTURE], *[text[index : index + 1] for index in range(len(text))]) == {"x": ["größe"]}


def test_only_the_named_stream_is_read() -> None:
    captures = [CAPTURE, Capture(name="e", regex="e", pipe="stderr")]
    parser = stream_parser("text", captures, "stderr")
    assert parser is not None
    assert parser.feed(b"v=1 e\n") == {"e": ["e"]}
    assert stream_parser("text", [CAPTURE], "stderr") is None
    assert stream_parser("json", [Capture(name="x", pick=".a")], "stdout") is None


def test_a_bad_expression_is_an_error() -> None:
    with pytest.raises(ValueError, match="unterminated"):
        stream_parser("text", [Capture(name="x", regex="[")], "stdout")


def test_a_long_line_is_cut_and_counted() -> None:
    parser = stream_parser("text", [CAPTURE], "stdout", 100)
    assert parser is not None
    assert parser.feed(b"v=early " + b"." * 60) == {}
    assert parser.feed(b"." * 60) == {}
    assert parser.feed(b" v=late\nv=next\n") == {"x": ["early", "next"]}
    assert parser.cut_lines == 1


def test_memory_is_bounded_for_a_line_of_100_megabytes() -> None:
    chunk = b"a" * (1 << 20)
    parser = stream_parser("text", [CAPTURE], "stdout", 4 << 20)
    assert parser is not None
    parser.feed(b"v=1 ")
    tracemalloc.start()
    for _ in range(100):
        parser.feed(chunk)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20
    assert parser.feed(b"\nv=2\n") == {"x": ["1", "2"]}


@given(st.lists(st.binary(max_size=12), max_size=12), st.integers(1, 20))
def test_chunks_do_not_matter(chunks: list[bytes], limit: int) -> None:
    data = b"".join(chunks)
    buffer = LineBuffer(limit)
    blocks = [buffer.feed(chunk) for chunk in chunks] + [buffer.finish()]
    assert all(block == b"" or block.endswith(b"\n") for block in blocks)
    lines = data.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    whole = b"".join(blocks).split(b"\n")[:-1]
    # Only lines that arrive in pieces are cut: a line within one chunk costs no memory beyond the chunk.
    assert len(whole) == len(lines)
    assert all(
        line == full or (line == full[: len(line)] and len(full) > limit)
        for line, full in zip(whole, lines, strict=True)
    )
