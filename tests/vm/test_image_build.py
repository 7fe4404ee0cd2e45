"""Images that are really built, whole, killed on the way and on a full disk."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from patchbay_runner.vm.image.store import Store
from tests.unit.binaries_support import task
from tests.vm.conftest import VM

pytestmark = pytest.mark.timeout(900)
# A build writes several hundred megabytes.
_SMALL_MB = 40


def test_an_image_is_a_disk_that_belongs_to_those_whom_debian_gives_it(images: Path) -> None:
    record = json.loads((images / "image.json").read_text())
    assert (record["name"], record["suite"]) == (images.name, "trixie")
    assert (images / "vmlinuz").stat().st_size > 1 << 20
    assert (images / "initrd").read_bytes().startswith(b"070701")
    checked = subprocess.run(["/usr/sbin/e2fsck", "-fn", images / "disk.raw"], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert stat(images, "/etc/shadow") == ("0640", 0, 42)
    assert stat(images, "/usr/bin/sudo") == ("04755", 0, 0)
    assert stat(images, "/home/dev/.bashrc") == ("0644", 1000, 1000)
    assert stat(images, "/usr/lib/patchbay/start") == ("0755", 0, 0)


def test_no_two_machines_have_the_same_key(images: Path) -> None:
    listed = debugfs(images, "ls /etc/ssh")
    assert "sshd_config" in listed
    assert "ssh_host" not in listed


def test_a_build_that_is_killed_leaves_nothing_that_looks_whole(images: Path) -> None:
    root = images.parent.parent
    with subprocess.Popen(
        [VM, "image", "build"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as build:
        assert build.stderr is not None
        assert any("configuring" in line for line in build.stderr)
        time.sleep(0.5)  # somewhere on its way
        build.kill()
    (left,) = root.glob("building-*")
    await_nobody(str(left))
    assert [each["name"] for each in json.loads(run("image", "list", "--json"))] == [images.name]
    # Whoever takes the lock next sweeps.
    with Store(root).lock(task()):
        assert list(root.glob("building-*")) == []


@pytest.fixture
def small_disk(images: Path, tmp_path: Path) -> Iterator[list[str]]:
    """What runs a command whose images are on a disk of little room, in namespaces of its own."""
    place = tmp_path / "patchbay/qemu-images"
    place.mkdir(parents=True)
    script = f'mount -t tmpfs -o size={_SMALL_MB}m small "$1" && ln -s "$2" "$1/packages" && shift 2 && exec "$@"'
    packages = str((images.parent.parent / "packages").resolve())
    user = ["--user", "--map-root-user"] if os.getuid() else []
    yield ["unshare", *user, "--mount", "sh", "-c", script, "sh", str(place), packages]


def test_a_full_disk_is_named(small_disk: list[str], tmp_path: Path) -> None:
    environment = os.environ | {"XDG_DATA_HOME": str(tmp_path)}
    command = [*small_disk, VM, "image", "build"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 4, done.stderr
    assert "No space left on device" in done.stderr


def run(*arguments: str) -> str:
    done = subprocess.run([VM, *arguments], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def debugfs(images: Path, request: str) -> str:
    command = ["/usr/sbin/debugfs", "-R", request, str(images / "disk.raw")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def stat(images: Path, path: str) -> tuple[str, int, int]:
    """Mode, user and group of a file in the image."""
    told = debugfs(images, f"stat {path}")
    mode, user, group = (re.search(rf"{name}: +(\d+)", told) for name in ("Mode", "User", "Group"))
    assert mode and user and group, told
    return mode[1], int(user[1]), int(group[1])


def await_nobody(mark: str) -> None:
    """Returns when no living process has `mark` on its command line."""
    deadline = time.monotonic() + 30
    while mark in subprocess.run(["ps", "-eww", "-o", "args="], capture_output=True, text=True, check=True).stdout:
        assert time.monotonic() < deadline, mark
        time.sleep(0.1)
