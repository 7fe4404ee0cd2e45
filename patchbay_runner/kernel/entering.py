"""Starting a program in a sandbox from outside, on the caller's own terminal.

::

    caller ── fork ──► keeper ── setns user, PID; fork ──► program: setns IPC, UTS, network, mounts; exec

The program stays in the caller's session and process group, which nobody can give to a child of the agent: its
terminal, Ctrl-C, Ctrl-Z, window size and pipes are those that it would have without a sandbox. The caller stops as the
shell's job when the program stops. The keeper never stops: a sandbox cannot end before everything in it is reaped, and
what was started from outside is reaped outside.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import msgspec

from patchbay_runner.errors import CommandNotFound, LabError, PatchbayError, SandboxDied, StepError
from patchbay_runner.kernel import capabilities, syscalls
from patchbay_runner.kernel.process import change_directory, find_program, start_error

_MESSAGE_BYTES = 64 * 1024
# siginfo's code of what the kernel sends by itself, from a terminal for example: the program has got it as well.
_SI_KERNEL = 0x80
_STOPPING = {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
_PASSED_ON = {signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGCONT}
_WATCHED = _STOPPING | _PASSED_ON | {signal.SIGCHLD}
# Python ignores these for itself.
_PYTHONS_OWN = (signal.SIGPIPE, signal.SIGXFSZ)
_STATUS_OF_FAILURE = 127


class Place(msgspec.Struct, frozen=True):
    """The namespaces of a node, by descriptor."""

    user: int
    pid: int
    ipc: int
    uts: int
    net: int
    mnt: int

    def close(self) -> None:
        """Lets go of them."""
        for fd in msgspec.structs.astuple(self):
            os.close(fd)


class Program(msgspec.Struct, frozen=True):
    """What to start: `argv[0]` is searched in the PATH of `env`, as the node sees it. `capabilities` survive exec."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    capabilities: tuple[int, ...] = capabilities.STEP_CAPABILITIES


class _Failed(msgspec.Struct, frozen=True, tag=True):
    """The program could not be started. `kind` names the error's class."""

    kind: str
    message: str


class _Stopped(msgspec.Struct, frozen=True, tag=True):
    signal: int


class _Ended(msgspec.Struct, frozen=True, tag=True):
    wait_status: int


_MESSAGES: msgspec.json.Decoder[_Failed | _Stopped | _Ended] = msgspec.json.Decoder(_Failed | _Stopped | _Ended)


