"""Sims and tests in a real machine: what people run on hosts that cannot run labs, with results on the host."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(900)
_COMMAND = str(Path(sys.executable).with_name("patchbay-vm"))
_CHECKOUT = Path(__file__).resolve().parents[2]
_SOON_S = 300.0

LONG = """
[sim]
name = "long"
[[router]]
name = "dc"
[device.d.eth0]
gateway = "dc"
[[step]]
device = "d"
cmd = ["sh", "-c", "echo begun; exec sleep 500"]
"""
# Half a second is what no machine is late by itself, and what netem must add.
IMPAIRED = """
[sim]
name = "impaired"
seed = 7
[[router]]
name = "dc"
[[router]]
name = "home"
nat = "home"
[device.server.eth0]
gateway = "dc"
[device.client.eth0]
gateway = "home"
impair = { latency_ms = 500 }

[[step-template]]
name = "ping"
action = "run"
device = "client"
cmd = ["ping", "-n", "-q", "-c", "5", "-i", "0.2", "-W", "5", "$NETSIM_IP_server"]
[step-template.captures.least_ms]
regex = 'min/avg/max/mdev = ([\\d.]+)/'

[[step]]
use = "ping"
id = "at-first"

[[step]]
action = "replug"
device = "client"
interface = "eth0"
to = "dc"

[[step]]
use = "ping"
id = "elsewhere"

[[step]]
action = "set-link-condition"
device = "client"
condition = { latency_ms = 100, loss_pct = 100 }

[[step]]
id = "lost"
device = "client"
cmd = ["sh", "-c", "! ping -n -q -c 3 -i 0.2 -W 1 $NETSIM_IP_server"]

[[step]]
action = "set-link-condition"
device = "client"

[[step]]
use = "ping"
id = "clear"

[[step]]
action = "assert"
checks = [
  "at-first.least_ms >= 499",
  "at-first.least_ms < 700",
  "elsewhere.least_ms >= 499",
  "elsewhere.least_ms < 700",
  "clear.least_ms < 200",
]
"""
PYTHON = """
import os

def test_a_laptop_reaches_a_server(lab):
    server = lab.add_device("server", lab.add_router("dc"))
    laptop = lab.add_device("laptop", lab.add_router("home", nat="home"))
    with server.tcp_reflector(9000):
        laptop.create_connection((server, 9000), timeout=30).close()

def test_of_a_word():
    assert os.environ["RUST_LOG"] == "debug"
"""
RUST = """
use std::process::Command;

#[test]
fn namespaces_are_made() {
    let done = Command::new("unshare").args(["--user", "--map-root-user", "--net", "ip", "link"]).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    assert_eq!(std::env::var("RUST_LOG").unwrap(), "debug");
}

#[test]
fn paths_of_the_host_hold() {
    assert!(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml").exists());
}

#[test]
#[ignore]
fn fails() {
    panic!("on purpose");
}
"""


class Project:
    """A project with sims, tests of Python and tests of Rust, and its machine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {**os.environ, "RUST_LOG": "debug", "QEMU_VM_MEM_MB": "1024", "QEMU_VM_CPUS": "2"}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [_COMMAND, *arguments],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0) -> str:
        with self.start(*arguments) as process:
            output, _ = process.communicate(timeout=800)
        assert process.returncode == code, output
        return output

    def read(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.root / ".patchbay-work" / "latest" / path).read_text())
        return found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Iterator[Project]:
    root = tmp_path_factory.mktemp("project")
    files = {
        "long.toml": LONG,
        "sims/impaired.toml": IMPAIRED,
        "tests/test_lab.py": PYTHON,
        "Cargo.toml": '[package]\nname = "net"\nversion = "0.1.0"\nedition = "2021"\n[workspace]\n',
        "src/lib.rs": "#[test]\nfn holds() {}\n",
        "tests/guest.rs": RUST,
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    shutil.copy(_CHECKOUT / "sims" / "ping-nat.toml", root / "sims")
    assert images.is_dir()
    made = Project(root)
    try:
        yield made
    finally:
        made.run("down")


def test_sims_of_nat_and_of_netem_pass_and_their_results_are_here(project: Project) -> None:
    output = project.run("run", "--jobs", "1", "--junit", "results.xml", "sims/")
    assert "2 passed" in output
    assert "(sims/impaired.toml)" in output
    assert " .patchbay-work/sim-" in output  # as it is called here, for people to follow
    assert project.read("ping-nat/sim.json")["status"] == "ok"
    links = project.read("impaired/sim.json")["links"]
    assert links["engine"] == "netem"
    (link,) = links["statistics"]
    assert link["name"] == "client.eth0"
    assert link["up"]["packets"] >= 13
    assert link["up"]["lost"] == link["up"]["dropped"] == 3
    assert project.read("ping-nat/results.json")["steps"]
    assert (project.root / ".patchbay-work" / "latest" / "ping-nat" / "sim.json").stat().st_uid == os.getuid()
    assert (project.root / "results.xml").read_text().count("<testcase") == 2


def test_ctrl_c_ends_the_sim_in_the_guest(project: Project) -> None:
    log = project.root / ".patchbay-work/latest/long/nodes/d/stdout.log"
    with project.start("run", "long.toml") as process:
        deadline = time.monotonic() + _SOON_S
        while not (log.exists() and "begun" in log.read_text()):
            assert process.poll() is None, process.stdout and process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=_SOON_S)
    assert process.returncode == 130, output
    assert project.read("long/sim.json")["status"] == "interrupted"


def test_pytest(project: Project) -> None:
    output = project.run("test", "--pytest", "--needs", "pytest-timeout", "tests", "--", "-v")
    assert "2 passed" in output
    failed = project.run("test", "--pytest", "--needs", "pytest-timeout", "--", "-k", "nothing_of_this_name", code=5)
    assert "deselected" in failed


@pytest.mark.skipif(shutil.which("cargo") is None, reason="no Rust here")
def test_a_crate(project: Project) -> None:
    output = project.run("test", "--cargo")
    assert "namespaces_are_made ... ok" in output
    assert "paths_of_the_host_hold ... ok" in output
    assert "2 test programs passed" in output
    failed = project.run("test", "--test", "guest", "fails", "--", "--ignored", code=101)
    assert "on purpose" in failed
    assert [path.name[:5] for path in (project.root / ".patchbay-work/binaries/tests").glob("guest*")] == ["guest"]
