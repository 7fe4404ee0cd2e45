"""What a disk's first boot reads: who may enter, and for images that are not ours, what is missing on them.

The volume is what cloud-init's data source NoCloud looks for (the label CIDATA, `meta-data` and `user-data`). The
guests of images that are built here have no cloud-init, and read `authorized_keys` from it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from patchbay_runner.vm.image.build import PACKAGES
from patchbay_runner.vm.image.iso import volume

_LABEL = "CIDATA"
# Debian's images leave them out, and labs find them when they are asked for.
_MODULES = ("sch_netem", "nf_tables")


def seed(path: Path, user: str, public_key: str, hostname: str) -> Path:
    """Writes the volume whole, or not at all. The same words make the same volume."""
    files = {
        "authorized_keys": f"{public_key.strip()}\n".encode(),
        "meta-data": meta_data(public_key, hostname).encode(),
        "user-data": user_data(user, public_key).encode(),
    }
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(volume(_LABEL, files))
    beside.replace(path)
    return path


def meta_data(public_key: str, hostname: str) -> str:
    """cloud-init does everything anew when the instance is another."""
    instance = hashlib.sha256(public_key.encode()).hexdigest()[:16]
    return f"instance-id: patchbay-{instance}\nlocal-hostname: {hostname}\n"


def user_data(user: str, public_key: str) -> str:
    """The cloud-config: JSON, which is YAML as well."""
    config = {
        "users": [
            {
                "name": user,
                "gecos": "patchbay",
                "shell": "/bin/bash",
                "lock_passwd": True,
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
                "ssh_authorized_keys": [public_key.strip()],
            }
        ],
        "ssh_pwauth": False,
        "disable_root": True,
        "package_update": True,
        "packages": list(PACKAGES),
        "runcmd": [["modprobe", "-a", *_MODULES]],
    }
    return f"#cloud-config\n{json.dumps(config, indent=1)}\n"
