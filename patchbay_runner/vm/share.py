"""A directory of the host in a guest."""

from __future__ import annotations

from pathlib import Path

import msgspec

from patchbay_runner.model.vm import Sharing


class Share(msgspec.Struct, frozen=True):
    """A directory of the host in the guest, and how it gets there. `passed_over` says why not in a better way."""

    tag: str
    host: Path
    guest: str
    is_writable: bool = False
    by: Sharing = "9p"
    passed_over: str = ""
