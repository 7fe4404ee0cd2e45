"""Third-party code whose sockets are a node's: threads, what they start, and what goes wrong."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import http.client
import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from tornado.httpclient import AsyncHTTPClient

from patchbay_runner import Lab
from patchbay_runner.errors import HostError, LabError
from patchbay_runner.kernel import seccomp

_T = TypeVar("_T")

_SO_NETNS_COOKIE = 71  # linux/socket.h; the number of the network that a socket is in


def in_thread(function: Callable[[], _T]) -> _T:
    """In a thread of its own: a filter never leaves a thread, and the tests that follow share the main one."""
    future: Future[_T] = Future()

    def body() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller
            future.set_exception(error)

    threading.Thread(target=body).start()
    return future.result(60)


class _Peer(http.server.BaseHTTPRequestHandler):
    """Says who asks."""

    def do_GET(self) -> None:
        body = self.client_address[0].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class World:
    """A web server that says who asks, and a laptop behind a home's NAT."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.home = lab.add_router("home", nat="home")
        self.server = lab.add_device("server", lab.add_router("dc"))
        self.laptop = lab.add_device("laptop", self.home)
        self.seen = str(self.home.ip)
        lab.set_name("*.wild.example.com", self.server.ip)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with Lab() as lab:
        world = World(lab)
        web = http.server.ThreadingHTTPServer(("", 0), _Peer, bind_and_activate=False)
        web.socket.close()
        web.socket = world.server.listen(80)
        serving = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        yield world
        web.shutdown()
        serving.join()
        web.server_close()


def ask(host: str = "server") -> str:
    """Who the server saw."""
    connection = http.client.HTTPConnection(host, timeout=10)
    connection.request("GET", "/")
    answer = connection.getresponse().read().decode()
    connection.close()
    return answer


def interfaces() -> list[str]:
    return [name for _, name in socket.if_nameindex()]


def test_libraries_that_make_their_own_sockets(world: World) -> None:
    async def asynchronous() -> list[str]:
        async with httpx.AsyncClient() as client:
            first = (await client.get("http://server/")).text
        second = (await AsyncHTTPClient().fetch("http://a.wild.example.com/")).body.decode()
        reader, writer = await asyncio.open_connection("server", 80)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        third = (await reader.read()).split(b"\r\n\r\n")[1].decode()
        writer.close()
        await writer.wait_closed()
        return [first, second, third]

    def body() -> list[str]:
        with world.laptop.network():
            found = [ask(), httpx.get("http://server/").text, *asyncio.run(asynchronous())]
            with socket.socket() as plain:  # the name is looked up by C code
                plain.connect(("b.wild.example.com", 80))
                plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
                with plain.makefile("rb") as answer:
                    found.append(answer.read().split(b"\r\n\r\n")[1].decode())
        return found

    assert in_thread(body) == [world.seen] * 6


def test_names_and_interfaces_are_those_of_where_the_thread_is(world: World) -> None:
    def knows(name: str) -> bool:
        try:
            return bool(socket.getaddrinfo(name, 80))
        except socket.gaierror:
            return False

    def body() -> None:
        name = "c.wild.example.com"
        before = interfaces()
        with socket.socket(type=socket.SOCK_DGRAM) as outside:
            cookie = outside.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)
        # The C library remembers what it has read of the host's configuration, and must not here.
        assert knows("localhost") and not knows("server")
        with world.laptop.network():
            assert interfaces() == ["lo", "eth0"]
            assert knows("localhost") and knows("server") and knows(name)
            with world.home.network():
                assert interfaces() == world.home.run_sync(interfaces)
            assert interfaces() == ["lo", "eth0"]
        assert interfaces() == before
        assert not knows("server")
        with socket.socket(type=socket.SOCK_DGRAM) as outside:
            assert outside.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8) == cookie
        assert Path("/etc/hosts").read_bytes() == hosts

    hosts = Path("/etc/hosts").read_bytes()
    in_thread(body)


def test_threads_that_it_starts_follow_and_others_do_not(world: World) -> None:
    def body() -> None:
        with ThreadPoolExecutor(1) as pool:
            outside = pool.submit(interfaces).result()  # this one is there before the filter
            with world.laptop.network():
                assert in_thread(ask) == world.seen
                assert in_thread(interfaces) == ["lo", "eth0"]
                assert pool.submit(interfaces).result() == outside
                assert in_thread(elsewhere) == world.home.run_sync(interfaces)
                assert in_thread(lambda: in_thread(interfaces)) == ["lo", "eth0"]
                with ThreadPoolExecutor(1) as follower:
                    assert follower.submit(interfaces).result() == ["lo", "eth0"]
                    with world.home.network():
                        assert follower.submit(interfaces).result() == interfaces() != ["lo", "eth0"]
            assert interfaces() == outside

    def elsewhere() -> list[str]:
        with world.home.network():
            return interfaces()

    in_thread(body)


