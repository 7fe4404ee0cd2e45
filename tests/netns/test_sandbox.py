"""What a sandbox is from the inside, and how its end reaches the parent."""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
import threading
import time
from pathlib import Path

import pytest
from support.sandbox_inside import inside, own_view, program_environment, run, wait_until

from patchbay_runner.errors import HostError, SandboxDied
from patchbay_runner.kernel import capabilities, process, syscalls
from patchbay_runner.kernel.sandbox import SandboxContext, SandboxExit, SandboxOptions, Zygote

STEP_MASK = sum(1 << number for number in capabilities.STEP_CAPABILITIES)


def test_agent_is_pid_2_below_an_init_in_namespaces_of_its_own() -> None:
    kinds = ("pid", "mnt", "net", "ipc", "uts")

    def look(_: SandboxContext) -> tuple[tuple[int, int], list[str]]:
        return (os.getpid(), os.getppid()), [str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in kinds]

    pids, own = inside(look)
    assert pids == (2, 1)
    assert all(theirs != str(Path(f"/proc/self/ns/{kind}").readlink()) for theirs, kind in zip(own, kinds, strict=True))


def test_caller_keeps_their_own_uid_and_gid() -> None:
    ids = inside(lambda _: run(own_view(), ["sh", "-c", "id -u; id -g"]).output.split())
    assert ids == [str(os.geteuid()), str(os.getegid())]


def test_user_namespace_only_for_who_needs_one() -> None:
    theirs = inside(lambda _: str(Path("/proc/self/ns/user").readlink()))
    assert (theirs == str(Path("/proc/self/ns/user").readlink())) == capabilities.is_capable()


def test_user_root_is_uid_0_with_every_capability() -> None:
    def look(_: SandboxContext) -> list[str]:
        return run(own_view(), ["sh", "-c", "id -u; grep CapEff /proc/self/status"]).output.split()

    uid, _, effective = inside(look, SandboxOptions(user="root"))
    assert uid == "0"
    assert (
        int(effective, 16) & (1 << capabilities.CAP_SYS_ADMIN | STEP_MASK)
        == 1 << capabilities.CAP_SYS_ADMIN | STEP_MASK
    )


def test_steps_get_the_short_list_of_capabilities_and_root_keeps_its_own() -> None:
    status = inside(lambda _: run(own_view(), ["cat", "/proc/self/status"]).output)
    effective = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff")), 16)
    if os.geteuid() == 0:
        assert effective & STEP_MASK == STEP_MASK
    else:
        assert effective == STEP_MASK


def test_agent_keeps_what_it_needs_to_build_networks() -> None:
    assert inside(lambda _: capabilities.is_capable())


def test_payload_descriptors_and_control_reach_the_entry() -> None:
    payload = os.urandom(3_000_000)  # far more than a packet holds

    def entry(context: SandboxContext) -> int:
        os.write(context.fds[0], b"by descriptor")
        context.control.send(context.payload[-8:])
        return len(context.payload) % 251

    reader, writer = os.pipe()
    with Zygote.start({"entry": entry}) as zygote, zygote.sandbox("entry", payload, [writer]) as sandbox:
        os.close(writer)
        assert sandbox.control.recv(100) == payload[-8:]
        assert sandbox.wait(10) == SandboxExit(status=len(payload) % 251)
    with os.fdopen(reader, "rb") as file:
        assert file.read() == b"by descriptor"  # and the end of file: nobody else held the other end


def test_descriptors_of_the_parent_do_not_leak_in() -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)

    def entry(_: SandboxContext) -> int:
        return (
            process.wait(
                process.start(own_view(), ["sleep", "30"], program_environment(), cwd="/", stdin=0, stdout=1, stderr=2)
            )
            or 0
        )

    with Zygote.start({"entry": entry}) as zygote, zygote.sandbox("entry") as sandbox:
        sandbox.wait_ready(10)
        os.close(writer)
        assert select.select([reader], [], [], 5)[0], "the pipe is still open in the sandbox"
        assert os.read(reader, 1) == b""
    os.close(reader)


def test_fileno_becomes_readable_at_the_end_only() -> None:
    def entry(context: SandboxContext) -> int:
        context.control.recv(1)
        return 3

    with Zygote.start({"entry": entry}) as zygote, zygote.sandbox("entry") as sandbox:
        sandbox.wait_ready(10)
        assert not select.select([sandbox], [], [], 0.05)[0]
        with pytest.raises(TimeoutError):
            sandbox.wait(0.01)
        sandbox.control.send(b"x")
        assert select.select([sandbox], [], [], 5)[0]
        assert sandbox.wait(0) == sandbox.wait() == SandboxExit(status=3)


