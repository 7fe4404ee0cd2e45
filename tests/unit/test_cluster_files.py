"""Which files travel to workers, how they lie there, and what of a worker's archive is let in."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from patchbay_runner.cluster import project
from patchbay_runner.cluster.delivery import Delivery
from patchbay_runner.cluster.orders import PIECE_BYTES, Piece
from patchbay_runner.cluster.project import PROGRAMS, PROJECT, Package, pack, pieces
from patchbay_runner.cluster.store import Store
from patchbay_runner.errors import HostError, InputError


def write(path: Path, content: bytes = b"x", mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return path


def packed(root: Path, binaries: Sequence[Mapping[str, str]], left_out: Sequence[Path]) -> Package:
    return pack(root, binaries, left_out, Path(tempfile.mkdtemp(dir=root.parent)))


def paths(package: Package) -> list[str]:
    return [file.path for file in package.project]


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True)


def test_a_checkout_travels_as_git_sees_it_and_programs_come_along(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path / ".gitignore", b"target/\n")
    write(tmp_path / "tracked")
    write(tmp_path / "gone")
    git(tmp_path, "add", ".")
    (tmp_path / "gone").unlink()
    write(tmp_path / "new")
    write(tmp_path / "target" / "ignored")
    program = write(tmp_path / "target" / "program", mode=0o755)
    package = packed(tmp_path, [{"program": str(program)}], [])
    assert paths(package) == [".gitignore", "new", "target/program", "tracked"]
    assert package.places == {str(program): "project/target/program"}


def test_a_directory_travels_whole_but_for_what_is_left_out(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root / "sims" / "a.toml")
    write(root / "work" / "latest" / "log")
    os.mkfifo(root / "pipe")
    (root / "link").symlink_to("sims/a.toml")
    (root / "outward").symlink_to(write(tmp_path / "outside", b"content"))
    (root / "broken").symlink_to("nowhere")
    programs = [write(tmp_path / name / "tool", name.encode(), 0o755) for name in ("one", "two")]
    package = packed(root, [{"a": str(programs[0])}, {"b": str(programs[1])}], [root / "work"])
    assert paths(package) == ["link", "outward", "sims/a.toml"]
    assert [file.link for file in package.project] == ["sims/a.toml", "", ""]
    assert sorted(package.places.values()) == ["programs/0/tool", "programs/1/tool"]


def test_a_checkout_that_git_cannot_list_is_told(tmp_path: Path) -> None:
    write(tmp_path / ".git", b"gitdir: nowhere\n")
    with pytest.raises(HostError, match="Git cannot list"):
        packed(tmp_path, [], [])


def test_a_project_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "LIMIT_BYTES", 10)
    write(tmp_path / "small")
    write(tmp_path / "large", b"x" * 11)
    with pytest.raises(InputError, match="the largest is large; expected at most 0 MiB"):
        packed(tmp_path, [], [])


def test_what_travels_is_what_was_there_when_the_run_began(tmp_path: Path) -> None:
    source = write(tmp_path / "root" / "a", b"before")
    package = packed(tmp_path / "root", [{"a": str(source)}], [])
    source.write_bytes(b"after")
    ((sha256, copy),) = package.sources.items()
    assert [piece.data for piece in pieces(sha256, copy)] == [b"before"]


def test_a_worker_keeps_contents_and_lays_trees_out(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root / "empty", b"")
    write(root / "large", os.urandom(PIECE_BYTES * 2 + 1))
    write(root / "below" / "tool", b"#!/bin/sh\n", 0o755)
    (root / "link").symlink_to("below/tool")
    package = packed(root, [{"own": str(write(tmp_path / "own", b"own", 0o755))}], [])
    store = Store(tmp_path / "store")
    assert set(store.missing(package.sources)) == set(package.sources)
    for sha256, source in package.sources.items():
        for piece in pieces(sha256, source):
            store.take("me", [piece])
    assert store.missing(package.sources) == []
    built = store.build("run", {PROJECT: package.project, PROGRAMS: package.programs})
    for name in ("empty", "large", "below/tool", "link"):
        assert (built / PROJECT / name).read_bytes() == (root / name).read_bytes()
    assert os.access(built / PROJECT / "link", os.X_OK)
    assert (built / PROJECT / "large").stat().st_mode & 0o111 == 0
    assert (built / package.places[str(tmp_path / "own")]).read_bytes() == b"own"
    store.forget("run")
    assert not built.exists()
    assert store.missing(package.sources) == []


def test_a_worker_takes_no_content_under_another_name(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(ValueError, match="received"):
        store.take("me", [Piece("0" * 64, 0, b"x", is_last=True)])
    assert store.missing(["0" * 64]) == ["0" * 64]


def test_contents_that_nobody_used_for_a_week_are_forgotten(tmp_path: Path) -> None:
    package = packed(tmp_path, [{"a": str(write(tmp_path / "a"))}], [])
    ((sha256, source),) = package.sources.items()
    store = Store(tmp_path / "store")
    store.take("me", list(pieces(sha256, source)))
    os.utime(tmp_path / "store" / "contents" / sha256, (0, 0))
    store.build("other", {})
    assert store.missing([sha256]) == [sha256]


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return target.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, 0o640
    return info


def test_an_archive_is_unpacked_when_it_is_whole(tmp_path: Path) -> None:
    sent = archive(
        (member("nodes", tarfile.DIRTYPE), b""),
        (member("nodes/a/log"), b"text"),
        (member("nodes/a/same", tarfile.LNKTYPE, "nodes/a/log"), b""),
        (member("nodes/device", tarfile.CHRTYPE), b""),
        (member("nodes/link", tarfile.SYMTYPE, "/etc/passwd"), b""),
    )
    directory = tmp_path / "sim"
    directory.mkdir()
    delivery = Delivery(directory, None)
    delivery.add(sent[:600])
    delivery.add(sent[600:])
    assert not any(directory.iterdir())
    delivery.unpack()
    found = {str(path.relative_to(directory)): path for path in directory.rglob("*") if path.is_file()}
    assert {name: path.read_bytes() for name, path in found.items()} == {
        "nodes/a/log": b"text",
        "nodes/a/same": b"text",
    }
    assert found["nodes/a/log"].stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    "evil",
    [
        member("../outside"),
        member("/etc/outside"),
        member("a/../../outside"),
        member("hard", tarfile.LNKTYPE, "../secret"),
    ],
    ids=["up", "absolute", "through", "link"],
)
def test_an_archive_does_not_lead_out_of_the_directory(tmp_path: Path, evil: tarfile.TarInfo) -> None:
    write(tmp_path / "secret")
    directory = tmp_path / "sim"
    directory.mkdir()
    delivery = Delivery(directory, None)
    delivery.add(archive((evil, b"")))
    with pytest.raises(ValueError, match="outside"):
        delivery.unpack()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret", "sim"]
