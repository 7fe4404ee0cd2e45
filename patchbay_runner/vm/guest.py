"""The running guest of a machine: commands, files and ports in it."""

from __future__ import annotations

import secrets
import shlex
import signal
import socket
import subprocess
import tarfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

import msgspec

from patchbay_runner.errors import HostError
from patchbay_runner.vm.copying import Copies
from patchbay_runner.vm.share import Share
from patchbay_runner.vm.ssh import Door, interactive, noted, signalled
from patchbay_runner.vm.unpacking import unpack

_PASSED_ON = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM")
# What ssh reports when there is no connection; a command may end like that as well.
_NO_CONNECTION = 255
Stream = int | IO[bytes] | None
Streams = tuple[Stream, Stream, Stream]


class Guest(msgspec.Struct, frozen=True):
    """What runs in a machine. Commands run as root where the host's user is root, to whom all shared files belong."""

    door: Door
    shares: tuple[Share, ...] = ()
    is_root: bool = False

    def command(
        self, argv: Sequence[str], env: Mapping[str, str] | None = None, cwd: str | None = None, *, tty: bool = False
    ) -> list[str]:
        """The ssh that runs a command of the guest; without a command it is a login shell.

        With `tty` it gets a terminal of its own, whose keys are its signals.
        """
        options = ["-tt"] if tty else ["-T"]
        script = interactive(argv, env or {}, cwd, is_root=self.is_root)
        return self.door.ssh(*options, script=script)

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        tty: bool = False,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
    ) -> int:
        """The exit code of a command, 128 and more for one that a signal ended. Raises HostError when it is lost.

        Signals that reach the main thread of this process meanwhile go to the command's process group.
        """
        with self._copies().fresh():
            code = self._code_of(argv, env or {}, cwd, (stdin, stdout, stderr), tty=tty)
        if code == _NO_CONNECTION and not self.is_answering():
            raise HostError("the connection to the virtual machine broke", "patchbay-vm status")
        return code if code >= 0 else 128 - code

    def _code_of(
        self, argv: Sequence[str], env: Mapping[str, str], cwd: str | None, streams: Streams, *, tty: bool
    ) -> int:
        if not tty:
            return self._run_noted(argv, env, cwd, streams)
        stdin, stdout, stderr = streams
        return subprocess.call(self.command(argv, env, cwd, tty=True), stdin=stdin, stdout=stdout, stderr=stderr)

    def _copies(self) -> Copies:
        """What stands in for shares where there are none."""
        return Copies(self._as_script, self.shares, self.door.key.parent.parent)

    def _as_script(self, script: str) -> list[str]:
        whole = f"exec sudo -n sh -c {shlex.quote(script)}" if self.is_root else script
        return self.door.ssh("-T", script=whole)

    def output(self, argv: Sequence[str], *, timeout_s: float = 60.0) -> str:
        """What a command that must not fail writes. Raises HostError with its last words."""
        command = self.command(argv)
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise HostError(f"{shlex.join(argv)} took more than {timeout_s:g} s in the virtual machine") from error
        if done.returncode:
            words = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
            raise HostError(f"{shlex.join(argv)} failed in the virtual machine: {words}")
        return done.stdout.decode(errors="replace")

    def is_answering(self) -> bool:
        """Whether a command can be run."""
        done = subprocess.run(
            self.door.ssh("-T", script="true"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        return done.returncode == 0

    def inside(self, path: Path) -> str | None:
        """The guest's path of a file of the host; None when it is not shared. The innermost share counts."""
        holding = [share for share in self.shares if path.is_relative_to(share.host)]
        if not holding:
            return None
        share = max(holding, key=lambda share: len(share.host.parts))
        return str(Path(share.guest) / path.relative_to(share.host))

    def copy_in(self, source: Path, directory: str) -> None:
        """Copies a file or a tree into a directory of the guest, which is made. Raises HostError."""
        script = f"mkdir -p {shlex.quote(directory)} && exec tar -C {shlex.quote(directory)} -xf -"
        with self._piped(script, stdin=subprocess.PIPE) as process:
            assert process.stdin
            try:
                with process.stdin, tarfile.open(fileobj=process.stdin, mode="w|") as archive:
                    archive.add(source, source.name)
            except BrokenPipeError:
                pass  # tar says why, and _piped passes it on

    def copy_out(self, path: str, directory: Path) -> None:
        """Copies a file or a tree of the guest into a directory of the host. Raises HostError."""
        parent, name = str(Path(path).parent), Path(path).name
        script = f"exec tar -C {shlex.quote(parent)} --hard-dereference -cf - {shlex.quote(name)}"
        with self._piped(script, stdout=subprocess.PIPE) as process:
            assert process.stdout
            try:
                with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                    unpack(archive, directory)
            except tarfile.ReadError:
                pass  # nothing came: tar says why, and _piped passes it on

    def forward(self, guest_port: int, host_port: int = 0) -> int:
        """Lets 127.0.0.1 at `host_port`, or at a free one, reach a port of the guest. Returns the host's port."""
        port = host_port or _free_port()
        self._forwarding("forward", guest_port, port)
        return port

    def end_forward(self, guest_port: int, host_port: int) -> None:
        """Takes back what `forward` did. Raises HostError."""
        self._forwarding("cancel", guest_port, host_port)

    def _forwarding(self, what: str, guest_port: int, host_port: int) -> None:
        way = f"127.0.0.1:{host_port}:127.0.0.1:{guest_port}"
        done = subprocess.run(self.door.ssh("-O", what, "-L", way), capture_output=True, text=True, check=False)
        if done.returncode:
            raise HostError(f"cannot {what} port {host_port} of the host: {done.stderr.strip()}")

    def _run_noted(self, argv: Sequence[str], env: Mapping[str, str], cwd: str | None, streams: Streams) -> int:
        token = secrets.token_hex(8)
        script = noted(argv, env, cwd, token, is_root=self.is_root)
        stdin, stdout, stderr = streams
        command = self.door.ssh("-T", script=script)
        with (
            self._passing_on(token),
            # Ctrl-C reaches every process of a terminal's session; this one must outlive it to report the exit code.
            subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True) as process,
        ):
            return process.wait()

    @contextmanager
    def _passing_on(self, token: str) -> Iterator[None]:
        """Sends signals of this process to the guest's, for as long as this is the main thread's business."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        senders: list[subprocess.Popen[bytes]] = []

        def pass_on(number: int, _frame: FrameType | None) -> None:
            name = signal.Signals(number).name.removeprefix("SIG")
            quiet = subprocess.DEVNULL
            command = self.door.ssh("-T", script=signalled(token, name, is_root=self.is_root))
            senders.append(subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True))

        earlier = {name: signal.signal(getattr(signal, name), pass_on) for name in _PASSED_ON if hasattr(signal, name)}
        try:
            yield
        finally:
            for name, handler in earlier.items():
                signal.signal(getattr(signal, name), handler)
            for sender in senders:
                sender.wait()

    @contextmanager
    def _piped(
        self, script: str, *, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.DEVNULL
    ) -> Iterator[subprocess.Popen[bytes]]:
        with subprocess.Popen(self._as_script(script), stdin=stdin, stdout=stdout, stderr=subprocess.PIPE) as process:
            assert process.stderr
            yield process
            words = process.stderr.read().decode(errors="replace").strip()
        if process.returncode:
            raise HostError(f"copying failed: {words or f'exit code {process.returncode}'}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