def test_programs_and_forked_children_follow(world: World) -> None:
    program = "import socket; print([name for _, name in socket.if_nameindex()])"
    nested = (
        "import socket\nfrom patchbay_runner import Lab\n"
        "with Lab() as lab:\n"
        "    d = lab.add_device('d', lab.add_router('r'))\n"
        "    with d.network(), d.tcp_reflector(7):\n"
        "        connection = socket.create_connection((str(d.ip), 7), timeout=10)\n"
        "        connection.sendall(b'own')\n"
        "        print(connection.recv(3))\n"
    )

    def python(text: str) -> str:
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr

    def body() -> None:
        with world.laptop.network():
            assert python(program) == "['lo', 'eth0']\n"
            pid = os.posix_spawn(sys.executable, [sys.executable, "-c", f"{program}; exit(7)"], {"LC_ALL": "C"})
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
            assert python(nested) == "b'own'\n"  # it has a supervisor already, and a lab of its own in a node
        assert python(program) != "['lo', 'eth0']\n"

    in_thread(body)


def test_code_that_holds_the_global_lock_does_not_hang(world: World) -> None:
    def body() -> int:
        holding = ctypes.PyDLL(None)
        with world.laptop.network():
            fd = int(holding.socket(socket.AF_INET, socket.SOCK_DGRAM, 0))
            with socket.socket(fileno=fd) as made:
                made.connect((str(world.server.ip), 9))
                return int(made.getsockname()[0] == str(world.laptop.ip))

    assert in_thread(body) == 1


def test_flags_and_errors_are_the_kernels_own(world: World) -> None:
    def body() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        with world.laptop.network():
            for flags in (0, socket.SOCK_CLOEXEC, socket.SOCK_NONBLOCK):
                fd = libc.socket(socket.AF_INET, socket.SOCK_STREAM | flags, 0)
                assert os.get_inheritable(fd) == (not flags & socket.SOCK_CLOEXEC)
                assert os.get_blocking(fd) == (not flags & socket.SOCK_NONBLOCK)
                os.close(fd)
            for family, kind, protocol in (
                (255, 1, 0),
                (socket.AF_INET, 1, socket.IPPROTO_UDP),
                (socket.AF_INET, 99, 0),
            ):
                found = []
                for place in (world.laptop.network(), None):
                    if place is None:
                        assert libc.socket(family, kind, protocol) == -1
                    else:
                        with place:
                            assert libc.socket(family, kind, protocol) == -1
                    found.append(ctypes.get_errno())
                assert found[0] == found[1]
            ring = ctypes.create_string_buffer(120)
            assert libc.syscall(425, 1, ring) == -1
            assert ctypes.get_errno() == errno.ENOSYS

    in_thread(body)


def test_signals_neither_hang_it_nor_lead_outside(world: World) -> None:
    program = """
import signal, socket, sys, threading
from pathlib import Path
from patchbay_runner import Lab

with Lab() as lab:
    d = lab.add_device("d", lab.add_router("r"))
    fired = 0

    def note(*_):
        global fired
        fired += 1

    signal.signal(signal.SIGALRM, note)
    with d.network():
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        made = interrupted = 0
        while fired < 200:
            try:
                with socket.socket(type=socket.SOCK_DGRAM) as sock:
                    assert [name for _, name in socket.if_nameindex()] in (["lo", "eth0"], [])
                    sock.connect((str(d.ip), 9))
                    made += 1
            except InterruptedError:
                interrupted += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert made > 0
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr


def test_the_end_of_the_lab_or_of_the_node_is_never_the_way_out() -> None:
    def body() -> None:
        with Lab() as lab:
            dc = lab.add_router("dc")
            first, second = lab.add_device("first", dc), lab.add_device("second", dc)
            with first.network():
                socket.socket().close()
                first.remove()
                with pytest.raises(OSError) as removed:
                    socket.socket()
                assert removed.value.errno == errno.ENETDOWN
            with second.network():
                lab.close()
                with pytest.raises(OSError) as closed:
                    socket.socket()
                assert closed.value.errno == errno.ENETDOWN
            socket.socket().close()
            with pytest.raises(LabError), second.network():
                pass

    in_thread(body)


def test_threads_that_wait_while_the_lab_is_closed() -> None:
    def busy() -> None:
        with device.network():
            ready.set()
            while True:
                socket.socket().close()

    for _ in range(3):
        ready = threading.Event()
        with Lab() as lab:
            device = lab.add_device("d", lab.add_router("r"))
            with ThreadPoolExecutor(4) as pool:
                futures = [pool.submit(busy) for _ in range(4)]
                assert ready.wait(20)
                lab.close()
                assert all(isinstance(future.exception(20), OSError | LabError) for future in futures)


def supervisor_of(parent: int) -> int:
    """The process that answers for a program's threads."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and is_supervisor(int(entry.name)):
            try:
                status = (entry / "status").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue  # another's, which has ended
            if f"\nPPid:\t{parent}\n" in status:
                return int(entry.name)
    raise AssertionError("there is none")


