"""A plan written back as a sim file: one variant, nothing left to resolve, and it loads to the same plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from patchbay_runner.model.capture import PacketCapture
from patchbay_runner.model.durations import format_duration
from patchbay_runner.model.firewall import Firewall
from patchbay_runner.model.links import LinkCondition
from patchbay_runner.model.names import NameRecord
from patchbay_runner.model.nat import NAT_MODES, Nat, NatConfig
from patchbay_runner.model.plan import Binary, Plan, Prepare
from patchbay_runner.model.steps import (
    AddInterface,
    Assert,
    BreakRegionLink,
    Capture,
    FlushNat,
    GenCerts,
    GenFile,
    LinkDown,
    LinkUp,
    ProcessStep,
    RebootRouter,
    RemoveInterface,
    RenewAddress,
    Replug,
    Restart,
    RestoreRegionLink,
    Run,
    SetDefaultRoute,
    SetDownlink,
    SetFirewall,
    SetLinkCondition,
    SetNames,
    SetNat,
    SetNatV6,
    SetUplink,
    Signal,
    Spawn,
    Step,
    Stop,
    Wait,
    WaitFor,
    WaitForCapture,
    action_of,
)
from patchbay_runner.model.topology import Device, IpSupport, LabSettings, NatV6, Region, Router, RouterAdvertisements

Table = dict[str, Any]


def resolved_document(plan: Plan) -> Table:
    """The tables of a sim file that means `plan`. Each axis of its matrix has the variant's value alone."""
    sim: Table = {"name": plan.name}
    if plan.user != "caller":
        sim["user"] = plan.user
    if plan.seed is not None:
        sim["seed"] = plan.seed
    if plan.exclusive is not None:
        sim["exclusive"] = plan.exclusive
    if plan.capture is not None:
        sim["capture"] = _packet_capture(plan.capture)
    document: Table = {
        "matrix": {axis: [value] for axis, value in plan.matrix.items()},
        "sim": sim,
        "lab": _settings(plan.topology.lab),
        "binary": [_binary(binary) for binary in plan.binaries],
        "prepare": [_spelled(entry) for entry in plan.prepare],
        "region": {region.name: _region(region) for region in plan.topology.regions},
        "router": [_router(router) for router in plan.topology.routers],
        "device": {device.name: _device(device) for device in plan.topology.devices},
        "dns": _names(plan.topology.names),
        "step": [_step(step) for step in plan.steps],
        "on_failure": [_step(step) for step in plan.on_failure],
    }
    return {key: value for key, value in document.items() if value}


def _packet_capture(capture: PacketCapture) -> bool | Table:
    if capture == PacketCapture():
        return True
    return {"max_size": f"{capture.max_bytes}B", "snaplen": capture.snap_length}


def _settings(lab: LabSettings) -> Table:
    table: Table = msgspec.to_builtins(lab)
    return table


def _binary(binary: Binary) -> Table:
    table = _spelled(binary)
    if "repo" not in table:
        table.pop("commit", None)
    return table


def _spelled(record: Binary | Prepare) -> Table:
    """TOML's names of the fields."""
    names = {"all_features": "all-features"}
    return {names.get(key, key): value for key, value in msgspec.to_builtins(record).items() if key != "origin"}


def _region(region: Region) -> Table:
    return _given(
        latencies={
            other: towards.latency_ms
            if towards == LinkCondition(latency_ms=towards.latency_ms)
            else _condition(towards)
            for other, towards in region.towards.items()
        }
    )


def _router(router: Router) -> Table:
    table: Table = {"name": router.name}
    table |= _given(upstream=router.upstream, region=router.region, mtu=router.mtu)
    table |= _given(cidr=router.cidr, cidr_v6=router.cidr_v6)
    if router.is_isolated:
        table["isolated"] = True
    if router.nat != Nat():
        table["nat"] = _nat(router.nat)
    if router.nat_v6 is not NatV6.NONE:
        table["nat_v6"] = router.nat_v6.value
    if router.ip_support is not IpSupport.DUAL_STACK:
        table["ip_support"] = router.ip_support.value
    if router.pool is not None:
        table["pool"] = router.pool.value
    if router.firewall != Firewall():
        table["firewall"] = _firewall(router.firewall)
    if router.block_icmp_frag_needed:
        table["block_icmp_frag_needed"] = True
    for key, condition in (("downlink_condition", router.downlink), ("uplink_condition", router.uplink)):
        if condition is not None:
            table[key] = _condition(condition)
    return table | _advertisements(router.ra)


def _firewall(firewall: Firewall) -> str | Table:
    return firewall.mode if firewall.mode != "custom" else firewall.config.table


def _advertisements(ra: RouterAdvertisements) -> Table:
    default = RouterAdvertisements()
    names = {"enabled": "ra_enabled", "interval_s": "ra_interval_secs", "lifetime_s": "ra_lifetime_secs"}
    return {key: getattr(ra, name) for name, key in names.items() if getattr(ra, name) != getattr(default, name)}


def _nat(nat: Nat) -> str | Table:
    return nat.mode if nat.mode in NAT_MODES else (nat.config or NatConfig()).table


