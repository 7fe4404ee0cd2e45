"""The program of a node's worker: `python -m patchbay_runner.library.worker`, its channel as standard input.

Coroutines run on one event loop; calls that take turns have a thread of their own, and so has each that asked for one.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import socket
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cloudpickle  # type: ignore[import-untyped]

from patchbay_runner.library import logs
from patchbay_runner.library.workers import receive, receive_logs, send
from patchbay_runner.model.logfilter import LogFilter
from patchbay_runner.results.node_logs import OpenLogs


class _Server:
    def __init__(self, channel: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self._channel = channel
        self._loop = loop
        self._lock = threading.Lock()
        self._turns = ThreadPoolExecutor(1, thread_name_prefix="turns")
        self._tasks: set[asyncio.Task[None]] = set()

    def serve(self) -> None:
        """Until the other end is closed, which ends the process, whatever still runs in it."""
        while (message := receive(self._channel)) is not None:
            number, way, request = pickle.loads(message)
            if way == "turn":
                self._turns.submit(self._call, number, request)
            elif way == "thread":
                threading.Thread(target=self._call, args=(number, request), daemon=True).start()
            else:
                self._loop.call_soon_threadsafe(self._start, number, request)
        os._exit(0)

    def _call(self, number: int, request: bytes) -> None:
        self._answer(number, lambda: _called(*pickle.loads(request)))

    def _start(self, number: int, request: bytes) -> None:
        task = self._loop.create_task(self._await(number, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _await(self, number: int, request: bytes) -> None:
        try:
            function, args, kwargs = pickle.loads(request)
            result = await function(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller, whatever it is
            self._refuse(number, error)
        else:
            self._answer(number, lambda: result)

    def _answer(self, number: int, produce: Callable[[], Any]) -> None:
        try:
            result = produce()
            pickled = cloudpickle.dumps(result)
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller, whatever it is
            self._refuse(number, error)
        else:
            self._send(number, True, pickled)

    def _refuse(self, number: int, error: BaseException) -> None:
        """Has the call raise what was raised here, or say so where that cannot be brought back."""
        note = _traceback(error)
        try:
            error.add_note(note)
            pickled = cloudpickle.dumps(error)
            pickle.loads(pickled)
        except Exception:  # noqa: BLE001 - what cannot be pickled, or unpickled, says so in its own way
            stand_in = RuntimeError(f"{type(error).__name__}: {error}")
            stand_in.add_note(note)
            pickled = cloudpickle.dumps(stand_in)
        self._send(number, False, pickled)

    def _send(self, number: int, is_result: bool, pickled: bytes) -> None:
        with self._lock:
            send(self._channel, pickle.dumps((number, is_result, pickled)))


def _called(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return function(*args, **kwargs)


def _traceback(error: BaseException) -> str:
    """The lines of the caller's code that led there: a traceback is not pickled, so its text goes along."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return "in the node:\n" + "".join(traceback.format_tb(trace)).rstrip()


def main() -> None:
    loop = asyncio.new_event_loop()
    channel = socket.socket(fileno=os.dup(0))
    wanted = receive_logs(channel)
    if wanted is not None:
        logs.begin(logs.Sink(OpenLogs(*wanted.fds), LogFilter.parse(wanted.directives)))
    server = _Server(channel, loop)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    threading.Thread(target=server.serve, name="calls", daemon=True).start()
    asyncio.set_event_loop(loop)
    loop.run_forever()


if __name__ == "__main__":
    main()
