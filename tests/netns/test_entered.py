"""Programs that enter their labs: what runs in nodes runs in the program's process. Each is one, as nobody leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

BEGINNING = """\
import asyncio, os, socket, subprocess, sys, threading, time
import patchbay_runner
from patchbay_runner import Lab
from patchbay_runner.errors import HostError, LabError


def build(lab):
    home = lab.add_router("home", nat="home")
    server = lab.add_device("server", lab.add_router("dc"))
    return home, server, lab.add_device("laptop", home)


def peer_of(server, call):
    with server.listen(8000) as listener:
        call()
        connection, peer = listener.accept()
        connection.close()
        return peer[0]


def connect():
    socket.create_connection(("server", 8000), timeout=10).close()


"""


def run(text: str, *, options: tuple[str, ...] = ("-W", "error"), timeout_s: float = 60) -> str:
    argv = [sys.executable, *options, "-"]
    done = subprocess.run(argv, input=BEGINNING + text, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_functions_coroutines_and_what_they_start_are_in_the_node_and_in_this_process() -> None:
    run("""
patchbay_runner.enter()
patchbay_runner.enter()
with Lab() as lab:
    home, server, laptop = build(lab)
    assert laptop.runs_in_process
    lock, found = threading.Lock(), []  # which no copy is made of

    def function(word, *, number):
        with lock:
            found.append(word)
        connect()
        return os.getpid(), socket.gethostname(), os.getcwd(), os.readlink("/proc/self"), number

    own = (os.getpid(), "laptop", os.getcwd(), str(os.getpid()), 3)
    seen = str(home.ip)
    assert peer_of(server, lambda: found.append(laptop.run_sync(function, "a", number=3))) == seen
    assert found == ["a", own]
    assert laptop.spawn_thread(lambda: [name for _, name in socket.if_nameindex()]).result(10) == ["lo", "eth0"]

    async def coroutine():
        reader, writer = await asyncio.open_connection("server", 8000)
        writer.close()
        child = await asyncio.create_subprocess_exec("hostname", stdout=subprocess.PIPE)
        return (await child.communicate())[0], threading.current_thread().name

    async def both():
        first = laptop.spawn(coroutine)
        return await asyncio.gather(first, laptop.spawn(asyncio.sleep, 0, "slept"))

    assert peer_of(server, lambda: found.append(asyncio.run(both()))) == seen
    assert found[2] == [(b"laptop\\n", "loop of laptop"), "slept"]
    assert peer_of(server, lambda: laptop.run_sync(lambda: threading.Thread(target=connect).start())) == seen
    program = "import socket; socket.create_connection(('server', 8000), timeout=10).close()"
    assert peer_of(server, lambda: laptop.run_sync(subprocess.run, [sys.executable, "-c", program], check=True)) == seen
    assert laptop.run_sync(lambda: laptop.run_sync(socket.gethostname)) == "laptop"  # it does not wait for itself
    assert laptop.run_sync(lambda: server.run_sync(socket.gethostname)) == "server"
    laptop.run_sync(lambda: socket.create_server(("", 80)).close())
    with laptop.network():
        assert peer_of(server, connect) == seen
    assert socket.gethostname() != "laptop"
    assert laptop.run(["hostname"]).stdout == "laptop\\n"

    laptop.remove()
    try:
        laptop.run_sync(print)
        raise SystemExit(1)
    except LabError as error:
        assert "there is no such node" in str(error)
    replaced = lab.add_device("laptop", "dc")
    assert peer_of(server, lambda: replaced.run_sync(connect)) == str(replaced.ip)
""")


def test_errors_come_as_they_were_raised_and_the_lab_ends_while_calls_run() -> None:
    run("""
patchbay_runner.enter()
error = ValueError(threading.Lock())  # which no worker could send
descriptors = len(os.listdir("/proc/self/fd"))
for _ in range(3):
    with Lab() as lab:
        home, server, laptop = build(lab)

        def fail():
            raise error

        try:
            laptop.run_sync(fail)
        except ValueError as caught:
            assert caught is error
        ended = []

        async def forever():
            try:
                await asyncio.sleep(1000)
            finally:
                ended.append(True)

        go = threading.Event()
        tasks = [laptop.spawn(forever), laptop.spawn_thread(go.wait)]
        laptop.spawn(asyncio.sleep, 0).result(10)
        turn = threading.Thread(target=lambda: ended.append(call(lambda: laptop.run_sync(go.wait))))

        def call(function):
            try:
                function()
            except LabError as error:
                return str(error)

        turn.start()
        while not any(thread.name == "turns of laptop" for thread in threading.enumerate()):
            time.sleep(0.01)
    turn.join(10)
    assert sorted(ended, key=str) == [True, "laptop: the lab was closed before the call returned"], ended
    for task in tasks:
        assert "the lab was closed before" in call(lambda: task.result(10))
    assert "has ended" in call(lambda: laptop.run_sync(print))
    go.set()
deadline = time.monotonic() + 20
while threading.active_count() > 1 and time.monotonic() < deadline:
    time.sleep(0.01)
