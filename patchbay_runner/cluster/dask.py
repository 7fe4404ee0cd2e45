"""The Dask cluster, as far as home needs it: who is there, calls to workers, and tasks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec
from distributed import Client, Future

from patchbay_runner.cluster import orders, workplace
from patchbay_runner.cluster.orders import Order
from patchbay_runner.errors import HostError

RESOURCE = "labs"
_CONNECT_S = 10.0


class DaskWorker(msgspec.Struct, frozen=True):
    """A worker as the scheduler knows it. `labs` is how many sims it runs at once; 0 when it offers none."""

    address: str
    name: str
    host: str
    labs: int
    local_directory: str


class Cluster:
    """A connection to a scheduler. Raises HostError where the scheduler cannot be reached any more."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._client: Client

    async def open(self) -> None:
        """Connects, with the certificates that Dask's own configuration names. The scheduler reads every task."""
        # What Dask has to say of a connection is in the errors that we show.
        for name in ("distributed", "distributed.client"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            self._client = await Client(self.address, asynchronous=True, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, TypeError, RuntimeError) as error:
            remedy = f"see that `dask scheduler` runs there: {_told(error)}"
            raise HostError(f"no Dask scheduler answers at {self.address}", remedy) from error
        try:
            await self._client.run_on_scheduler(orders.identity)
        except ImportError as error:
            await self._client.close()
            remedy = "install patchbay-runner[cluster] where the scheduler runs"
            raise HostError(f"the scheduler at {self.address} cannot read tasks: {_told(error)}", remedy) from error

    async def close(self) -> None:
        """Disconnects."""
        await self._client.close()

    async def workers(self) -> dict[str, DaskWorker]:
        """Who is there, by address."""
        try:
            found = await self._scheduler().identity()
        except OSError as error:
            raise HostError(f"the Dask scheduler at {self.address} is gone: {_told(error)}") from error
        return {address: _worker(address, facts) for address, facts in found["workers"].items()}

    def _scheduler(self) -> Any:
        return self._client.scheduler

    async def call(self, worker: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls a function of `workplace` on a worker, beside what runs there. Raises what it raises, and OSError."""
        answers = await self._client.run(function, *arguments, workers=[worker])
        return answers[worker]

    def submit(self, worker: DaskWorker, labs: int, order: Order) -> Future[None]:
        """The task of a sim: it begins when the worker has so many labs left for it, whoever else uses them."""
        return self._client.submit(
            workplace.carry_out,
            order,
            worker.local_directory,
            key=order.key,
            workers=[worker.address],
            allow_other_workers=False,
            resources={RESOURCE: labs},
            retries=0,
            pure=False,
        )

    async def cancel(self, future: Future[None]) -> None:
        """Forgets a task, and keeps it from beginning."""
        async with asyncio.timeout(_CONNECT_S):
            await self._client.cancel([future], force=True)


def _worker(address: str, facts: dict[str, Any]) -> DaskWorker:
    labs = min(int(facts["resources"].get(RESOURCE, 0)), facts["nthreads"])
    return DaskWorker(address, str(facts["name"]), facts["host"], labs, facts["local_directory"])


def _told(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
