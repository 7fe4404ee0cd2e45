"""Requests as words of a command line, and the lines of the protocol."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from patchbay_runner.control import wire
from patchbay_runner.control.methods import METHODS
from patchbay_runner.control.reference import methods_reference
from patchbay_runner.control.requests import TEXTS
from patchbay_runner.control.wire import Refusal
from patchbay_runner.control.words import read_words


@pytest.mark.parametrize(
    ("words", "params"),
    [
        ("state", {}),
        ("link-down laptop eth0", {"device": "laptop", "interface": "eth0"}),
        ("link_down interface=eth0 laptop", {"device": "laptop", "interface": "eth0"}),
        ("add-router home nat=home mtu=1400", {"name": "home", "nat": "home", "mtu": 1400}),
        ("add-router 5 downlink.rate_kbit=10", {"name": 5, "downlink": {"rate_kbit": 10}}),
        ("add-device 5 home", {"name": "5", "router": "home"}),
        ("add-device x impair.latency-ms=3", {"name": "x", "impair": {"latency-ms": 3}}),
        ("add-device x default-via=eth1", {"name": "x", "default_via": "eth1"}),
        ("set-link-condition a eth0 null", {"device": "a", "interface": "eth0", "condition": None}),
        ('set-downlink a {"loss_pct":5}', {"router": "a", "condition": {"loss_pct": 5}}),
        ("link-regions eu us 40 back=wifi", {"a": "eu", "b": "us", "condition": 40, "back": "wifi"}),
        ("spawn a env.A=1 -- nginx -g x=y", {"node": "a", "env": {"A": "1"}, "argv": ["nginx", "-g", "x=y"]}),
        ("wait 12 timeout_s=0.5", {"pid": 12, "timeout_s": 0.5}),
        ("wait-output 12 ready: stderr", {"pid": 12, "pattern": "ready:", "stream": "stderr"}),
    ],
)
def test_words_are_a_request(words: str, params: dict[str, Any]) -> None:
    assert read_words(words.split()).params == params


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("link-dwn laptop eth0", "unknown method 'link-dwn' (did you mean \"link-down\"?)"),
        ("link-down laptop", "INTERFACE is missing: patchbay ctl link-down DEVICE INTERFACE"),
        ("link-down laptop eth0 eth1", "'eth1' is one value too many: patchbay ctl link-down DEVICE INTERFACE"),
        ("link-down laptop eth0 -- true", "link-down takes no program: patchbay ctl link-down DEVICE INTERFACE"),
        (
            "spawn laptop nginx",
            "spawn takes a program behind --: patchbay ctl spawn NODE [INPUT] [KEY=VALUE …] -- PROGRAM …",
        ),
        ("add-router --nat home", "--nat stands behind the method; options come before it, programs behind --"),
        ("add-router x nat=home nat.mapping=x", "nat has a value already"),
    ],
)
def test_words_that_are_none_are_explained(words: str, message: str) -> None:
    with pytest.raises(Refusal) as refused:
        read_words(words.split())
    assert str(refused.value) == message


def test_every_parameter_has_a_text_and_every_text_a_parameter() -> None:
    assert methods_reference().count("\n### ") == len(METHODS) - 1
    names = {f"{m.name}.{p.name}": p.name for m in METHODS.values() for p in m.parameters or ()}
    used = {full if full in TEXTS else name for full, name in names.items()}
    assert set(TEXTS) == used


@pytest.mark.parametrize("size", [1, 7, 1 << 16])
def test_lines_however_they_come(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(wire, "LINE_LIMIT_BYTES", 20)
    sent = b"one\n\n two \r\n" + b"x" * 21 + b"\n" + b"y" * 20 + b"\n" + b"z" * 50 + b"\nlast"
    ours, theirs = socket.socketpair()

    async def read() -> list[bytes | None]:
        found: list[bytes | None] = []
        writing = asyncio.create_task(write())
        async for line in wire.lines(ours):
            found.append(line)
        await writing
        return found

    async def write() -> None:
        loop = asyncio.get_running_loop()
        for start in range(0, len(sent), size):
            await loop.sock_sendall(theirs, sent[start : start + size])
            await asyncio.sleep(0)
        theirs.shutdown(socket.SHUT_WR)

    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        assert asyncio.run(read()) == [b"one", b"two", None, b"y" * 20, None, b"last"]
