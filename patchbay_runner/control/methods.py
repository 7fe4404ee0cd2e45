"""Every method of the protocol: its parameters, what carries it out, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from inspect import cleandoc
from typing import Any

import msgspec

from patchbay_runner.control import network, requests
from patchbay_runner.control.wire import bad_request
from patchbay_runner.lab.client import LabClient
from patchbay_runner.loader.diagnostics import did_you_mean, one_of
from patchbay_runner.model.topology import Origin

NOTHING = "`{}`"
_NODE = (
    "the node: `name`, `kind`, the addresses `ip` and `ip_v6` that others reach it by, and what `state.json` says of it"
)
_REFLECTOR = "`reflector`, its number, and the `host` and `port` that it is bound to"
_LAB = "`lab`, its identifier; its `label`; `outdir`, where its record is kept, or null"
_STREAMS = (
    "`stdout` and `stderr` as far as they are captured, and `cut`, those of them of which there is more than 4 MiB"
)
_ENDED = f"`returncode`, negative for a signal; {_STREAMS}"

# What goes to programs as it is.
_CONTENTS = ("input",)


class Parameter(msgspec.Struct, frozen=True):
    """One parameter; `kind` is its type."""

    name: str
    kind: Any
    is_required: bool
    default: Any


class Method(msgspec.Struct, frozen=True, kw_only=True):
    """One method. `parameters` None takes the keys of a TOML table, `read` makes of an object what it takes.

    `on_network` carries it out where an agent is all that is needed, else `handlers.py` does. Methods that are about a
    lab have `needs_lab`. One that `waits` for a program lets later requests be carried out meanwhile.
    """

    name: str
    text: str
    answer: str
    parameters: tuple[Parameter, ...] | None
    read: Callable[[Mapping[str, Any]], Any]
    on_network: Callable[[LabClient, Any, Origin], Any] | None = None
    waits: bool = False
    needs_lab: bool = True


def read_params(method: str, kind: type[Any], params: Mapping[str, Any]) -> Any:
    """The record of a method's parameters. Raises Refusal."""
    return kind(**_checked(method, _parameters(kind), params))


def _checked(method: str, parameters: tuple[Parameter, ...], params: Mapping[str, Any]) -> dict[str, Any]:
    known = {each.name: each for each in parameters}
    for name in params:
        if name not in known:
            hint = did_you_mean(name, list(known)) or f"; it takes {one_of(known)}"
            raise bad_request(f"{method}: unknown parameter {name!r}{hint}")
    for each in parameters:
        if each.is_required and each.name not in params:
            raise bad_request(f"{method}: {each.name!r} is missing")
    return {name: _converted(method, known[name], value) for name, value in params.items()}


def _converted(method: str, parameter: Parameter, value: Any) -> Any:
    if parameter.name not in _CONTENTS and _has_nul(value):
        raise bad_request(f"{method}: {parameter.name!r} holds the character NUL, which the system takes for an end")
    try:
        return msgspec.convert(value, parameter.kind)
    except msgspec.ValidationError as error:
        raise bad_request(f"{method}: {parameter.name!r}: {error}") from error


def _has_nul(value: Any) -> bool:
    match value:
        case str():
            return "\0" in value
        case dict():
            return any(map(_has_nul, (*value, *value.values())))
        case list():
            return any(map(_has_nul, value))
    return False


def _parameters(kind: type[Any]) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(each.name, each.type, each.required, _default(each)) for each in msgspec.structs.fields(kind)
    )


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return None if field.default is msgspec.NODEFAULT else field.default


def _asking(name: str, kind: type[Any], answer: str, **how: Any) -> Method:
    return Method(
        name=name,
        text=cleandoc(kind.__doc__ or ""),
        answer=answer,
        parameters=_parameters(kind),
        read=partial(read_params, name, kind),
        **how,
    )


def _changing(name: str, command: type[Any]) -> Method:
    parameters = tuple(
        msgspec.structs.replace(each, kind=Any) if network.is_read_by_loader(each.name) else each
        for each in _parameters(command)
    )
    return Method(
        name=name,
        text=cleandoc(command.__doc__ or "").partition(" Replies `Done`")[0],
        answer=NOTHING,
        parameters=parameters,
        read=partial(_checked, name, parameters),
        on_network=partial(network.change, command),
    )


def _describing(name: str, text: str, answer: str, carry_out: Callable[[LabClient, Any, Origin], Any]) -> Method:
    return Method(name=name, text=text, answer=answer, parameters=None, read=dict, on_network=carry_out)


_ALL = (
    _asking("hello", requests.Hello, "`protocol` and `patchbay`, the versions", needs_lab=False),
    _asking("create_lab", requests.CreateLab, _LAB, needs_lab=False),
    _asking("attach", requests.Attach, _LAB, needs_lab=False),
    _asking("close_lab", requests.CloseLab, NOTHING, needs_lab=False),
    _asking("labs", requests.Labs, f"`labs`, an array of objects: {_LAB}", needs_lab=False),
    _asking(
        "state", requests.State, "what `state.json` holds: `ix`, `routers`, `devices`, …", on_network=network.state
    ),
    _asking("node", requests.Node, _NODE, on_network=network.node),
    _describing(
        "add_router",
        "Adds a router. The parameters are the keys of `[[router]]` in TOML.",
        _NODE,
        network.add_router,
    ),
    _asking("add_device", requests.AddDevice, _NODE, on_network=network.add_device),
    _asking("add_region", requests.AddRegion, NOTHING, on_network=network.add_region),
    _asking("link_regions", requests.LinkRegions, NOTHING, on_network=network.link_regions),
    _describing(
        "extend",
        "Adds everything that the tables of a topology file describe: `router` (an array), `device`, `region`, `dns`.",
        "`routers` and `devices`: the nodes that were added, by name, as `node` gives them",
        network.extend,
    ),
    _asking("set_names", requests.SetNames, NOTHING, on_network=network.set_names),
    *(_changing(name, command) for name, command in network.CHANGES.items()),
    _asking("run", requests.Run, _ENDED, waits=True),
    _asking("spawn", requests.Spawn, "`pid`, its number in this lab"),
    _asking("wait", requests.Wait, _ENDED, waits=True),
    _asking("wait_output", requests.WaitOutput, "`line`", waits=True),
    _asking("output", requests.Output, _STREAMS),
    _asking("signal", requests.Signal, NOTHING),
    _asking("kill", requests.Kill, NOTHING),
    _asking("udp_reflector", requests.UdpReflector, _REFLECTOR),
    _asking("tcp_reflector", requests.TcpReflector, _REFLECTOR),
    _asking("close_reflector", requests.CloseReflector, NOTHING),
    _asking("resolve", requests.Resolve, "`addresses`"),
    _asking("netns", requests.Netns, "`path`"),
    _asking("socket", requests.Socket, "`{}`, and the socket's descriptor"),
    _asking(
        "enter",
        requests.Enter,
        "`env`, what the lab adds to the environment, and descriptors of the user, PID, IPC, UTS, network and mount "
        "namespaces",
    ),
)

METHODS: Mapping[str, Method] = {method.name: method for method in _ALL}


def find(name: str) -> Method:
    """The method of that name. Raises Refusal."""
    method = METHODS.get(name)
    if method is None:
        hint = did_you_mean(name, list(METHODS)) or f"; there is {one_of(METHODS)}"
        raise bad_request(f"unknown method {name!r}{hint}")
    return method
