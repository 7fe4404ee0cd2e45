"""`patchbay inspect` with `run-in`, `shell` and `ps` beside it, as a person uses them from several shells."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.netns.support.inspecting import PATH, User
from tests.netns.support.running import HOME_AND_SERVER, Project
from tests.netns.support.sandbox_inside import wait_until
from tests.netns.support.terminal import Terminal, open_terminal

MIB = 1 << 20
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> User:
    root = tmp_path_factory.mktemp("project")
    (root / "net.toml").write_text(HOME_AND_SERVER)
    return User(Project(root), tmp_path_factory.mktemp("runtime"))


@pytest.fixture(scope="module")
def up(user: User) -> Iterator[dict[str, Any]]:
    """A network that is up for all tests that do not end it."""
    with user.inspecting("net.toml") as told:
        yield told


@pytest.fixture
def terminal(user: User, up: dict[str, Any]) -> Iterator[Terminal]:
    """Another terminal of the same user."""
    environment = {"XDG_RUNTIME_DIR": str(user.runtime), "PATH": PATH, "HOME": str(user.project.root)}
    with open_terminal(user.project.root, **environment) as opened:
        yield opened


def other(user: User, tmp_path: Path) -> User:
    """Somebody with the same sims and a list of networks of their own."""
    return User(Project(user.project.root), tmp_path)


def test_a_program_is_in_the_node_and_has_the_callers_streams(user: User, up: dict[str, Any]) -> None:
    script = """
        hostname; grep -c client /etc/hosts; echo $NETSIM_IP_SERVER; pwd; id -u; cat
        ping -c 1 -W 5 server | grep -o '1 received'; echo told >&2; exit 3
    """
    seen = user.run_in("client", "sh", "-c", script, input="given\n", cwd=user.project.root)
    address = up["state"]["devices"]["server"]["interfaces"][0]["ip"]
    expected = ["client", "2", address, str(user.project.root), str(os.getuid()), "given", "1 received"]
    assert seen.stdout.splitlines() == expected
    assert (seen.stderr, seen.returncode) == ("told\n", 3)


@pytest.mark.parametrize(
    ("program", "code"),
    [(["true"], 0), (["sh", "-c", "kill -TERM $$"], 143), (["no-such-program"], 127), (["/etc/hosts"], 127)],
)
def test_the_exit_code_is_a_shells(user: User, up: dict[str, Any], program: list[str], code: int) -> None:
    assert user.run_in("client", *program).returncode == code


def test_a_signal_to_run_in_reaches_the_program(user: User, up: dict[str, Any]) -> None:
    script = "trap 'echo caught; exit 4' TERM; echo ready; while :; do sleep 0.05; done"
    process = user.popen("run-in", "client", "--", "sh", "-c", script, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.stdout.read() == "caught\n"
        assert process.wait(PATIENCE_S) == 4


def test_the_end_of_run_in_is_the_programs(user: User, up: dict[str, Any]) -> None:
    process = user.popen("run-in", "client", "--", "sh", "-c", "echo $$; exec sleep 86399", stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None and process.stdout.readline()
        process.kill()
    wait_until(lambda: not any("sleep" in name for name in user.project.processes().values()), PATIENCE_S)


def test_a_hundred_megabytes_pass_both_ways(user: User, up: dict[str, Any]) -> None:
    piece = os.urandom(MIB)
    with tempfile.TemporaryFile() as given:
        for _ in range(100):
            given.write(piece)
        given.seek(0)
        process = user.popen("run-in", "client", "--", "cat", stdin=given, stdout=subprocess.PIPE)
    found, size = hashlib.sha256(), 0
    with process:
        assert process.stdout is not None
        while chunk := process.stdout.read(MIB):
            found.update(chunk)
            size += len(chunk)
    assert size == 100 * MIB
    assert found.digest() == hashlib.sha256(piece * 100).digest()
    assert process.returncode == 0


def test_many_programs_at_once(user: User, up: dict[str, Any]) -> None:
    nodes = ["client", "server", "home", "dc", "ix"] * 4
    script = "hostname; sleep 0.2; exit $1"
    processes = [
        user.popen("run-in", node, "--", "sh", "-c", script, "sh", str(number), stdout=subprocess.PIPE, text=True)
        for number, node in enumerate(nodes)
    ]
    ended = [(process.communicate(timeout=PATIENCE_S)[0].strip(), process.returncode) for process in processes]
    assert ended == [(node, number) for number, node in enumerate(nodes)]


def test_an_interactive_program_has_the_terminal(terminal: Terminal) -> None:
    terminal.type("patchbay run-in client -- python3 -q")
    terminal.until("^>>> $|^>>>$")
    terminal.type("import os, time; print('size', *os.get_terminal_size(), open('/dev/tty').name)")
    terminal.until("^size 100 30 /dev/tty")
    terminal.resize(90, 20)
    terminal.type("print('now', *os.get_terminal_size())")
    terminal.until("^now 90 20")
    terminal.type("print('waiting'); time.sleep(1000)")
    terminal.until("^waiting")
    terminal.press("C-c")
    terminal.until("^KeyboardInterrupt")
    terminal.press("C-z")
    terminal.until(r"^\[1\]\+  Stopped .*python3 -q\n(.*\n)*ready>")
    terminal.type("clear; stty size; fg")
    terminal.until("^20 90")
    terminal.type("print(6 * 7)")
    terminal.until("^42")
    terminal.type("raise SystemExit(5)")
    terminal.type("echo code $?")
    terminal.until("^code 5")


def test_a_full_screen_program_is_stopped_and_goes_on(terminal: Terminal) -> None:
    terminal.type("patchbay run-in server -- top -d 100; echo code $?")
    terminal.until(r"^ *1 .*\n(.*\n)* *\d+ .* top")
    terminal.press("C-z")
    terminal.until(r"Stopped .*top")
    terminal.type("clear; fg")
    terminal.until(r"^top - .*\n(.*\n)* *1 .*")
    terminal.press("q")
    terminal.until("^ready> *\n*$")
    # less stops itself alone, without the group that the terminal knows.
    terminal.type("clear; seq -f 'line %g' 200 | patchbay run-in server -- less")
    terminal.until("^line 19")
    terminal.press("C-z")
    terminal.until(r"Stopped")
    terminal.type("clear; fg")
    terminal.until("^line 19")
    terminal.press("G")
    terminal.until("^line 200")
    terminal.press("q")


def test_a_shell_has_job_control_and_says_where_it_is(terminal: Terminal) -> None:
    terminal.type("SHELL=/bin/bash patchbay shell home")
    terminal.until(r"^\(home\) ")
    terminal.type("clear; ls /sys/class/net | grep -cx lan; sleep 1000")
    terminal.until("^1$")
    terminal.press("C-z")
    terminal.until(r"^\[1\]\+  Stopped +sleep 1000")
    terminal.type("clear; fg")
    terminal.until("^sleep 1000")
    terminal.press("C-c")
    terminal.until(r"\^C\n+\(home\) ")
    terminal.type("ls /proc/self/fd | wc -l; exit 7")
    terminal.until("^4")
    terminal.type("echo code $?")
    terminal.until("^code 7")
    terminal.type("SHELL=/bin/sh patchbay shell client")
    terminal.until(r"^\(client\) \$")
    terminal.type("exit")


def test_ps_tells_what_runs_where(user: User, up: dict[str, Any]) -> None:
    process = user.popen("run-in", "server", "--", "sh", "-c", "echo $$; exec sleep 4321", stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        inside = int(process.stdout.readline())

        def listed() -> dict[str, Any]:
            (told,) = map(json.loads, user.patchbay("ps", "--json").stdout.splitlines())
            return dict(told)

        wait_until(lambda: [each["argv"][0] for each in listed()["programs"]] == ["sleep"], PATIENCE_S)
        (program,) = (told := listed())["programs"]
        assert (told["id"], told["kind"], told["pid"]) == (up["id"], "inspect", up["pid"])
        assert (program["node"], program["pid_inside"], program["argv"]) == ("server", inside, ["sleep", "4321"])
        table = user.patchbay("ps").stdout
        assert up["id"] in table and "sleep 4321" in table
        os.kill(program["pid"], signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 128 + signal.SIGTERM


def test_a_person_is_told_nodes_addresses_and_commands(user: User, tmp_path: Path) -> None:
    somebody = other(user, tmp_path)
    with open_terminal(
        user.project.root, XDG_RUNTIME_DIR=str(tmp_path), PATH=PATH, PATCHBAY_TEST_MARKER=somebody.project.marker
    ) as terminal:
        terminal.type("patchbay inspect net.toml; echo code $?")
        terminal.until("Ctrl-C ends it")
        row = terminal.until(r"^ client +device +eth0 +(\S+) \S+ +(patchbay shell client) *$")
        assert somebody.run_in("client", "hostname", "-I").stdout.split()[0] == row[1]
        terminal.press("C-c")
        terminal.until("^code 0")
    assert somebody.listed == []
    assert "no network of yours is up" in somebody.run_in("client", "true").stderr


def test_after_sigkill_nothing_is_left_also_with_a_stopped_program(user: User, tmp_path: Path) -> None:
    somebody = other(user, tmp_path)
    process, _ = somebody.inspect("net.toml")
    # In a group of its own: the kernel lets a group that nobody controls go on when one of its processes ends.
    program = ("run-in", "client", "--", "sh", "-c", "echo begun; sleep 86398")
    inside = somebody.popen(*program, stdout=subprocess.PIPE, process_group=0)
    with process, inside:
        assert inside.stdout is not None and inside.stdout.readline()
        inside.send_signal(signal.SIGSTOP)
        process.kill()
        process.wait(PATIENCE_S)
        wait_until(lambda: set(somebody.project.processes()) <= {inside.pid}, PATIENCE_S)
        assert len(somebody.listed) == 2  # a socket that nobody listens on, and its record
        inside.send_signal(signal.SIGCONT)
        assert inside.wait(PATIENCE_S) == 128 + signal.SIGKILL
    refused = somebody.run_in("client", "true")
    assert (refused.returncode, somebody.listed) == (2, [])


def test_several_networks_are_told_apart(user: User, tmp_path: Path) -> None:
    somebody = other(user, tmp_path)
    somebody.project.sim("web", "", HOME_AND_SERVER.replace("client", "phone"))
    with somebody.inspecting("net.toml") as net, somebody.inspecting("web.toml") as web:
        assert somebody.run_in("phone", "hostname").stdout == "phone\n"  # only one has it
        refused = somebody.run_in("server", "hostname")
        assert refused.returncode == 2
        assert f"choose one with --inspect: {net['id']}, {web['id']}" in refused.stderr
        assert somebody.patchbay("run-in", "server", "--inspect", "web", "--", "hostname").stdout == "server\n"
        refused = somebody.patchbay("run-in", "client", "--inspect", web["id"], "--", "hostname")
        assert refused.stderr == f"Error: {web['id']} has no node client; there is {_nodes(web)}\n"
        refused = somebody.patchbay("shell", "client", "--inspect", "wbe")
        assert f"no network of yours is called wbe; there is {net['id']}, {web['id']}" in refused.stderr


def _nodes(told: dict[str, Any]) -> str:
    *most, last = (f'"{node}"' for node in told["nodes"])
    return f"{', '.join(most)} or {last}"


def test_a_variant_is_chosen_by_its_matrix(user: User, tmp_path: Path) -> None:
    somebody = other(user, tmp_path)
    text = HOME_AND_SERVER.replace('nat = "home"', 'nat = "${matrix.nat}"')
    path = user.project.root / "variants.toml"
    path.write_text(f'[matrix]\nnat = ["home", "none"]\n{text}\n[[step]]\ndevice = "client"\ncmd = ["false"]\n')
    refused = somebody.patchbay("inspect", path)
    assert refused.returncode == 2
    assert "has 2 variants; choose one: --matrix nat=home, --matrix nat=none" in refused.stderr
    assert somebody.listed == []
    with somebody.inspecting(path, "--matrix", "nat=none") as told:
        assert told["state"]["routers"]["home"]["nat"] == "none"


def test_the_end_of_an_emulator_ends_the_network(user: User, tmp_path: Path) -> None:
    somebody = other(user, tmp_path)
    impaired = HOME_AND_SERVER.replace('gateway = "home"', 'gateway = "home"\nimpair = "wifi"')
    path = user.project.root / "impaired.toml"
    path.write_text(impaired)
    process, _ = somebody.inspect(path)
    with process:
        wait_until(lambda: bool(somebody.project.emulators(process.pid)), PATIENCE_S)
        os.kill(somebody.project.emulators(process.pid)[0], signal.SIGKILL)
        assert process.wait(PATIENCE_S) == 3
    assert somebody.listed == []


@pytest.mark.skipif(os.getuid() != 0, reason="takes two users")
def test_another_users_network_is_refused(user: User, up: dict[str, Any]) -> None:
    """As after `su`, which keeps the variables."""
    from patchbay_runner.cli import labs

    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setresuid(65534, 65534, 65534)
        os.environ["XDG_RUNTIME_DIR"] = str(user.runtime)
        try:
            labs.find_lab("client", up["id"])
        except Exception as error:  # noqa: BLE001 - a forked child reports whatever it is
            os.write(writer, str(error).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with os.fdopen(reader) as told:
        assert f"{user.runtime} belongs to another user" in told.read()


def test_a_terminal_that_is_closed_ends_its_programs(user: User, up: dict[str, Any]) -> None:
    marker = {"PATCHBAY_TEST_MARKER": user.project.marker, "XDG_RUNTIME_DIR": str(user.runtime), "PATH": PATH}
    with open_terminal(user.project.root, **marker) as terminal:
        terminal.type("patchbay run-in client -- sleep 86397")
        wait_until(lambda: any("sleep" in name for name in user.project.processes().values()), PATIENCE_S)
    deadline = time.monotonic() + PATIENCE_S
    while any("sleep" in name for name in user.project.processes().values()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
