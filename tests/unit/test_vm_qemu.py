"""The command line of the emulator, and how directories are shared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from patchbay_runner.errors import HostError
from patchbay_runner.vm.qemu import Hardware, Kernel, arguments
from patchbay_runner.vm.share import Share
from patchbay_runner.vm.shares import mounting
from patchbay_runner.vm.state import State
from tests.unit.vm_fakes import Fakes

STATE = State(Path("/a, b/.qemu-vm/m"), Path("/tmp/s"))
HARDWARE = Hardware(
    qemu=Path("/usr/bin/qemu-system-x86_64"),
    name="m",
    architecture="x86_64",
    accelerator="kvm",
    memory_mb=512,
    processors=2,
    ssh_port=2222,
    shares=(Share("app", Path("/a, b"), "/app"), Share("work", Path("/w"), "/work", is_writable=True)),
)

# Rust's virtiofsd in one line: it listens, and its help is what ours looks at.
_VIRTIOFSD = """
import socket, sys, time
faults = open(FAULTS).read().split()
if "--help" in sys.argv:
    print("--shared-dir --sandbox" + ("" if "no-readonly" in faults else " --readonly"))
    sys.exit()
if sys.argv[sys.argv.index("--sandbox") + 1] + "-refused" in faults or "broken" in faults:
    sys.exit("cannot lock itself in")
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[sys.argv.index("--socket-path") + 1])
time.sleep(60)
"""


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fakes]:
    made = Fakes(tmp_path, monkeypatch)
    made.install("virtiofsd", _VIRTIOFSD)
    yield made
    made.end()


def after(words: list[str], option: str) -> list[str]:
    return [words[place + 1] for place, word in enumerate(words) if word == option]


def test_nothing_is_open_to_the_world_and_read_only_is_read_only() -> None:
    words = arguments(HARDWARE, STATE)
    assert after(words, "-netdev") == ["user,id=net,hostfwd=tcp:127.0.0.1:2222-:22"]
    app, work = after(words, "-fsdev")
    assert "readonly=on" in app
    assert "readonly" not in work


def test_paths_may_hold_what_means_something_to_qemu() -> None:
    words = arguments(msgspec.structs.replace(HARDWARE, seed=Path('/x,"y/seed.iso')), STATE)
    assert "path=/a,, b," in after(words, "-fsdev")[0]
    assert after(words, "-chardev")[0] == "file,id=console,path=/a,, b/.qemu-vm/m/console.log"
    files = [json.loads(text)["file"]["filename"] for text in after(words, "-blockdev")]
    assert files == ["/a, b/.qemu-vm/m/disk.qcow2", '/x,"y/seed.iso']


@pytest.mark.parametrize(
    ("architecture", "accelerator", "machine", "processor", "console"),
    [
        ("x86_64", "kvm", "q35", "host", "ttyS0"),
        ("x86_64", "tcg", "q35", "max", "ttyS0"),
        ("aarch64", "hvf", "virt", "host", "ttyAMA0"),
        ("aarch64", "tcg", "virt", "max", "ttyAMA0"),
    ],
)
def test_each_host_has_its_machine(
    architecture: str, accelerator: str, machine: str, processor: str, console: str
) -> None:
    kernel = Kernel(Path("/k"), None, "quiet")
    hardware = msgspec.structs.replace(HARDWARE, architecture=architecture, accelerator=accelerator, kernel=kernel)
    words = arguments(hardware, STATE)
    assert (after(words, "-machine"), after(words, "-cpu")) == ([machine], [processor])
    assert after(words, "-append") == [f"console={console} quiet"]
    assert "-initrd" not in words


def test_virtiofs_shares_the_memory_and_copies_share_nothing() -> None:
    by = ("virtiofs", "copy")
    shares = tuple(msgspec.structs.replace(share, by=how) for share, how in zip(HARDWARE.shares, by, strict=True))
    words = arguments(msgspec.structs.replace(HARDWARE, shares=shares), STATE)
    assert after(words, "-machine") == ["q35,memory-backend=memory"]
    assert after(words, "-object") == ["memory-backend-memfd,id=memory,size=512M,share=on"]
    assert after(words, "-fsdev") == []
    assert "vhost-user-fs-pci,chardev=app,tag=app" in words
    script = mounting(shares, "dev")
    assert "mount -t virtiofs -o ro app /app" in script
    assert "chown dev /work" in script


def shared_by(fakes: Fakes, *faults: str) -> dict[str, tuple[str, str]]:
    fakes.break_(*faults)
    machine = fakes.machine(sharing=None, virtiofsd="virtiofsd")
    machine.up()
    found = {share.guest: (share.by, share.passed_over) for share in machine.status().shares}
    machine.down()
    return found


def test_virtiofs_is_used_where_its_daemon_works(fakes: Fakes) -> None:
    found = shared_by(fakes)
    assert {by for by, _ in found.values()} == {"virtiofs"}
    assert fakes.processes("virtiofsd") == []


def test_the_daemon_may_lock_itself_in_in_another_way(fakes: Fakes) -> None:
    assert shared_by(fakes, "namespace-refused")["/work"] == ("virtiofs", "")


def test_9p_stands_in_for_a_daemon_that_does_not_work_and_it_is_said_why(fakes: Fakes) -> None:
    by, why = shared_by(fakes, "broken")["/app"]
    assert by == "9p"
    assert "cannot lock itself in" in why


def test_a_daemon_that_cannot_refuse_writing_gets_only_what_may_be_written(fakes: Fakes) -> None:
    found = shared_by(fakes, "no-readonly")
    assert [found[place][0] for place in ("/app", "/target", "/work")] == ["9p", "9p", "virtiofs"]


def test_virtiofs_that_was_asked_for_must_work(fakes: Fakes) -> None:
    fakes.break_("broken")
    with pytest.raises(HostError, match=r"cannot be shared by virtiofs: .*cannot lock itself in"):
        fakes.machine(sharing="virtiofs", virtiofsd="virtiofsd").up()
    assert fakes.processes("virtiofsd") == []
