"""What a first boot reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from patchbay_runner.vm.image.build import PACKAGES
from patchbay_runner.vm.image.iso import volume
from patchbay_runner.vm.image.seed import meta_data, seed, user_data

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI patchbay-vm"
_SECTOR = 2048


def files_of(data: bytes) -> dict[str, bytes]:
    """The files of a volume, read as ECMA-119 has them, from the number sizes of the other byte order."""
    descriptor = data[16 * _SECTOR : 17 * _SECTOR]
    assert descriptor[:7] == b"\x01CD001\x01"
    assert int.from_bytes(descriptor[84:88], "big") * _SECTOR == len(data)
    root = descriptor[156:190]
    at, size = int.from_bytes(root[6:10], "big") * _SECTOR, int.from_bytes(root[14:18], "big")
    found = {}
    directory = data[at : at + size]
    while directory and directory[0]:
        record, directory = directory[: directory[0]], directory[directory[0] :]
        name = record[33 : 33 + record[32]].decode("latin-1")
        begin, length = int.from_bytes(record[6:10], "big") * _SECTOR, int.from_bytes(record[14:18], "big")
        if name not in ("\0", "\1"):
            found[name.removesuffix(";1").lower()] = data[begin : begin + length]
    return found


def test_a_volume_holds_files_as_they_are() -> None:
    files = {"meta-data": b"short", "user-data": b"long" * 5000, "empty": b""}
    data = volume("CIDATA", files)
    assert files_of(data) == files
    assert data[16 * _SECTOR + 40 : 16 * _SECTOR + 72].rstrip() == b"CIDATA"
    assert len(data) % _SECTOR == 0


def test_a_directory_that_would_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="so many files"):
        volume("CIDATA", {f"file-{place}": b"" for place in range(100)})


def test_the_seed_has_what_cloud_init_looks_for(tmp_path: Path) -> None:
    found = files_of(seed(tmp_path / "seed.iso", "dev", f"{KEY}\n", "machine").read_bytes())
    assert found["authorized_keys"] == f"{KEY}\n".encode()
    assert found["meta-data"].decode() == meta_data(f"{KEY}\n", "machine")
    assert yaml.safe_load(found["meta-data"])["local-hostname"] == "machine"
    assert found["user-data"].startswith(b"#cloud-config\n")
    assert [path.name for path in tmp_path.iterdir()] == ["seed.iso"]


def test_nobody_has_a_password_and_one_key_opens() -> None:
    config = yaml.safe_load(user_data("me", KEY))
    (user,) = config["users"]
    assert (user["name"], user["lock_passwd"], user["ssh_authorized_keys"]) == ("me", True, [KEY])
    assert config["ssh_pwauth"] is False
    assert set(PACKAGES) <= set(config["packages"])
    assert json.loads(user_data("me", KEY).partition("\n")[2]) == config


def test_another_key_is_another_instance() -> None:
    assert meta_data(KEY, "machine") == meta_data(KEY, "machine")
    assert meta_data(KEY, "machine") != meta_data("ssh-ed25519 BBBB", "machine")
