"""The machine's disk: what is written lies on top of an image that stays as it is."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import msgspec

from patchbay_runner.errors import HostError
from patchbay_runner.vm.image.records import Image
from patchbay_runner.vm.state import State, read_record, write_record

_GB = 1024**3


class Origin(msgspec.Struct, frozen=True):
    """What a disk was made of. `is_settled` says whether its first boot has done all that the image asks for."""

    image: Image
    is_settled: bool = False

    def missing(self) -> list[Path]:
        """What of it has been removed since."""
        needed = (self.image.disk, self.image.kernel, self.image.initrd)
        return [path for path in needed if path is not None and not path.exists()]


def find(state: State) -> Origin | None:
    """What the machine's disk was made of; None without a disk. Raises HostError when its image is gone."""
    origin = read_record(state.origin, Origin)
    if origin is None or not state.disk.exists():
        return None
    missing = origin.missing()
    if missing:
        raise HostError(f"{missing[0]}, on which {state.disk} is based, is gone", "patchbay-vm up --recreate")
    return origin


def make(state: State, image: Image, qemu_img: Path, size_gb: int) -> Origin:
    """Makes the disk. Raises HostError, with what qemu-img says, for a broken image and for a full host."""
    info = inspect(image.disk, qemu_img)
    if info.get("backing-filename"):
        raise HostError(f"{image.disk} is itself based on {info['backing-filename']}, and that may not be there")
    size = max(size_gb * _GB, int(str(info["virtual-size"])))
    beside = state.disk.with_name(".disk.new")
    made = ["create", "-q", "-f", "qcow2", "-F", str(info["format"]), "-b", str(image.disk), str(beside), str(size)]
    _qemu_img(qemu_img, made, f"cannot make {state.disk}")
    # With the record there is a disk: without it, what lies there is made anew.
    beside.replace(state.disk)
    origin = Origin(image, is_settled=not image.settling)
    write_record(state.origin, origin)
    return origin


def inspect(image: Path, qemu_img: Path) -> dict[str, object]:
    """What qemu-img knows of an image. Raises HostError for one that it cannot read."""
    told = _qemu_img(qemu_img, ["info", "--output=json", str(image)], f"{image} is no disk image")
    found: dict[str, object] = json.loads(told)
    return found


def _qemu_img(qemu_img: Path, arguments: list[str], problem: str) -> str:
    done = subprocess.run(
        [str(qemu_img), *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        words = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise HostError(f"{problem}: {words[-1] if words else f'qemu-img: exit code {done.returncode}'}")
    return done.stdout
