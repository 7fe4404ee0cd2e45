"""Unpacking what was pushed: real archives whole, hostile ones refused by name, nothing ever outside the target."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile
import tracemalloc
import zlib
from http import HTTPStatus
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchbay_runner.server.pushed.refusal import Refusal
from patchbay_runner.server.pushed.tar import TarReader
from patchbay_runner.server.pushed.unpack import Limits, Unpacker
from tests.unit.push_archives import a_file, a_run, gzipped, packed, raw_header, special

END = bytes(1024)
LONG = "deep/" * 20 + "n" * 120
LONG_FOR_USTAR = "deep/" * 20 + "n" * 90


def unpack(archive: bytes, target: Path, limits: Limits | None = None, step: int = 1 << 16) -> Unpacker:
    unpacker = Unpacker(target, limits or Limits())
    try:
        for start in range(0, len(archive), step):
            unpacker.feed(archive[start : start + step])
        unpacker.finish()
    finally:
        unpacker.close()
    return unpacker


def refusal(archive: bytes, target: Path, limits: Limits | None = None) -> Refusal:
    with pytest.raises(Refusal) as caught:
        unpack(archive, target, limits)
    return caught.value


def tree(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("layout", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("step", [1, 511, 1 << 20])
def test_archives_of_every_format_come_out_whole(tmp_path: Path, layout: int, step: int) -> None:
    files = {"manifest.json": b"{}", "a/b/empty.log": b"", "a/full.log": os.urandom(1536), LONG_FOR_USTAR: b"x" * 513}
    if layout != tarfile.USTAR_FORMAT:
        files[LONG] = b"y"
    archive = packed(*(a_file(f"./{name}", content) for name, content in files.items()), layout=layout)
    unpacker = unpack(archive, tmp_path, step=step)
    assert tree(tmp_path) == files
    assert unpacker.files == len(files)


def test_what_tar_itself_makes_of_a_directory(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "sim" / "nodes" / "größe").mkdir(parents=True)
    target.mkdir()
    (source / "sim" / "nodes" / "größe" / "stdout.log").write_bytes(b"line\n" * 1000)
    (source / "run.json").write_bytes(b"{}")
    packer = subprocess.run(["tar", "-czf", "-", "-C", source, "."], stdout=subprocess.PIPE, check=True)
    unpack(packer.stdout, target)
    assert tree(target) == tree(source)


def test_gzip_members_may_follow_one_another_and_be_padded(tmp_path: Path) -> None:
    with io.BytesIO(gzip.decompress(a_run())) as plain:
        halves = plain.read(700), plain.read()
    unpack(gzipped(halves[0]) + gzipped(halves[1]) + bytes(512), tmp_path)
    assert tree(tmp_path) == {"manifest.json": b'{"schema": 1}'}


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (a_file("../outside"), "leads out of it"),
        (a_file("a/../../outside"), "leads out of it"),
        (a_file("/etc/passwd"), "is an absolute path"),
        (a_file("//etc/passwd"), "is an absolute path"),
        (special("link", tarfile.SYMTYPE, "/etc/passwd"), "is a symbolic link"),
        (special("link", tarfile.LNKTYPE, "manifest.json"), "is a hard link"),
        (special("disk", tarfile.BLKTYPE), "is a device"),
        (special("terminal", tarfile.CHRTYPE), "is a device"),
        (special("pipe", tarfile.FIFOTYPE), "is a named pipe"),
        (special("sparse", tarfile.GNUTYPE_SPARSE), "is a sparse file"),
        (special("label", b"V"), "of the unknown kind b'V'"),
        (a_file("a\nb"), "control character"),
        (a_file("n" * 256), "too long"),
        (a_file("d/" * 40 + "x"), "too deep"),
        (a_file("."), "no name of a file"),
        (a_file("manifest.json"), "is in the archive twice"),
        (a_file("manifest.json/below"), "as a file and a directory"),
    ],
)
def test_members_that_nobody_should_send(tmp_path: Path, member: tuple[tarfile.TarInfo, bytes], message: str) -> None:
    target = tmp_path / "target"
    target.mkdir()
    refused = refusal(a_run(member), target)
    assert refused.status is HTTPStatus.BAD_REQUEST
    assert message in refused.message
    assert {path.name for path in tmp_path.iterdir()} == {"target"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is empty"),
        (b"hello", "no gzip archive"),
        (b"PK\x03\x04" + bytes(100), "no gzip archive"),
        (gzipped(b""), "its end is missing"),
        (gzipped(b"x" * 512), "no tar archive"),
        (gzipped(b"x" * 100), "its end is missing"),
        (gzipped(END), "no file"),
        (a_run()[:-20], "its gzip stream has no end"),
        (a_run() + b"rest", "damaged"),
        (a_run() + bytes(9) + b"rest", "not gzip"),
        (a_run()[:40] + b"\xff" * 8 + a_run()[48:], "damaged"),
        (gzipped(raw_header(b"x", 7) + b"content" + bytes(505)), "its end is missing"),
        (gzipped(raw_header(b"x", 7) + b"content" + bytes(505) + END + b"more"), "follows the end"),
        (gzipped(raw_header(b"\xff\xfe", 0) + END), "have to be UTF-8"),
        (gzipped(raw_header(b"x" * 512, 1 << 30, b"x")), "extended header"),
        (gzipped(raw_header(b"x" * 512, 1 << 30, b"L")), "extended header"),
        (gzipped(raw_header(b"p", 6, b"x") + b"9 path" + bytes(506) + END), "is damaged"),
        (gzipped(raw_header(b"p", 10, b"x") + b"10 size=-\n" + bytes(502) + raw_header(b"y", 0) + END), "no number"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # bodies hold the time: test processes must agree
)
def test_bodies_that_are_no_archive(tmp_path: Path, body: bytes, message: str) -> None:
    refused = refusal(body, tmp_path)
    assert refused.status is HTTPStatus.BAD_REQUEST
    assert message in refused.message


def test_a_sparse_file_of_pax_is_refused(tmp_path: Path) -> None:
    info, content = a_file("sparse")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "99999999999"}
    assert "is a sparse file" in refusal(packed((info, content)), tmp_path).message


def test_a_member_that_says_it_is_too_large_is_refused_before_it_comes(tmp_path: Path) -> None:
    huge = raw_header(b"huge", 0o77777777777)
    refused = refusal(gzipped(huge + bytes(512)), tmp_path, Limits(bytes=1_000_000))
    assert (refused.status, tree(tmp_path)) == (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {})
    assert "more than the 1 MB" in refused.message


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    archive = packed(*(a_file(f"{number}") for number in range(20)))
    refused = refusal(archive, tmp_path, Limits(files=10))
    assert (refused.status, len(tree(tmp_path))) == (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, 10)


def test_directories_count_as_files(tmp_path: Path) -> None:
    archive = packed(*(special(f"d{number}", tarfile.DIRTYPE) for number in range(20)))
    assert refusal(archive, tmp_path, Limits(files=10)).status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE


def bomb(size: int) -> bytes:
    """One file of zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1 << 20)
    parts = [packer.compress(raw_header(b"zeros", size))]
    parts += [packer.compress(zeros[: min(len(zeros), size - start)]) for start in range(0, size, len(zeros))]
    return b"".join([*parts, packer.compress(END), packer.flush()])


