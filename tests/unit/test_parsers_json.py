"""JSON lines and JSON documents."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchbay_runner.model.steps import Capture, Scalar
from patchbay_runner.parsers import DocumentError, parse_document, stream_parser
from patchbay_runner.parsers.ndjson import NdjsonMatcher
from patchbay_runner.parsers.needles import needle


def lines(capture: Capture, *found: object) -> list[str]:
    """What `capture` takes from lines; bytes are used as they are, everything else as its JSON."""
    parser = stream_parser("ndjson", [capture], "stdout")
    assert parser is not None
    block = b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in found)
    return parser.feed(block).get(capture.name, [])


def picked(pick: str, document: object) -> list[str]:
    return parse_document(json.dumps(document).encode(), [Capture(name="x", pick=pick)]).get("x", [])


def test_match_and_pick() -> None:
    capture = Capture(name="x", match={"kind": "Done"}, pick=".size")
    assert lines(capture, {"kind": "Done", "size": 1}, {"kind": "Other", "size": 2}, {"kind": "Done", "size": 3}) == [
        "1",
        "3",
    ]


def test_all_guards_must_hold() -> None:
    capture = Capture(name="x", match={"kind": "Done", "data.ok": True}, pick=".size")
    assert lines(
        capture,
        {"kind": "Done", "data": {"ok": True}, "size": 1},
        {"kind": "Done", "data": {"ok": False}, "size": 2},
        {"kind": "Done", "data.ok": True, "size": 3},
        {"kind": "Done", "data": True, "size": 4},
    ) == ["1"]


@pytest.mark.parametrize(
    ("expected", "equal", "different"),
    [
        (1, [1, 1.0], [True, "1", 2, None, [1], {"k": 1}]),
        (1.0, [1, 1.0], [True, "1.0"]),
        (0, [0, 0.0, -0.0], [False, None, ""]),
        (True, [True], [1, "true", False, None]),
        (False, [False], [0, "", None]),
        ("a", ["a"], ["A", ["a"], {"a": 1}, None]),
        ("", [""], [None, [], 0]),
    ],
)
def test_equality(expected: Scalar, equal: list[Any], different: list[Any]) -> None:
    capture = Capture(name="x", match={"k": expected}, pick=".n")
    rows = [{"k": value, "n": number} for number, value in enumerate(equal + different)] + [{"n": -1}]
    assert lines(capture, *rows) == [str(number) for number in range(len(equal))]


def test_decoys_and_escapes() -> None:
    capture = Capture(name="x", match={"kind": "Xy"}, pick=".n")
    assert lines(
        capture,
        {"kind": "other", "note": "Xy", "n": 1},
        {"kind": "other", "note": '"kind": "Xy"', "n": 2},
        {"kind": "other", "deep": {"kind": "Xy"}, "n": 3},
        {"Xy": "kind", "kind": "other", "n": 4},
        [{"kind": "Xy", "n": 5}],
        b'{"kind": "\\u0058y", "n": 6}',
        b'{"\\u006bind": "Xy", "n": 7}',
        b'{"note": "\\u0058y", "kind": "other", "n": 8}',
        b'{"kind" : "Xy" , "n" : 9 }',
        b'{"kind": "X\\/y", "n": 10}',
        b'{"kind": "other", "kind": "Xy", "n": 11}',
        b'{"kind": "Xy", "kind": "other", "n": 12}',
    ) == ["6", "7", "9", "11"]


def test_values_with_characters_that_may_be_escaped() -> None:
    for value in ["a/b", '"', "\\", "\n", "/", "é", "a\tb", "𝄞", "\ufffd"]:
        capture = Capture(name="x", match={"k": value}, pick=".n")
        plain = json.dumps({"k": value, "n": 1}, ensure_ascii=False).encode()
        escaped = json.dumps({"k": value, "n": 2}).encode()
        slashed = escaped.replace(b"/", b"\\/")
        assert lines(capture, plain, escaped, slashed) == ["1", "2", "2"]


def test_lines_that_are_not_json_are_passed_over() -> None:
    capture = Capture(name="x", pick=".n")
    deep = b"[" * 100_000 + b'"n"' + b"]" * 100_000
    assert lines(capture, b"starting n", b'{"n": 1', b"", {"n": 1}, b'{"n": 2} trailing', deep, {"n": 3}) == ["1", "3"]


def test_a_line_that_is_not_utf8() -> None:
    capture = Capture(name="x", match={"kind": "a"}, pick=".n")
    assert lines(capture, b'{"kind": "a", "n": "\xff!"}', b'{"kind": "\xff", "n": 2}') == ["\ufffd!"]
    assert lines(Capture(name="x", match={"kind": "\ufffd"}, pick=".n"), b'{"kind": "\xff", "n": 2}') == ["2"]


def test_a_missing_pick_records_nothing_and_null_is_a_value() -> None:
    capture = Capture(name="x", match={"kind": "a"}, pick=".n")
    assert lines(capture, {"kind": "a", "n": 1}, {"kind": "a"}, {"kind": "a", "n": None}) == ["1", "null"]


def test_how_values_are_written() -> None:
    rows: list[Any] = ["text", 1, 1.5, True, None, [1, "a"], {"a": {"b": 1}}, 2**70, "é"]
    expected = ["text", "1", "1.5", "true", "null", '[1,"a"]', '{"a":{"b":1}}', str(2**70), "é"]
    assert lines(Capture(name="x", pick=".n"), *[{"n": row} for row in rows]) == expected


def test_dotted_paths() -> None:
    document = {"a": [{"b": 1}, {"b": [2, 3]}], "0": "zero", "c": {"0": "key"}}
    assert picked(".a.0.b", document) == ["1"]
    assert picked("a.1.b.1", document) == ["3"]
    assert picked(".a.2.b", document) == []
    assert picked(".a.b", document) == []
    assert picked(".a.-1", document) == []
    assert picked(".0", document) == ["zero"]
    assert picked(".c.0", document) == ["key"]
    assert picked(".", [1]) == ["[1]"]


def test_json_path() -> None:
    document = {"streams": [{"id": 1, "ok": True}, {"id": 2, "ok": False}]}
    assert picked("$.streams[*].id", document) == ["1", "2"]
    assert picked("$.streams[?(@.ok == true)].id", document) == ["1"]
    assert picked("$..missing", document) == []
    assert lines(Capture(name="x", pick="$..id"), document, b"no json", {"id": 7}) == ["1", "2", "7"]


@pytest.mark.parametrize("pick", ["$.[[", "$.`sub(/(/, x)`", "$.`split(x, 1)`", f"$[{'9' * 5000}]"])
def test_a_bad_json_path_is_an_error(pick: str) -> None:
    with pytest.raises(ValueError, match="bad JSONPath"):
        stream_parser("ndjson", [Capture(name="x", pick=pick)], "stdout")


@pytest.mark.parametrize("pick", ["$.a.`sorted`", "$.a[\\b]", "$.b.`sub(/b/, x)`", '$.a[?(@.b =~ "(")]'])
def test_a_json_path_that_does_not_fit_records_nothing(pick: str) -> None:
    assert picked(pick, {"a": [{"b": 1}, {"b": "x"}, 3], "b": 5}) == []


def test_regex_on_json_lines() -> None:
    assert lines(Capture(name="x", regex=r"size (\d+)"), b"size 5", {"size": 6}) == ["5"]
    both = Capture(name="x", regex=r"size (\d+)", match={"kind": "a"}, pick=".size")
    assert lines(both, b"size 5\r", {"kind": "a", "size": 6}, {"kind": "b", "size": 7}) == ["5", "6"]


def test_several_captures_of_one_stream() -> None:
    captures = [
        Capture(name="a", match={"kind": "a"}, pick=".n"),
        Capture(name="b", match={"kind": "b"}, pick=".n"),
        Capture(name="m", match={"kind": "a"}, pick=".m"),
    ]
    parser = stream_parser("ndjson", captures, "stdout")
    assert parser is not None
    assert parser.feed(b'{"kind":"a","n":1,"m":2}\n{"kind":"b","n":3}\n') == {"a": ["1"], "m": ["2"], "b": ["3"]}


def test_needles() -> None:
    assert needle(Capture(name="x", match={"kind": "Done"}, pick=".size")) == b'"Done"'
    assert needle(Capture(name="x", match={"code": 200}, pick=".size")) in (b'"code"', b'"size"')
    assert needle(Capture(name="x", match={"path": "a/long"}, pick=".size")) == b"long"
    assert needle(Capture(name="x", pick=".")) is None
    assert needle(Capture(name="x", pick="$..size")) is None
    assert needle(Capture(name="x", pick=".0")) is None


# Few letters, so that values, keys and texts collide; among them what JSON escapes.
_TEXT = st.text(st.sampled_from('ab"\\///\n\ufffdé'), max_size=3)
_SCALAR = st.one_of(_TEXT, _TEXT, st.booleans(), st.integers(-2, 2), st.sampled_from([0.0, 1.0, 1.5]))
_KEY = st.sampled_from(["a", "b", "ab", "é", "0", "a/b", '"'])
_VALUE = st.recursive(
    st.one_of(_SCALAR, st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(_KEY, inner, max_size=2)),
    max_leaves=4,
)
_PATH = st.lists(_KEY, min_size=1, max_size=2).map(".".join)


def written(value: Any, chance: Random) -> str:
    """`value` as some program might write it: each character of a string escaped or not, where both are allowed."""
    if isinstance(value, str):
        return '"' + "".join(_character(character, chance) for character in value) + '"'
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{written(key, chance)}: {written(inner, chance)}" for key, inner in value.items()) + "}"
        )
    if isinstance(value, list):
        return "[" + ",".join(written(inner, chance) for inner in value) + "]"
    return json.dumps(value)


def _character(character: str, chance: Random) -> str:
    if chance.random() < 0.2:
        return f"\\u{ord(character):04x}"
    if character == "/":
        return chance.choice(["/", "\\/"])
    return json.dumps(character, ensure_ascii=False)[1:-1]


def plant(document: dict[str, Any], path: str, value: Any) -> None:
    """Puts `value` where `path` finds it, unless something is in the way."""
    *outer, last = path.split(".")
    for segment in outer:
        document = document.setdefault(segment, {})
        if not isinstance(document, dict):
            return
    document[last] = value


@st.composite
def rows_for(draw: st.DrawFn, match: dict[str, Scalar], pick: str) -> bytes:
    """A line that often matches, sometimes nearly, and sometimes is no JSON or no text."""
    document = draw(st.dictionaries(_KEY, _VALUE, max_size=2))
    for path, expected in [*match.items(), (pick, draw(_VALUE))]:
        if draw(st.integers(0, 5)):
            plant(document, path, expected)
    data = written(document, draw(st.randoms())).encode()
    mangle = draw(st.sampled_from([None] * 8 + [b"\xff", b"x"]))
    if mangle is not None:
        position = draw(st.integers(0, len(data)))
        data = data[:position] + mangle + data[position + 1 :]
    return data.replace("\ufffd".encode(), draw(st.sampled_from([b"\xff", b"\xef\xbf\xbd"])))


@given(st.data(), st.dictionaries(_PATH, _SCALAR, max_size=2), _PATH)
@settings(max_examples=300)
def test_looking_for_needles_changes_nothing(data: st.DataObject, match: dict[str, Scalar], pick: str) -> None:
    rows = data.draw(st.lists(rows_for(match, pick), min_size=1, max_size=6))
    captures = [Capture(name="x", match=match, pick=pick), Capture(name="y", pick=pick)]
    block = b"".join(row + b"\n" for row in rows)
    fast = dict(NdjsonMatcher(captures).match(block))
    slow = dict(NdjsonMatcher(captures, use_needles=False).match(block))
    assert fast == slow


def test_a_document() -> None:
    captures = [Capture(name="a", pick=".end.bytes"), Capture(name="b", match={"kind": "no"}, pick=".end")]
    assert parse_document(b'\xef\xbb\xbf {"end": {"bytes": 5}}\n\n', captures) == {"a": ["5"]}


@pytest.mark.parametrize(
    ("data", "message", "text"),
    [
        (b'{"a": 1}\n{"b": 2}\n', "extra data at byte 9, line 2", '{"b": 2}'),
        (b'{"a": 1,\n "b": oops}', "expecting value at byte 15, line 2", ' "b": oops}'),
        (b'{"a": [1, 2', "the document ends too early at byte 11, line 1", '{"a": [1, 2'),
        (b'{"a":\n\n', "the document ends too early at byte 5, line 1", '{"a":'),
        (b"", "no output at byte 0, line 1", ""),
        (b" \n", "no output at byte 0, line 1", " "),
        (b"iperf3: error", "expecting value at byte 0, line 1", "iperf3: error"),
        (b"\xef\xbb\xbfoops", "expecting value at byte 3, line 1", "   oops"),
        (b'{"a": "\xff", "b": nan}', "expecting value at byte 16, line 1", '{"a": "\ufffd", "b": nan}'),
        (b'{"a": "b', "unterminated string starting at byte 6, line 1", '{"a": "b'),
        (b"[" * 100_000, "nested too deeply at byte 0, line 1", "[" * 200),
    ],
)
def test_a_document_that_does_not_parse(data: bytes, message: str, text: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse_document(data, [Capture(name="x", pick=".a")])
    assert str(caught.value) == f"not a JSON document: {message}"
    assert caught.value.text == text


def test_a_document_with_bytes_that_are_not_utf8() -> None:
    assert parse_document(b'{"a": "\xff"}', [Capture(name="x", pick=".a")]) == {"x": ["\ufffd"]}
