"""What runs in a Dask worker: the calls from home, and the task of a sim."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import secrets
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from patchbay_runner.cluster import orders
from patchbay_runner.cluster.mailbox import Mailbox
from patchbay_runner.cluster.orders import Arrival, Batch, Command, Order, Piece, Suitability, TravellingFile
from patchbay_runner.cluster.project import PROGRAMS, PROJECT
from patchbay_runner.cluster.sending import send_files
from patchbay_runner.cluster.store import Store
from patchbay_runner.cluster.watching import Watches, probe

if TYPE_CHECKING:
    from distributed import Worker

_INCARNATION = f"{os.getpid()}-{secrets.token_hex(8)}"
# How long a call waits for something to tell.
_PATIENCE_S = 10.0

_lock = threading.Lock()
_boxes: dict[str, Mailbox] = {}
_watches = Watches()


class Replaced(Exception):
    """The order was for a process that was here before: it has died, and Dask gave the order to its successor."""


def arrive() -> Arrival:
    """Introduces the worker."""
    log = logging.getLogger("distributed.worker")
    if _is_no_call not in log.filters:
        log.addFilter(_is_no_call)
    return Arrival(
        identity=orders.identity(),
        incarnation=_INCARNATION,
        host=platform.node(),
        machine=platform.machine(),
        python=platform.python_version(),
    )


async def examine(commands: Sequence[Command]) -> Suitability:
    """Whether labs can run here, and what the programs are that steps start and this worker does not have."""
    return await asyncio.to_thread(probe, commands)


async def missing(hashes: Sequence[str], dask_worker: Worker) -> list[str]:
    """The contents that have to be sent here."""
    return await asyncio.to_thread(_store(dask_worker).missing, hashes)


async def take(sender: str, pieces: Sequence[Piece], dask_worker: Worker) -> None:
    """Receives contents."""
    await asyncio.to_thread(_store(dask_worker).take, sender, pieces)


async def build(
    run: str, project: Sequence[TravellingFile], programs: Sequence[TravellingFile], dask_worker: Worker
) -> None:
    """Lays the files of a run out."""
    await asyncio.to_thread(_store(dask_worker).build, run, {PROJECT: project, PROGRAMS: programs})


async def collect(key: str, confirmed: int) -> Batch:
    """What a sim has to tell since the batch with the number `confirmed`."""
    return await _box(key).collect(confirmed, _PATIENCE_S)


def stop(key: str) -> None:
    """Asks a sim to end: the first time cleanly, the second at once. One that has not begun will find it."""
    _watches.stop(key)


async def leave(run: str, dask_worker: Worker) -> None:
    """The run is over."""
    for key in [key for key in _boxes if key.startswith(run)]:
        del _boxes[key]
        _watches.forget(key)
    await asyncio.to_thread(_store(dask_worker).forget, run)


def carry_out(order: Order, local_directory: str) -> None:
    """The Dask task of a sim. Everything it has to say goes through the mailbox.

    Raises Replaced when the order was for this worker's predecessor, Abandoned when home does not ask any more.
    """
    if order.incarnation != _INCARNATION:
        raise Replaced
    directory = Store(Path(local_directory) / "patchbay").directory(order.run)
    box = _box(order.key)
    results = directory / "results" / order.key
    results.mkdir(parents=True)
    try:
        _watches.run(order, directory, results, box)
        send_files(results, box)
        box.put("end")
    finally:
        shutil.rmtree(results, ignore_errors=True)


def _box(key: str) -> Mailbox:
    """Whoever comes first makes it: the task of the sim, or home asking for it."""
    with _lock:
        return _boxes.setdefault(key, Mailbox())


def _store(worker: Worker) -> Store:
    return Store(Path(worker.local_directory) / "patchbay")


def _is_no_call(record: logging.LogRecord) -> bool:
    """The worker's log would hold little but our calls."""
    return (
        record.msg != "Run out-of-band function %r" or record.getMessage().rpartition(" ")[2].strip("'") not in _QUIET
    )


_QUIET = frozenset(each.__name__ for each in (collect, take))
