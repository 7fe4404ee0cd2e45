"""Python code that runs in a node: a worker process there, and the calls that are made to it from here.

What is called, its arguments, results and exceptions are pickled (by cloudpickle, so that functions of a test and
closures pass too): the worker sees copies. It is started with the first call, and ends with the lab.
"""

from __future__ import annotations

import itertools
import os
import pickle
import socket
import struct
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import cloudpickle  # type: ignore[import-untyped]
import msgspec

from patchbay_runner.errors import LabError
from patchbay_runner.lab.client import LabClient

Way = Literal["turn", "thread", "loop"]
_HEADER = struct.Struct("!I")


class WorkerLogs(msgspec.Struct, frozen=True):
    """What is logged in a worker: the directives, and the node's two logs by descriptor."""

    directives: str
    fds: tuple[int, int]


class Worker:
    """One node's worker. Safe to use from several threads. Given `logs`, it takes their descriptors over."""

    def __init__(self, client: LabClient, node: str, logs: WorkerLogs | None = None) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[Any]] = {}
        self._channel, theirs = socket.socketpair()
        with theirs:
            _send_logs(self._channel, logs)
            argv = [sys.executable, "-m", "patchbay_runner.library.worker"]
            here = str(Path.cwd())
            # What the program can import, the worker can.
            env = {"PYTHONPATH": os.pathsep.join(path or here for path in sys.path)}
            self._process = client.popen(node, argv, env=env, cwd=here, stdin=theirs.fileno(), stdout=1, stderr=2)
        self._reader = threading.Thread(target=self._read, name=f"results of {node}", daemon=True)
        self._reader.start()

    @property
    def has_ended(self) -> bool:
        """Whether it can be called no more."""
        return not self._reader.is_alive()

    def call(
        self, way: Way, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Future[Any]:
        """Has the worker call something: one after another, in a thread, or as a coroutine on its loop."""
        request = cloudpickle.dumps((function, args, kwargs))
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            number = next(self._numbers)
            self._waiting[number] = future
            try:
                send(self._channel, pickle.dumps((number, way, request)))
            except OSError:
                del self._waiting[number]
                raise LabError("its worker has ended", self._node) from None
        return future

    def close(self) -> None:
        """Ends the worker; calls that wait for it fail."""
        with suppress(OSError):  # it has ended by itself
            self._channel.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._channel.close()

    def _read(self) -> None:
        while (message := receive(self._channel)) is not None:
            number, is_result, pickled = pickle.loads(message)
            with self._lock:
                future = self._waiting.pop(number)
            _fulfil(future, is_result, pickled)
        with self._lock:
            left, self._waiting = self._waiting, {}
        for future in left.values():
            future.set_exception(LabError("its worker ended before the call returned", self._node))


def _send_logs(channel: socket.socket, logs: WorkerLogs | None) -> None:
    """The channel's first message, which fits into its buffer."""
    if logs is None:
        send(channel, b"")
        return
    message = logs.directives.encode()
    socket.send_fds(channel, [_HEADER.pack(len(message)) + message], list(logs.fds))
    for fd in logs.fds:
        os.close(fd)


def receive_logs(channel: socket.socket) -> WorkerLogs | None:
    """The channel's first message, in the worker; None when nothing is to be logged."""
    header, fds, _, _ = socket.recv_fds(channel, _HEADER.size, 2, socket.MSG_CMSG_CLOEXEC | socket.MSG_WAITALL)
    message = _exactly(channel, _HEADER.unpack(header)[0]) or b""
    return WorkerLogs(message.decode(), (fds[0], fds[1])) if fds else None


def _fulfil(future: Future[Any], is_result: bool, pickled: bytes) -> None:
    try:
        value = pickle.loads(pickled)
    except Exception as error:  # noqa: BLE001 - whatever a class of the caller's own raises when it is unpickled
        future.set_exception(error)
        return
    if is_result:
        future.set_result(value)
    else:
        future.set_exception(value)


def send(channel: socket.socket, message: bytes) -> None:
    """Sends a message whole. Raises OSError."""
    channel.sendall(_HEADER.pack(len(message)) + message)


def receive(channel: socket.socket) -> bytes | None:
    """The next message; None at the channel's end."""
    header = _exactly(channel, _HEADER.size)
    return None if header is None else _exactly(channel, _HEADER.unpack(header)[0])


def _exactly(channel: socket.socket, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        try:
            piece = channel.recv(min(size - len(data), 1 << 20))
        except ConnectionResetError:
            return None
        if not piece:
            return None
        data += piece
    return bytes(data)
