"""A tar archive as it arrives: bytes in, members and pieces of their content out.

Formats: ustar and pax (POSIX.1-2017, pax, "ustar Interchange Format"), and what GNU tar writes (its manual, "Basic Tar
Format"). tarfile of the standard library reads extended headers of any size into memory, which an archive from outside
could use to fill it; here every header is bounded, and whatever is neither file nor directory is refused by its name.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from patchbay_runner.server.pushed.refusal import bad_archive

_BLOCK = 512
_LONGEST_HEADER_BYTES = 1 << 16
_FILES = b"0\x007"
_DIRECTORY = b"5"
_PAX, _PAX_GLOBAL, _GNU_LONG_NAME, _GNU_LONG_LINK = b"x", b"g", b"L", b"K"
_EXTENSIONS = (_PAX, _PAX_GLOBAL, _GNU_LONG_NAME, _GNU_LONG_LINK)
_REFUSED = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a named pipe",
    b"S": "a sparse file",
}
_USTAR_MAGIC = b"ustar\x00"
# The records of pax that change what is unpacked; the rest (times, owners, comments) is passed over.
_SPARSE = "GNU.sparse."
_HEEDED = ("path", "size", _SPARSE)


class Member(msgspec.Struct, frozen=True):
    """A file or a directory; pieces of a file's content, `size` bytes in all, follow."""

    name: str
    is_directory: bool
    size: int


class TarReader:
    """Takes an archive in pieces of any size."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._content_bytes = 0  # of the member that is being read
        self._padding_bytes = 0
        self._extension: tuple[bytes, int] | None = None
        self._long_name: bytes | None = None
        self._pax: dict[str, bytes] = {}
        self._global_pax: dict[str, bytes] = {}
        self._is_over = False

    def feed(self, data: bytes) -> Iterator[Member | bytes]:
        """What `data` complete. Has to be read to its end. Raises Refusal."""
        self._buffer += data
        while self._buffer:
            if self._is_over:
                self._check_end()
            elif self._content_bytes:
                yield self._take(min(self._content_bytes, len(self._buffer)))
            elif self._padding_bytes:
                self._skip(min(self._padding_bytes, len(self._buffer)))
            elif self._extension:
                if not self._read_extension(*self._extension):
                    return
            elif len(self._buffer) < _BLOCK:
                return
            elif member := self._read_header():
                yield member

    def finish(self) -> None:
        """Raises Refusal when the archive ended before it should."""
        if not self._is_over:
            raise bad_archive("the archive is truncated: its end is missing")

    def _take(self, size: int) -> bytes:
        piece = bytes(memoryview(self._buffer)[:size])
        del self._buffer[:size]
        self._content_bytes -= size
        return piece

    def _skip(self, size: int) -> None:
        del self._buffer[:size]
        self._padding_bytes -= size

    def _check_end(self) -> None:
        """Writers fill up the last record with zeros."""
        if self._buffer.strip(b"\0"):
            raise bad_archive("something follows the end of the archive")
        self._buffer.clear()

    def _read_header(self) -> Member | None:
        block = bytes(self._buffer[:_BLOCK])
        del self._buffer[:_BLOCK]
        if not block.strip(b"\0"):
            self._is_over = True
            return None
        _check_sum(block)
        kind, size = block[156:157], _number(block[124:136])
        if kind in _EXTENSIONS:
            if size > _LONGEST_HEADER_BYTES:
                raise bad_archive(f"an extended header of {size} bytes is more than anybody needs")
            self._extension = kind, size
            return None
        return self._member(block, kind, size)

    def _member(self, block: bytes, kind: bytes, size: int) -> Member:
        attributes = {**self._global_pax, **self._pax}
        raw = attributes.get("path") or self._long_name or _ustar_name(block)
        self._pax, self._long_name = {}, None
        try:
            name = raw.decode()
        except UnicodeDecodeError as error:
            raise bad_archive(f"{raw!r} in the archive: names have to be UTF-8") from error
        if _SPARSE in attributes:
            kind = b"S"
        # Before POSIX.1-1988 a slash behind its name was what made a directory.
        is_directory = kind == _DIRECTORY or (kind in _FILES and name.endswith("/"))
        if not is_directory and kind not in _FILES:
            what = _REFUSED.get(kind, f"of the unknown kind {kind!r}")
            raise bad_archive(f"{name!r} in the archive is {what}; only files and directories are taken")
        if "size" in attributes:
            size = _decimal(attributes["size"])
        if is_directory:
            return Member(name.rstrip("/") or "/", True, 0)
        self._content_bytes = size
        self._padding_bytes = -size % _BLOCK
        return Member(name, False, size)

    def _read_extension(self, kind: bytes, size: int) -> bool:
        whole = size + -size % _BLOCK
        if len(self._buffer) < whole:
            return False
        content = bytes(self._buffer[:size])
        del self._buffer[:whole]
        self._extension = None
        if kind == _GNU_LONG_NAME:
            self._long_name = content.rstrip(b"\0")
        elif kind == _PAX:
            self._pax = _pax_records(content)
        elif kind == _PAX_GLOBAL:
            self._global_pax.update(_pax_records(content))
        return True


def _ustar_name(block: bytes) -> bytes:
    name = block[:100].partition(b"\0")[0]
    prefix = block[345:500].partition(b"\0")[0] if block[257:263] == _USTAR_MAGIC else b""
    return prefix + b"/" + name if prefix else name


def _check_sum(block: bytes) -> None:
    """The sum of all bytes, with spaces for the sum itself; some old writers summed up signed ones."""
    unsigned = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    signed = unsigned - 256 * sum(byte > 127 for byte in block[:148] + block[156:])
    if _number(block[148:156]) not in (unsigned, signed):
        raise bad_archive("this is no tar archive: the checksum of a header is wrong")


def _number(field: bytes) -> int:
    """Octal digits, or base 256 where the first bit is set (GNU, for files of 8 GiB and more)."""
    if field[0] & 0x80:
        if field[0] != 0x80:
            raise bad_archive("this is no tar archive: a number is negative or absurd")
        return int.from_bytes(field[1:], "big")
    digits = field.partition(b"\0")[0].strip()
    if not all(byte in b"01234567" for byte in digits):
        raise bad_archive("this is no tar archive: a number is none")
    return int(digits or b"0", 8)


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 19:
        raise bad_archive(f"the size {text[:40]!r} is no number")
    return int(text)


def _pax_records(content: bytes) -> dict[str, bytes]:
    """`length key=value\\n`, where the length counts the whole record."""
    records = {}
    while content:
        length, space, _ = content[:12].partition(b" ")
        size = int(length) if space and length.isdigit() else 0
        key, equals, value = content[len(length) + 1 : size - 1].partition(b"=")
        if not equals or content[size - 1 : size] != b"\n":
            raise bad_archive("an extended header of the archive is damaged")
        name = _SPARSE if key.startswith(_SPARSE.encode()) else key.decode(errors="replace")
        if name in _HEEDED:
            records[name] = value
        content = content[size:]
    return records