assert threading.active_count() == 1, threading.enumerate()
assert len(os.listdir("/proc/self/fd")) <= descriptors + 1  # the zygote's channel
""")


@pytest.mark.skipif(os.geteuid() == 0, reason="root's process enters whatever threads it has")
def test_a_process_that_has_threads_is_told() -> None:
    output = run("""
threading.Thread(target=time.sleep, args=(1,)).start()
try:
    patchbay_runner.enter()
except HostError as error:
    print(error)
with Lab() as lab:
    laptop = build(lab)[2]
    assert not laptop.runs_in_process
    assert laptop.run_sync(os.getpid) != os.getpid()
""")
    assert "enters before its first thread; this one has 1 more: " in output
    assert "in conftest.py" in output


def test_labs_that_were_there_before_stay_outside() -> None:
    run("""
with Lab() as first:
    outside = build(first)[2]
    assert outside.run_sync(socket.gethostname) == "laptop"
    if os.geteuid() == 0 or len(os.listdir("/proc/self/task")) == 1:
        patchbay_runner.enter()
    else:
        sys.exit(0)  # a worker has a thread here
    with Lab() as second:
        inside = build(second)[2]
        assert (outside.runs_in_process, inside.runs_in_process) == (False, True)
        assert outside.run_sync(os.getpid) != os.getpid() == inside.run_sync(os.getpid)
""")


def test_files_stay_as_closed_as_they_were(tmp_path: Path) -> None:
    run(f"""
import pathlib
closed = pathlib.Path({str(tmp_path)!r}) / "closed"
closed.write_text("x")
closed.chmod(0)

def is_closed():
    try:
        closed.read_text()
    except PermissionError:
        return True

before = is_closed()
owner = os.stat(closed).st_uid
patchbay_runner.enter()
assert (is_closed(), os.stat(closed).st_uid, os.geteuid()) == (before, owner, owner)
with Lab() as lab:
    laptop = build(lab)[2]
    assert laptop.run_sync(is_closed) == before
    assert (laptop.run(["cat", str(closed)], check=False).returncode != 0) == bool(before)
""")


def test_forked_children_and_programs_are_inside_too() -> None:
    program = (
        "import os, threading, time, patchbay_runner\n"
        "threading.Thread(target=time.sleep, args=(1,)).start()\n"
        "patchbay_runner.enter()\n"
        "with patchbay_runner.Lab() as lab:\n"
        "    d = lab.add_device('d', lab.add_router('r'))\n"
        "    assert d.run_sync(os.getpid) == os.getpid()\n"
    )
    run(f"""
patchbay_runner.enter()
pid = os.fork()
with Lab() as lab:
    laptop = build(lab)[2]
    assert laptop.run_sync(os.getpid) == os.getpid()
if pid == 0:
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
subprocess.run([sys.executable, "-c", {program!r}], check=True)
""")


def test_nothing_is_left_of_a_program_that_is_killed() -> None:
    text = """
patchbay_runner.enter()
lab = Lab()
laptop = build(lab)[2]
laptop.run_sync(print)
laptop.popen(["sleep", "4343.4343"])
print(os.readlink("/proc/self"), flush=True)
time.sleep(1000)
"""
    with subprocess.Popen([sys.executable, "-c", BEGINNING + text], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while process.stdout.readline() != f"{process.pid}\n":
            assert process.poll() is None
        until(_sleeps)
        process.send_signal(signal.SIGKILL)
    until(lambda: not _sleeps())


def _sleeps() -> bool:
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and b"4343.4343" in (entry / "cmdline").read_bytes().split(b"\0"):
                return True
        except (FileNotFoundError, ProcessLookupError):
            continue
    return False


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_its_example() -> None:
    run("""
import doctest
example = doctest.DocTestParser().get_doctest(patchbay_runner.enter.__doc__, {}, "enter", None, 0)
results = doctest.DocTestRunner().run(example)
assert results.attempted and not results.failed
""")


def test_a_shell(tmp_path: Path) -> None:
    text = (
        "import os, socket, patchbay_runner\npatchbay_runner.enter()\nlab = patchbay_runner.Lab()\n"
        "d = lab.add_device('d', lab.add_router('r'))\nd.run_sync(socket.gethostname), "
        "d.run_sync(os.getpid) == os.getpid()\n"
        "lab.close()\n"
    )
    argv = [sys.executable, "-i", "-q"]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert "('d', True)" in done.stdout, done.stderr


@pytest.mark.parametrize("options", [["--patchbay-enter", "-n2"], []])
def test_in_pytest(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    if not options:
        (tmp_path / "conftest.py").write_text("import patchbay_runner\npatchbay_runner.enter()\n")
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('number', range(2))\n"
        "def test_inside(lab, number):\n"
        "    found = []\n"
        "    device = lab.add_device('d', lab.add_router('r'))\n"
        "    device.run_sync(found.append, number)\n"
        "    assert device.runs_in_process and found == [number]\n"
    )
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--basetemp={tmp_path}/tmp", *options]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert "2 passed" in done.stdout, done.stdout + done.stderr
