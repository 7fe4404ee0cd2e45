"""`patchbay-vm run` and its neighbours: what is checked here, and what the guest is asked to do."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from patchbay_runner.cli.main import run_command
from patchbay_runner.cli.vm import guests
from patchbay_runner.cli.vm.main import patchbay_vm
from patchbay_runner.kernel.sandbox.diagnosis import host_error
from patchbay_runner.kernel.sandbox.messages import SetupFailed
from patchbay_runner.vm.environments import Packages
from tests.unit.local_guest import LocalGuest

SIM = '[sim]\nname = "a"\n[[router]]\nname = "dc"\n[device.d.eth0]\ngateway = "dc"\n'
STEP = '[[step]]\ndevice = "d"\ncmd = ["true"]\n'
patchbay_run = importlib.import_module("patchbay_runner.cli.run")
ENVIRONMENT = PurePosixPath("/environment")

Call = Callable[..., int]


class Machines:
    """A machine that is this one. `boots` counts."""

    def __init__(self, guest: LocalGuest) -> None:
        self.guest = guest
        self.boots = 0
        self.recreated = False
        self.packages: list[Packages] = []

    def of(self, _settings: Any) -> Machines:
        return self

    def up(self, *, recreate: bool, report: Any) -> LocalGuest:
        del report
        self.boots += 1
        self.recreated = recreate
        return self.guest

    def install(self, _guest: Any, packages: Packages, _cache: Path, _report: Any) -> PurePosixPath:
        self.packages.append(packages)
        return ENVIRONMENT


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    (root / "sims").mkdir(parents=True)
    (root / "sims" / "a.toml").write_text(SIM + STEP)
    monkeypatch.chdir(root)
    for name in list(os.environ):
        if name.startswith(("QEMU_", "RUST_", "PATCHBAY_", "GITHUB_")) or name in (
            "CI",
            "WORK_DIR",
            "CARGO_TARGET_DIR",
        ):
            monkeypatch.delenv(name)
    return root


@pytest.fixture
def machines(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    (tmp_path / "home").mkdir()
    guest = LocalGuest(tmp_path / "home", {project / ".patchbay-work": "/work", project: "/app"})
    made = Machines(guest)
    monkeypatch.setattr(guests, "machine_of", made.of)
    monkeypatch.setattr(guests, "install", made.install)
    return made


def call(*arguments: str) -> int:
    return run_command(arguments, patchbay_vm)


def asked(machines: Machines) -> list[str]:
    (ran,) = machines.guest.ran
    argv: list[str] = ran["argv"]
    return argv


def test_a_sim_of_the_project_runs_there(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUST_LOG", "debug")
    machines.guest.exit_code = 5
    assert call("run", "sims/a.toml") == 5
    (ran,) = machines.guest.ran
    expected = ["/environment/bin/patchbay", "run", "--no-build", "--project-root", "/app", "--work-dir", "/work"]
    assert ran["argv"] == [*expected, "--", "sims/a.toml"]
    assert ran["cwd"] == "/app"
    assert ran["env"]["RUST_LOG"] == "debug"
    assert ran["env"]["PATH"].startswith("/environment/bin:")
    assert machines.packages[0].wheels[0].name.startswith("patchbay_runner-")


def test_options_reach_it_as_they_were_written(machines: Machines) -> None:
    given = ["--timeout", "1m", "-j", "2", "--fail-fast", "--repeat=3", "--filter", "a", "--filter=b*"]
    assert call("run", *given, "--no-capture", "-v", "--json", "--shard", "1/1", "--recreate", "sims/a.toml") == 0
    expected = ["--timeout=1m", "--jobs=2", "--fail-fast", "--repeat=3", "--filter=a", "--filter=b*", "--no-capture"]
    argv = asked(machines)
    assert argv[argv.index("/work") + 1 :] == [*expected, "--verbose", "--json", "--shard=1/1", "--", "sims/a.toml"]
    assert machines.recreated


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nope.toml"], "nope.toml"),
        (["sims/wrong.toml"], 'wrong.toml:6: device.d.eth0.gateway: unknown router "cd"; expected "dc"'),
        (["sims/a.toml", "--timeout", "x"], "--timeout"),
        (["sims/a.toml", "--filter", "zzz"], "no sim is called like"),
        (["sims/a.toml", "--binary", "x:path:/bin/true"], "no sim declares a binary 'x'"),
        (["sims/a.toml", "--patchbay-version", "newest"], "is no version of patchbay"),
        (["sims/a.toml", "--patchbay-version", "path:/no/such.whl"], "there is no /no/such.whl"),
        (["sims/a.toml", "--cluster", "tcp://x:1"], "No such option"),
        (["sims/a.toml", "--bind", "127.0.0.1:0"], "--open is missing"),
        (["sims/mac.toml"], "is a program for macOS"),
    ],
)
def test_what_is_wrong_is_said_before_any_boot(
    arguments: list[str], reason: str, machines: Machines, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "sims" / "wrong.toml").write_text(SIM.replace('gateway = "dc"', 'gateway = "cd"') + STEP)
    (project / "mac").write_bytes(b"\xcf\xfa\xed\xfe" + bytes(100))
    (project / "mac").chmod(0o755)
    (project / "sims" / "mac.toml").write_text(SIM + '[[binary]]\nname = "m"\nmode = "path"\npath = "mac"\n' + STEP)
    assert call("run", *arguments) == 2
    assert reason in capsys.readouterr().err
    assert machines.boots == 0


def test_binaries_are_found_here_and_run_there(machines: Machines, project: Path, tmp_path: Path) -> None:
    for path in (project / "tool", tmp_path / "other"):
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    binaries = "".join(f'[[binary]]\nname = "{name}"\nmode = "path"\npath = "tool"\n' for name in ("x", "y"))
    (project / "sims" / "b.toml").write_text(SIM.replace('"a"', '"b"') + binaries + STEP)
    assert call("run", "sims/b.toml", "--binary", f"y:path:{tmp_path / 'other'}") == 0
    argv = asked(machines)
    assert "x:path:/app/tool" in argv
    (copied,) = [word.removeprefix("y:path:") for word in argv if word.startswith("y:path:")]
    assert Path(copied).read_text() == "#!/bin/sh\n"
    assert "--no-build" in argv


def test_junit_comes_home(machines: Machines, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(argv: list[str], **_more: Any) -> int:
        place = Path(argv[argv.index("--junit") + 1])
        (project / ".patchbay-work").mkdir()
        (project / ".patchbay-work" / place.name).write_text("<testsuites/>")
        return 1

    monkeypatch.setattr(machines.guest, "run", run)
    assert call("run", "sims/a.toml", "--junit", "out/results.xml") == 1
    assert (project / "out" / "results.xml").read_text() == "<testsuites/>"
    assert list((project / ".patchbay-work").iterdir()) == []


def test_the_page_has_the_same_address_on_both_sides(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    forwarded: list[tuple[str, int, int]] = []
    monkeypatch.setattr(machines.guest, "forward", lambda *ports: forwarded.append(("on", *ports)), raising=False)
    monkeypatch.setattr(machines.guest, "end_forward", lambda *ports: forwarded.append(("off", *ports)), raising=False)
    assert call("run", "sims/a.toml", "--open", "--bind", "127.0.0.1:0") == 0
    argv = asked(machines)
    port = int(argv[argv.index("--bind") + 1].removeprefix("127.0.0.1:"))
    assert forwarded == [("on", port, port), ("off", port, port)]
    assert "--open" in argv
    assert call("run", "sims/a.toml", "--open", "--bind", "0.0.0.0:0") == 2


def test_neighbours_pass_on_what_is_typed(machines: Machines) -> None:
    assert call("run-in", "--inspect", "x", "laptop", "ip", "-brief", "--help") == 0
    assert call("shell", "laptop") == 0
    assert call("ps", "--json") == 0
    assert [ran["argv"][1:] for ran in machines.guest.ran] == [
        ["run-in", "--inspect", "x", "laptop", "ip", "-brief", "--help"],
        ["shell", "laptop"],
        ["ps", "--json"],
    ]


def test_inspect_checks_the_file_first(machines: Machines, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("inspect", "nope.toml") == 2
    assert machines.boots == 0
    assert "nope.toml" in capsys.readouterr().err
    assert call("inspect", "sims/a.toml", "--json") == 0
    assert asked(machines)[1:] == ["inspect", "--json", "--", "sims/a.toml"]


def test_pytest_gets_what_the_project_says(machines: Machines, project: Path) -> None:
    (project / "pyproject.toml").write_text('[project]\nname = "x"\ndependencies = ["attrs"]\n')
    (project / "Cargo.toml").touch()
    assert call("test", "tests", "--", "-k", "nat") == 0
    (ran,) = machines.guest.ran
    assert ran["argv"] == ["/environment/bin/pytest", "-p", "no:cacheprovider", "tests", "-k", "nat"]
    assert (ran["cwd"], ran["env"]["PATCHBAY_OUTDIR"]) == ("/app", "/work")
    assert machines.packages[0].requirements == ("attrs", "pytest")
    assert call("test", "--needs", "hypothesis") == 0
    assert machines.packages[1].requirements == ("pytest", "hypothesis")
    assert call("test", "--pytest", "--lib") == 2


@pytest.fixture
def cargo(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace whose Cargo makes two test programs; what it was told is in the file that is returned."""
    (project / "Cargo.toml").touch()
    programs = tmp_path / "programs"
    programs.mkdir()
    script = f'#!{sys.executable}\nimport json, os, sys\nopen("{tmp_path}/said", "w").write(" ".join(sys.argv[1:]))\n'
    for name in ("one", "two"):
        (programs / name).write_text("#!/bin/sh\n")
        message = {
            "reason": "compiler-artifact",
            "manifest_path": str(project / "Cargo.toml"),
            "target": {"name": name, "kind": ["test"]},
            "profile": {"test": True},
            "executable": str(programs / name),
        }
        script += f"print(json.dumps({message!r}))\n"
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "cargo").write_text(script)
    (tools / "cargo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("RUST_TARGET", "x86_64-unknown-linux-musl")
    return tmp_path / "said"


def test_tests_of_rust_run_one_after_the_other_until_one_fails(machines: Machines, project: Path, cargo: Path) -> None:
    flags = ["-p", "net", "--test", "nat", "--lib", "-F", "x", "--release", "-j", "3"]
    assert call("test", *flags, "tcp", "--", "--test-threads=4") == 0
    assert cargo.read_text().endswith("--package net --test nat --features x --jobs 3 --lib --release")
    assert [(ran["argv"], ran["cwd"]) for ran in machines.guest.ran] == [
        (["/work/binaries/tests/one", "tcp", "--test-threads=4"], "/app"),
        (["/work/binaries/tests/two", "tcp", "--test-threads=4"], "/app"),
    ]
    assert sorted(path.name for path in (project / ".patchbay-work/binaries/tests").iterdir()) == ["one", "two"]
    machines.guest.ran.clear()
    machines.guest.exit_code = 101
    assert call("test") == 101
    assert len(machines.guest.ran) == 1
    assert call("test", "--no-fail-fast") == 101
    assert len(machines.guest.ran) == 3


def test_run_with_vm_is_the_same(machines: Machines, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["run", "--vm", "-v", "sims/a.toml"]) == 0
    assert asked(machines)[-3:] == ["--verbose", "--", "sims/a.toml"]
    assert run_command(["run", "--vm", "--cluster", "tcp://x:1"]) == 2
    assert "No such option" in capsys.readouterr().err


def test_hosts_that_cannot_are_led_to_the_machine(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    del project

    def refuse(*_arguments: Any) -> None:
        raise host_error(SetupFailed("unshare user", errno.EPERM))

    with monkeypatch.context() as patch:
        patch.setattr(patchbay_run.Zygote, "start", refuse)
        assert run_command(["run", "sims/a.toml"]) == 4
    assert "\n  or: patchbay run --vm, in a virtual machine\n" in capsys.readouterr().err
    monkeypatch.setattr(sys, "platform", "darwin")
    assert run_command(["inspect", "sims/a.toml"]) == 4
    assert "patchbay-vm inspect" in capsys.readouterr().err
