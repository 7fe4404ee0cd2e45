"""What can be asked of a control socket besides changes of the network: the parameters of each method.

The docstrings and `TEXTS` are what the reference says.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from patchbay_runner.lab.commands import Family

Condition = str | dict[str, Any]
Number16 = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
Encoding = Literal["utf-8", "base64"]


class Params(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of a method."""


class Hello(Params, frozen=True):
    """Asks which protocol is spoken, and says which one the client speaks."""

    protocol: int | None = None


class CreateLab(Params, frozen=True):
    """Makes the connection's own lab. It ends with the connection, whatever else happens.

    A connection that does not ask has one with these defaults, from its first request that needs a lab.
    """

    label: str | None = None
    file: str | None = None
    matrix: dict[str, Any] = {}
    seed: int | None = None
    ipv6_provisioning: Literal["static", "ra"] | None = None
    ipv6_dad: bool | None = None
    outdir: str | None = None
    keep: bool = False


class Attach(Params, frozen=True):
    """Makes the lab of others the connection's: `"shared"`, which all can use, or one by its identifier."""

    lab: str = "shared"


class CloseLab(Params, frozen=True):
    """Ends the connection's lab and every program in it; returns when nothing of them runs any more."""

    outcome: Literal["success", "failed", "stopped"] = "stopped"


class Labs(Params, frozen=True):
    """Lists the labs that are up."""


class State(Params, frozen=True):
    """Everything about the network as it is now."""


class Node(Params, frozen=True):
    """One device, router or the exchange (`ix`), as it is now."""

    node: str


class AddDevice(Params, frozen=True):
    """Adds a device: with `eth0` behind `router`, or with several interfaces."""

    name: str
    router: str | None = None
    impair: Condition | None = None
    interfaces: dict[str, str | dict[str, Any]] | None = None
    default_via: str | None = None
    mtu: int | None = None


class AddRegion(Params, frozen=True):
    """Adds a region, which routers name by `region`."""

    name: str


class LinkRegions(Params, frozen=True):
    """Joins two regions."""

    a: str
    b: str
    condition: float | Condition
    back: float | Condition | None = None


class SetNames(Params, frozen=True):
    """Changes what names stand for, for everybody or for one device alone."""

    names: dict[str, str | list[str]]
    device: str | None = None


class Run(Params, frozen=True):
    """Runs a program in a node to its end. When it takes too long, or the client goes away, its group is killed."""

    node: str
    argv: list[str]
    input: str = ""
    env: dict[str, str] = {}
    cwd: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    timeout_s: float | None = None
    encoding: Encoding = "utf-8"


class Spawn(Params, frozen=True):
    """Starts a program in a node, in a process group of its own. It ends with the lab at the latest."""

    node: str
    argv: list[str]
    input: str = ""
    env: dict[str, str] = {}
    cwd: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    encoding: Encoding = "utf-8"


class Wait(Params, frozen=True):
    """Waits for the end of a program that was spawned."""

    pid: int
    timeout_s: float | None = None
    encoding: Encoding = "utf-8"


class WaitOutput(Params, frozen=True):
    """Waits until a program that was spawned has written a line that matches."""

    pid: int
    pattern: str
    stream: Literal["stdout", "stderr"] = "stdout"
    timeout_s: float | None = None


class Output(Params, frozen=True):
    """What a program that was spawned has written so far."""

    pid: int
    encoding: Encoding = "utf-8"


class Signal(Params, frozen=True):
    """Signals the whole process group of a program that was spawned; one that has ended takes no notice."""

    pid: int
    signal: str | int = "TERM"


class Kill(Params, frozen=True):
    """Kills the whole process group of a program that was spawned."""

    pid: int


class UdpReflector(Params, frozen=True):
    """Starts a UDP server that sends back what comes; it is bound when the reply is there."""

    node: str
    port: Number16 = 0
    host: str = "0.0.0.0"


class TcpReflector(Params, frozen=True):
    """Starts a TCP server that sends back what comes; it is bound when the reply is there."""

    node: str
    port: Number16 = 0
    host: str = "0.0.0.0"


