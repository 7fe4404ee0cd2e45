"""The library as a test suite uses it: labs built by code, with programs, sockets and functions in their nodes."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from patchbay_runner import DEVNULL, PIPE, STDOUT, Device, Lab, Router, embed_v4_in_nat64
from patchbay_runner.errors import CommandNotFound, InputError, LabError


class World:
    """A server, and a laptop behind a home's NAT."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.dc = lab.add_router("dc")
        self.home = lab.add_router("home", nat="home")
        self.server = lab.add_device("server", self.dc)
        self.laptop = lab.add_device("laptop", self.home)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """For tests that change nothing."""
    with Lab() as lab:
        yield World(lab)


@pytest.fixture
def changing() -> Iterator[World]:
    with Lab() as lab:
        yield World(lab)


def answers(device: Device, target: object, *options: str) -> bool:
    return device.run(["ping", *options, "-c1", "-W1", str(target)], check=False).returncode == 0


def test_programs_run_as_with_subprocess(world: World) -> None:
    done = world.laptop.run(["sh", "-c", "hostname; cat; echo oops >&2; echo $A"], input="given\n", env={"A": "b"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "laptop\ngiven\nb\n", "oops\n")
    with pytest.raises(subprocess.CalledProcessError) as failed:
        world.laptop.run(["sh", "-c", "echo why; exit 3"])
    assert (failed.value.returncode, failed.value.stdout) == (3, "why\n")
    assert world.laptop.run(["sh", "-c", "kill $$"], check=False).returncode == -15
    with pytest.raises(CommandNotFound, match="no-such-program"):
        world.laptop.run(["no-such-program"])
    with pytest.raises(subprocess.TimeoutExpired) as late:
        world.laptop.run(["sh", "-c", "echo begun; sleep 100"], timeout=0.3)
    assert late.value.stdout == "begun\n"


def test_a_program_that_goes_on(world: World, tmp_path: Path) -> None:
    with world.server.popen(["cat"], stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.poll() is None
        assert process.communicate("to and fro") == ("to and fro", None)
    assert process.returncode == 0
    sleeper = world.server.popen(["sleep", "100"])
    with pytest.raises(subprocess.TimeoutExpired):
        sleeper.wait(timeout=0.05)
    sleeper.terminate()
    assert sleeper.wait(timeout=5) == -15
    with (tmp_path / "both").open("wb") as file:
        assert (
            world.server.popen(["sh", "-c", "echo a; echo b >&2; pwd"], stdout=file, stderr=STDOUT, cwd="/").wait() == 0
        )
    assert (tmp_path / "both").read_text() == "a\nb\n/\n"
    assert world.server.popen(["sh", "-c", "cat; echo"], stdout=DEVNULL).wait() == 0


def test_addresses_and_interfaces(world: World) -> None:
    assert list(world.laptop.interfaces) == ["eth0"]
    assert world.laptop.interfaces["eth0"].router == "home"
    assert world.laptop.ip.is_private
    assert world.home.ip == world.home.interfaces["ix"].ip
    assert str(world.lab.ix.ip6) == "2001:db8::1"
    assert [device.name for device in world.lab.devices] == ["server", "laptop"]
    assert world.lab.device("server") == world.server
    assert {world.lab.router("dc"), world.dc} == {world.dc}


def test_sockets_of_a_node_serve_any_thread(world: World) -> None:
    seen = []
    with world.server.listen(8000) as listener:

        def serve() -> None:
            connection, peer = listener.accept()
            with connection:
                seen.append(peer[0])
                connection.sendall(connection.recv(10).upper())

        thread = threading.Thread(target=serve)
        thread.start()
        with world.laptop.create_connection(("server", 8000), timeout=5) as connection:
            connection.sendall(b"hello")
            assert connection.recv(10) == b"HELLO"
        thread.join(5)
    assert seen == [str(world.home.ip)]  # what the NAT made of it
    with pytest.raises(ConnectionRefusedError):
        world.laptop.create_connection(("server", 8001), timeout=5)
    with pytest.raises(socket.gaierror, match="nobody is unknown to laptop"):
        world.laptop.create_connection(("nobody", 8001))


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_reflectors_send_back_what_comes_until_they_are_closed(world: World, host: str) -> None:
    target = world.server.ip if host == "0.0.0.0" else world.server.ip6
    family = socket.AF_INET if host == "0.0.0.0" else socket.AF_INET6
    with world.server.udp_reflector(9000, host=host), world.laptop.socket(family, socket.SOCK_DGRAM) as probe:
        probe.settimeout(5)
        probe.sendto(b"x" * 1000, (str(target), 9000))
        assert probe.recv(2000) == b"x" * 1000
    reflector = world.server.tcp_reflector(host=host)
    connection = world.laptop.create_connection((target, reflector.port), timeout=5)
    connection.sendall(b"again")
    assert connection.recv(10) == b"again"
    reflector.close()
    assert connection.recv(10) == b""
    connection.close()
    with pytest.raises(OSError):
        world.laptop.create_connection((target, reflector.port), timeout=5)
    world.server.udp_reflector(9000, host=host).close()  # the port is free again


def test_functions_and_coroutines_run_in_the_node(world: World) -> None:
    async def fetch(host: str, port: int) -> bytes:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"ping")
        answer = await reader.read(4)
        writer.close()
        return answer

    async def both() -> list[bytes]:
        return list(await asyncio.gather(world.laptop.spawn(fetch, "server", 9), world.server.spawn(fetch, "::1", 9)))

    assert world.laptop.run_sync(socket.gethostname) == "laptop"
    assert world.laptop.run_sync(lambda a, b: (a + b, os.getpid() > 0), 1, b=2) == (3, True)
    assert world.laptop.spawn_thread(lambda: "thread").result(5) == "thread"
    with world.server.tcp_reflector(9), world.server.tcp_reflector(9, host="::1"):
        assert asyncio.run(both()) == [b"ping", b"ping"]


def test_what_goes_wrong_in_a_function_comes_back(world: World) -> None:
    def divide() -> float:
        return 1 / 0

    with pytest.raises(ZeroDivisionError) as raised:
        world.laptop.run_sync(divide)
    assert any("return 1 / 0" in note for note in raised.value.__notes__)
    with pytest.raises(LabError, match="its worker ended before the call returned"):
        world.laptop.run_sync(os._exit, 1)
    assert world.laptop.run_sync(socket.gethostname) == "laptop"  # by another
    with pytest.raises(TypeError, match="cannot pickle"):
        world.laptop.run_sync(print, threading.Lock())


def test_programs_of_asyncio_code(world: World) -> None:
    async def body() -> None:
        process = await world.laptop.create_subprocess_exec("sh", "-c", "cat; exit 4", stdin=PIPE, stdout=PIPE)
        assert await process.communicate(b"x" * 300_000) == (b"x" * 300_000, None)
        assert process.returncode == 4
        sleeper = await world.laptop.create_subprocess_exec("sleep", "100")
        sleeper.kill()
        assert await asyncio.wait_for(sleeper.wait(), 5) == -9

    asyncio.run(body())


def test_changes_of_the_network(changing: World) -> None:
    lab, server, laptop = changing.lab, changing.server, changing.laptop
    laptop.link_down("eth0")
    assert not laptop.interfaces["eth0"].is_up
    assert not answers(laptop, server.ip)
    laptop.link_up("eth0")
    before = laptop.ip
    laptop.renew_address("eth0")
    assert laptop.ip != before
    laptop.set_link_condition("eth0", {"latency_ms": 30}, "both")
    started_s = time.monotonic()
    assert answers(laptop, server.ip)
    assert time.monotonic() - started_s > 0.06
    laptop.set_link_condition("eth0", None, "both")
    changing.home.set_firewall("corporate")
    with server.udp_reflector(9), laptop.socket(type=socket.SOCK_DGRAM) as probe:
        probe.settimeout(0.3)
        probe.sendto(b"?", (str(server.ip), 9))
        with pytest.raises(TimeoutError):
            probe.recv(9)
        changing.home.set_firewall("none")
        probe.sendto(b"?", (str(server.ip), 9))
        assert probe.recv(9) == b"?"
    changing.home.set_nat("none")
    laptop.add_interface("eth1", "dc")
    laptop.set_default_route("eth1")
    assert next(iter(laptop.interfaces)) == "eth1"
    assert answers(laptop, "server")
    laptop.remove_interface("eth0")
    lab.set_name("api.example.com", server.ip)
    assert answers(laptop, "api.example.com")


def test_regions_presets_and_nat64() -> None:
    with Lab(seed=7) as lab:
        for name in ("eu", "us"):
            lab.add_region(name)
        lab.link_regions("eu", "us", 40)
        paris, boston = (lab.add_router(name, region=region) for name, region in (("paris", "eu"), ("boston", "us")))
        carrier = lab.add_router("carrier", preset="isp-v6", upstream=paris)
        phone = lab.add_device("phone", interfaces={"cell0": {"gateway": carrier, "impair": {"latency_ms": 5}}})
        server = lab.add_device("server", boston)
        started_s = time.monotonic()
        assert answers(phone, embed_v4_in_nat64(server.ip))
        assert time.monotonic() - started_s > 0.085
        with pytest.raises(LabError, match="no IPv4 address"):
            _ = phone.ip
        lab.break_region_link("eu", "us")
        assert not answers(phone, server.ip6)
        lab.restore_region_link("eu", "us")
        assert answers(phone, server.ip6)


def test_handles_of_what_is_gone_say_so(changing: World) -> None:
    with pytest.raises(LabError, match="something behind it: laptop"):
        changing.home.remove()
    changing.laptop.remove()
    changing.home.remove()
    for use in (
        lambda: changing.laptop.ip,
        lambda: changing.laptop.run(["true"]),
        lambda: changing.home.set_nat("none"),
    ):
        with pytest.raises(LabError, match="there is no such"):
            use()
    changing.lab.close()
    with pytest.raises(LabError, match="has ended"):
        _ = changing.server.ip


def test_a_wrong_value_names_the_callers_line() -> None:
    with Lab() as lab:
        dc: Router = lab.add_router("dc")
        with pytest.raises(InputError) as wrong:
            lab.add_router("home", nat="hoome")
        line = Path(__file__).read_text().splitlines().index('            lab.add_router("home", nat="hoome")') + 1
        assert f'{__file__}:{line}: router.nat: unknown NAT mode "hoome" (did you mean "home"?)' in str(wrong.value)
        with pytest.raises(InputError, match='unknown link condition "wify"'):
            lab.add_device("d", dc, impair="wify")
        with pytest.raises(InputError, match='"a/b" cannot name a device'):
            lab.add_device("a/b", dc)
        with pytest.raises(LabError, match="'nowhere' of eth0 is not a router"):
            lab.add_device("d", "nowhere")
        with pytest.raises(TypeError, match="either a router or interfaces"):
            lab.add_device("d")
        assert [node.name for node in (*lab.routers, *lab.devices)] == ["dc"]


def test_labs_do_not_see_each_other_and_work_in_threads() -> None:
    seen: list[str] = []

    def one(name: str) -> None:
        with Lab() as lab:
            device = lab.add_device(name, lab.add_router("dc"))
            seen.append(device.run(["hostname"]).stdout.strip() + str(device.ip))

    threads = [threading.Thread(target=one, args=(f"d{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(seen) == [f"d{number}198.18.1.2" for number in range(4)]


def test_nothing_is_left_of_a_program_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from patchbay_runner import Lab\n"
        "lab = Lab(); d = lab.add_device('d', lab.add_router('dc'))\n"
        "d.run_sync(print)\n"
        f"d.popen(['sh', '-c', 'echo $$ > {tmp_path}/pid; exec sleep 4242.4242'])\n"
        f"d.run(['sh', '-c', 'until [ -s {tmp_path}/pid ]; do sleep 0.01; done'])\n"
        "print('up', flush=True); time.sleep(1000)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while process.stdout.readline() != "up\n":
            assert process.poll() is None
        assert _sleepers()
        process.kill()
    deadline_s = time.monotonic() + 10
    while _sleepers():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def _sleepers() -> list[Path]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and b"4242.4242" in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(entry)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def test_a_network_from_a_file(checkout: Path, tmp_path: Path) -> None:
    with Lab.load(checkout / "topos/1to1-nat.toml", outdir=tmp_path / "record") as lab:
        assert lab.label == "1to1-nat"
        first, *_, last = lab.devices
        assert answers(first, last.ip) or answers(last, first.ip)
        last.link_down(next(iter(last.interfaces)))
    assert '"link_down"' in (tmp_path / "record/events.jsonl").read_text()
    with pytest.raises(InputError, match="there is no"):
        Lab.load(tmp_path / "nothing.toml")
    with Lab.load(checkout / "sims/nat-modes.toml", matrix={"nat": "cgnat"}) as lab:
        assert "cgnat" in {state["nat"] for state in lab.state()["routers"].values()}
    with pytest.raises(InputError, match="6 variants have these values; expected nat=none; nat=home"):
        Lab.load(checkout / "sims/nat-modes.toml")
