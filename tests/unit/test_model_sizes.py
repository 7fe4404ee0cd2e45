"""Sizes as people write them."""

from __future__ import annotations

import pytest

from patchbay_runner.model.sizes import format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("500MB", 500_000_000), ("10GB", 10**10), ("1.5TB", 15 * 10**11), ("2 kb", 2000), ("7", 7), ("7B", 7)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1e3", "1GiB", "1 000", "1..5GB", "٣GB", "1" * 16, "1PB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 KB"), (1_540_000, "1.5 MB"), (2 * 10**13, "20 TB")]
)
def test_sizes_are_shown_short(size: int, text: str) -> None:
    assert format_size(size) == text
