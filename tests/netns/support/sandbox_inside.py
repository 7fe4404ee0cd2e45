"""Runs a test's function as the agent of a sandbox, and programs from there."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from patchbay_runner.kernel import mounts, namespaces, process
from patchbay_runner.kernel.sandbox import SandboxContext, SandboxOptions, Zygote

T = TypeVar("T")

NO_OPTIONS = SandboxOptions()


def inside(function: Callable[[SandboxContext], T], options: SandboxOptions = NO_OPTIONS, timeout_s: float = 30) -> T:
    """What `function` returns when it runs as the agent; an assertion that fails there fails here."""

    def entry(context: SandboxContext) -> int:
        with os.fdopen(os.dup(context.fds[0]), "wb") as file:
            pickle.dump(function(context), file)
        return 0

    with (
        os.fdopen(os.memfd_create("result"), "rb") as file,
        Zygote.start({"entry": entry}) as zygote,
        zygote.sandbox("entry", fds=[file.fileno()], options=options) as sandbox,
    ):
        ended = sandbox.wait(timeout_s)
        if ended.error is not None:
            raise ended.error
        assert (ended.status, ended.signal) == (0, None)
        file.seek(0)
        result: T = pickle.load(file)
        return result


@dataclass(frozen=True, slots=True)
class Ended:
    code: int | None
    output: str


def own_view() -> process.NodeView:
    """The sandbox's own namespaces as a node."""
    return process.NodeView(namespaces.own_namespace("net"))


def new_node(name: str, hosts: str = mounts.DEFAULT_HOSTS, resolv_conf: str = "") -> process.NodeView:
    """A node with everything of its own, loopback up."""
    directory = mounts.NODES_DIRECTORY / name
    mounts.write_node_files(directory, hosts, resolv_conf)
    netns = namespaces.new_network_namespace()
    view = process.NodeView(netns, mounts.new_node_mounts(netns, directory), namespaces.new_uts_namespace(name))
    assert run(view, ["ip", "link", "set", "lo", "up"]).code == 0
    return view


def spawn(
    view: process.NodeView,
    argv: Sequence[str],
    output: int,
    *,
    env: Mapping[str, str] | None = None,
    cwd: str = "/",
    nofile: tuple[int, int] | None = None,
) -> int:
    """`process.start` with both outputs in one place; returns the pid."""
    stdin = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    try:
        whole = program_environment() if env is None else env
        return process.start(view, argv, whole, cwd=cwd, stdin=stdin, stdout=output, stderr=output, nofile=nofile)
    finally:
        os.close(stdin)


def run(
    view: process.NodeView,
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str = "/",
    timeout_s: float = 20,
    nofile: tuple[int, int] | None = None,
) -> Ended:
    """Runs a program to its end, killed when the time is over (code None)."""
    output = os.memfd_create("output")
    with os.fdopen(output, "r+", errors="replace") as file:
        pid = spawn(view, argv, output, env=env, cwd=cwd, nofile=nofile)
        code = process.wait(pid, timeout_s)
        if code is None:
            process.signal_group(pid, 9)
            process.wait(pid)
        file.seek(0)
        return Ended(code, file.read())


def program_environment() -> dict[str, str]:
    """Our environment, with a PATH that has Debian's system programs even for an ordinary user."""
    return {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin"}


def wait_until(holds: Callable[[], bool], timeout_s: float = 10) -> None:
    """Asserts that something becomes true in time."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def postgresql(program: str) -> str:
    """The path of one of PostgreSQL's programs, which Debian keeps out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    path = str(found[-1]) if found else shutil.which(program)
    assert path is not None, f"{program} is missing: install postgresql"
    return path


def as_ordinary_user(argv: Sequence[str]) -> list[str]:
    """The command, with real root's rights dropped; unchanged for an ordinary user."""
    if os.geteuid() != 0:
        return list(argv)
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", *argv]


def give_away(directory: Path) -> None:
    """Lets the user of `as_ordinary_user` own a directory."""
    directory.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(directory, 65534, 65534)


def host_output(argv: Sequence[str]) -> str:
    """What a program prints on the host."""
    return subprocess.run(argv, capture_output=True, text=True, check=True, env=program_environment()).stdout
