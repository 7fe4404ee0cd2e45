"""Packages as dpkg has them between unpacking and configuring."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from patchbay_runner.binaries.progress import Cancellation, Cancelled
from patchbay_runner.errors import HostError
from patchbay_runner.vm.image import apt as apts
from patchbay_runner.vm.image.apt import find_apt
from patchbay_runner.vm.image.tools import run
from patchbay_runner.vm.image.unpack import unpack
from tests.unit.binaries_support import Told, task


def package(directory: Path, name: str, files: dict[str, str], fields: str = "", scripts: str = "") -> Path:
    tree = directory / name
    (tree / "DEBIAN").mkdir(parents=True)
    for path, content in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(content)
    control = f"Package: {name}\nVersion: 1:2-3\nArchitecture: amd64\nMaintainer: me <me@example.org>\n{fields}"
    (tree / "DEBIAN/control").write_text(f"{control}Description: a test\n of more than a line\n")
    if scripts:
        (tree / "DEBIAN/postinst").write_text(scripts)
        (tree / "DEBIAN/postinst").chmod(0o755)
    if (tree / "etc").exists():
        (tree / "DEBIAN/conffiles").write_text("".join(f"/{path}\n" for path in files if path.startswith("etc/")))
    made = directory / f"{name}_1%3a2-3_amd64.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", "-Znone", tree, made], check=True, capture_output=True)
    return made


def test_packages_lie_unpacked_with_what_dpkg_knows_of_them(tmp_path: Path) -> None:
    files = {"etc/tool.conf": "a=1", "usr/bin/tool": "tool", "usr/share/doc/tool/README": "read", "lib/old": "old"}
    tool = package(tmp_path, "tool", files, "Multi-Arch: same\n", "#!/bin/sh\nexit 1\n")
    kernel = package(tmp_path, "linux-image-1", {"boot/vmlinuz-1": "kernel"}, scripts="#!/bin/sh\nexit 1\n")
    tree = tmp_path / "tree"
    tree.mkdir()
    assert unpack([tool], kernel, tree, task()) == []
    assert (tree / "usr/bin/tool").read_text() == "tool"
    assert (tree / "usr/lib/old").read_text() == "old"
    assert (tree / "boot/vmlinuz-1").read_text() == "kernel"
    assert not (tree / "usr/share/doc/tool/README").exists()
    database = tree / "var/lib/dpkg"
    assert sorted(path.name for path in (database / "info").iterdir()) == [
        "format",
        "tool:amd64.conffiles",
        "tool:amd64.list",
        "tool:amd64.postinst",
    ]
    assert {"/.", "/usr/bin/tool", "/etc/tool.conf"} <= set((database / "info/tool:amd64.list").read_text().split("\n"))
    shown = ["dpkg-query", f"--admindir={database}", "--show", "-f=${Package} ${Version} ${Status}\n${Conffiles}"]
    told = subprocess.run(shown, check=True, capture_output=True, text=True).stdout
    assert told.splitlines()[0] == "tool 1:2-3 install ok unpacked"
    assert f" /etc/tool.conf {hashlib.md5(b'a=1').hexdigest()}" in told


MEMBERS = ("debian-binary", "control.tar", "data.tar")


def member_of(path: Path) -> bytes:
    """A file in an archive of ar's: name, time, owner, group, mode and size, then what it holds."""
    content = path.read_bytes()
    return b"%-16s%-12d%-6d%-6d%-8s%-10d`\n%s" % (path.name.encode(), 0, 0, 0, b"100644", len(content), content)


def test_owners_are_noted_for_who_may_give_files_away(tmp_path: Path) -> None:
    tree = tmp_path / "own"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        "Package: own\nVersion: 1\nArchitecture: all\nMaintainer: me <me@example.org>\nDescription: a test\n"
    )
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin/set").touch()
    # dpkg-deb takes the archive as it is: tar says whom the files belong to.
    made = tmp_path / "own_1_all.deb"
    for member, place, options in (
        ("control.tar", tree / "DEBIAN", []),
        ("data.tar", tree, ["--exclude=./DEBIAN", "--owner=:7", "--group=:42", "--mode=2750"]),
    ):
        packed = ["tar", "-cf", tmp_path / member, "--numeric-owner", *options, "-C", place, "."]
        subprocess.run(packed, check=True)
    (tmp_path / "debian-binary").write_text("2.0\n")
    made.write_bytes(b"!<arch>\n" + b"".join(member_of(tmp_path / name) for name in MEMBERS))
    root = tmp_path / "root"
    root.mkdir()
    kernel = package(tmp_path, "kernel", {"boot/vmlinuz-1": "kernel"})
    assert "chown -h 7:42 '/usr/bin/set' && chmod 2750 '/usr/bin/set'" in unpack([made], kernel, root, task())


def test_a_damaged_package_is_named(tmp_path: Path) -> None:
    kernel = package(tmp_path, "kernel", {"boot/vmlinuz-1": "kernel"})
    damaged = package(tmp_path, "damaged", {"usr/bin/a": "a" * 5000})
    damaged.write_bytes(damaged.read_bytes()[:-3000])
    tree = tmp_path / "tree"
    tree.mkdir()
    with pytest.raises(HostError, match=r"cannot unpack damaged_1%3a2-3_amd64\.deb"):
        unpack([damaged], kernel, tree, task())


def test_a_tool_that_fails_says_why() -> None:
    told = Told()
    with pytest.raises(HostError, match=r"sh failed with exit code 3:\n  │ on its way\n  │ no more"):
        run(["sh", "-c", "echo on its way; echo no more >&2; exit 3"], task(told), "sh")
    assert told.lines == ["on its way", "no more"]


def test_a_tool_ends_with_the_work(tmp_path: Path) -> None:
    cancelled = Cancellation()

    def call_off(_line: str) -> None:
        cancelled.set()

    with pytest.raises(Cancelled):
        run(["sh", "-c", "echo at work; sleep 1000"], task(cancelled=cancelled), "sh", heard=call_off)


def test_a_host_without_apt_is_told_what_else_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("patchbay_runner.vm.image.tools._PATH", str(tmp_path))
    with pytest.raises(HostError, match="there is no apt-get, which builds images") as caught:
        find_apt(tmp_path, "x86_64", None, task())
    assert "downloads Debian's image" in caught.value.remedy


def test_a_host_without_debians_key_is_told_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apts, "KEYRING", tmp_path / "none.gpg")
    with pytest.raises(HostError, match="is not there to check packages by") as caught:
        find_apt(tmp_path, "x86_64", None, task())
    assert caught.value.remedy == "apt-get install debian-archive-keyring"


def test_a_mirror_that_is_not_there_is_what_apt_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apts, "_mirrors", lambda: ("http://127.0.0.1:1/debian", "http://127.0.0.1:1/debian-security"))
    monkeypatch.setattr(apts, "_RETRIES", 0)
    if not apts.KEYRING.exists():
        monkeypatch.setattr(apts, "KEYRING", tmp_path)
    with pytest.raises(HostError, match=r"apt-get failed with exit code 100:\n"):
        find_apt(tmp_path / "packages", "x86_64", "trixie", task())
