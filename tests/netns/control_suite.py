"""The control protocol as its clients have it: a suite that runs inside of `patchbay exec`, see test_exec.py."""

from __future__ import annotations

import base64
import ctypes
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from patchbay_runner.control.network import CHANGES
from patchbay_runner.control.wire import LINE_LIMIT_BYTES, PROTOCOL
from tests.netns.support.control_client import PATIENCE_S, Control, Refused
from tests.netns.support.sandbox_inside import wait_until

CLONE_NEWNET = 0x40000000


@pytest.fixture
def lab() -> Iterator[Control]:
    """A connection whose lab has a server, and a laptop behind a home's NAT."""
    with Control() as control:
        build(control)
        yield control


def build(control: Control) -> None:
    control.ask("add_router", name="dc")
    control.ask("add_router", name="home", nat="home")
    control.ask("add_device", name="server", router="dc")
    control.ask("add_device", name="laptop", router="home")


def answers(lab: Control, node: str, target: str) -> bool:
    return lab.ask("run", node=node, argv=["ping", "-c1", "-W60", target])["returncode"] == 0


def is_silent(lab: Control, node: str, target: str) -> bool:
    return lab.ask("run", node=node, argv=["ping", "-c1", "-W0.3", target])["returncode"] == 1


def running(marker: str) -> list[str]:
    """The processes of the sandbox and of all labs in it whose command line has the text."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker.encode() in path.read_bytes():
                found.append(path.parent.name)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def labs() -> list[str]:
    with Control() as control:
        return [each["lab"] for each in control.ask("labs")["labs"]]


def test_the_versions_are_told() -> None:
    with Control() as control:
        assert control.ask("hello", protocol=PROTOCOL)["protocol"] == PROTOCOL
        with pytest.raises(Refused, match="WrongProtocol: protocol 99"):
            control.ask("hello", protocol=99)


def test_a_server_sees_the_routers_address(lab: Control) -> None:
    server, home = lab.ask("node", node="server"), lab.ask("node", node="home")
    listening = "import socket; s = socket.create_server(('', 7)); print('ready', flush=True); print(s.accept()[1][0])"
    pid = lab.ask("spawn", node="server", argv=["python3", "-c", listening])["pid"]
    assert lab.ask("wait_output", pid=pid, pattern="^ready$", timeout_s=PATIENCE_S) == {"line": "ready"}
    connecting = "import socket, sys; socket.create_connection((sys.argv[1], 7))"
    assert lab.ask("run", node="laptop", argv=["python3", "-c", connecting, server["ip"]])["returncode"] == 0
    ended = lab.ask("wait", pid=pid)
    assert (ended["returncode"], ended["stdout"].split()) == (0, ["ready", home["ip"]])


def test_requests_are_carried_out_in_order_and_programs_beside_them(lab: Control) -> None:
    slow = lab.send("run", node="laptop", argv=["sh", "-c", "echo begun; sleep 100"], timeout_s=0.3)
    down = lab.send("link_down", device="laptop", interface="eth0")
    state = lab.send("node", node="laptop")
    quick = lab.send("run", node="laptop", argv=["echo", "here"])
    assert lab.reply(quick)["stdout"] == "here\n"
    assert (lab.reply(down), lab.reply(state)["interfaces"][0]["up"]) == ({}, False)
    with pytest.raises(Refused, match=r"Timeout: sh has not ended after 0.3 s, and was killed") as late:
        lab.reply(slow)
    assert late.value.error["stdout"] in ("", "begun\n")


def test_nonsense_is_answered_and_does_no_harm() -> None:
    with Control() as control:
        for line, message in (
            (b"hello", "not a request: JSON is malformed"),
            (b"[1, 2]", "Expected `object`, got `array`"),
            (b'{"id": 5}', "missing required field `method`"),
            (b'{"id": 5, "method": "hello", "parms": {}}', "unknown field `parms`"),
            (b'{"id": 5, "method": "hello", "params": [1]}', "Expected `object | null`, got `array`"),
            (b'{"id": 5, "method": "add-router"}', 'did you mean "add_router"'),
            (b'{"id": 5, "method": "node"}', "node: 'node' is missing"),
            (b'{"id": 5, "method": "node", "params": {"node": 3}}', "Expected `str`, got `int`"),
            (b'{"id": 5, "method": "node", "params": {"nod": "x"}}', 'did you mean "node"'),
            (b'\xff\xfe{"id": 5}', "not a request"),
            (b'{"id": {"a": 1}, "method": "hello"}', "not a request"),
            (b'{"params": ' + b'{"a": ' * 50_000, "recursion"),
            (b'{"method": "\\ud800"}', "not a request"),
        ):
            control.raw(b"\n" + line + b"\r\n\n")
            answer = control.line()
            assert answer["error"]["kind"] == "BadRequest"
            assert message in answer["error"]["message"], answer
            assert answer["id"] == (5 if line.startswith(b'{"id": 5') else None)
        control.raw(b'{"method": "' + b"x" * LINE_LIMIT_BYTES + b'"}\n{"id": "next", "method": "hello"}\n')
        assert control.line()["error"]["message"] == "a line is longer than 16 MiB"
        assert control.reply("next")["protocol"] == PROTOCOL


def test_what_no_file_may_say_names_the_key(lab: Control) -> None:
    with pytest.raises(Refused, match=r'^InputError: request 5: router\.nat: .*did you mean "home"') as refused:
        lab.ask("add_router", name="other", nat="hme")
    assert [each["key"] for each in refused.value.error["diagnostics"]] == ["router.nat"]
    for method, params, message in (
        ("add_router", {"name": "home"}, "home"),
        ("add_device", {"name": "x"}, "BadRequest: add_device: a device has either a router or interfaces"),
        ("add_device", {"name": "x", "interfaces": {"eth0": {"gatway": "dc"}}}, "gatway"),
        ("extend", {"rooter": []}, "BadRequest: extend: there is no table 'rooter'"),
        ("extend", {"router": [None]}, "BadRequest: router: NoneType is nothing that a network"),
        ("extend", {"router": {"name": "x"}}, "BadRequest: extend: 'router' is an array"),
        ("set_link_condition", {"device": "laptop", "interface": "eth0", "condition": {"loss": "x"}}, "InputError"),
        ("set_nat", {"router": "laptop", "nat": "home"}, "LabError: laptop: there is no such router"),
        ("node", {"node": "nobody"}, "LabError: nobody: there is no such node; there is"),
        ("run", {"node": "laptop", "argv": []}, "BadRequest: argv is empty"),
        ("run", {"node": "laptop", "argv": ["no-such-program"]}, "CommandNotFound: no-such-program"),
        ("run", {"node": "laptop", "argv": ["true"], "cwd": "/nowhere"}, "StepError: working directory /nowhere"),
        ("run", {"node": "laptop", "argv": ["true"], "stdout": "/nowhere/x"}, "OSError"),
        ("run", {"node": "laptop", "argv": ["cat"], "input": "?", "encoding": "base64"}, "input is not base64"),
        ("run", {"node": "laptop", "argv": ["a\0b"]}, "BadRequest: run: 'argv' holds the character NUL"),
        ("run", {"node": "laptop", "argv": ["true"], "env": {"A=B": ""}}, "'A=B' cannot be the name of a variable"),
        ("tcp_reflector", {"node": "server", "port": 65_536}, "BadRequest: tcp_reflector: 'port': Expected"),
        ("wait", {"pid": 1}, "LabError: no program with the pid 1 was spawned in this lab"),
        ("signal", {"pid": 1, "signal": "SIGNOTHING"}, "BadRequest: there is no signal 'SIGNOTHING'"),
        ("udp_reflector", {"node": "server", "host": "192.0.2.1"}, "OSError"),
        ("attach", {"lab": "lab-999"}, "LabError: there is no lab 'lab-999'; there is shared, "),
        ("create_lab", {}, "LabError: this connection has the lab"),
    ):
        with pytest.raises(Refused) as refused:
            pytest.fail(f"{method} {params}: {lab.ask(method, **params)}")
        assert message in str(refused.value), method


def test_every_change_of_a_network(lab: Control) -> None:
    for region in ("eu", "us"):
        lab.ask("add_region", name=region)
    lab.ask("extend", router=[{"name": "r-eu", "region": "eu"}, {"name": "r-us", "region": "us"}])
    lab.ask("link_regions", a="eu", b="us", condition=2, back={"latency_ms": 3})
    lab.ask("add_device", name="paris", interfaces={"eth0": "r-eu", "eth1": {"gateway": "dc"}}, default_via="eth0")
    lab.ask("add_device", name="boston", router="r-us")
    carried_out = []

    def change(method: str, **params: Any) -> None:
        assert lab.ask(method, **params) == {}
        carried_out.append(method)

    change("set_link_condition", device="laptop", interface="eth0", condition={"latency_ms": 5}, direction="both")
    assert lab.ask("node", node="laptop")["interfaces"][0]["download_condition"] == {"latency_ms": 5}
    change("set_link_condition", device="laptop", interface="eth0", condition=None, direction="both")
    change("set_downlink", router="home", condition="wifi")
    change("set_downlink", router="home", condition=None)
    change("set_uplink", router="home", condition={"loss_pct": 100})
    assert is_silent(lab, "laptop", "server")
    change("set_uplink", router="home")
    assert answers(lab, "laptop", "server")
    change("set_nat", router="home", nat={"mapping": "endpoint-dependent", "filtering": "address-and-port-dependent"})
    change("set_nat_v6", router="home", nat_v6="nptv6")
    change("flush_nat", router="home")
    change("set_firewall", router="dc", firewall="block-inbound")
    assert is_silent(lab, "laptop", "server")
    change("set_firewall", router="dc", firewall="none")
    change("reboot_router", router="home", down_for_s=0.01)
    change("break_region_link", a="eu", b="us")
    assert is_silent(lab, "paris", "boston")
    change("restore_region_link", a="eu", b="us")
    assert answers(lab, "paris", "boston")
    change("link_down", device="paris", interface="eth0")
    change("set_default_route", device="paris", interface="eth1")
    assert answers(lab, "paris", "server")
    change("link_up", device="paris", interface="eth0")
    change("add_interface", device="laptop", interface="eth1", router="dc")
    change("remove_interface", device="laptop", interface="eth1")
    change("replug", device="laptop", interface="eth0", router="dc")
    change("renew_address", device="laptop", interface="eth0")
    assert lab.ask("node", node="laptop")["ip"].startswith("198.18.")
    change("remove_device", device="laptop")
    change("remove_router", router="home")
    assert set(carried_out) == set(CHANGES)
    assert "laptop" not in lab.ask("state")["devices"]


def test_names(lab: Control) -> None:
    server = lab.ask("node", node="server")["ip"]
    lab.ask("set_names", names={"api.example.com": [server], "www.example.com": "api.example.com"})
    assert lab.ask("resolve", node="laptop", name="www.example.com") == {"addresses": [server]}
    lab.ask("set_names", names={"api.example.com": "198.18.0.99"}, device="laptop")
    assert lab.ask("resolve", node="laptop", name="api.example.com") == {"addresses": ["198.18.0.99"]}
    lab.ask("set_names", names={"www.example.com": []})
    with pytest.raises(Refused, match=r"OSError: .*unknown to laptop"):
        lab.ask("resolve", node="laptop", name="www.example.com")


def test_programs_and_their_streams(lab: Control, tmp_path: Path) -> None:
    script = "hostname; cat; echo $A >&2; pwd; exit 3"
    found = lab.ask("run", node="laptop", argv=["sh", "-c", script], input="é\n", env={"A": "b"}, cwd=str(tmp_path))
    assert found == {"returncode": 3, "stdout": f"laptop\né\n{tmp_path}\n", "stderr": "b\n"}
    content = bytes(range(256))
    sent = base64.b64encode(content).decode()
    assert lab.ask("run", node="laptop", argv=["cat"], input=sent, encoding="base64")["stdout"] == sent
    kept = lab.ask("run", node="laptop", argv=["echo", "kept"], stdout="out.txt", cwd=str(tmp_path))
    assert (kept, (tmp_path / "out.txt").read_text()) == ({"returncode": 0, "stderr": ""}, "kept\n")
    much = lab.ask("run", node="laptop", argv=["head", "-c", "5000000", "/dev/zero"])
    assert (len(much["stdout"]), much["cut"]) == (4 << 20, ["stdout"])
    assert lab.ask("run", node="laptop", argv=["sh", "-c", "test -S $PATCHBAY_CONTROL"])["returncode"] == 0


def test_a_program_that_goes_on(lab: Control) -> None:
    script = "trap 'echo bye; exit 4' TERM; echo begun; while :; do sleep 0.02; done"
    pid = lab.ask("spawn", node="server", argv=["sh", "-c", script])["pid"]
    assert lab.ask("wait_output", pid=pid, pattern="beg")["line"] == "begun"
    with pytest.raises(Refused, match=r"Timeout: no line of stdout matches 'bye' after 0.05 s"):
        lab.ask("wait_output", pid=pid, pattern="bye", timeout_s=0.05)
    with pytest.raises(Refused, match=r"Timeout: process .* has not ended after 0.05 s"):
        lab.ask("wait", pid=pid, timeout_s=0.05)
    assert lab.ask("output", pid=pid) == {"stdout": "begun\n", "stderr": ""}
    both = [lab.send("wait", pid=pid), lab.send("wait", pid=pid)]
    lab.ask("signal", pid=pid, signal="TERM")
    assert [lab.reply(each)["returncode"] for each in both] == [4, 4]
    assert lab.ask("wait", pid=pid)["stdout"] == "begun\nbye\n"
    assert (lab.ask("kill", pid=pid), lab.ask("signal", pid=pid, signal=15)) == ({}, {})
    with pytest.raises(Refused, match=r"ProgramEnded: .*'never'"):
        lab.ask("wait_output", pid=pid, pattern="never")
    killed = lab.ask("spawn", node="server", argv=["sh", "-c", "echo why >&2; exec sleep 100"])["pid"]
    waiting = lab.send("wait", pid=killed)
    lab.ask("wait_output", pid=killed, pattern="why", stream="stderr")
    lab.ask("kill", pid=killed)
    assert lab.reply(waiting) == {"returncode": -9, "stdout": "", "stderr": "why\n"}


def test_reflectors(lab: Control) -> None:
    for kind in ("udp", "tcp"):
        reflector = lab.ask(f"{kind}_reflector", node="server", port=9)
        assert reflector["port"] == 9
        sending = f"exec 3<>/dev/{kind}/server/9; echo back >&3; head -c 5 <&3"
        assert lab.ask("run", node="laptop", argv=["bash", "-c", sending])["stdout"] == "back\n"
        lab.ask("close_reflector", reflector=reflector["reflector"])
    assert lab.ask("run", node="laptop", argv=["bash", "-c", "exec 3<>/dev/tcp/server/9"])["returncode"] == 1


def test_a_thread_enters_the_network_of_a_node(lab: Control) -> None:
    path = lab.ask("netns", node="laptop")["path"]
    server = lab.ask("node", node="server")["ip"]
    lab.ask("udp_reflector", node="server", port=9)
    found = []

    def inside() -> None:
        namespace = os.open(path, os.O_RDONLY)
        assert ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET) == 0, ctypes.get_errno()
        os.close(namespace)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(PATIENCE_S)
            probe.sendto(b"there", (server, 9))
            found.append(probe.recv(10))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join(PATIENCE_S)
    assert found == [b"there"]
    own = subprocess.run(["ip", "netns", "exec", Path(path).name, "hostname", "-I"], capture_output=True, check=True)
    assert lab.ask("node", node="laptop")["ip"] in own.stdout.decode()
    lab.ask("remove_device", device="laptop")
    assert not Path(path).exists()


def test_a_socket_of_a_node_comes_with_the_reply(lab: Control) -> None:
    server = lab.ask("node", node="server")["ip"]
    lab.ask("udp_reflector", node="server", port=9)
    lab.raw(json.dumps({"id": "s", "method": "socket", "params": {"node": "laptop", "type": "dgram"}}).encode() + b"\n")
    line, (fd,), _, _ = socket.recv_fds(lab.socket, 1000, 1)
    assert json.loads(line) == {"id": "s", "result": {}}
    with socket.socket(fileno=fd) as mine:
        mine.settimeout(PATIENCE_S)
        mine.sendto(b"mine", (server, 9))
        assert mine.recv(10) == b"mine"


def test_labs_side_by_side_know_nothing_of_each_other() -> None:
    several = [Control() for _ in range(6)]
    before = set(labs())
    threads = [threading.Thread(target=build, args=(control,)) for control in several]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    states = [control.ask("state") for control in several]
    assert all(state == states[0] for state in states)
    several[0].ask("link_down", device="server", interface="eth0")
    assert is_silent(several[0], "laptop", "server")
    assert answers(several[1], "laptop", "server")
    own = set(labs()) - before
    assert len(own) == 6
    for control in several:
        control.close()
    wait_until(lambda: not own & set(labs()), PATIENCE_S)


def test_a_lab_ends_with_its_connection_and_so_do_its_programs() -> None:
    with Control() as control:
        build(control)
        path = Path(control.ask("netns", node="server")["path"])
        control.ask("spawn", node="server", argv=["sh", "-c", "setsid sleep 98701 & exec sleep 98702"])
        control.send("run", node="laptop", argv=["sleep", "98703"])
        wait_until(lambda: len(running("sleep\x009870")) == 3, PATIENCE_S)
    wait_until(lambda: not running("sleep\x009870"), PATIENCE_S)
    wait_until(lambda: not path.exists(), PATIENCE_S)


def test_the_shared_lab_and_its_clients() -> None:
    with Control() as first:
        assert first.ask("attach")["lab"] == "shared"
        first.ask("add_router", name="common")
        first.send("run", node="common", argv=["sleep", "98711"])
        pid = first.ask("spawn", node="common", argv=["sleep", "98712"])["pid"]
        wait_until(lambda: len(running("sleep\x009871")) == 2, PATIENCE_S)
    # What was run for a client that has gone is killed; what was spawned belongs to the lab.
    wait_until(lambda: not running("sleep\x0098711"), PATIENCE_S)
    clients = [Control() for _ in range(50)]
    for client in clients:
        client.send("attach", lab="shared")
    numbers = [client.send("node", node="common") for client in clients]
    found = [client.reply(number)["name"] for client, number in zip(clients, numbers, strict=True)]
    assert found == ["common"] * 50
    waiting = clients[1].send("wait", pid=pid)
    assert clients[0].ask("close_lab") == {}
    with pytest.raises(Refused, match="LabError"):
        clients[1].reply(waiting)
    with pytest.raises(Refused, match="LabError: shared: this lab has been closed"):
        clients[2].ask("state")
    assert running("sleep\x0098712") == []
    assert clients[3].ask("attach")["lab"] == "shared"  # a fresh one
    assert clients[3].ask("state")["routers"] == {}
    clients[3].ask("close_lab")
    for client in clients:
        client.close()


def test_a_lab_that_is_kept_and_found_by_its_identifier(tmp_path: Path) -> None:
    (tmp_path / "net.toml").write_text('[[router]]\nname = "dc"\n[device.server.eth0]\ngateway = "dc"\n')
    with Control() as maker:
        made = maker.ask("create_lab", file=str(tmp_path / "net.toml"), keep=True, outdir=str(tmp_path / "record"))
        assert (made["label"], made["outdir"]) == ("net", str(tmp_path / "record"))
    with Control() as other:
        assert other.ask("attach", lab=made["lab"]) == made
        assert answers(other, "server", "ix")
        other.ask("close_lab", outcome="failed")
        assert made["lab"] not in labs()
        with pytest.raises(Refused, match=r"InputError: .*nothing\.toml"):
            other.ask("create_lab", file="nothing.toml")
        with pytest.raises(Refused, match=r"HostError: .*/proc/nothing"):
            other.ask("create_lab", outdir="/proc/nothing")
        other.ask("create_lab", ipv6_provisioning="ra", seed=3)
    assert json.loads((tmp_path / "record" / "state.json").read_text())["status"] == "failed"


def test_a_client_that_sends_no_more_is_answered_and_one_that_is_gone_is_not_waited_for() -> None:
    with Control() as control:
        control.ask("attach")
        run = {"id": 7, "method": "run", "params": {"node": "ix", "argv": ["sh", "-c", "sleep 0.2; echo late"]}}
        control.raw(json.dumps(run).encode())  # and no newline
        control.socket.shutdown(socket.SHUT_WR)
        assert control.reply(7)["stdout"] == "late\n"
        assert control.socket.recv(1) == b""
    begun = time.monotonic()
    with Control() as control:
        control.ask("attach")
        control.send("run", node="ix", argv=["sleep", "98721"])
        wait_until(lambda: bool(running("sleep\x0098721")), PATIENCE_S)
        control.socket.shutdown(socket.SHUT_WR)
    wait_until(lambda: not running("sleep\x0098721"), PATIENCE_S)
    assert time.monotonic() - begun < PATIENCE_S
