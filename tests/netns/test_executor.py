"""Plans carried out in real networks."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from patchbay_runner.executor import RunOptions, run_plan
from patchbay_runner.kernel.sandbox import SandboxContext, Zygote
from patchbay_runner.lab.environment import program_environment
from patchbay_runner.lab.lab import Lab
from patchbay_runner.model.assertions import parse_assertion
from patchbay_runner.model.plan import Plan, decode_plan, encode_plan
from patchbay_runner.model.recording import CaptureValue, Failure
from patchbay_runner.model.steps import (
    Assert,
    Capture,
    GenCerts,
    LinkDown,
    LinkUp,
    ResultKeys,
    Run,
    SetDefaultRoute,
    Spawn,
    Step,
    Wait,
    WaitFor,
)
from patchbay_runner.model.topology import Device, Interface, Router, Topology
from tests.unit.executor_support import MemoryRecorder, sh

TOPOLOGY = Topology(
    routers=(Router(name="dc"), Router(name="lte")),
    devices=(
        Device(name="server", interfaces=(Interface(name="eth0", gateway="dc"),)),
        Device(
            name="phone",
            interfaces=(Interface(name="wifi", gateway="dc"), Interface(name="cell", gateway="lte")),
        ),
    ),
)
# Grace that no test can use up: what ends sooner ended by itself.
GRACE_S = 20.0


class Outcome(msgspec.Struct, frozen=True):
    """What a sandbox says of its sim."""

    failure: Failure | None
    captures: dict[str, CaptureValue]


def carry_out(context: SandboxContext) -> int:
    """The sandbox's entry: the plan from the payload, the outcome to the first descriptor."""
    directory, plan = msgspec.json.decode(context.payload, type=tuple[str, msgspec.Raw])
    recorder = MemoryRecorder(Path(directory))
    lab = Lab.build(TOPOLOGY)
    options = RunOptions(Path("/"), program_environment(os.environ), {}, None, GRACE_S)
    failure = asyncio.run(run_plan(decode_plan(bytes(plan)), lab, recorder, options))
    os.write(context.fds[0], msgspec.json.encode(Outcome(failure, recorder.values)))
    return 0


@pytest.fixture(scope="module")
def plans() -> Iterator[Zygote]:
    with Zygote.start({"plan": carry_out}) as zygote:
        yield zygote


@pytest.fixture
def carried_out(plans: Zygote, tmp_path: Path) -> Callable[..., Outcome]:
    """Runs steps in a network of their own."""

    def run(*steps: Step) -> Outcome:
        read_end, write_end = os.pipe()
        payload = msgspec.json.encode((str(tmp_path), msgspec.Raw(encode_plan(Plan(name="t", source="", steps=steps)))))
        with plans.sandbox("plan", payload, (write_end,)) as sandbox, os.fdopen(read_end, "rb") as answers:
            os.close(write_end)
            answer = answers.read()
            sandbox.wait(10)
        return msgspec.json.decode(answer, type=Outcome)

    return run


Runner = Callable[..., Outcome]


def ping(name: str, target: str, *, device: str = "phone", expect_exit: int = 0) -> Run:
    return Run(id=name, device=device, cmd=("ping", "-c1", "-W1", target), expect_exit=expect_exit)


def test_programs_talk_across_routers(carried_out: Runner) -> None:
    server = "import socket; s = socket.create_server(('', 7)); print('port', 7, flush=True); print(s.accept()[1][0])"
    client = "import socket, sys; s = socket.create_connection((sys.argv[1], 7)); print('{\"size\": 5}')"
    outcome = carried_out(
        Spawn(
            id="server",
            device="server",
            cmd=("python3", "-c", server),
            captures=(Capture(name="port", regex=r"port (\d+)"), Capture(name="peer", regex=r"^(\d+\.\d+\..*)$")),
        ),
        Run(
            id="client",
            device="phone",
            cmd=("python3", "-c", client, "$NETSIM_IP_server"),
            requires=("server.port",),
            parser="json",
            captures=(Capture(name="size", pick=".size"),),
            results=ResultKeys(down_bytes="client.size"),
        ),
        WaitFor(id="server", timeout_s=10),
        Run(id="own", device="phone", cmd=("echo", "$NETSIM_IP_phone"), captures=(Capture(name="ip", regex=".+"),)),
        Assert(checks=(parse_assertion("server.peer == ${own.ip}"), parse_assertion("client.size == 5"))),
    )
    assert outcome.failure is None


