import os
from pathlib import Path

import pytest

from patchbay_runner.errors import HostError
from patchbay_runner.results import lock
from patchbay_runner.results.files import (
    Owner,
    append,
    calling_user,
    make_directories,
    open_append,
    point_symlink,
    write_atomically,
)


def test_writing_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.json", b"old")
    write_atomically(tmp_path / "a.json", b"new")
    assert (tmp_path / "a.json").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_reader_that_opened_the_old_file_keeps_all_of_it(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.json", b"old content")
    with (tmp_path / "a.json").open("rb") as reader:
        write_atomically(tmp_path / "a.json", b"new")
        assert reader.read() == b"old content"


def test_a_key_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    write_atomically(tmp_path / "key.pem", b"secret", mode=0o600)
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for attempt in (
        lambda: write_atomically(tmp_path / "file" / "x", b""),
        lambda: make_directories(tmp_path / "file" / "x"),
        lambda: open_append(tmp_path / "file" / "x"),
        lambda: point_symlink(tmp_path / "file" / "x", "y"),
    ):
        with pytest.raises(HostError, match=r"cannot write .*file/x: Not a directory"):
            attempt()


def test_a_full_disk_is_the_hosts_fault() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(HostError, match="No space left on device"):
            append(full, b"line\n", Path("events.jsonl"))
    finally:
        os.close(full)


def test_a_symlink_moves_to_another_target(tmp_path: Path) -> None:
    for target in ("one", "two"):
        point_symlink(tmp_path / "latest", target)
    assert (tmp_path / "latest").readlink() == Path("two")
    assert len(list(tmp_path.iterdir())) == 1


def test_the_calling_user_is_the_one_behind_sudo() -> None:
    sudo = {"SUDO_UID": "1000", "SUDO_GID": "1001"}
    assert calling_user(sudo, euid=0) == Owner(1000, 1001)
    assert calling_user(sudo, euid=1000) is None
    assert calling_user({}, euid=0) is None
    assert calling_user({"SUDO_UID": "x", "SUDO_GID": ""}, euid=0) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_everything_belongs_to_the_calling_user(tmp_path: Path) -> None:
    owner = Owner(1000, 1001)
    make_directories(tmp_path / "a" / "b", owner)
    write_atomically(tmp_path / "a" / "b" / "file", b"", owner)
    os.close(open_append(tmp_path / "a" / "log", owner))
    point_symlink(tmp_path / "a" / "link", "b", owner)
    for path in (tmp_path / "a").rglob("*"):
        assert (path.lstat().st_uid, path.lstat().st_gid) == (1000, 1001), path


def test_the_lock_is_held_until_its_descriptor_is_closed(tmp_path: Path) -> None:
    assert not lock.is_held(tmp_path)
    descriptor = lock.hold(tmp_path)
    assert lock.is_held(tmp_path)
    with pytest.raises(BlockingIOError):
        lock.hold(tmp_path)
    os.close(descriptor)
    assert not lock.is_held(tmp_path)
