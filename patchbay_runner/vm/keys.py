"""The key that opens the guest of one machine, and no other."""

from __future__ import annotations

import subprocess
from pathlib import Path

from patchbay_runner.errors import HostError


def private_key(keys: Path) -> Path:
    """Where the key is."""
    return keys / "id_ed25519"


def known_hosts(keys: Path) -> Path:
    """Where the guest's own key is kept once it has been seen."""
    return keys / "known_hosts"


def ensure_key(keys: Path) -> str:
    """The public key, made first where there is none. Raises HostError."""
    key, public = private_key(keys), private_key(keys).with_suffix(".pub")
    if not key.exists() or not public.exists():
        beside = keys / "new"
        for part in (beside, beside.with_suffix(".pub"), key, public):
            part.unlink(missing_ok=True)
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "patchbay-vm", "-f", str(beside)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            raise HostError(f"cannot make a key in {keys}: {(done.stderr or done.stdout).strip()}")
        beside.with_suffix(".pub").replace(public)
        beside.replace(key)
    return public.read_text().strip()
