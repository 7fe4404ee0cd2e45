"""The labs of one sandbox: each in a sandbox of its own inside, with one thread that talks to its agent."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import msgspec

from patchbay_runner.control import requests
from patchbay_runner.control.netns import NamespacePaths
from patchbay_runner.control.programs import Program
from patchbay_runner.control.wire import SHARED
from patchbay_runner.errors import LabError
from patchbay_runner.lab.client import LabClient
from patchbay_runner.library.opening import only_plan, record_directory, record_owner
from patchbay_runner.library.recorded import RecordJob
from patchbay_runner.library.reflectors import Reflector
from patchbay_runner.library.session import Session
from patchbay_runner.model.topology import Ipv6Provisioning, Topology
from patchbay_runner.results.lab_record import Outcome

_P = ParamSpec("_P")
_T = TypeVar("_T")


class LabDefaults(msgspec.Struct, frozen=True):
    """What holds for labs that do not say otherwise."""

    label: str | None = None
    outdir: str | None = None
    topology: Topology = Topology()
    seed: int | None = None


class HeldLab:
    """A lab, and everything that clients have in it. `call` is the only way to its agent."""

    def __init__(self, identifier: str, label: str) -> None:
        self.id = identifier
        self.label = label
        self.outdir: Path | None = None
        self.programs: dict[int, Program] = {}
        self.reflectors: dict[int, Reflector] = {}
        self.paths = NamespacePaths(identifier)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=identifier)
        self._session: Session | None = None
        self._is_closed = False
        self._closing = asyncio.Lock()

    async def open(
        self, topology: Callable[[], tuple[Topology, int | None]], outdir: Callable[[], Path | None]
    ) -> None:
        """Builds it. Raises what the callables do, LabError, HostError."""
        try:
            await self._in_thread(self._open, topology, outdir)
        except BaseException:
            self._is_closed = True
            self._thread.shutdown(wait=False)
            raise

    def _open(self, describe: Callable[[], tuple[Topology, int | None]], outdir: Callable[[], Path | None]) -> None:
        topology, seed = describe()
        self.outdir = outdir()
        record = None if self.outdir is None else RecordJob(str(self.outdir), self.label, record_owner())
        self._session = Session(topology, seed, record)

    @property
    def session(self) -> Session:
        assert self._session is not None
        return self._session

    async def call(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Calls something that talks to the agent, when what was called before has returned. Raises LabError."""
        if self._is_closed:
            raise LabError("this lab has been closed", self.id)
        return await self._in_thread(function, *args, **kwargs)

    async def ask(self, function: Callable[..., _T], *args: Any) -> _T:
        """The same with the agent's client as the first argument."""
        return await self.call(function, self.client, *args)

    @property
    def client(self) -> LabClient:
        return self.session.client

    async def _in_thread(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: function(*args, **kwargs))

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    async def close(self, outcome: Outcome) -> None:
        """Ends it; returns when nothing of it runs any more. What others have asked of it is done before."""
        async with self._closing:
            if self._is_closed:
                return
            self._is_closed = True
            self.paths.close()
            await self._in_thread(self.session.close, outcome)
            self._thread.shutdown(wait=False)
            for program in self.programs.values():
                program.close()
            self.programs.clear()


class Labs:
    """The labs that are up. The shared one is made when somebody first wants it."""

    def __init__(self, defaults: LabDefaults) -> None:
        self._defaults = defaults
        self._labs: dict[str, HeldLab] = {}
        self._numbers = itertools.count(1)
        self._sharing = asyncio.Lock()

    def __iter__(self) -> Iterator[HeldLab]:
        return (lab for lab in self._labs.values() if not lab.is_closed)

    async def create(self, asked: requests.CreateLab) -> HeldLab:
        """A fresh lab. Raises InputError, LabError, HostError."""
        label = asked.label or (Path(asked.file).stem if asked.file else self._defaults.label or "lab")

        def describe() -> tuple[Topology, int | None]:
            topology, seed = self._defaults.topology, self._defaults.seed
            if asked.file is not None:
                plan = only_plan(Path(asked.file), asked.matrix)
                topology, seed = plan.topology, plan.seed
            return _with_settings(topology, asked), seed if asked.seed is None else asked.seed

        return await self._open(f"lab-{next(self._numbers)}", label, describe, asked.outdir)

    async def shared(self) -> HeldLab:
        """The lab that all clients can use."""
        async with self._sharing:
            found = self._labs.get(SHARED)
            if found is not None and not found.is_closed:
                return found
            if found is not None:
                await self.close(found, "stopped")  # which somebody has begun to
            topology, seed = self._defaults.topology, self._defaults.seed
            return await self._open(SHARED, self._defaults.label or SHARED, lambda: (topology, seed), None)

    async def find(self, identifier: str) -> HeldLab:
        """A lab by its identifier. Raises LabError."""
        if identifier == SHARED:
            return await self.shared()
        if identifier not in self._labs:
            raise LabError(f"there is no lab {identifier!r}; there is {', '.join([SHARED, *self._labs])}")
        return self._labs[identifier]

    async def close(self, lab: HeldLab, outcome: Outcome) -> None:
        """Ends a lab, which nobody finds from now on."""
        await lab.close(outcome)
        if self._labs.get(lab.id) is lab:
            del self._labs[lab.id]

    async def close_all(self, outcome: Outcome) -> None:
        """Ends what is left."""
        await asyncio.gather(*(self.close(lab, outcome) for lab in list(self._labs.values())))

    async def _open(
        self, identifier: str, label: str, describe: Callable[[], tuple[Topology, int | None]], outdir: str | None
    ) -> HeldLab:
        lab = HeldLab(identifier, label)
        await lab.open(describe, lambda: record_directory(label, outdir, self._defaults.outdir))
        self._labs[identifier] = lab
        return lab


def _with_settings(topology: Topology, asked: requests.CreateLab) -> Topology:
    settings = topology.lab
    if asked.ipv6_provisioning is not None:
        provisioning = Ipv6Provisioning(asked.ipv6_provisioning)
        settings = msgspec.structs.replace(settings, ipv6_provisioning=provisioning)
    if asked.ipv6_dad is not None:
        settings = msgspec.structs.replace(settings, ipv6_dad=asked.ipv6_dad)
    return msgspec.structs.replace(topology, lab=settings)