def is_supervisor(pid: int) -> bool:
    try:
        return b"patchbay_runner.library.supervisor" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_a_program_that_is_killed_leaves_nothing_and_a_daemon_its_sockets(tmp_path: Path) -> None:
    daemon = (
        "import errno, socket, sys, time, pathlib\n"
        f"go, done = pathlib.Path('{tmp_path}/go'), pathlib.Path('{tmp_path}/done')\n"
        "while not go.exists(): time.sleep(0.02)\n"
        "while not done.exists():\n"
        "    try: socket.socket().close(); done.write_text('made')\n"
        "    except OSError as error:\n"
        "        if error.errno != errno.ENETDOWN: raise\n"
    )
    program = (
        "import subprocess, socket, sys, threading, time\nfrom patchbay_runner import Lab\n"
        "lab = Lab(); d = lab.add_device('d', lab.add_router('r'))\n"
        "with d.network():\n"
        f"    subprocess.Popen([sys.executable, '-c', {daemon!r}], start_new_session=True)\n"
        "    threading.Thread(target=lambda: [socket.socket().close() for _ in range(10**9)], daemon=True).start()\n"
        "    print('up', flush=True); time.sleep(1000)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        own = supervisor_of(process.pid)
        process.kill()
        process.wait()
        (tmp_path / "go").touch()
        until((tmp_path / "done").exists)
        until(lambda: not is_supervisor(own))


@pytest.mark.parametrize("is_interactive", [True, False])
def test_a_shell_and_a_program_that_has_threads(is_interactive: bool) -> None:
    program = (
        "import socket, threading, time\nfrom patchbay_runner import Lab\n"
        "for _ in range(3): threading.Thread(target=time.sleep, args=(1,)).start()\n\n"
        "lab = Lab(); d = lab.add_device('d', lab.add_router('r'))\n"
        "block = d.network(); _ = block.__enter__()\n"
        "print([name for _, name in socket.if_nameindex()])\n"
        "_ = block.__exit__(None, None, None)\n"
        "lab.close()\n"
    )
    options = ["-i", "-q"] if is_interactive else ["-"]
    done = subprocess.run(
        [sys.executable, *options], input=program, capture_output=True, text=True, timeout=60, check=False
    )
    assert "['lo', 'eth0']" in done.stdout, done.stderr
    assert "Error" not in done.stderr


def test_a_kernel_that_refuses_is_told_with_what_else_there_is(world: World) -> None:
    def refused() -> str:
        calls = seccomp.calls_of_this_machine()
        assert calls is not None
        # Somebody else's listener: it asks about nothing.
        listener = seccomp.install(calls, seccomp._INSTRUCTION.pack(0x06, 0, 0, 0x7FFF0000))
        try:
            with pytest.raises(HostError) as error, world.laptop.network():
                pass
        finally:
            os.close(listener)
        return str(error.value)

    found = in_thread(refused)
    assert "something outside answers for this thread's system calls already" in found
    assert "run_sync" in found


def test_a_supervisor_that_is_killed_is_told() -> None:
    program = (
        "import os, pathlib, signal, socket, sys\nfrom patchbay_runner import Lab\n"
        "from patchbay_runner.errors import HostError\n"
        "lab = Lab(); d = lab.add_device('d', lab.add_router('r'))\n"
        "with d.network(): pass\n"
        "children = pathlib.Path(f'/proc/self/task/{os.getpid()}/children').read_text().split()\n"
        "(own,) = [int(p) for p in children if b'supervisor' in pathlib.Path(f'/proc/{p}/cmdline').read_bytes()]\n"
        "os.kill(own, signal.SIGKILL); os.waitpid(own, 0)\n"
        "try: socket.socket()\n"
        "except OSError as error: print(error)\n"
        "try: d.network().__enter__()\n"
        "except HostError as error: print(error)\n"
        "lab.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert "Function not implemented" in done.stdout, done.stderr
    assert "was killed; start the program again" in done.stdout