def test_a_bomb_is_refused_by_its_ratio_in_constant_memory(tmp_path: Path) -> None:
    archive = bomb(200_000_000)
    tracemalloc.start()
    try:
        refused = refusal(archive, tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (refused.status, "400 times its size" in refused.message) == (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, True)
    assert peak < 4_000_000


def test_a_bomb_behind_the_end_of_the_archive_counts(tmp_path: Path) -> None:
    archive = a_run() + gzipped(bytes(3_000_000))
    assert refusal(archive, tmp_path, Limits(bytes=1_000_000)).status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE


def test_empty_gzip_members_without_end_are_refused(tmp_path: Path) -> None:
    assert refusal(gzipped(b"") * 2000, tmp_path, Limits(bytes=20_000)).status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE


@settings(max_examples=60)
@given(st.integers(0, 3000), st.binary(min_size=1, max_size=40), st.integers(1, 600))
def test_damage_anywhere_is_refused_or_harmless(place: int, damage: bytes, step: int) -> None:
    plain = bytearray(gzip.decompress(packed(a_file("a/b.log", b"x" * 700), a_file(LONG, b"y"))))
    plain[place : place + len(damage)] = damage
    parts = []
    tar = TarReader()
    try:
        for start in range(0, len(plain), step):
            parts += list(tar.feed(bytes(plain[start : start + step])))
        tar.finish()
    except Refusal:
        return
    assert sum(len(part) for part in parts if isinstance(part, bytes)) <= len(plain)
