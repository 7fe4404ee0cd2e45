"""The host's port for the guest's SSH."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from patchbay_runner.errors import HostError
from patchbay_runner.vm.settings import SSH_PORT

_LISTENING = "0A"


def choose(asked: int | None) -> int:
    """The port that was asked for, else 2222, else one that is free. Raises HostError for one that is taken."""
    if asked is None:
        return SSH_PORT if _is_free(SSH_PORT) else _is_free_at_all()
    if not _is_free(asked):
        raise taken(asked)
    return asked


def taken(port: int) -> HostError:
    """What is said of a port that is not free."""
    by = holder(port)
    return HostError(f"port {port} of this host is taken{f' by {by}' if by else ''}", "leave --ssh-port out")


def holder(port: int) -> str:
    """The program that listens on a port; "" where this user may not know."""
    if sys.platform == "linux":
        return _holder_on_linux(port)
    if shutil.which("lsof") is None:
        return ""
    asked = ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    found = re.search(r"p(\d+)\nc(.+)", told)
    return f"{found[2]} (process {found[1]})" if found else ""


def _holder_on_linux(port: int) -> str:
    sockets = {f"socket:[{inode}]" for inode in _inodes(port)}
    for process in Path("/proc").glob("[0-9]*"):
        # Of other users' processes nothing can be read, and any may end at any time.
        with suppress(OSError):
            if any(str(link.readlink()) in sockets for link in (process / "fd").iterdir()):
                name = (process / "comm").read_text().strip()
                return f"{name} (process {process.name}{_project_of(process)})"
    return ""


def _project_of(process: Path) -> str:
    """A machine of another project says so in its command line."""
    found = re.search(rb"([^\0\"]+)/\.qemu-vm/([^/]+)/", (process / "cmdline").read_bytes())
    return f", the machine {found[2].decode()} of {found[1].decode(errors='replace')}" if found else ""


def _inodes(port: int) -> list[str]:
    """The listening TCP sockets of a port (proc(5), /proc/net/tcp)."""
    rows = [
        line.split()
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        if Path(table).exists()
        for line in Path(table).read_text().splitlines()[1:]
    ]
    return [row[9] for row in rows if row[3] == _LISTENING and int(row[1].rpartition(":")[2], 16) == port]


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        # As QEMU does: connections that have just ended are no hindrance.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _is_free_at_all() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
