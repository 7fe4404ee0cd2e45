"""Archives as CI machines make them, and as nobody should."""

from __future__ import annotations

import gzip
import io
import tarfile

MANIFEST = b'{"schema": 1}'


def packed(*members: tuple[tarfile.TarInfo, bytes], layout: int = tarfile.PAX_FORMAT, level: int = 1) -> bytes:
    """A tar.gz of these members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=layout, compresslevel=level) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def a_file(name: str, content: bytes = b"content") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info, content


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    """A link, a device, a directory."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info, b""


def a_run(*more: tuple[tarfile.TarInfo, bytes], level: int = 1) -> bytes:
    """A tar.gz of the smallest run."""
    return packed(special("./", tarfile.DIRTYPE), a_file("./manifest.json", MANIFEST), *more, level=level)


def raw_header(name: bytes, size: int, kind: bytes = b"0", magic: bytes = b"ustar\x0000") -> bytes:
    """A header that tarfile would not write."""
    block = bytearray(512)
    block[0 : len(name)] = name
    block[100:108] = b"0000644\0"
    block[124:136] = b"%011o\0" % size
    block[156:157] = kind
    block[257:265] = magic
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, 1)
