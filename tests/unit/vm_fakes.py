"""Stand-ins for QEMU, qemu-img, ssh and ssh-keygen, which behave as the tests of a machine tell them.

The fake emulator is a process of its own with a QMP socket and a port that says "SSH-"; the fake ssh runs nothing.
What they are to do wrong stands in the file `faults`, one word a line.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from patchbay_runner.model.vm import MachineOptions
from patchbay_runner.vm.image.records import Image
from patchbay_runner.vm.machine import Machine, Supply
from patchbay_runner.vm.settings import Settings, resolve

if TYPE_CHECKING:
    import pytest

_QEMU = """
import json, os, re, socket, sys, threading, time
arguments = sys.argv[1:]
text = " ".join(arguments)
faults = open(FAULTS).read().split()
def fail(line, code=1):
    print(line, flush=True)
    os._exit(code)
if text.endswith(",help"):
    os._exit("no-" + arguments[-1].split(",")[0] in faults)
if "-bios" in arguments and "-qmp" not in arguments:
    accelerator = arguments[arguments.index("-accel") + 1]
    if accelerator + "-aborts" in faults:
        print("kvm: failed to set MSR 0x10a", flush=True)
        os.abort()
    if accelerator + "-hangs" in faults:
        time.sleep(60)
    os._exit(33 if "isa-debug-exit" in text else 0)
port = int(re.search(r"hostfwd=tcp:127.0.0.1:(\\d+)-:22", text)[1])
qmp_path = re.search(r"unix:(\\S+),server=on", text)[1]
console = re.search(r"file,id=console,path=(.*?) -serial", text)[1].replace(",,", ",")
if "broken-image" in faults:
    fail("qemu-system: -blockdev {...}: Image is not in qcow2 format")
guest = socket.socket()
guest.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
try:
    guest.bind(("127.0.0.1", port))
except OSError:
    fail("qemu-system: Could not set up host forwarding rule 'tcp:127.0.0.1:%d-:22'" % port)
guest.listen()
control = socket.socket(socket.AF_UNIX)
control.bind(qmp_path)
control.listen()
with open(console, "w") as file:
    file.write("Linux version 6.12\\nKernel panic - not syncing: VFS: no root\\n")
state = ["io-error" if "disk-full" in faults else "running"]
def speak():
    while True:
        peer = guest.accept()[0]
        if "silent" not in faults:
            peer.sendall(b"SSH-2.0-fake\\r\\n")
        peer.close()
def die():
    time.sleep(0.3)
    fail("qemu-system: terminating")
threading.Thread(target=speak, daemon=True).start()
if "dies" in faults:
    threading.Thread(target=die, daemon=True).start()
while True:
    peer = control.accept()[0]
    lines = peer.makefile("rw")
    def say(message):
        try:
            lines.write(json.dumps(message) + "\\n")
            lines.flush()
        except OSError:
            pass
    say({"QMP": {}})
    for line in lines:
        command = json.loads(line)["execute"]
        say({"event": "SOMETHING"})
        say({"return": {"status": state[0]} if command == "query-status" else {}})
        if command == "quit" or (command == "system_powerdown" and "deaf" not in faults):
            os._exit(0)
    peer.close()
"""

_QEMU_IMG = """
import json, sys
faults = open(FAULTS).read().split()
if sys.argv[1] == "info":
    if "no-image" in faults:
        sys.exit("qemu-img: Could not open 'base': it is not a disk image")
    print(json.dumps({"format": "raw", "virtual-size": 1 << 30}))
else:
    if "no-space" in faults:
        sys.exit("qemu-img: disk.qcow2: No space left on device")
    open(sys.argv[-2], "w").write("a disk")
"""

_SSH = """
import os, re, shlex, socket, sys
text = shlex.join(sys.argv[1:])
faults = open(FAULTS).read().split()
control = re.search(r'ControlPath="([^"]+)"', text)[1]
if "-O" in sys.argv:
    what = sys.argv[sys.argv.index("-O") + 1]
    if what == "exit":
        os.unlink(control)
elif "-M" in sys.argv:
    if "no-login" in faults:
        sys.exit("dev@127.0.0.1: Permission denied (publickey).")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(control)
else:
    with open(CALLS, "a") as calls:
        calls.write(sys.argv[-1] + "\\n")
    if "id -u" in text:
        print(os.getuid())
    if "no-mount" in faults and "mount" in text:
        sys.exit("mount: unknown filesystem type '9p'")
"""

_KEYGEN = """
import sys
for suffix in ("", ".pub"):
    open(sys.argv[-1] + suffix, "w").write("ssh-ed25519 AAAA patchbay-vm\\n")
"""


def _seed(path: Path, user: str, public_key: str, hostname: str) -> Path:
    path.write_text(f"{user} {public_key} {hostname}")
    return path


class Fakes:
    """A directory of stand-ins, and machines that use them."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.bin = root / "bin"
        self.bin.mkdir()
        self.faults = root / "faults"
        self.calls = root / "calls"
        self.calls.touch()
        self._sockets: set[Path] = set()
        self.break_()
        sources = {"qemu": _QEMU, "qemu-img": _QEMU_IMG, "ssh": _SSH, "ssh-keygen": _KEYGEN}
        for name, source in sources.items():
            self.install(name, source)
        monkeypatch.setenv("PATH", f"{self.bin}:{os.environ['PATH']}")
        monkeypatch.setattr("patchbay_runner.vm.programs._VIRTIOFSD_PLACES", ())
        monkeypatch.setenv("XDG_CACHE_HOME", str(root / "cache"))

    def install(self, name: str, source: str) -> None:
        """Puts a Python program on the path."""
        program = self.bin / name
        known = f"FAULTS, CALLS = {str(self.faults)!r}, {str(self.calls)!r}\n"
        program.write_text(f"#!{sys.executable} -SE\n{known}{source}")
        program.chmod(0o755)

    def break_(self, *faults: str) -> None:
        """What goes wrong from now on, and nothing else does."""
        self.faults.write_text("\n".join(faults))

    def settings(self, project: str = "project", **said: object) -> Settings:
        """The settings of a machine of a project."""
        directory = self.root / project
        directory.mkdir(exist_ok=True)
        options = MachineOptions(**({"qemu": "qemu", "sharing": "9p", "boot_timeout_s": 20.0} | said))  # type: ignore[arg-type]
        made = resolve(options, Path(), directory)
        self._sockets.add(made.sockets)
        return made

    def machine(self, project: str = "project", **said: object) -> Machine:
        """A machine of a project."""
        return Machine(self.settings(project, **said), self.supply())

    def supply(self) -> Supply:
        """An image that is always there."""
        base = self.root / "base.raw"
        base.touch()
        return Supply(lambda _settings: Image("an image", base, "dev", settling=("settle",)), _seed)

    def processes(self, program: str = "qemu") -> list[int]:
        """The fake machines and trials that are alive; what only tells of its devices ends by itself."""
        found = []
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                words = (directory / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if os.fsencode(self.bin / program) in words and not any(word.endswith(b",help") for word in words):
                found.append(int(directory.name))
        return found

    def end(self) -> None:
        """Leaves no process behind, whatever the test did."""
        for pid in self.processes() + self.processes("virtiofsd"):
            os.kill(pid, signal.SIGKILL)
        for directory in self._sockets:
            shutil.rmtree(directory, ignore_errors=True)