def test_steps_run_on_routers_and_the_exchange(carried_out: Runner) -> None:
    outcome = carried_out(
        ping("a", "$NETSIM_IP_phone", device="dc"),
        ping("b", "$NETSIM_IP_phone_cell", device="ix"),
        ping("c", "$NETSIM_IP6_server", device="lte"),
    )
    assert outcome.failure is None


def test_links_and_the_default_route_change(carried_out: Runner) -> None:
    address = Capture(name="ip", regex=r"^(\d+\..*)$")
    outcome = carried_out(
        ping("first", "$NETSIM_IP_server"),
        LinkDown(device="phone", interface="wifi"),
        Run(id="cut", device="phone", cmd=("ping", "-c1", "-W1", "$NETSIM_IP_server"), expect_exit="any"),
        Assert(checks=(parse_assertion("cut.exit_code != 0"),)),
        Run(id="before", device="ix", cmd=("echo", "$NETSIM_IP_phone"), captures=(address,)),
        SetDefaultRoute(device="phone", to="cell"),
        ping("over-cell", "$NETSIM_IP_server"),
        Run(id="after", device="ix", cmd=sh("echo $$NETSIM_IP_PHONE"), captures=(address,)),
        Assert(checks=(parse_assertion("after.ip != ${before.ip}"),)),
        LinkUp(device="phone", interface="wifi"),
        SetDefaultRoute(device="phone", to="wifi"),
        ping("again", "$NETSIM_IP6_server"),
    )
    assert outcome.failure is None


def test_a_network_that_cannot_be_changed_fails_the_step(carried_out: Runner) -> None:
    outcome = carried_out(LinkDown(device="phone", interface="none"))
    assert outcome.failure is not None
    assert (outcome.failure.phase, outcome.failure.step) == ("step", 0)


def test_certificates_hold_the_devices_addresses(carried_out: Runner) -> None:
    outcome = carried_out(
        GenCerts(id="cert", device="phone"),
        Run(
            id="show",
            device="phone",
            cmd=sh("openssl x509 -noout -ext subjectAltName -in ${cert.cert_pem_path}; echo $NETSIM_IP_phone_cell"),
            captures=(Capture(name="names", regex="IP Address:(.*)"), Capture(name="ip", regex=r"^([\d.]+)$")),
        ),
        Assert(checks=(parse_assertion("show.names contains ${show.ip}"),)),
    )
    assert outcome.failure is None
    assert outcome.captures["show.names"].value.count("IP Address:") == 3


def test_the_end_takes_whole_groups_without_using_up_the_grace(carried_out: Runner) -> None:
    started = time.monotonic()
    outcome = carried_out(
        *[Spawn(id=f"s{number}", device="server", cmd=sh("sleep 300 & sleep 300 & wait")) for number in range(5)],
        Spawn(id="stopped", device="phone", cmd=sh("kill -STOP $$$$; sleep 300")),
        Wait(duration_s=0.2),
    )
    assert outcome.failure is None
    assert outcome.captures["s0.exit_code"].value == "-15"
    assert time.monotonic() - started < GRACE_S / 2


def test_a_program_that_is_not_there(carried_out: Runner) -> None:
    outcome = carried_out(Run(id="a", device="phone", cmd=("no-such-program",)))
    assert outcome.failure is not None
    assert "no-such-program: no such program" in outcome.failure.message
