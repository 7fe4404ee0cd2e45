"""A lab for Python programs: built piece by piece or from a file, gone when it is closed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from patchbay_runner.errors import LabError
from patchbay_runner.lab import commands
from patchbay_runner.library.devices import Device
from patchbay_runner.library.interfaces import Condition
from patchbay_runner.library.nodes import name_of
from patchbay_runner.library.opening import only_plan, record_directory, record_owner
from patchbay_runner.library.origin import callers_line
from patchbay_runner.library.recorded import RecordJob
from patchbay_runner.library.routers import Ix, Router
from patchbay_runner.library.session import Session
from patchbay_runner.loader import values
from patchbay_runner.model.names import NameRecord
from patchbay_runner.model.topology import RegionLink, Topology
from patchbay_runner.results.lab_record import Outcome


class Lab:
    """A network of namespaces in a sandbox of its own, for an ordinary user, beside whatever threads there are.

    Everything ends with it, also when this process is killed. `seed` decides the fate of the n-th packet of every
    impaired link. `ipv6_provisioning` is "static" or "ra" (devices configure themselves by Router Advertisements),
    `ipv6_dad` has them probe for duplicates first (RFC 4862).

    Its record, events and state as `patchbay serve` shows them, is kept in `outdir`, or in a new directory
    `<time>-<label>` below `outdir_base` or, for whoever names neither, below $PATCHBAY_OUTDIR; else none is. Leaving
    the block by an exception makes it a failed one. With `capture`, True or a table as a sim has it, the packets of all
    interfaces are in it, as `captures/<node>.<interface>.pcapng`.

    Raises HostError when this machine cannot run labs, LabError when another lab writes to `outdir`, and InputError.

    Examples:
        >>> from patchbay_runner import Lab
        >>> with Lab() as lab:
        ...     dc = lab.add_router("dc")
        ...     home = lab.add_router("home", nat="home")
        ...     server = lab.add_device("server", dc)
        ...     laptop = lab.add_device("laptop", home, impair="wifi")
        ...     laptop.run(["ping", "-c3", "-i0.2", str(server.ip)]).returncode
        0
    """

    def __init__(
        self,
        *,
        label: str = "lab",
        ipv6_provisioning: str = "static",
        ipv6_dad: bool = False,
        seed: int | None = None,
        outdir: str | Path | None = None,
        outdir_base: str | Path | None = None,
        capture: bool | Mapping[str, object] = False,
    ) -> None:
        settings = {"ipv6_provisioning": ipv6_provisioning, "ipv6_dad": ipv6_dad}
        topology = values.topology_of({"lab": settings}, callers_line())
        self._begin(topology, label, seed, (outdir, outdir_base), capture)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        matrix: Mapping[str, object] | None = None,
        label: str | None = None,
        seed: int | None = None,
        outdir: str | Path | None = None,
        outdir_base: str | Path | None = None,
        capture: bool | Mapping[str, object] = False,
    ) -> Self:
        """A lab with the network of a sim or topology file; of a sim with a matrix, the variant with these values.

        `label` is the file's name, `seed` the file's, unless they are given. Raises InputError, and HostError when this
        machine cannot run labs.

        Examples:
            >>> from patchbay_runner import Lab
            >>> with Lab.load("sims/nat-modes.toml", matrix={"nat": "cgnat"}) as lab:
            ...     sorted(device.name for device in lab.devices)
            ['alice', 'bob', 'client']
        """
        plan = only_plan(Path(path), matrix or {})
        lab = cls.__new__(cls)
        label = Path(path).stem if label is None else label
        lab._begin(plan.topology, label, plan.seed if seed is None else seed, (outdir, outdir_base), capture)
        return lab

    def _begin(
        self,
        topology: Topology,
        label: str,
        seed: int | None,
        places: tuple[str | Path | None, str | Path | None],
        capture: bool | Mapping[str, object],
    ) -> None:
        packets = values.capture_of(capture, callers_line())
        self.label = label
        self.outdir = outdir = record_directory(label, *places)
        if packets is not None and outdir is None:
            raise LabError("packets are captured into its record: name outdir or outdir_base, or set PATCHBAY_OUTDIR")
        record = None if outdir is None else RecordJob(str(outdir), label, record_owner(), packets)
        self._session = Session(topology, seed, record)

    def add_router(
        self,
        name: str,
        *,
        preset: str | None = None,
        upstream: Router | str | None = None,
        region: str | None = None,
        isolated: bool | None = None,
        nat: str | Mapping[str, object] | None = None,
        nat_v6: str | None = None,
        ip_support: str | None = None,
        firewall: str | Mapping[str, object] | None = None,
        pool: str | None = None,
        cidr: object = None,
        cidr_v6: object = None,
        mtu: int | None = None,
        block_icmp_frag_needed: bool | None = None,
        downlink: Condition | None = None,
        uplink: Condition | None = None,
    ) -> Router:
        """Adds a router, behind `upstream`, on its region's network, or else on the internet exchange.

        Every value is written as in a TOML file, what is left out means what it means there; the other values override
        the preset's. Raises InputError for what no file may say, LabError for what this network cannot have.

        Examples:
            >>> carrier = lab.add_router("carrier", preset="isp-v6", downlink={"rate_kbit": 20_000})
            >>> flat = lab.add_router("flat", nat="home", upstream=carrier)
        """
        asked = {key: value for key, value in locals().items() if key not in ("self", "upstream") and value is not None}
        if upstream is not None:
            asked["upstream"] = name_of(upstream)
        self._extend(values.topology_of({"router": [asked]}, callers_line()))
        return Router(self._session, name)

    def add_device(
        self,
        name: str,
        router: Router | str | None = None,
        *,
        impair: Condition | None = None,
        interfaces: Mapping[str, Router | str | Mapping[str, object]] | None = None,
        default_via: str | None = None,
        mtu: int | None = None,
    ) -> Device:
        """Adds a device: with `eth0` behind `router`, or with several interfaces, each a router or a table.

        Raises InputError and LabError as `add_router`.

        Examples:
            >>> carrier = lab.add_router("carrier", nat="cgnat")
            >>> phone = lab.add_device(
            ...     "phone",
            ...     interfaces={"wlan0": home, "cell0": {"gateway": carrier, "impair": "mobile-4g"}},
            ...     default_via="wlan0",
            ... )
            >>> list(phone.interfaces)
            ['wlan0', 'cell0']
        """
        if (router is None) == (interfaces is None):
            raise TypeError("a device has either a router or interfaces")
        plugged: dict[str, Any] = {}
        for interface, place in (interfaces or {"eth0": {"gateway": router, "impair": impair}}).items():
            table = dict(place) if isinstance(place, Mapping) else {"gateway": place}
            gateway = table.get("gateway")
            plugged[interface] = {**table, "gateway": name_of(gateway) if isinstance(gateway, Router) else gateway}
        asked = {**plugged, "default_via": default_via, "mtu": mtu}
        self._extend(values.topology_of({"device": {name: asked}}, callers_line()))
        return Device(self._session, name)

    def add_region(self, name: str) -> str:
        """Adds a region, which `add_router(region=…)` names; its routers are as near to each other as none.

        Raises InputError, LabError when it is there.

        Examples:
            >>> eu = lab.add_region("eu")
            >>> paris = lab.add_router("paris", region=eu)
        """
        self._extend(values.topology_of({"region": {name: {}}}, callers_line()))
        return name

    def link_regions(self, a: str, b: str, condition: Condition | float, back: Condition | float | None = None) -> None:
        """Joins two regions: a number is the latency of each direction in milliseconds; `back` is that from b to a.

        Raises InputError, LabError when there is such a link.

        Examples:
            >>> eu, us = lab.add_region("eu"), lab.add_region("us")
            >>> lab.link_regions(eu, us, 40)
            >>> asia = lab.add_region("asia")
            >>> lab.link_regions(us, asia, {"latency_ms": 70, "jitter_ms": 5}, back=75)
        """
        there, return_ = (
            values.distance_of(each, callers_line()) for each in (condition, condition if back is None else back)
        )
        self._extend(Topology(region_links=(RegionLink(a, b, there, return_),)))

    def break_region_link(self, a: str, b: str) -> None:
        """Parts two regions: from now on nothing gets from one to the other, what is under way included.

        Raises LabError when there is no such link, or it is broken.

        Examples:
            >>> eu, us = lab.add_region("eu"), lab.add_region("us")
            >>> lab.link_regions(eu, us, 40)
            >>> lab.break_region_link(eu, us)
        """
        self._session.client.change(commands.BreakRegionLink(a, b))

    def restore_region_link(self, a: str, b: str) -> None:
        """Joins two regions that `break_region_link` has parted. Raises LabError for others.

        Examples:
            >>> eu, us = lab.add_region("eu"), lab.add_region("us")
            >>> lab.link_regions(eu, us, 40)
            >>> lab.break_region_link(eu, us)
            >>> lab.restore_region_link(eu, us)
        """
        self._session.client.change(commands.RestoreRegionLink(a, b))

    def set_name(self, name: str, *addresses: object, device: Device | str | None = None) -> None:
        """Has a name stand for addresses, for everybody or for one device alone; without any, the name is taken away.

        Raises LabError for what DNS cannot carry.

        Examples:
            >>> lab.set_name("api.example.com", server.ip)
            >>> server.ip in laptop.resolve("api.example.com")
            True
            >>> lab.set_name("api.example.com", "203.0.113.9", device=laptop)
        """
        record = NameRecord(name, tuple(map(str, addresses)))
        self._session.client.change(commands.SetNames((record,), None if device is None else name_of(device)))

    @property
    def ix(self) -> Ix:
        """The internet exchange.

        Examples:
            >>> lab.ix.name
            'ix'
        """
        return Ix(self._session, "ix")

    def router(self, name: str) -> Router:
        """The router of that name. Raises LabError when there is none.

        Examples:
            >>> lab.router("home") == home
            True
        """
        self._session.node_state("routers", name)
        return Router(self._session, name)

    def device(self, name: str) -> Device:
        """The device of that name. Raises LabError when there is none.

        Examples:
            >>> lab.device("laptop").interfaces["eth0"].router
            'home'
        """
        self._session.node_state("devices", name)
        return Device(self._session, name)

    @property
    def routers(self) -> list[Router]:
        """In the order in which they came.

        Examples:
            >>> [router.name for router in lab.routers]
            ['dc', 'home']
        """
        return [Router(self._session, name) for name in self.state()["routers"]]

    @property
    def devices(self) -> list[Device]:
        """In the order in which they came.

        Examples:
            >>> [device.name for device in lab.devices]
            ['server', 'laptop']
        """
        return [Device(self._session, name) for name in self.state()["devices"]]

    def state(self) -> dict[str, Any]:
        """Everything about the network as it is now: what `state.json` of a run holds.

        Examples:
            >>> lab.state()["routers"]["home"]["nat"]
            'home'
        """
        return self._session.client.state()

    def close(self, outcome: Outcome = "stopped") -> None:
        """Ends the lab and every program in it; returns when nothing of them runs any more.

        `outcome` is what the record says of it: "success", "failed" or "stopped". Leaving a lab's block closes it too.

        Examples:
            >>> from patchbay_runner import Lab
            >>> another = Lab(label="another")
            >>> another.close("success")
        """
        self._session.close(outcome)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close("success" if error is None else "failed")

    def _extend(self, addition: Topology) -> None:
        self._session.client.change(commands.Extend(addition))
