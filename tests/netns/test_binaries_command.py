"""`patchbay prepare` and `patchbay run` with programs that are downloaded and built, as a person uses them."""

from __future__ import annotations

import hashlib
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.support.running import Project, finish
from tests.netns.support.sandbox_inside import wait_until
from tests.serving import Site, serving
from tests.unit.binaries_support import commit_all, git

TOOL = b"#!/bin/sh\necho fetched\n"
USES = """
[[step]]
id = "{0}"
device = "client"
cmd = ["${{binary.{0}}}"]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Project(tmp_path)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as found:
        yield found


def patchbay(project: Project, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "patchbay_runner", *map(str, arguments)]
    return subprocess.run(
        command,
        cwd=project.root,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def crate(path: Path) -> Path:
    (path / "src").mkdir(parents=True)
    (path / "Cargo.toml").write_text('[package]\nname = "demo"\nversion = "0.1.0"\nedition = "2021"\n')
    (path / "src" / "main.rs").write_text('fn main() { println!("built"); }\n')
    git(path, "init", "-q", "-b", "main")
    commit_all(path)
    return path


def said(project: Project, sim: str, step: str) -> str:
    return (project.latest / f"{sim}/nodes/client/{step}.stdout.log").read_text()


def test_programs_are_fetched_and_built_before_a_run_that_then_needs_nobody(project: Project, site: Site) -> None:
    source = crate(project.root / "source")
    url = site.put("/tool", TOOL)
    digest = hashlib.sha256(TOOL).hexdigest()
    declared = f'[[binary]]\nname = "tool"\nurl = "{url}"\nsha256 = "{digest}"\n'
    declared += f'[[binary]]\nname = "demo"\nrepo = "file://{source}"\nbin = "demo"\n'
    declared += f'[[binary]]\nname = "again"\nurl = "{url}"\n'
    sim = project.sim("programs", declared + "".join(map(USES.format, ("tool", "demo", "again"))))
    prepared = patchbay(project, "prepare", sim)
    assert prepared.returncode == 0, prepared.stderr
    assert prepared.stderr.count(f": downloaded {url}\n") == 1, "two names of one file"
    assert "demo: built bin demo of file://" in prepared.stderr
    assert [line.split()[0] for line in prepared.stdout.splitlines()] == ["tool", "demo", "again"]
    assert not project.latest.exists()

    shutil.rmtree(source)
    site.put("/tool", status=500)
    ended = project.run(sim)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert [said(project, "programs", step) for step in ("tool", "demo", "again")] == [
        "fetched\n",
        "built\n",
        "fetched\n",
    ]
    assert ended.stderr.count("warning: ") == 2
    assert "what it gave on" in ended.stderr
    assert "of the last fetch is used" in ended.stderr


def test_the_project_is_built_first_unless_told_otherwise(project: Project) -> None:
    crate(project.root / "app")
    declared = '[[prepare]]\nbins = ["demo"]\n[[binary]]\nname = "demo"\npath = "target:demo"\n'
    sim = project.sim("prepared", declared + USES.format("demo"))
    arguments = (sim, "--project-root", project.root / "app")
    refused = project.run(*arguments, "--no-build")
    assert refused.returncode == 2
    assert "there is no" in refused.stderr
    assert not project.latest.exists()
    ended = project.run(*arguments)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert said(project, "prepared", "demo") == "built\n"
    assert project.run(*arguments, "--no-build").returncode == 0


def test_what_cannot_be_had_is_told_with_its_line_and_nothing_runs(project: Project, site: Site) -> None:
    sim = project.sim("broken", f'[[binary]]\nname = "tool"\nurl = "{site.url}/tool"\n' + USES.format("tool"))
    line = sim.read_text().splitlines().index("[[binary]]") + 1
    ended = project.run(sim)
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        f"broken.toml:{line}: binary.tool: {site.url}/tool answers 404 Not Found; expected a file to download",
        "nothing was run",
    ]
    assert not project.latest.exists()
    assert project.run(sim, "--binary", "tool:path:/bin/true").returncode == 0
    wrong = project.run(sim, "--binary", "tool:put:x")
    assert wrong.returncode == 2
    assert "unknown mode 'put'" in wrong.stderr


def test_a_command_that_is_nowhere_is_found_before_anything_runs(project: Project) -> None:
    steps = '[[binary]]\nname = "transfer"\npath = "/bin/true"\n'
    steps += '[[step]]\ndevice = "client"\ncmd = ["no-such-program"]\n[[step]]\ndevice = "client"\ncmd = ["transfer"]\n'
    sim = project.sim("nowhere", steps)
    lines = sim.read_text().splitlines()
    first = lines.index("[[step]]") + 1
    ended = project.run(sim)
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        f"nowhere.toml:{first}: cmd: there is no program 'no-such-program' on PATH; "
        "expected a program of this machine, or a [[binary]]",
        f"""nowhere.toml:{first + 3}: cmd: there is no program 'transfer' on PATH; """
        'expected the binary as "${binary.transfer}"',
        "nothing was run",
    ]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_download_is_gone_on_with(project: Project, site: Site, signum: signal.Signals) -> None:
    body = TOOL + b"#" * 2_000_000
    go_on = threading.Event()
    url = site.put("/tool", body, chunk=1_000_000, go_on=go_on)
    sim = project.sim("slow", f'[[binary]]\nname = "tool"\nurl = "{url}"\n' + USES.format("tool"))
    process = project.start(sim)
    downloads = project.root / "cache/patchbay/downloads"
    wait_until(lambda: any(part.stat().st_size > 500_000 for part in downloads.glob("*.part")))
    process.send_signal(signum)
    # What is sent before it has taken the signal in would be the whole of it.
    threading.Timer(0.5, go_on.set).start()
    ended = finish(process)
    assert ended.returncode == 130, ended.stderr
    assert ended.stderr.endswith("interrupted\n")
    assert not project.latest.exists()
    ended = project.run(sim)
    assert ended.returncode == 0, ended.stderr
    assert "going on at " in ended.stderr
    assert site.sent[-1] < len(body)


def test_a_terminal_shows_bars_and_keeps_lines(project: Project, site: Site) -> None:
    url = site.put("/tool", TOOL + b"#" * 3_000_000, chunk=300_000)
    sim = project.sim("drawn", f'[[binary]]\nname = "tool"\nurl = "{url}"\n' + USES.format("tool"))
    command = [sys.executable, "-m", "patchbay_runner", "run", str(sim)]
    shown = _in_terminal(command, project.root)
    assert "3.0 MB" in shown
    assert f"tool: downloaded {url}" in shown
    assert "1 passed" in shown
    assert said(project, "drawn", "tool") == "fetched\n"


def _in_terminal(command: list[str], cwd: Path) -> str:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "160"},
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    shown = b""
    try:
        while chunk := _read(leader):
            shown += chunk
        assert process.wait(60) == 0, shown
    finally:
        os.close(leader)
        process.kill()
        process.wait()
    return shown.decode()


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 1 << 16)
    except OSError:  # EIO: nobody has the terminal open any more
        return b""


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user may enter. pytest closes its own, again whenever another session starts."""
    with tempfile.TemporaryDirectory(prefix="patchbay-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be sudo")
