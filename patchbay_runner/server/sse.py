"""Server-sent events as bytes."""

from __future__ import annotations


def message(event: str, data: bytes) -> bytes:
    """One event; `data` is JSON on one line."""
    return b"event: %b\ndata: %b\n\n" % (event.encode(), data)


def numbered(messages: list[bytes], cursor: str) -> bytes:
    """Messages whose last one says where the stream is."""
    *others, last = messages
    return b"".join([*others, b"id: %b\n" % cursor.encode(), last])
