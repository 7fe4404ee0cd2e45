"""What a guest is given of this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from patchbay_runner.cli.vm.sims import Named, place_sims
from patchbay_runner.errors import BinaryError
from patchbay_runner.vm import staging
from patchbay_runner.vm.passing import passed_environment
from patchbay_runner.vm.staging import check_programs, link_path, stage_programs
from tests.unit.local_guest import LocalGuest


@pytest.fixture
def guest(tmp_path: Path) -> LocalGuest:
    (tmp_path / "home").mkdir()
    return LocalGuest(tmp_path / "home", {tmp_path / "project": "/app", tmp_path / "work": "/work"})


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "project" / "sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project" / "sub")
    monkeypatch.setattr(staging, "_SIMS", PurePosixPath(tmp_path / "staged"))
    return tmp_path / "project"


def test_sims_of_the_project_are_where_they_are(guest: LocalGuest, project: Path) -> None:
    """Relative names stay as they are, and with them the words of messages."""
    files = (project / "a.toml", project / "sub" / "b.toml")
    for file in files:
        file.touch()
    cwd, names = place_sims(guest, Named(("../a.toml", str(files[1]), "*.toml"), files), project)
    assert (str(cwd), names) == ("/app/sub", ["../a.toml", "/app/sub/b.toml", "*.toml"])


def test_sims_of_elsewhere_are_copied_with_all_that_they_extend(
    guest: LocalGuest, project: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for file in (project / "base.toml", other / "sim.toml"):
        file.write_text(file.name)
    cwd, names = place_sims(
        guest, Named((str(other / "sim.toml"),), (other / "sim.toml", project / "base.toml")), project
    )
    (name,) = names
    assert Path(name).read_text() == "sim.toml"
    assert (Path(name).parent / "../project/base.toml").read_text() == "base.toml"
    assert str(cwd).startswith(str(tmp_path / "staged"))
    assert Path(cwd).is_dir()


def test_a_link_out_of_the_project_leads_nowhere_in_the_guest(guest: LocalGuest, project: Path, tmp_path: Path) -> None:
    (tmp_path / "sim.toml").write_text("outside")
    (project / "sim.toml").symlink_to(tmp_path / "sim.toml")
    _, (name,) = place_sims(guest, Named((str(project / "sim.toml"),), (project / "sim.toml",)), project)
    assert not name.startswith("/app")
    assert Path(name).read_text() == "outside"


def test_programs_are_copied_once_unless_they_are_shared(guest: LocalGuest, project: Path, tmp_path: Path) -> None:
    shared, hidden = project / "shared", tmp_path / "hidden"
    for path in (shared, hidden):
        path.write_text("#!/bin/sh\necho it runs\n")
    places = stage_programs(guest, {"a": shared, "b": hidden, "c": hidden})
    assert str(places["a"]) == "/app/shared"
    assert subprocess.run([places["b"]], capture_output=True, check=True).stdout == b"it runs\n"
    assert places["b"] == places["c"]
    asked = len(guest.asked)
    assert stage_programs(guest, {"b": hidden}) == {"b": places["b"]}
    assert len(guest.asked) == asked + 1


def test_programs_that_cannot_run(tmp_path: Path) -> None:
    (tmp_path / "mac").write_bytes(b"\xcf\xfa\xed\xfe" + bytes(100))
    with pytest.raises(BinaryError, match="'x' is /a in one sim and /b in another"):
        check_programs([{"x": "/a"}, {"x": "/b"}], "x86_64")
    with pytest.raises(BinaryError, match=r"server .* is a program for macOS"):
        check_programs([{"server": str(tmp_path / "mac")}], "x86_64")


def test_directories_are_found_under_their_own_paths(
    guest: LocalGuest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sudo = tmp_path / "bin" / "sudo"
    sudo.parent.mkdir()
    # No test mounts anything: what leads to a directory is a link here.
    sudo.write_text('#!/bin/sh\n[ $2 = mkdir ] && exec mkdir -p "$(dirname "$4")"\nexec ln -s "$4" "$5"\n')
    sudo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sudo.parent}:/usr/bin:/bin")
    there = PurePosixPath(tmp_path / "there")
    Path(there).mkdir()
    taken, free = tmp_path / "taken", tmp_path / "x" / "free"
    (taken / "something").mkdir(parents=True)
    for _ in range(2):
        assert link_path(guest, free, there) == PurePosixPath(free)
        assert link_path(guest, taken, there) == there
    assert free.resolve() == Path(there)
    asked = len(guest.asked)
    assert link_path(guest, Path("/work/main"), PurePosixPath("/app")) == PurePosixPath("/app")
    assert len(guest.asked) == asked


def test_what_reaches_the_guest_of_the_environment(guest: LocalGuest, tmp_path: Path) -> None:
    environment = {
        "RUST_LOG": "debug",
        "RUST_BACKTRACE": "1",
        "PATCHBAY_LOG": "trace",
        "PATCHBAY_OUTDIR": "work/out",
        "HOME": "/root",
        "AWS_SECRET": "x",
    }
    passed, warnings = passed_environment(environment, guest.inside, tmp_path)
    assert passed == {
        "RUST_LOG": "debug",
        "RUST_BACKTRACE": "1",
        "PATCHBAY_LOG": "trace",
        "PATCHBAY_OUTDIR": "/work/out",
    }
    assert warnings == []
    passed, (warning,) = passed_environment({"PATCHBAY_OUTDIR": "/elsewhere"}, guest.inside, tmp_path)
    assert passed == {}
    assert "PATCHBAY_OUTDIR=/elsewhere" in warning