def test_under_sudo_the_cache_belongs_to_the_calling_user(open_directory: Path, site: Site) -> None:
    root = open_directory
    home = root / "home"
    home.mkdir()
    os.chown(home, 1000, 1001)
    app = crate(root / "app")
    for path in (app, *app.rglob("*")):
        os.chown(path, 1000, 1001)
    declared = f'[[binary]]\nname = "tool"\nurl = "{site.put("/tool", TOOL)}"\n'
    declared += '[[binary]]\nname = "demo"\nrepo = "app"\nbin = "demo"\n'
    declared += '[[binary]]\nname = "here"\nmode = "build"\npath = "app"\nbin = "demo"\n'
    project = Project(root)
    sim = project.sim("sudo", declared + "".join(map(USES.format, ("tool", "demo", "here"))))
    # The user's own cargo: root's may lie where nobody else looks.
    environment = {"SUDO_UID": "1000", "SUDO_GID": "1001", "HOME": str(home), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    ended = project.run(sim, XDG_CACHE_HOME=str(home / "cache"), CARGO_HOME=str(home / "cargo"), **environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert [said(project, "sudo", step) for step in ("tool", "demo", "here")] == ["fetched\n", "built\n", "built\n"]
    paths = [home / "cache", *(home / "cache").rglob("*"), app / "target", *(app / "target").rglob("*")]
    assert len(paths) > 50
    for path in paths:
        status = path.lstat()
        assert (status.st_uid, status.st_gid) == (1000, 1001), path
