"""Programs started in a node: what they inherit, how they fail to start, how they end."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.sandbox_inside import inside, new_node, own_view, program_environment, run, spawn, wait_until

from patchbay_runner.errors import CommandNotFound, KernelError, StepError
from patchbay_runner.kernel import namespaces, process
from patchbay_runner.kernel.sandbox import SandboxContext


@pytest.fixture
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of programs that cannot be started, each for its own reason."""
    directory = tmp_path_factory.mktemp("programs")
    (directory / "no-interpreter").write_text("#!/nowhere/python\n")
    (directory / "no-line").write_text("echo hello\n")
    (directory / "plain").write_text("#!/bin/sh\n")
    (directory / "directory").mkdir()
    for name in ("no-interpreter", "no-line"):
        (directory / name).chmod(0o755)
    return directory


def test_program_is_found_in_the_path_of_its_own_environment(programs: Path) -> None:
    (programs / "greet").write_text("#!/bin/sh\necho greetings from $0\n")
    (programs / "greet").chmod(0o755)
    environment = {"PATH": f"/nowhere:{programs}"}
    ended = inside(lambda _: run(own_view(), ["greet"], env=environment))
    assert (ended.code, ended.output) == (0, f"greetings from {programs}/greet\n")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "missing: no such program in PATH ({0})"),
        ("", "no such program"),
        ("{0}/missing", "{0}/missing: no such program"),
        ("{0}/plain/below", "{0}/plain/below: no such program"),
        ("plain", "plain: {0}/plain is not executable"),
        ("{0}/plain", "{0}/plain: is not executable"),
        ("{0}/directory", "{0}/directory: is a directory"),
        ("directory", "directory: no such program in PATH ({0})"),
        ("no-interpreter", "{0}/no-interpreter: its interpreter /nowhere/python is not there"),
        ("no-line", "{0}/no-line: neither a program of this machine nor a script with a #! line"),
    ],
)
def test_program_that_cannot_start_says_why(programs: Path, name: str, reason: str) -> None:
    def attempt(_: SandboxContext) -> str:
        try:
            run(new_node("n"), [name.format(programs)], env={"PATH": str(programs)})
        except CommandNotFound as error:
            return str(error)
        raise AssertionError("it started")

    assert reason.format(programs) in inside(attempt)


def test_bad_working_directory_is_told_from_a_bad_program(tmp_path: Path) -> None:
    def attempt(_: SandboxContext) -> list[str]:
        messages = []
        for cwd in ("/nowhere", "/etc/passwd"):
            with pytest.raises(StepError) as caught:
                run(own_view(), ["true"], cwd=cwd)
            assert not isinstance(caught.value, CommandNotFound)
            messages.append(str(caught.value))
        return messages

    assert inside(attempt) == [
        "working directory /nowhere: No such file or directory",
        "working directory /etc/passwd: Not a directory",
    ]


def test_arguments_larger_than_the_kernel_takes() -> None:
    def attempt(_: SandboxContext) -> str:
        with pytest.raises(StepError, match="larger than the kernel takes") as caught:
            run(own_view(), ["true", "x" * 200_000])
        return str(caught.value)

    assert inside(attempt)


def test_relative_program_is_relative_to_the_working_directory(programs: Path) -> None:
    (programs / "here").write_text("#!/bin/sh\npwd\n")
    (programs / "here").chmod(0o755)
    ended = inside(lambda _: run(own_view(), ["./here"], cwd=str(programs)))
    assert ended.output == f"{programs}\n"


def test_failed_start_leaves_the_agent_where_it_was(programs: Path) -> None:
    def attempt(_: SandboxContext) -> bool:
        os.chdir("/usr")
        view = new_node("n")
        kinds = ("net", "mnt", "uts")
        before = [Path(f"/proc/self/ns/{kind}").readlink() for kind in kinds]
        descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        for argv, cwd in ((["missing"], "/"), (["true"], "/nowhere"), ([f"{programs}/no-line"], "/")):
            with pytest.raises(StepError):
                run(view, argv, cwd=cwd)
        view_gone = process.NodeView(view.netns, mntns=view.netns)
        with pytest.raises(KernelError):
            run(view_gone, ["true"])
        after = [Path(f"/proc/self/ns/{kind}").readlink() for kind in kinds]
        return (
            before == after and Path.cwd() == Path("/usr") and descriptors == len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        )

    assert inside(attempt)


def test_program_has_a_session_of_its_own_and_default_signals() -> None:
    def look(_: SandboxContext) -> tuple[int, list[str]]:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        code = "import os; print(os.getpid(), os.getsid(0), os.getpgrp()); print(open('/proc/self/status').read())"
        ended = run(own_view(), ["python3", "-S", "-c", code])
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        return ended.code or 0, ended.output.splitlines()

    code, lines = inside(look)
    assert code == 0
    assert len(set(lines[0].split())) == 1
    status = dict(line.split(":", 1) for line in lines[1:] if ":" in line)
    assert int(status["SigBlk"], 16) == 0
    ignored = int(status["SigIgn"], 16)
    # Python ignores PIPE and XFSZ itself; 32 and 33 are the C library's own.
    allowed = sum(1 << number - 1 for number in (signal.SIGPIPE, signal.SIGXFSZ, 32, 33))
    assert ignored & ~allowed == 0


def test_program_gets_its_three_descriptors_and_no_other() -> None:
    def look(context: SandboxContext) -> str:
        extra = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        shown = run(new_node("n"), ["sh", "-c", "ls /proc/$$/fd; readlink /proc/self/fd/0"]).output
        os.close(extra)
        return shown

    assert inside(look).split() == ["0", "1", "2", "/dev/null"]


