"""`patchbay fmt-log` as it is used: files, pipes, terminals, a file that grows and is rotated, a reader that leaves."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from patchbay_runner.cli.logfiles import LineSplitter

COMMAND = [sys.executable, "-m", "patchbay_runner", "fmt-log"]
LINE = b'{"level":"info","msg":"hello","n":1}\n'
SHOWN = b" INFO hello n=1\n"
PATIENCE_S = 60


def environment(**changes: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    return {**kept, "TERM": "xterm", **changes}


def fmt_log(*arguments: str | Path, stdin: bytes = b"", **changes: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
        env=environment(**changes),
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "device.jsonl"
    path.write_bytes(LINE)
    return path


def test_a_file(log: Path) -> None:
    done = fmt_log(log)
    assert (done.returncode, done.stdout, done.stderr) == (0, SHOWN, b"")


def test_standard_input_with_lines_that_are_no_json() -> None:
    mixed = b"\xff plain \x1b[1mbold\x1b[0m\n" + LINE + b"progress\r100%\n" + LINE.rstrip()
    assert fmt_log(stdin=mixed).stdout == b"\xff plain \x1b[1mbold\x1b[0m\n" + SHOWN + b"progress\r100%\n" + SHOWN
    assert fmt_log(stdin=b"no newline").stdout == b"no newline"
    assert fmt_log(stdin=b"").stdout == b""


def test_levels_are_left_out() -> None:
    lines = b'{"level":"debug","msg":"d"}\n{"msg":"none"}\ntext\n{"level":"error","msg":"e"}\n'
    assert fmt_log("--level", "WARN", stdin=lines).stdout == b"none\ntext\nERROR e\n"


@pytest.mark.parametrize(
    ("arguments", "changes", "has_colours"),
    [
        ([], {}, False),
        (["--color"], {}, True),
        (["--color"], {"NO_COLOR": "1"}, True),
        ([], {"FORCE_COLOR": "1"}, True),
        (["--no-color"], {"FORCE_COLOR": "1"}, False),
        ([], {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colours_in_a_pipe(arguments: list[str], changes: dict[str, str], has_colours: bool) -> None:
    assert (b"\x1b[32m" in fmt_log(*arguments, stdin=LINE, **changes).stdout) == has_colours


@pytest.mark.parametrize(
    ("changes", "has_colours"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colours_on_a_terminal(log: Path, changes: dict[str, str], has_colours: bool) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*COMMAND, str(log)], stdout=theirs, env=environment(**changes))
    os.close(theirs)
    shown = b""
    while b"n" not in shown or b"1" not in shown.rpartition(b"n")[2]:
        assert select.select([ours], [], [], PATIENCE_S)[0]
        shown += os.read(ours, 4096)
    assert process.wait(PATIENCE_S) == 0
    os.close(ours)
    assert (b"\x1b[32m" in shown) == has_colours


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/nonexistent"], b"does not exist"),
        (["/"], b"is a directory"),
        (["-f"], b"needs a FILE"),
        (["--level", "loud"], b"'loud' is not one of"),
        (["/dev/null", "/dev/null"], b"unexpected extra argument"),
        (["--colour"], b"No such option"),
    ],
)
def test_nonsense_is_2(arguments: list[str], message: bytes) -> None:
    done = fmt_log(*arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert message in done.stderr


def test_a_terminal_as_input_is_no_log() -> None:
    ours, theirs = pty.openpty()
    done = subprocess.run(COMMAND, stdin=theirs, capture_output=True, timeout=PATIENCE_S, check=False)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 2
    assert b"standard input is a terminal" in done.stderr


class Following:
    """`fmt-log -f`, and what it has shown so far."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.shown = b""

    def until(self, ending: bytes) -> bytes:
        deadline = time.monotonic() + PATIENCE_S
        assert self.process.stdout is not None
        while not self.shown.endswith(ending):
            assert select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0], self.shown
            part = os.read(self.process.stdout.fileno(), 65536)
            assert part, self.shown
            self.shown += part
        return self.shown


