"""Names, addresses and aliases as files and running labs write them."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from patchbay_runner.model.names import (
    NameRecord,
    NameTable,
    address_of,
    changed_names,
    is_like_an_address,
    labels_of,
    record_of,
)

TABLE = NameTable(
    [NameRecord("server", ("10.0.0.1",)), NameRecord("old", ("10.0.0.2",))],
    [
        NameRecord("Old.", ("10.0.0.3",)),
        NameRecord("*.wild", alias="server"),
        NameRecord("deep.real.wild", ("10.0.0.4",)),
        NameRecord("*.loop", alias="a.loop"),
        NameRecord("www", alias="old"),
    ],
)


@pytest.mark.parametrize(
    ("asked", "record"),
    [
        ("SERVER.", "server"),
        ("old", "Old."),
        ("any.wild", "*.wild"),
        ("far.below.wild", "*.wild"),
        ("wild", None),
        ("real.wild", None),
        ("other.real.wild", None),
        ("deep.real.wild", "deep.real.wild"),
        ("below.deep.real.wild", None),
        ("nobody", None),
    ],
)
def test_the_record_that_answers(asked: str, record: str | None) -> None:
    found = TABLE.find(asked)
    assert (found and found.name) == record


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (NameRecord("x", ("10.0.0.1",)), None),
        (NameRecord("x", alias="www"), None),
        (NameRecord("x", alias="some.wild"), None),
        (NameRecord("x", alias="nobody"), "there is no name 'nobody' (x -> nobody)"),
        (
            NameRecord("x", alias="b.loop"),
            "names stand for each other in a circle: x -> b.loop -> a.loop -> a.loop",
        ),
        (NameRecord("x", alias="X."), "names stand for each other in a circle: x -> X."),
    ],
)
def test_aliases_lead_to_addresses(record: NameRecord, problem: str | None) -> None:
    found = NameTable(TABLE, [record]).problem(record)
    assert (found and str(found)) == problem


def test_a_chain_is_as_long_as_the_resolver_follows_it() -> None:
    chain = [NameRecord(f"n{i}", alias=f"n{i + 1}") for i in range(9)]
    table = NameTable([*chain, NameRecord("n9", ("10.0.0.1",))])
    assert table.problem(chain[1]) is None
    assert str(table.problem(chain[0])).startswith("more than 8 names stand for each other in a row: n0 -> n1")


@pytest.mark.parametrize("text", ["10.0.0", "10.0.0.1/8", "300.1.1.1", "::1%lo", "1:2", "", "server"])
def test_no_addresses(text: str) -> None:
    with pytest.raises(ValueError):
        address_of(text)


@pytest.mark.parametrize("text", ["10.0.0.1", "::1", "2001:db8::7"])
def test_addresses(text: str) -> None:
    assert address_of(text) == ip_address(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10.0.0.1", True), ("10.0.0", True), ("::1", True), ("a:b", True), ("10.x", False), ("", False), ("a", False)],
)
def test_what_looks_like_an_address_is_no_name(text: str, expected: bool) -> None:
    assert is_like_an_address(text) is expected


def test_what_a_name_stands_for() -> None:
    assert record_of("x", ["server"]) == NameRecord("x", alias="server")
    assert record_of("x", ["10.0.0.1", "::1"]) == NameRecord("x", ("10.0.0.1", "::1"))
    assert record_of("x", []).is_empty
    for values in (["10.0.0"], ["10.0.0.1", "server"], ["a..b"], [""]):
        with pytest.raises(ValueError):
            record_of("x", values)


def test_changes_replace_and_take_away() -> None:
    names = (NameRecord("a", ("10.0.0.1",)), NameRecord("b", ("10.0.0.2",)))
    changes = [NameRecord("A.", alias="b"), NameRecord("B"), NameRecord("never")]
    assert changed_names(names, changes) == (NameRecord("A.", alias="b"),)
    with pytest.raises(ValueError, match="1 to 63 bytes"):
        changed_names(names, [NameRecord("a..b", ("10.0.0.1",))])


def test_a_name_has_at_most_253_bytes() -> None:
    longest = ".".join(["a" * 61] * 4) + ".bbbbb"
    assert len(longest) == 253
    assert len(labels_of(longest)) == 5
    with pytest.raises(ValueError, match="more than 253 bytes"):
        labels_of(f"{longest}b")
