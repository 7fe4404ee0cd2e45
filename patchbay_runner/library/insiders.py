"""Python code that runs in a node in threads of this process, once that has entered its labs (`entered`).

As `workers`, but nothing is copied. A thread cannot be ended from outside: what still runs when the lab is closed goes
on without a network, and nobody waits for it.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any

from patchbay_runner.errors import LabError
from patchbay_runner.kernel import joining
from patchbay_runner.kernel.namespaces import namespace_id
from patchbay_runner.lab.client import LabClient
from patchbay_runner.library.workers import Way

_CLOSED = "the lab was closed before the call returned"
# How long coroutines have to take in that they are cancelled.
_PATIENCE_S = 5.0


class _Call:
    """What is to be called, and who waits for it."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.future: Future[Any] = Future()
        self.future.set_running_or_notify_cancel()
        self._function, self._args, self._kwargs = function, args, kwargs
        self._lock = threading.Lock()

    def run(self) -> None:
        """Calls it in this thread."""
        try:
            result = self._function(*self._args, **self._kwargs)
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller, whatever it is
            self.fail(error)
        else:
            self._settle(lambda: self.future.set_result(result))

    async def run_on_loop(self) -> None:
        """Awaits what it returns, on this thread's loop."""
        try:
            result = await self._function(*self._args, **self._kwargs)
        except BaseException as error:  # noqa: BLE001 - as above
            self.fail(error)
        else:
            self._settle(lambda: self.future.set_result(result))

    def fail(self, error: BaseException) -> None:
        """Has whoever waits see an error, unless they have been told already."""
        self._settle(lambda: self.future.set_exception(error))

    def _settle(self, settle: Callable[[], None]) -> None:
        with self._lock:
            if not self.future.done():
                settle()


class Insider:
    """One node's threads in this process. Safe to use from several of them. `code_of` says whose the logs are."""

    def __init__(self, client: LabClient, node: str, code_of: Callable[[], AbstractContextManager[None]]) -> None:
        self._client = client
        self._node = node
        self._code_of = code_of
        self._view = joining.view_of(client.enter(node)[0])
        self._lock = threading.Lock()
        self._is_closed = False
        self._waiting: set[_Call] = set()
        self._turns: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._turn_taker: threading.Thread | None = None
        self._loop: _Loop | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the node's name stands for another node by now. Raises LabError when it stands for none."""
        place = self._client.enter(self._node)[0]
        is_same = namespace_id(place.net) == namespace_id(self._view.net)
        place.close()
        return not is_same

    def call(
        self, way: Way, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Future[Any]:
        """Calls something in the node: one after another, in a thread, or as a coroutine on its loop."""
        call = _Call(function, args, kwargs)
        if way == "turn" and threading.current_thread() is self._turn_taker:
            call.run()  # it is its turn, and would wait for itself
            return call.future
        with self._lock:
            if self._is_closed:
                raise LabError("the lab's sandbox has ended", self._node)
            self._waiting.add(call)
            call.future.add_done_callback(lambda _: self._waiting.discard(call))
            if way == "thread":
                self._start("thread", call.run)
            elif way == "turn":
                self._turns.put(call)
                self._turn_taker = self._turn_taker or self._start("turns", self._take_turns)
            else:
                self._loop = self._loop or _Loop(lambda body: self._start("loop", body))
                self._loop.start(call)
        return call.future

    def close(self) -> None:
        """Cancels coroutines; calls that have not returned fail."""
        with self._lock:
            self._is_closed = True
        for call in list(self._waiting):
            call.fail(LabError(_CLOSED, self._node))
        self._turns.put(None)
        if self._loop is not None:
            self._loop.stop()
        self._view.close()

    def _take_turns(self) -> None:
        while (call := self._turns.get()) is not None:
            call.run()

    def _start(self, name: str, body: Callable[[], None]) -> threading.Thread:
        """A thread of the node, which is there before this returns. Raises KernelError."""
        entered: Future[None] = Future()

        def run() -> None:
            try:
                joining.join(self._view)
            except BaseException as error:  # noqa: BLE001 - it is raised in the thread that asked
                entered.set_exception(error)
                return
            entered.set_result(None)
            with self._code_of():
                body()

        thread = threading.Thread(target=run, name=f"{name} of {self._node}", daemon=True)
        thread.start()
        entered.result()
        return thread


class _Loop:
    """A node's event loop, in a thread of the node."""

    def __init__(self, start: Callable[[Callable[[], None]], threading.Thread]) -> None:
        self._loop = asyncio.new_event_loop()
        self._context = contextvars.Context()
        self._tasks: set[asyncio.Task[None]] = set()
        try:
            self._thread = start(self._run)
        except BaseException:
            self._loop.close()
            raise

    def start(self, call: _Call) -> None:
        """Runs a coroutine function."""
        self._loop.call_soon_threadsafe(self._start, call.run_on_loop())

    def stop(self) -> None:
        """Cancels what runs."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE_S)

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        # Not in the caller's context, which this callback has: what it logs is the node's.
        task = self._loop.create_task(coroutine, context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _run(self) -> None:
        self._context = contextvars.copy_context()
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.run_until_complete(_settled(self._loop))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()


async def _settled(loop: asyncio.AbstractEventLoop) -> None:
    left = asyncio.all_tasks(loop) - {asyncio.current_task()}
    await asyncio.gather(*left, return_exceptions=True)
