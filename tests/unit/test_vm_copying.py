"""Directories that are copied into a guest and back, with a guest that is a directory of this host."""

from __future__ import annotations

import io
import tarfile
import time
from pathlib import Path

import pytest

from patchbay_runner.errors import HostError
from patchbay_runner.vm.copying import Copies
from patchbay_runner.vm.share import Share
from patchbay_runner.vm.unpacking import unpack


class Sides:
    """A host's directories and a guest's."""

    def __init__(self, root: Path) -> None:
        self.app, self.work = root / "project", root / "project" / "out"
        self.guest_app, self.guest_work = root / "guest app", root / "guest work"
        for directory in (self.app, self.work, self.guest_app, self.guest_work):
            directory.mkdir()
        self.scripts: list[str] = []
        shares = (
            Share("app", self.app, str(self.guest_app), by="copy"),
            Share("work", self.work, str(self.guest_work), is_writable=True, by="copy"),
        )
        self.copies = Copies(self._ssh, shares, root)

    def _ssh(self, script: str) -> list[str]:
        self.scripts.append(script)
        return ["sh", "-c", script]


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    return Sides(tmp_path)


def test_what_changes_on_the_host_is_there_with_the_next_command_and_nothing_else_moves(sides: Sides) -> None:
    sides.app.joinpath("sims").mkdir()
    sides.app.joinpath("sims", "a.toml").write_text("first")
    sides.app.joinpath(".git").mkdir()
    sides.app.joinpath(".git", "HEAD").touch()
    with sides.copies.fresh():
        assert sides.guest_app.joinpath("sims", "a.toml").read_text() == "first"
    assert {path.name for path in sides.guest_app.iterdir()} == {"sims"}
    sides.scripts.clear()
    with sides.copies.fresh():
        pass
    assert not any("-xf" in script for script in sides.scripts)
    sides.app.joinpath("sims", "a.toml").write_text("second one")
    sides.app.joinpath("sims", "b.toml").write_text("new")
    with sides.copies.fresh():
        assert sides.guest_app.joinpath("sims", "a.toml").read_text() == "second one"
    sides.app.joinpath("sims", "b.toml").unlink()
    with sides.copies.fresh():
        assert {path.name for path in sides.guest_app.joinpath("sims").iterdir()} == {"a.toml"}


def test_results_come_out_as_they_are_written_and_at_the_end(sides: Sides) -> None:
    sides.work.joinpath("staged").write_text("for the guest")
    with sides.copies.fresh():
        assert sides.guest_work.joinpath("staged").read_text() == "for the guest"
        sides.guest_work.joinpath("run").mkdir()
        sides.guest_work.joinpath("run", "log").write_text("line\n")
        sides.guest_work.joinpath("latest").symlink_to("run")
        deadline = time.monotonic() + 20
        while not sides.work.joinpath("latest", "log").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        sides.guest_work.joinpath("run", "log").write_text("line\nanother\n")
    assert sides.work.joinpath("run", "log").read_text() == "line\nanother\n"
    sides.scripts.clear()
    with sides.copies.fresh():
        pass
    # What came out does not go in again.
    assert not any("-xf" in script for script in sides.scripts)


def test_nothing_is_written_outside_of_the_directory(sides: Sides) -> None:
    sides.guest_work.joinpath("away").symlink_to("/etc")
    sides.guest_work.joinpath("up").symlink_to("../../..")
    with sides.copies.fresh():
        sides.guest_work.joinpath("fine").touch()
    assert {path.name for path in sides.work.iterdir()} == {"fine"}


@pytest.mark.parametrize("name", ["../out", "/out", "way/out"])
def test_no_member_of_an_archive_leads_out(tmp_path: Path, name: str) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for each in (name, "fine"):
            archive.addfile(tarfile.TarInfo(each))
    root = tmp_path / "root"
    root.mkdir()
    root.joinpath("way").symlink_to("..")
    packed.seek(0)
    with tarfile.open(fileobj=packed) as archive:
        unpack(archive, root)
    assert {path.name for path in root.iterdir()} == {"way", "fine"}
    assert {path.name for path in tmp_path.iterdir()} == {"root"}


def test_a_link_in_the_way_is_replaced_and_not_followed(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("file"))
    victim = tmp_path / "victim"
    victim.write_text("kept")
    root = tmp_path / "root"
    root.mkdir()
    root.joinpath("file").symlink_to(victim)
    packed.seek(0)
    with tarfile.open(fileobj=packed) as archive:
        unpack(archive, root)
    assert victim.read_text() == "kept"
    assert root.joinpath("file").read_text() == ""


def test_a_copy_that_fails_is_an_error(sides: Sides) -> None:
    sides.app.joinpath("file").touch()
    sides.guest_app.rmdir()
    with pytest.raises(HostError, match="copying failed"), sides.copies.fresh():
        pass
