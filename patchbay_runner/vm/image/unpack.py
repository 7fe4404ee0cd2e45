"""Packages unpacked into a file tree, as dpkg has it before it configures them. Nothing of them is run."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from patchbay_runner.binaries.progress import Task
from patchbay_runner.errors import HostError
from patchbay_runner.vm.image.tools import environment, require

# Not in the guest, whatever package brings it; dpkg there is told the same.
EXCLUDED = (
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/lintian/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
    "/usr/lib/modules/*/kernel/sound/*",
    *(
        f"/usr/lib/modules/*/kernel/drivers/{kind}/*"
        for kind in ("gpu", "hwmon", "iio", "infiniband", "media", "mtd", "net/ethernet", "net/wireless", "scsi")
    ),
    *(f"/usr/lib/modules/*/kernel/drivers/{kind}/*" for kind in ("staging", "usb", "video")),
)
# Merged in every Debian that there are images of; packages of the older one still use the former names.
_MERGED = ("bin", "lib", "sbin")
_DPKG = Path("var/lib/dpkg")
# tar -vv --numeric-owner: mode, uid/gid, size or device, date, time, path
_LISTED = re.compile(r"^(\S{10}) (\d+)/(\d+) +\S+ +\S+ \S+ \./?(.*?)( -> .*| link to .*)?$")


def unpack(archives: Sequence[Path], unlisted: Path, tree: Path, task: Task) -> list[str]:
    """Fills `tree`. What is returned are the commands, for a root shell in it, that give files to others than root.

    dpkg in the tree is not told of the package `unlisted`, so that it configures everything but that.
    Files belong to the calling user. Raises HostError for a package that is damaged.
    """
    for name in _MERGED:
        (tree / "usr" / name).mkdir(parents=True, exist_ok=True)
        (tree / name).symlink_to(f"usr/{name}")
    (tree / "usr/lib64").mkdir()
    (tree / "lib64").symlink_to("usr/lib64")
    for name in ("info", "updates", "triggers"):
        (tree / _DPKG / name).mkdir(parents=True, exist_ok=True)
    (tree / _DPKG / "info/format").write_text("1\n")
    (tree / _DPKG / "available").touch()
    # The newer base-files brings the links of merged directories itself, and nobody may be on his way through one then.
    first, rest = [path for path in archives if _is_base(path)], [path for path in archives if not _is_base(path)]
    unpacked = [_unpack_one(archive, tree, task) for archive in first]
    _extract(unlisted, tree)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for archive, done in zip(rest, pool.map(lambda path: _unpack_one(path, tree, task), rest), strict=True):
            task.said(archive.name.partition("_")[0])
            unpacked.append(done)
    (tree / _DPKG / "status").write_text("\n".join(entry for entry, _ in unpacked))
    return [command for _, owners in unpacked for command in owners]


def _is_base(archive: Path) -> bool:
    return archive.name.startswith("base-files_")


def _unpack_one(archive: Path, tree: Path, task: Task) -> tuple[str, list[str]]:
    """The package's entry in dpkg's list, and the commands about owners."""
    task.check()
    listing = _extract(archive, tree)
    matches = [match for match in map(_LISTED.match, listing) if match]
    control = tree / _DPKG / "info" / f".{archive.name}"
    _call([require("dpkg-deb", "dpkg"), "--control", str(archive), str(control)])
    entry, name = _entry((control / "control").read_text())
    for part in control.iterdir():
        if part.name != "control":
            part.replace(tree / _DPKG / "info" / f"{name}.{part.name}")
    shutil.rmtree(control)
    paths = ["/" + match[4].rstrip("/") for match in matches]
    (tree / _DPKG / "info" / f"{name}.list").write_text("".join(f"{'/.' if path == '/' else path}\n" for path in paths))
    return entry + _conffiles(tree, name), [_owner(match) for match in matches if (match[2], match[3]) != ("0", "0")]


def _extract(archive: Path, tree: Path) -> list[str]:
    """What tar tells of the files that it has written."""
    words = [f"--exclude=.{pattern}" for pattern in EXCLUDED]
    options = ["--extract", "-vv", "--quoting-style=literal", "--numeric-owner", "--no-same-owner", "-p"]
    tar = [require("tar", "tar"), *options, "--keep-directory-symlink", "--directory", str(tree), *words]
    with subprocess.Popen(
        [require("dpkg-deb", "dpkg"), "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as reader:
        done = subprocess.run(tar, stdin=reader.stdout, capture_output=True, env=environment(), check=False)
        assert reader.stderr is not None
        complaint = reader.stderr.read() or done.stderr
    if done.returncode or reader.returncode:
        raise HostError(f"cannot unpack {archive.name}: {complaint.decode(errors='replace').strip()}")
    return done.stdout.decode(errors="surrogateescape").splitlines()


def _entry(control: str) -> tuple[str, str]:
    """A package as dpkg's list has it while it is unpacked, and what its files there are called."""
    fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", control, re.MULTILINE))
    name = fields["Package"]
    if fields.get("Multi-Arch") == "same":
        name += f":{fields['Architecture']}"
    return control.strip().replace("\n", "\nStatus: install ok unpacked\n", 1) + "\n", name


def _conffiles(tree: Path, name: str) -> str:
    """The files whose changes dpkg keeps, with what they are now."""
    listed = tree / _DPKG / "info" / f"{name}.conffiles"
    if not listed.exists():
        return ""
    paths = [line for line in listed.read_text().splitlines() if line.startswith("/")]
    sums = (hashlib.md5((tree / path[1:]).read_bytes(), usedforsecurity=False).hexdigest() for path in paths)
    return "Conffiles:\n" + "".join(f" {path} {digest}\n" for path, digest in zip(paths, sums, strict=True))


def _owner(match: re.Match[str]) -> str:
    """chown takes the set-id bits away."""
    special = {3: ("s", "S", 4000), 6: ("s", "S", 2000), 9: ("t", "T", 1000)}
    bits = sum(bit for place, (small, large, bit) in special.items() if match[1][place] in (small, large))
    plain = sum(
        value
        for place, value in zip(range(1, 10), (400, 200, 100, 40, 20, 10, 4, 2, 1), strict=True)
        if match[1][place] not in "-ST"
    )
    return f"chown -h {match[2]}:{match[3]} '/{match[4]}' && chmod {bits + plain} '/{match[4]}'"


def _call(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise HostError(f"{Path(command[0]).name}: {done.stderr.strip()}")