@contextmanager
def following(path: Path) -> Iterator[Following]:
    with subprocess.Popen([*COMMAND, "-f", str(path)], stdout=subprocess.PIPE, env=environment()) as process:
        try:
            yield Following(process)
        finally:
            process.kill()


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_a_file_that_grows_in_pieces(log: Path) -> None:
    with following(log) as shown:
        shown.until(SHOWN)
        append(log, b'{"level":"warn",')
        append(log, b'"msg":"later"}\nplain\n')
        assert shown.until(b"plain\n") == SHOWN + b" WARN later\nplain\n"


def rotate(log: Path) -> None:
    log.rename(log.with_suffix(".1"))
    log.write_bytes(b'{"level":"warn","msg":"new"}\n')


def truncate(log: Path) -> None:
    os.truncate(log, 0)
    append(log, b'{"level":"warn","msg":"new"}\n')


def replace_after_a_while(log: Path) -> None:
    log.unlink()
    time.sleep(0.3)
    log.write_bytes(b'{"level":"warn","msg":"new"}\n')


@pytest.mark.parametrize("begin_anew", [rotate, truncate, replace_after_a_while])
def test_a_file_that_begins_anew(log: Path, begin_anew: Callable[[Path], None]) -> None:
    append(log, b'{"level":"info","msg":"old, and long enough to be longer than what comes"}\n')
    with following(log) as shown:
        shown.until(b"what comes\n")
        begin_anew(log)
        shown.until(b" WARN new\n")
        append(log, LINE)
        shown.until(SHOWN)
        assert shown.shown.count(b"new") == 1


def test_ctrl_c_ends_following_quietly(log: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "-f", str(log)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    Following(process).until(SHOWN)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (130, b"")


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    log = tmp_path / "long.jsonl"
    log.write_bytes(LINE * 50_000)
    with subprocess.Popen([*COMMAND, str(log)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(PATIENCE_S) == 141
        assert process.stderr.read() == b""


@pytest.mark.parametrize("command", [["fmt-log", "/proc/self/status"], ["schema"], ["doctor", "--help"]])
def test_a_full_disk_is_the_hosts_fault(command: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND[:-1], *command], stdout=full, stderr=subprocess.PIPE, timeout=PATIENCE_S, check=False
        )
    assert done.returncode == 4
    assert done.stderr == b"error: cannot write: No space left on device\n"


def test_each_line_of_a_pipe_is_shown_when_it_comes() -> None:
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()) as process:
        shown = Following(process)
        assert process.stdin is not None
        for number in range(1, 4):
            process.stdin.write(LINE)
            process.stdin.flush()
            assert shown.until(SHOWN * number) == SHOWN * number
        process.stdin.close()
        assert process.wait(PATIENCE_S) == 0


def test_a_long_log_with_an_endless_line_takes_little_memory() -> None:
    """64 MiB, half of it one line, through a process that may grow by less than half of that."""
    script = (
        "import resource, sys; from patchbay_runner.cli.main import run_command; "
        "resource.setrlimit(resource.RLIMIT_DATA, (96 << 20, 96 << 20)); sys.exit(run_command(['fmt-log']))"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        feeder = threading.Thread(target=_feed, args=(process,))
        feeder.start()
        received = 0
        while part := process.stdout.read(1 << 20):
            received += len(part)
        feeder.join()
        assert process.wait(PATIENCE_S) == 0
    assert received == 32 * (1 << 20) + 1 + 32 * 8_000 * len(SHOWN)


def _feed(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    for _ in range(32):
        process.stdin.write(b"x" * (1 << 20))
    process.stdin.write(b"\n")
    for _ in range(32):
        process.stdin.write(LINE * 8_000)
    process.stdin.close()


def test_pieces_of_a_long_line_are_no_lines() -> None:
    splitter = LineSplitter(limit=10)
    found = [
        *splitter.feed(b'{"a":1}\n{"level":'),
        *splitter.feed(b'"information"'),
        *splitter.feed(b'}{"msg":1}\nb\n'),
    ]
    assert found[0] == (b'{"a":1}\n', True)
    assert found[-1] == (b"b\n", True)
    assert not any(is_whole for _, is_whole in found[1:-1])
    assert b"".join(line for line, _ in found) == b'{"a":1}\n{"level":"information"}{"msg":1}\nb\n'