def test_sandbox_that_ended_at_once_was_ready_all_the_same() -> None:
    with Zygote.start({"entry": lambda _: 0}) as zygote, zygote.sandbox("entry") as sandbox:
        assert select.select([sandbox], [], [], 10)[0]
        sandbox.wait_ready(0)
        assert sandbox.wait(0) == SandboxExit(status=0)


def test_wait_ready_raises_what_kept_it_from_being_ready() -> None:
    options = SandboxOptions(hostname="x" * 200)
    with (
        Zygote.start({"entry": lambda _: 0}) as zygote,
        zygote.sandbox("entry", options=options) as sandbox,
        pytest.raises(HostError, match="sethostname"),
    ):
        sandbox.wait_ready(10)


def test_exception_of_the_entry_arrives_with_its_traceback() -> None:
    def entry(_: SandboxContext) -> int:
        raise LookupError("lost in the sandbox")

    with Zygote.start({"entry": entry}) as zygote, zygote.sandbox("entry") as sandbox:
        ended = sandbox.wait(10)
    assert isinstance(ended.error, SandboxDied)
    assert "lost in the sandbox" in str(ended.error)
    assert __file__ in str(ended.error)


def test_terminate_is_a_request_and_kill_is_not() -> None:
    def entry(_: SandboxContext) -> int:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(42))
        while True:
            signal.pause()

    with Zygote.start({"entry": entry}) as zygote:
        with zygote.sandbox("entry") as sandbox:
            sandbox.wait_ready(10)
            time.sleep(0.05)  # until the handler is there
            sandbox.terminate()
            assert sandbox.wait(10) == SandboxExit(status=42)
        with zygote.sandbox("entry") as sandbox:
            sandbox.wait_ready(10)
            sandbox.kill()
            assert sandbox.wait(10) == SandboxExit(signal=signal.SIGKILL)
        with zygote.sandbox("entry") as sandbox:
            sandbox.kill()  # while it is being made
            assert sandbox.wait(10) == SandboxExit(signal=signal.SIGKILL)


def test_kill_from_outside_is_told_from_our_own() -> None:
    with Zygote.start({"entry": lambda _: signal.pause() or 0}) as zygote, zygote.sandbox("entry") as sandbox:
        sandbox.wait_ready(10)
        os.kill(sandbox.pid, signal.SIGKILL)
        ended = sandbox.wait(10)
    assert ended.signal == signal.SIGKILL
    assert isinstance(ended.error, SandboxDied)


def test_agent_killed_by_a_signal_says_which() -> None:
    def entry(_: SandboxContext) -> int:
        os.kill(os.getpid(), signal.SIGUSR1)
        return 0

    with Zygote.start({"entry": entry}) as zygote, zygote.sandbox("entry") as sandbox:
        ended = sandbox.wait(10)
    assert ended.signal == signal.SIGUSR1
    assert str(ended.error) == "the agent was killed by SIGUSR1"


def test_zygote_survives_deaths_bad_requests_and_serves_on() -> None:
    with Zygote.start({"entry": lambda context: len(context.payload)}) as zygote:
        with zygote.sandbox("entry") as sandbox:
            sandbox.kill()
        with pytest.raises(KeyError):
            zygote.sandbox("nothing of that name")
        with pytest.raises(ValueError, match="descriptors"):
            zygote.sandbox("entry", fds=[0] * 300)
        zygote._names = frozenset(["entry", "unheard of"])
        with pytest.raises(SandboxDied, match="unheard of"):
            zygote.sandbox("unheard of")
        zygote._channel.send(b"not a request")
        assert b"Refused" in zygote._channel.recv(1000)
        with zygote.sandbox("entry", b"four") as sandbox:
            assert sandbox.wait(10) == SandboxExit(status=4)


def test_zygote_keeps_nothing_of_a_sandbox_that_has_ended() -> None:
    with Zygote.start({"entry": lambda _: 0}) as zygote:
        descriptors = Path(f"/proc/{zygote.pid}/fd")
        with zygote.sandbox("entry") as sandbox:
            sandbox.wait(10)
        wait_until(lambda: Path(f"/proc/{zygote.pid}/task/{zygote.pid}/children").read_text() == "")
        before = len(list(descriptors.iterdir()))
        own_before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(5):
            with zygote.sandbox("entry") as sandbox:
                assert sandbox.wait(10).status == 0
        wait_until(lambda: len(list(descriptors.iterdir())) == before)
        wait_until(lambda: Path(f"/proc/{zygote.pid}/task/{zygote.pid}/children").read_text() == "")
        assert len(list(Path("/proc/self/fd").iterdir())) == own_before


