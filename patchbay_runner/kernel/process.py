"""Starting programs in a node, and ending them.

posix_spawn is vfork underneath, so a start costs the same however large the agent has become. Everything here is
synchronous and for the agent's only thread: while it runs, the whole process is in the node.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from patchbay_runner.errors import CommandNotFound, KernelError, StepError
from patchbay_runner.kernel import syscalls
from patchbay_runner.kernel.namespaces import own_namespace
from patchbay_runner.kernel.sandbox.diagnosis import exhaustion

# What execvp(3) searches when the environment has no PATH.
DEFAULT_PATH = "/bin:/usr/bin"

_ALL_SIGNALS = frozenset(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}
# A stopped process acts on these only once it is continued.
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


@dataclass(frozen=True, slots=True)
class NodeView:
    """The namespaces of a node, by descriptor; None is the sandbox's own."""

    netns: int
    mntns: int | None = None
    utsns: int | None = None


class Home(msgspec.Struct, frozen=True):
    """Where a process that starts programs in nodes belongs: its namespaces and working directory, by descriptor."""

    netns: int
    mntns: int
    utsns: int
    directory: int

    @classmethod
    def here(cls) -> Home:
        """The calling thread's. The caller closes it."""
        directory = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return cls(own_namespace("net"), own_namespace("mnt"), own_namespace("uts"), directory)

    def close(self) -> None:
        for fd in (self.netns, self.mntns, self.utsns, self.directory):
            os.close(fd)


@contextmanager
def entered_view(view: NodeView, home: Home) -> Iterator[None]:
    """Runs the body in all namespaces of a node, then returns to `home`, whatever the body did."""
    try:
        syscalls.setns(view.netns, syscalls.CLONE_NEWNET)
        if view.utsns is not None:
            syscalls.setns(view.utsns, syscalls.CLONE_NEWUTS)
        if view.mntns is not None:
            syscalls.setns(view.mntns, syscalls.CLONE_NEWNS)
        yield
    finally:
        # Entering a mount namespace also moves the working directory to its root.
        syscalls.setns(home.mntns, syscalls.CLONE_NEWNS)
        os.fchdir(home.directory)
        syscalls.setns(home.utsns, syscalls.CLONE_NEWUTS)
        syscalls.setns(home.netns, syscalls.CLONE_NEWNET)


def start(
    view: NodeView,
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    cwd: str,
    stdin: int,
    stdout: int,
    stderr: int,
    nofile: tuple[int, int] | None = None,
    home: Home | None = None,
) -> int:
    """Starts a program in a node and returns its pid, which is also its session and process group.

    `argv[0]` is searched in the PATH of `env`, as the node sees it. `nofile` is the program's RLIMIT_NOFILE (soft,
    hard), None the agent's own; `home` is `Home.here()`, for who has it. Signals and descriptors are a fresh program's.
    Raises CommandNotFound when the program is not there or cannot be executed, StepError for a bad `cwd`, KernelError,
    HostError when the host has no room for another process.
    """
    stdio = (stdin, stdout, stderr)
    with ExitStack() as stack:
        if home is None:
            home = Home.here()
            stack.callback(home.close)
        stack.enter_context(entered_view(view, home))
        change_directory(cwd)
        program = find_program(argv[0], env)
        if nofile is not None:
            stack.enter_context(_open_file_limit(nofile))
        actions = [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(_lifted(stack, stdio))]
        try:
            return os.posix_spawn(
                program, list(argv), env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=_ALL_SIGNALS
            )
        except OSError as error:
            raise start_error(program, error) from error


def find_program(name: str, env: Mapping[str, str]) -> str:
    """The path that execvp(3) would execute: `name` itself when it has a slash, else the first in the PATH of `env`."""
    if "/" in name:
        return name
    search = env.get("PATH", DEFAULT_PATH)
    refused = ""
    for directory in search.split(":") if name else ():
        candidate = f"{directory or '.'}/{name}"
        if os.path.isfile(candidate):  # noqa: PTH113 - this runs for every process start
            if os.access(candidate, os.X_OK):
                return candidate
            refused = refused or candidate
    if refused:
        raise CommandNotFound(f"{name}: {refused} is not executable")
    raise CommandNotFound(f"{name}: no such program in PATH ({search})")


def signal_group(pid: int, signum: int) -> bool:
    """Sends a signal to the process group that `start` made; False when nothing of it is left."""
    try:
        os.killpg(pid, signum)
        if signum in _ENDING_SIGNALS:
            os.killpg(pid, signal.SIGCONT)
    except ProcessLookupError:
        return False
    return True


def kill_inside(netns: int) -> None:
    """Kills every process whose network namespace is the one behind `netns`, but not the caller."""
    wanted = os.fstat(netns).st_ino
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            if (entry / "ns/net").stat().st_ino == wanted:
                os.kill(int(entry.name), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has ended, or is no program of ours


def reap(pid: int) -> int | None:
    """The exit code of our own child, negative for a signal; None while it runs. Collects it, so call it once."""
    reaped, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if reaped else None


def wait(pid: int, timeout_s: float | None = None) -> int | None:
    """Waits for our own child and returns its exit code as `reap` does; None when the time is over."""
    pidfd = os.pidfd_open(pid)
    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        if not poller.poll(None if timeout_s is None else timeout_s * 1000):
            return None
        return reap(pid)
    finally:
        os.close(pidfd)


def change_directory(cwd: str) -> None:
    """chdir(2). Raises StepError."""
    try:
        os.chdir(cwd)
    except OSError as error:
        raise StepError(f"working directory {cwd}: {error.strerror}") from error


@contextmanager
def _open_file_limit(limit: tuple[int, int]) -> Iterator[None]:
    own = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == own:
        yield
        return
    # The hard limit stays as it is unless we may raise it again.
    resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, own)


def _lifted(stack: ExitStack, stdio: Sequence[int]) -> list[int]:
    """`stdio` with descriptors below 3 duplicated upwards, so that no dup2 overwrites the source of a later one."""
    lifted = []
    for target, fd in enumerate(stdio):
        if fd > 2 or fd == target:
            lifted.append(fd)
            continue
        copy = os.dup(fd)
        stack.callback(os.close, copy)
        lifted.append(copy)
    return lifted


def start_error(program: str, error: OSError) -> Exception:
    """What the kernel's refusal to execute a program means."""
    match error.errno:
        case errno.ENOENT if Path(program).exists():
            return CommandNotFound(f"{program}: its interpreter {_interpreter(program)}is not there")
        case errno.ENOENT | errno.ENOTDIR:
            return CommandNotFound(f"{program}: no such program")
        case errno.EACCES:
            what = "is a directory" if Path(program).is_dir() else "is not executable"
            return CommandNotFound(f"{program}: {what}")
        case errno.ENOEXEC:
            return CommandNotFound(f"{program}: neither a program of this machine nor a script with a #! line")
        case errno.E2BIG:
            return StepError(f"{program}: its arguments and environment are larger than the kernel takes")
    refusal = KernelError(f"start {program}", error.errno or 0)
    return exhaustion(refusal) or refusal


def _interpreter(program: str) -> str:
    with Path(program).open("rb") as file:
        first_line = file.read(256).partition(b"\n")[0]
    return f"{os.fsdecode(first_line[2:].strip())} " if first_line.startswith(b"#!") else ""