class CloseReflector(Params, frozen=True):
    """Ends a reflector and its connections; returns when its port is free."""

    reflector: int


class Resolve(Params, frozen=True):
    """What a name stands for in a node."""

    node: str
    name: str


class Netns(Params, frozen=True):
    """The path of a node's network namespace, which setns(2), `nsenter --net=` and `ip netns` take."""

    node: str


class Socket(Params, frozen=True):
    """A socket that lives in the node's network, as a descriptor beside the reply (SCM_RIGHTS)."""

    node: str
    family: Family = "inet"
    type: Literal["stream", "dgram", "raw"] = "stream"
    protocol: Number16 = 0


class Enter(Params, frozen=True):
    """The way into a node for a program of the client's own: six descriptors beside the reply (SCM_RIGHTS)."""

    node: str


# What a parameter is, by its name; "method.name" where a method means something else by it.
TEXTS = {
    "a": "a region",
    "argv": "the program and its arguments; it is searched in PATH",
    "attach.lab": "`shared`, or an identifier that `create_lab` gave or `labs` lists",
    "b": "another region",
    "back": "the same from `b` to `a`, where it differs",
    "close_lab.outcome": "what the lab's record says of it",
    "condition": "a link condition as in TOML: a preset's name or an object; null clears it",
    "create_lab.file": "a topology or sim file whose network the lab has from the start, relative to where "
    "`patchbay exec` was started; without it, that of `patchbay exec --topology`, or nothing",
    "cwd": "its working directory; that of `patchbay exec` unless given",
    "default_via": "the interface of the default routes; the first unless given",
    "device": "a device's name",
    "direction": "`up` is what the device sends, `down` what it receives",
    "down_for_s": "seconds for which the router carries nothing",
    "encoding": "how bytes are written as text here: `base64` for what is not text",
    "enter.node": "a device, a router or `ix`",
    "env": "added to the environment that programs of a lab get",
    "family": "the address family",
    "firewall": "a firewall as in TOML: a preset's name or an object",
    "host": "the address that it binds",
    "impair": "the condition of `eth0`, as in TOML",
    "input": "what its standard input holds",
    "interface": "an interface's name",
    "interfaces": "interface to router, or to an object with the keys of an interface in TOML",
    "ipv6_dad": "whether devices probe for duplicate addresses",
    "ipv6_provisioning": "how devices come by IPv6 addresses: `ra` is Router Advertisements",
    "keep": "whether the lab outlives the connection; it ends with `close_lab` or `patchbay exec`",
    "label": "what the lab's record is called",
    "link_regions.condition": "the link's condition from `a` to `b`; a number is its latency in milliseconds",
    "matrix": "which variant of the sim, by the values of its matrix",
    "mtu": "its MTU in bytes",
    "name": "its name",
    "names": "name to address, addresses, or another name; an empty array takes the name away",
    "nat": "a NAT as in TOML: a preset's name or an object",
    "nat_v6": "what is done to IPv6 addresses, as in TOML",
    "node": "a device, a router or `ix`",
    "outdir": "the directory of the lab's record; by default a new one below that of `patchbay exec`, if it has one",
    "pattern": "a regular expression (Python's), searched in each line",
    "pid": "the number that `spawn` gave",
    "port": "0 takes a free one",
    "protocol": "the IP protocol of a raw socket",
    "hello.protocol": "the version that the client was written for; another one than ours is refused",
    "reflector": "the number that the reflector has",
    "resolve.name": "a host name",
    "router": "a router's name",
    "seed": "decides the fate of the n-th packet of every impaired link",
    "set_names.device": "for this device alone",
    "signal": 'a name such as "TERM" or a number',
    "stderr": "a file for its standard error, which is captured unless this is given",
    "stdout": "a file for its standard output, which is captured unless this is given; relative to `cwd`",
    "stream": "where it writes",
    "timeout_s": "seconds after which the answer is an error of kind `Timeout`; without end unless given",
    "type": "the type of socket",
}
