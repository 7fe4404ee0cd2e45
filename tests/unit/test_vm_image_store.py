"""Where images are kept, and the commands that list and remove them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from patchbay_runner.cli.vm.image import image
from patchbay_runner.errors import HostError
from patchbay_runner.vm.image.records import FORMAT, Built
from patchbay_runner.vm.image.store import Store, images_root
from tests.unit.binaries_support import Told, task


def keep(store: Store, name: str, *, age_s: float = 0.0, format_: int = FORMAT) -> Path:
    with store.lock(task()), store.building() as place:
        made = place / "made"
        made.mkdir()
        for part in ("disk.raw", "vmlinuz", "initrd"):
            (made / part).write_bytes(part.encode() * 2000)
        return store.keep(made, Built(format_, name, "x86_64", "trixie", (), "6.12", time.time() - age_s))


def test_the_newest_image_that_this_version_understands_is_used(tmp_path: Path) -> None:
    store = Store(tmp_path / "images")
    assert store.newest("x86_64") is None
    keep(store, "older", age_s=60)
    keep(store, "newer", age_s=30)
    keep(store, "of-tomorrow", format_=FORMAT + 1)
    found = store.newest("x86_64")
    assert found is not None
    assert (found.name, found.user, found.settling) == ("newer", "dev", ())
    assert found.disk.read_bytes() == b"disk.raw" * 2000
    assert store.newest("aarch64") is None


def test_half_an_image_is_none(tmp_path: Path) -> None:
    store = Store(tmp_path / "images")
    (keep(store, "one") / "image.json").unlink()
    assert store.newest("x86_64") is None


def test_what_a_killed_build_left_goes_with_the_next(tmp_path: Path) -> None:
    store = Store(tmp_path / "images")
    left = store.root / "building-1234"
    left.mkdir(parents=True)
    (left / "tree").touch()
    keep(store, "one")
    assert sorted(path.name for path in store.root.iterdir()) == ["built", "lock"]


def test_a_place_that_cannot_be_written_to_is_the_hosts_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match="cannot keep images in"), Store(tmp_path / "file" / "images").lock(task()):
        pass


def test_a_build_waits_for_another(tmp_path: Path) -> None:
    store, told = Store(tmp_path / "images"), Told()

    class Impatient(Exception):
        pass

    waiting = task(told)

    def give_up(_duration_s: float) -> None:
        raise Impatient

    waiting.pause = give_up  # type: ignore[method-assign]
    with store.lock(task()), pytest.raises(Impatient), store.lock(waiting):
        pass
    assert told.notes == ["tool: another build is at work; waiting for its end"]


def test_relative_data_directories_are_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert images_root({"XDG_DATA_HOME": "here"}) == tmp_path / ".local/share/patchbay/qemu-images"
    assert images_root({"XDG_DATA_HOME": "/data"}) == Path("/data/patchbay/qemu-images")


def test_images_are_listed_and_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    store = Store(images_root({"XDG_DATA_HOME": str(tmp_path)}))
    run = CliRunner().invoke
    assert "no image was built" in run(image, ["list"]).output
    keep(store, "first", age_s=20)
    second = keep(store, "second", age_s=10)
    assert [line.split()[0] for line in run(image, ["list"]).stdout.splitlines()] == ["first", "second"]
    listed = json.loads(run(image, ["list", "--json"]).stdout)
    assert [(each["name"], each["kernel"], each["bytes"] > 0) for each in listed] == [
        ("first", "6.12", True),
        ("second", "6.12", True),
    ]
    refused = run(image, ["remove", "frist"])
    assert refused.exit_code == 2
    assert "there is no image frist" in refused.output
    assert run(image, ["remove"]).exit_code == 2
    assert run(image, ["remove", "first"]).stdout.startswith("removed 1 thing, ")
    assert [place for _, place in store.built()] == [second]
    assert run(image, ["remove", "--all"]).exit_code == 0
    assert store.built() == []