def test_many_sandboxes_at_once_have_nothing_in_common() -> None:
    def entry(context: SandboxContext) -> int:
        context.control.send(str(Path("/proc/self/ns/net").readlink()).encode())
        context.control.recv(1)
        return 0

    with Zygote.start({"entry": entry}) as zygote:
        sandboxes = [zygote.sandbox("entry") for _ in range(8)]
        names = {sandbox.control.recv(100) for sandbox in sandboxes}
        assert len(names) == 8
        for sandbox in sandboxes:
            sandbox.control.send(b"x")
            assert sandbox.wait(10).status == 0
            sandbox.close()


def test_zygote_must_come_before_threads() -> None:
    thread = threading.Thread(target=time.sleep, args=[0.3])
    thread.start()
    try:
        with pytest.raises(HostError, match="before any thread"):
            Zygote.start({})
    finally:
        thread.join()


def test_closing_the_zygote_ends_every_sandbox() -> None:
    zygote = Zygote.start({"entry": lambda _: signal.pause() or 0})
    sandboxes = [zygote.sandbox("entry") for _ in range(3)]
    for sandbox in sandboxes:
        sandbox.wait_ready(10)
    zygote.close()
    for sandbox in sandboxes:
        assert sandbox.wait(0).error is not None
        sandbox.close()
    with pytest.raises(SandboxDied, match="zygote has ended"):
        zygote.sandbox("entry")


def test_ctrl_c_is_the_parents_alone_but_programs_can_be_interrupted() -> None:
    def entry(context: SandboxContext) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        pid = process.start(own_view(), ["sleep", "30"], program_environment(), cwd="/", stdin=0, stdout=1, stderr=2)
        process.signal_group(pid, signal.SIGINT)
        code = process.wait(pid, 5)
        return 0 if code == -signal.SIGINT else 1

    with Zygote.start({"entry": entry}) as zygote:
        os.kill(zygote.pid, signal.SIGINT)
        with zygote.sandbox("entry") as sandbox:
            os.kill(sandbox.pid, signal.SIGINT)
            assert sandbox.wait(10) == SandboxExit(status=0)


def test_nothing_inside_shares_the_parents_session() -> None:
    assert inside(lambda _: os.getsid(0)) == 2


def test_open_files_are_raised_for_the_agent_and_restored_for_programs() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
    try:

        def look(context: SandboxContext) -> tuple[int, int, str]:
            shown = run(own_view(), ["sh", "-c", "ulimit -Sn; ulimit -Hn"], nofile=context.open_files)
            after = resource.getrlimit(resource.RLIMIT_NOFILE)
            return after[0], context.open_files[1], shown.output

        own, kept, shown = inside(look)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert own >= hard
    assert kept == hard
    assert shown.split() == ["256", str(hard)]


def test_set_up_that_the_kernel_refuses_is_a_host_error_with_a_remedy() -> None:
    def without_user_namespaces(_: SandboxContext) -> SandboxExit:
        syscalls.unshare(syscalls.CLONE_NEWUSER)  # the limit belongs to a user namespace: not to the host's
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
        syscalls.capset(0, 0, 0)
        with Zygote.start({"entry": lambda _: 0}) as zygote, zygote.sandbox("entry") as sandbox:
            return sandbox.wait(10)

    ended = inside(without_user_namespaces)
    assert isinstance(ended.error, HostError)
    assert "ENOSPC" in ended.error.problem
    assert ended.error.remedy == "sudo sysctl -w user.max_user_namespaces=65536"


def test_refusal_of_a_mount_is_a_host_error() -> None:
    with Zygote.start({"entry": lambda _: 0}) as zygote:
        options = SandboxOptions(hostname="x" * 200)
        with zygote.sandbox("entry", options=options) as sandbox:
            ended = sandbox.wait(10)
    assert isinstance(ended.error, HostError)
    assert errno.errorcode[errno.EINVAL] in ended.error.problem
    assert ended.status is None


@pytest.mark.alone
def test_sandbox_is_up_within_tens_of_milliseconds() -> None:
    times_s = []
    with Zygote.start({"entry": lambda _: 0}) as zygote:
        for _ in range(9):
            begin = time.monotonic()
            with zygote.sandbox("entry") as sandbox:
                sandbox.wait_ready(10)
                times_s.append(time.monotonic() - begin)
    assert sorted(times_s)[0] < 0.05  # 6 to 9 ms on a quiet machine of two cores