def run_inside(place: Place, program: Program) -> int:
    """Runs a program in a node to its end; returns its exit code, negative for a signal.

    For a process with one thread that does little else: signals are the program's meanwhile. Raises CommandNotFound,
    StepError for a bad working directory, LabError when the kernel does not let us in. Takes the descriptors of
    `place`: who is stopped here must not keep a lab's namespaces.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    keeper = os.fork()
    if keeper == 0:
        ours.close()
        _keep(theirs, place, program, mask)
    theirs.close()
    place.close()
    with ours:
        try:
            return _attend(ours)
        finally:
            os.waitpid(keeper, 0)
            while signal.sigtimedwait(_WATCHED, 0):
                pass
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _attend(channel: socket.socket) -> int:
    """Stops and goes on with the program, and passes on what was meant for it, until it ends."""
    failure: PatchbayError | None = None
    while True:
        news = signal.sigwaitinfo(_WATCHED)
        if news.si_signo != signal.SIGCHLD:
            if news.si_signo in _PASSED_ON and news.si_code != _SI_KERNEL:
                channel.send(bytes([news.si_signo]), socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
            continue
        while message := _receive(channel):
            match message:
                case _Failed(kind=kind, message=text):
                    failure = _error(kind, text)
                case _Stopped(signal=number):
                    _stop(number)
                case _Ended(wait_status=status):
                    if failure is not None:
                        raise failure
                    return os.waitstatus_to_exitcode(status)


def _receive(channel: socket.socket) -> _Failed | _Stopped | _Ended | None:
    """The next message that is there. Raises SandboxDied when the keeper is gone."""
    try:
        data = channel.recv(_MESSAGE_BYTES, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    if not data:
        raise SandboxDied("what kept the program was killed from outside")
    return _MESSAGES.decode(data)


def _stop(number: int) -> None:
    """Stops this process as the program was stopped; returns when it goes on."""
    # First sent, then let in: the terminal may have sent the same one already, and one stop is enough.
    os.kill(os.getpid(), number)
    if number in _STOPPING:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        signal.pthread_sigmask(signal.SIG_BLOCK, {number})


def _error(kind: str, message: str) -> PatchbayError:
    classes = {each.__name__: each for each in (CommandNotFound, StepError)}
    return classes.get(kind, LabError)(message)


def _keep(channel: socket.socket, place: Place, program: Program, mask: set[int | signal.Signals]) -> NoReturn:
    """The keeper, from its fork to its end."""
    front = os.getppid()
    try:
        _enter_user_namespace(place.user)
        syscalls.setns(place.pid, syscalls.CLONE_NEWPID)
        pid = os.fork()
        if pid == 0:
            _become(channel, place, program, mask)
        place.close()
        # Out of the reach of the terminal and of the shell's job control.
        os.setpgid(0, 0)
        _let_go_of_streams()
        _watch(channel, pid, front)
    except (PatchbayError, OSError) as error:
        _send(channel, _Failed(type(error).__name__, str(error)))
        _send(channel, _Ended(_STATUS_OF_FAILURE << 8))
    finally:
        os._exit(0)  # the caller has the last word from the channel


def _enter_user_namespace(fd: int) -> None:
    own, there = Path("/proc/self/ns/user").stat(), os.fstat(fd)
    if (own.st_dev, own.st_ino) != (there.st_dev, there.st_ino):
        syscalls.setns(fd, syscalls.CLONE_NEWUSER)


def _let_go_of_streams() -> None:
    """Whoever reads what the program writes is to see its end when the program closes it."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


def _watch(channel: socket.socket, pid: int, front: int) -> None:
    """Tells what becomes of the program; returns at its end. The end of the caller is the program's."""
    wakeup, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda _signum, _frame: None)
    signal.set_wakeup_fd(woken)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    poller = select.poll()
    poller.register(wakeup, select.POLLIN)
    poller.register(channel, select.POLLIN)
    while not _tell(channel, pid, front):
        ready = {fd for fd, _ in poller.poll()}
        if wakeup in ready:
            os.read(wakeup, 4096)
        if channel.fileno() in ready:
            asked = channel.recv(1)
            os.kill(pid, asked[0] if asked else signal.SIGKILL)
            if not asked:
                poller.unregister(channel)


def _tell(channel: socket.socket, pid: int, front: int) -> bool:
    """Passes on every change of the program; True when that was its end."""
    while True:
        changed, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
        if not changed:
            return False
        is_stopped = os.WIFSTOPPED(status)
        if _send(channel, _Stopped(os.WSTOPSIG(status)) if is_stopped else _Ended(status)):
            os.kill(front, signal.SIGCHLD)
        if not is_stopped:
            return True


def _send(channel: socket.socket, message: _Failed | _Stopped | _Ended) -> bool:
    try:
        channel.send(msgspec.json.encode(message), socket.MSG_NOSIGNAL)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def _become(channel: socket.socket, place: Place, program: Program, mask: set[int | signal.Signals]) -> NoReturn:
    """The program, from its fork to its exec."""
    try:
        syscalls.setns(place.ipc, syscalls.CLONE_NEWIPC)
        syscalls.setns(place.uts, syscalls.CLONE_NEWUTS)
        syscalls.setns(place.net, syscalls.CLONE_NEWNET)
        syscalls.setns(place.mnt, syscalls.CLONE_NEWNS)
        change_directory(program.cwd)
        capabilities.pass_to_programs(program.capabilities)
        path = find_program(program.argv[0], program.env)
        for number in _PYTHONS_OWN:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        syscalls.set_parent_death_signal(signal.SIGKILL)
        try:
            os.execve(path, list(program.argv), dict(program.env))
        except OSError as error:
            raise start_error(path, error) from error
    except (PatchbayError, OSError) as error:
        _send(channel, _Failed(type(error).__name__, str(error)))
    finally:
        os._exit(_STATUS_OF_FAILURE)
