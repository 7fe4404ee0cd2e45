"""Directories that are copied into a guest and back, with a guest that is a directory of this host."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from patchbay_runner.errors import HostError
from patchbay_runner.vm.copying import Copies
from patchbay_runner.vm.share import Share


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
    with sides.copies.fresh():
        sides.guest_work.joinpath("fine").touch()
    assert {path.name for path in sides.work.iterdir()} == {"fine"}


def test_a_copy_that_fails_is_an_error(sides: Sides) -> None:
    sides.app.joinpath("file").touch()
    sides.guest_app.rmdir()
    with pytest.raises(HostError, match="copying failed"), sides.copies.fresh():
        pass
