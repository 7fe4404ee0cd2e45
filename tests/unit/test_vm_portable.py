"""`patchbay-vm` is for hosts that are not Linux: nothing on its way imports what only Linux has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from patchbay_runner.cli.vm.main import COMMANDS

# macOS has neither pyroute2's netlink nor inotify, nor anything that our own kernel layer is about.
_PROGRAM = """
import importlib.abc, sys
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        ours = ("patchbay_runner.kernel", "patchbay_runner.lab", "patchbay_runner.executor")
        if any(name == each or name.startswith(each + ".") for each in ("pyroute2", "inotify_simple", *ours)):
            raise ImportError(name + " is not for this system")
sys.meta_path.insert(0, Blocked())
sys.platform = "darwin"
from patchbay_runner.cli.main import run_command
from patchbay_runner.cli.vm.main import patchbay_vm
for arguments in ARGUMENTS:
    assert run_command(arguments, patchbay_vm) == 0, arguments
"""


def test_every_command_can_be_imported_without_linux(tmp_path: Path) -> None:
    helps = [["--version"], *([command, "--help"] for command in COMMANDS), ["status"]]
    program = f"ARGUMENTS = {helps!r}\n{_PROGRAM}"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
