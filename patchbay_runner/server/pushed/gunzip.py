"""gzip (RFC 1952) as it arrives, in pieces of bounded size however well the data were compressed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from patchbay_runner.server.pushed.refusal import bad_archive

_GZIP = 16 + zlib.MAX_WBITS
_MAGIC = b"\x1f\x8b"
_PIECE_BYTES = 1 << 18


class Gunzip:
    """Members may follow one another, as `cat a.gz b.gz` makes them, and zeros may follow the last, as on tapes."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)
        self._has_begun = False
        self._is_padding = False
        self._members = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What `data` unpacks to. Has to be read to its end. Raises Refusal for what is not gzip."""
        while data:
            if self._is_padding or (not self._has_begun and self._members and data[0] == 0):
                self._pad(data)
                return
            self._has_begun = True
            try:
                piece = self._member.decompress(data, _PIECE_BYTES)
            except zlib.error as error:
                raise bad_archive(self._explain(data, error)) from error
            if piece:
                yield piece
            data = self._member.unconsumed_tail
            if self._member.eof:
                data = self._member.unused_data
                self._member = zlib.decompressobj(_GZIP)
                self._has_begun = False
                self._members += 1
            elif not data and len(piece) == _PIECE_BYTES:
                yield from self._rest()

    def finish(self) -> None:
        """Raises Refusal when the data ended before they should."""
        if not self._has_begun and not self._members:
            raise bad_archive("the body is empty; expected a tar.gz archive")
        if self._has_begun:
            raise bad_archive("the archive is truncated: its gzip stream has no end")

    def _rest(self) -> Iterator[bytes]:
        """All input is taken in, and more may come out than one piece holds."""
        while not self._member.eof and (piece := self._member.decompress(b"", _PIECE_BYTES)):
            yield piece

    def _pad(self, data: bytes) -> None:
        self._is_padding = True
        if data.strip(b"\0"):
            raise bad_archive("something that is not gzip follows the archive")

    def _explain(self, data: bytes, error: zlib.error) -> str:
        is_start = not self._members and not data.startswith(_MAGIC)
        return "this is no gzip archive; expected tar.gz" if is_start else f"the gzip stream is damaged: {error}"
