"""Which program is picked out of an archive, and what is refused."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Literal

import pytest

from patchbay_runner.binaries.archives import is_archive, opened_program
from patchbay_runner.errors import BinaryError

USUAL = {"tool-1.0/README.md": (b"read", 0o644), "tool-1.0/LICENSE": (b"law", 0o644), "tool-1.0/tool": (b"#!it", 0o755)}


def tar(path: Path, files: dict[str, tuple[bytes, int]], mode: Literal["w:gz", "w:xz", "w"] = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, (content, permissions) in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), permissions
            archive.addfile(info, io.BytesIO(content))
    return path


def special(path: Path, name: str, kind: bytes) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.mode = kind, "/etc/passwd", 0o755
        archive.addfile(info)
    return path


def zipped(path: Path, files: dict[str, tuple[bytes, int]]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, (content, permissions) in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = permissions << 16
            archive.writestr(info, content)
    return path


def picked(path: Path, *wanted: str) -> tuple[str, bytes]:
    with opened_program(path, wanted, "the archive") as (name, source):
        return name, source.read()


def refused(path: Path, *wanted: str) -> str:
    with pytest.raises(BinaryError) as raised:
        picked(path, *wanted)
    return str(raised.value)


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w"])
def test_the_named_program_of_a_tar(tmp_path: Path, mode: Literal["w:gz", "w:xz", "w"]) -> None:
    files = USUAL | {"tool-1.0/other": (b"no", 0o755)}
    assert picked(tar(tmp_path / "a", files, mode), "tool") == ("tool", b"#!it")


def test_the_named_program_of_a_zip(tmp_path: Path) -> None:
    assert picked(zipped(tmp_path / "a", USUAL | {"x/other": (b"no", 0o755)}), "tool") == ("tool", b"#!it")


def test_a_zip_made_elsewhere_has_no_modes(tmp_path: Path) -> None:
    files = {name: (content, 0) for name, (content, _) in USUAL.items()}
    assert picked(zipped(tmp_path / "a", files), "relay") == ("tool", b"#!it")


def test_the_only_program_needs_no_name(tmp_path: Path) -> None:
    assert picked(tar(tmp_path / "a", USUAL), "relay") == ("tool", b"#!it")


def test_the_first_name_that_is_there_counts(tmp_path: Path) -> None:
    files = {"bin/a": (b"a", 0o755), "bin/b": (b"b", 0o755)}
    assert picked(tar(tmp_path / "a", files), "c", "b") == ("b", b"b")


def test_a_named_file_counts_although_its_mode_was_lost(tmp_path: Path) -> None:
    files = {"tool": (b"it", 0o644), "README": (b"read", 0o755)}
    assert picked(tar(tmp_path / "a", files), "tool") == ("tool", b"it")


def test_a_program_wins_over_a_document_of_its_name(tmp_path: Path) -> None:
    files = {"share/doc/tool": (b"read", 0o644), "bin/tool": (b"it", 0o755)}
    assert picked(tar(tmp_path / "a", files), "tool") == ("tool", b"it")


def test_candidates_are_listed(tmp_path: Path) -> None:
    files = {"bin/a": (b"a", 0o755), "bin/b": (b"b", 0o755), "README": (b"read", 0o644)}
    assert refused(tar(tmp_path / "a", files), "relay", "tool") == (
        "the archive holds no file 'relay' or 'tool'; expected the right name as bin, one of: bin/a, bin/b"
    )
    text = refused(tar(tmp_path / "b", {f"f{number}": (b"", 0o644) for number in range(20)}), "tool")
    assert text.endswith("f11, and 8 more")
    assert "an archive with a program" in refused(tar(tmp_path / "c", {}), "tool")


def test_several_of_the_name_are_told_apart_by_their_directory(tmp_path: Path) -> None:
    path = tar(tmp_path / "a", {"arm/tool": (b"arm", 0o755), "amd64/tool": (b"amd", 0o755)})
    assert "arm/tool, amd64/tool" in refused(path, "tool")
    assert picked(path, "amd64/tool") == ("tool", b"amd")


@pytest.mark.parametrize("name", ["../../home/me/.bashrc", "/etc/passwd", "a/../../b"])
def test_an_archive_that_reaches_outside_is_refused(tmp_path: Path, name: str) -> None:
    files = USUAL | {name: (b"evil", 0o755)}
    assert "points outside" in refused(tar(tmp_path / "a", files), "tool")
    assert "points outside" in refused(zipped(tmp_path / "b", files), "tool")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    assert "is a link or a device" in refused(special(tmp_path / "a", "tool", kind), "tool")
    assert "holds no file 'relay'" in refused(special(tmp_path / "b", "tool", kind), "relay")


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    assert "is a link" in refused(zipped(tmp_path / "a", {"tool": (b"/etc/passwd", 0o120777)}), "tool")


@pytest.mark.parametrize("mode", ["w:gz", "w:xz"])
def test_a_broken_archive_is_an_error(tmp_path: Path, mode: Literal["w:gz", "w:xz"]) -> None:
    path = tar(tmp_path / "a", {"tool": (bytes(range(256)) * 100, 0o755)}, mode)
    path.write_bytes(path.read_bytes()[:-40])
    assert "cannot be read as an archive" in refused(path, "tool")
    path.write_bytes(b"<html>not found</html>")
    assert "cannot be read as an archive" in refused(path, "tool")
    path.write_bytes(b"PK\3\4 and no more")
    assert "cannot be read as an archive" in refused(path, "tool")


def test_what_counts_as_an_archive(tmp_path: Path) -> None:
    compressed = tar(tmp_path / "compressed", USUAL)
    plain = tmp_path / "plain"
    plain.write_bytes(b"\x7fELF")
    assert is_archive("/download", compressed)
    assert is_archive("/x/tool.TGZ", plain)
    assert not is_archive("/x/tool", plain)