def _device(device: Device) -> Table:
    table = _given(default_via=device.default_via, mtu=device.mtu, dns=_names(device.names) or None)
    for interface in device.interfaces:
        table[interface.name] = {"gateway": interface.gateway}
        if interface.impair is not None:
            table[interface.name]["impair"] = _condition(interface.impair)
    return table


def _names(records: Iterable[NameRecord]) -> Table:
    return {record.name: record.alias or list(record.addresses) for record in records}


def _set_names(step: SetNames) -> Table:
    return _given(device=step.device or None) | {"entries": {name: list(texts) for name, texts in step.entries.items()}}


def _condition(condition: LinkCondition) -> Table:
    table: Table = msgspec.to_builtins(condition)
    return table


def _step(step: Step) -> Table:
    table: Table = {"action": action_of(step)} | _given(id=step.id or None)
    table |= _given(timeout=_duration(step.timeout_s), requires=list(step.requires) or None)
    return table | _BODIES[type(step)](step)


def _process(step: ProcessStep) -> Table:
    table: Table = {"device": step.device, "cmd": list(step.cmd)}
    table |= _given(env=step.env or None, cwd=step.cwd, parser=step.parser, expect_exit=step.expect_exit)
    if isinstance(step, Spawn) and step.ready_after_s:
        table["ready_after"] = _duration(step.ready_after_s)
    if isinstance(step, Spawn) and step.ready_when is not None:
        table["ready_when"] = msgspec.to_builtins(step.ready_when)
    if isinstance(step, Run) and step.parallel:
        table["parallel"] = step.parallel
    if step.captures:
        table["captures"] = {capture.name: _capture(capture) for capture in step.captures}
    if step.results is not None:
        table["results"] = msgspec.to_builtins(step.results)
        table["results"] = {key: value for key, value in table["results"].items() if value is not None}
    return table


def _capture(capture: Capture) -> Table:
    table: Table = msgspec.to_builtins(capture)
    del table["name"]
    return table


def _duration(seconds: float | None) -> str | None:
    return None if seconds is None else format_duration(seconds)


def _given(**values: Any) -> Table:
    return {key: value for key, value in values.items() if value is not None}


def _assert(step: Assert) -> Table:
    times = _given(eventually=_duration(step.within_s)) | ({"for": _duration(step.for_s)} if step.for_s else {})
    return {"checks": [str(check) for check in step.checks]} | times


def _signal(step: Signal) -> Table:
    return {"signal": step.signal} | ({"group": True} if step.group else {})


def _stop(step: Stop) -> Table:
    return _given(signal=step.signal, grace=_duration(step.grace_s), expect_exit=step.expect_exit)


def _gen_certs(step: GenCerts) -> Table:
    return _given(device=step.device, cn=step.cn, san=list(step.san) or None)


def _link(step: LinkDown | LinkUp | RemoveInterface | RenewAddress) -> Table:
    return {"device": step.device, "interface": step.interface}


def _set_link_condition(step: SetLinkCondition) -> Table:
    condition = None if step.condition is None else _condition(step.condition)
    return {"device": step.device, "interface": step.interface, "direction": step.direction} | _given(
        condition=condition
    )


def _set_lan_condition(step: SetDownlink | SetUplink) -> Table:
    condition = None if step.condition is None else _condition(step.condition)
    return {"router": step.router} | _given(condition=condition)


_BODIES: dict[type[Step], Callable[[Any], Table]] = {
    Run: _process,
    Spawn: _process,
    WaitFor: lambda step: _given(expect_exit=step.expect_exit),
    WaitForCapture: lambda step: {"capture": step.capture, "count": step.count},
    Signal: _signal,
    Stop: _stop,
    Restart: lambda step: {"signal": step.signal, "grace": _duration(step.grace_s)},
    Wait: lambda step: {"duration": _duration(step.duration_s)},
    Assert: _assert,
    GenCerts: _gen_certs,
    GenFile: lambda step: {"content": step.content},
    LinkDown: _link,
    LinkUp: _link,
    SetDefaultRoute: lambda step: {"device": step.device, "to": step.to},
    SetLinkCondition: _set_link_condition,
    SetDownlink: _set_lan_condition,
    SetUplink: _set_lan_condition,
    Replug: lambda step: {"device": step.device, "interface": step.interface, "to": step.to},
    AddInterface: lambda step: {"device": step.device, "interface": step.interface, "gateway": step.gateway},
    RemoveInterface: _link,
    RenewAddress: _link,
    SetNat: lambda step: {"router": step.router, "nat": _nat(step.nat)},
    SetNatV6: lambda step: {"router": step.router, "nat_v6": step.nat_v6.value},
    RebootRouter: lambda step: {"router": step.router, "down_for": _duration(step.down_for_s)},
    FlushNat: lambda step: {"router": step.router},
    SetFirewall: lambda step: {"router": step.router, "firewall": _firewall(step.firewall)},
    BreakRegionLink: lambda step: {"regions": list(step.regions)},
    RestoreRegionLink: lambda step: {"regions": list(step.regions)},
    SetNames: _set_names,
}