def test_low_descriptors_may_be_given_in_any_order() -> None:
    def look(_: SandboxContext) -> tuple[str, str]:
        first, second = os.memfd_create("first"), os.memfd_create("second")
        os.dup2(first, 2)
        os.dup2(second, 1)
        argv = ["sh", "-c", "echo out; echo err >&2"]
        pid = process.start(own_view(), argv, program_environment(), cwd="/", stdin=0, stdout=2, stderr=1)
        assert process.wait(pid, 10) == 0
        return os.pread(first, 10, 0).decode(), os.pread(second, 10, 0).decode()

    assert inside(look) == ("out\n", "err\n")


def test_program_runs_in_all_namespaces_of_its_node() -> None:
    def look(_: SandboxContext) -> bool:
        view = new_node("n")
        shown = run(view, ["stat", "-Lc", "%i", *(f"/proc/self/ns/{kind}" for kind in ("net", "mnt", "uts"))]).output
        assert view.mntns is not None
        assert view.utsns is not None
        return [int(line) for line in shown.split()] == [
            namespaces.namespace_id(fd) for fd in (view.netns, view.mntns, view.utsns)
        ]

    assert inside(look)


def test_wait_gives_exit_codes_and_signals() -> None:
    def look(_: SandboxContext) -> list[int | None]:
        view = own_view()
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        codes = [run(view, ["sh", "-c", f"exit {code}"]).code for code in (0, 7, 255)]
        pid = spawn(view, ["sleep", "30"], null)
        assert process.reap(pid) is None
        assert process.wait(pid, 0.01) is None
        assert process.signal_group(pid, signal.SIGKILL)
        codes.append(process.wait(pid, 10))
        assert not process.signal_group(pid, signal.SIGKILL)
        return codes

    assert inside(look) == [0, 7, 255, -9]


def test_pidfd_of_a_program_becomes_readable_when_it_ends() -> None:
    def look(_: SandboxContext) -> int | None:
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        pid = spawn(own_view(), ["sleep", "0.1"], null)
        pidfd = os.pidfd_open(pid)
        assert not select.select([pidfd], [], [], 0)[0]
        assert select.select([pidfd], [], [], 10)[0]
        return process.reap(pid)

    assert inside(look) == 0


def pids_in_network_namespace(netns: int) -> list[int]:
    """Every process of our PID namespace that is in `netns`, daemons that forked away included."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "ns/net").stat().st_ino == namespaces.namespace_id(netns):
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile, or is a zombie
    return found


def test_signal_reaches_the_whole_group_even_when_it_is_stopped() -> None:
    def look(_: SandboxContext) -> tuple[int | None, list[int]]:
        view = new_node("n")
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        pid = spawn(view, ["sh", "-c", "sleep 60 & sleep 60 & wait"], null)
        wait_until(lambda: len(pids_in_network_namespace(view.netns)) == 3)
        process.signal_group(pid, signal.SIGSTOP)
        process.signal_group(pid, signal.SIGTERM)
        code = process.wait(pid, 10)
        wait_until(lambda: not pids_in_network_namespace(view.netns))
        return code, pids_in_network_namespace(view.netns)

    assert inside(look) == (-signal.SIGTERM, [])


_DAEMON = "import os, time\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0: time.sleep(60)\n os._exit(0)\n"


def test_daemons_that_fork_away_are_reaped() -> None:
    def look(_: SandboxContext) -> int:
        view, other = new_node("n"), new_node("other")
        for node in (view, other):
            assert run(node, ["python3", "-S", "-c", _DAEMON]).code == 0
        wait_until(lambda: len(pids_in_network_namespace(view.netns)) == 1)
        (daemon,) = pids_in_network_namespace(view.netns)
        parent = next(line for line in Path(f"/proc/{daemon}/status").read_text().splitlines() if "PPid" in line)
        assert parent.split()[1] == "1"
        os.kill(daemon, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{daemon}").exists())  # init has reaped it
        return len(pids_in_network_namespace(other.netns))

    assert inside(look) == 1


def test_what_is_left_dies_with_the_agent(tmp_path: Path) -> None:
    def start_stubborn(_: SandboxContext) -> list[str]:
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        marker = {**program_environment(), "PATCHBAY_TEST_LEFT": str(tmp_path)}
        spawn(own_view(), ["sh", "-c", "trap '' TERM HUP INT; sleep 60 & sleep 60"], null, env=marker)
        spawn(own_view(), ["python3", "-S", "-c", _DAEMON], null, env=marker)
        return []

    inside(start_stubborn)
    assert not [
        path
        for path in Path("/proc").glob("[0-9]*/environ")
        if f"PATCHBAY_TEST_LEFT={tmp_path}".encode() in _read(path)
    ]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_start_is_close_to_a_bare_spawn() -> None:
    def measure(context: SandboxContext) -> float:
        view = new_node("n")
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        environment = program_environment()

        def ours() -> None:
            pid = process.start(
                view, ["true"], environment, cwd="/", stdin=null, stdout=null, stderr=null, nofile=context.open_files
            )
            os.waitpid(pid, 0)

        def bare() -> None:
            os.waitpid(os.posix_spawn("/bin/true", ["true"], environment), 0)

        def timed(function: Callable[[], None]) -> float:
            begin = time.perf_counter()
            function()
            return time.perf_counter() - begin

        pairs = [(timed(ours), timed(bare)) for _ in range(60)]
        return min(pair[0] for pair in pairs) / min(pair[1] for pair in pairs)

    assert inside(measure) < 2


def test_user_namespace_of_a_program_inside_works() -> None:
    argv = ["unshare", "-Urn", "sh", "-c", "id -u; ip -br link | wc -l"]
    ended = inside(lambda _: run(new_node("n"), argv))
    assert (ended.code, ended.output.split()) == (0, ["0", "1"])
