"""Interpolation, assertions, generated files, results and changes of the network."""

from __future__ import annotations

import asyncio
import ssl
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from patchbay_runner.errors import EmulatorDied, StepError
from patchbay_runner.executor.results import seconds
from patchbay_runner.model.assertions import parse_assertion
from patchbay_runner.model.firewall import firewall_mode
from patchbay_runner.model.links import LinkCondition, LinkReport, LinkStatistics
from patchbay_runner.model.nat import nat_mode
from patchbay_runner.model.plan import Plan
from patchbay_runner.model.recording import StepResult
from patchbay_runner.model.steps import (
    AddInterface,
    Assert,
    BreakRegionLink,
    Capture,
    DurationUnit,
    FlushNat,
    GenCerts,
    GenFile,
    LinkDown,
    LinkUp,
    RebootRouter,
    RemoveInterface,
    RenewAddress,
    Replug,
    RestoreRegionLink,
    ResultKeys,
    Run,
    SetDefaultRoute,
    SetDownlink,
    SetFirewall,
    SetLinkCondition,
    SetNames,
    SetNat,
    SetNatV6,
    SetUplink,
    Spawn,
    Wait,
    WaitFor,
)
from patchbay_runner.model.topology import NatV6
from tests.unit.executor_support import Bench, sh


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def echo(*arguments: str, name: str = "a") -> Run:
    """Prints its arguments, one a line."""
    return Run(id=name, device="web", cmd=("printf", "%s\\n", *arguments))


def words(name: str, *values: str) -> Run:
    """A step whose capture `<name>.v` gets these values."""
    captures = (Capture(name="v", regex="v=(.*)"),)
    return Run(id=name, device="web", cmd=("printf", "v=%s\\n", *values), captures=captures)


def check(*texts: str) -> Assert:
    return Assert(checks=tuple(parse_assertion(text) for text in texts))


# Interpolation


def test_variables_binaries_and_dollars(bench: Bench) -> None:
    bench.binaries = {"tool": "/opt/tool"}
    bench.passes(
        echo("$NETSIM_IP_web", "$NETSIM_IP_WEB:80", "${binary.tool}", "$$HOME", "$HOME", "${HOME}", "a$", "$1")
    )
    assert bench.recorder.log("a").decode().split("\n") == [
        "198.18.1.2",
        "198.18.1.2:80",
        "/opt/tool",
        "$HOME",
        "$HOME",
        "${HOME}",
        "a$",
        "$1",
        "",
    ]


def test_an_unknown_variable_of_the_lab_is_an_error(bench: Bench) -> None:
    failure = bench.fails(echo("$NETSIM_IP_WEV"))
    assert failure.message == "unknown variable $NETSIM_IP_WEV; did you mean NETSIM_IP_WEB?"


def test_an_unknown_binary_is_an_error(bench: Bench) -> None:
    assert bench.fails(echo("${binary.tool}")).message == "unknown binary ${binary.tool}"


def test_flags_whose_value_resolved_to_nothing_are_dropped(bench: Bench) -> None:
    bench.passes(
        words("e", ""),
        echo(
            "--url",
            "${e.v}",
            "--keep",
            "",
            "--with=x",
            "${e.v}",
            "-s",
            "${e.v}",
            "${e.v}",
            "--last",
            "${e.v}",
            name="b",
        ),
    )
    assert bench.recorder.log("b").decode().split("\n") == ["--keep", "", "--with=x", "", "-s", "", "", ""]


def test_references_in_the_environment_and_the_device(bench: Bench) -> None:
    bench.passes(
        words("e", "web"),
        Run(id="b", device="${e.v}", cmd=sh("echo $$X"), env={"X": "is-${e.v}"}),
    )
    assert bench.recorder.log("b") == b"is-web\n"


def test_variables_are_read_again_at_each_step(bench: Bench) -> None:
    bench.passes(
        SetDefaultRoute(device="web", to="eth1"),
        Run(id="a", device="web", cmd=sh("echo $NETSIM_IP_WEB $$NETSIM_IP_WEB")),
    )
    assert bench.recorder.log("a") == b"198.18.2.2 198.18.2.2\n"


# Assertions


@pytest.mark.parametrize(
    "text",
    [
        "a.v == 10",
        "a.v != 10.0",
        "a.v contains 1",
        "a.v matches ^1.$",
        "a.v < 10.5",
        "a.v <= 10",
        "a.v > 9",
        "a.v >= 1e1",
        "a.v == ${b.v}",
        "b.v >= ${a.v}",
        "c.v matches b.d",
        "c.v == abcde",
        "c.v != ",
        "a.v > -inf",
    ],
)
def test_assertions_that_hold(bench: Bench, text: str) -> None:
    recorder = bench.passes(words("a", "3", "10"), words("b", "10"), words("c", "abcde"), check(text))
    assert recorder.of_kind("assertion_passed")[0]["check"] == text.rstrip()


@pytest.mark.parametrize(
    "text",
    ["a.v == 3", "a.v == 10.0", "a.v != 10", "a.v contains 3", "a.v matches ^3", "a.v < 10", "a.v <= 9", "a.v > 10"],
)
def test_assertions_that_do_not_hold(bench: Bench, text: str) -> None:
    failure = bench.fails(words("a", "3", "10"), check("a.v == 10", text))
    assert failure.message == f"assertion failed: {text}\n  a.v is '10'\n  history (2 values): '3', '10'"
    assert len(bench.recorder.of_kind("assertion_passed")) == 1
    expected = text.rsplit(maxsplit=1)[-1]
    assert bench.recorder.of_kind("assertion_failed") == [{"check": text, "value": "10", "expected": expected}]


def test_a_failed_assertion_shows_what_references_came_to_and_the_newest_history(bench: Bench) -> None:
    failure = bench.fails(words("a", *map(str, range(1, 26))), words("b", "7"), check("a.v == ${b.v}"))
    assert failure.message == (
        "assertion failed: a.v == ${b.v}\n  a.v is '25'\n  ${b.v} is '7'\n"
        "  history (last 10 of 25): '16', '17', '18', '19', '20', '21', '22', '23', '24', '25'"
    )


def test_numbers_are_compared_exactly(bench: Bench) -> None:
    bench.passes(words("a", "9007199254740993"), check("a.v > 9007199254740992", "a.v >= 9007199254740993"))


def test_comparing_text_as_a_number_says_so(bench: Bench) -> None:
    failure = bench.fails(words("a", "fast"), check("a.v >= 5"))
    assert failure.message == "assertion failed: a.v >= 5\n  'fast' is not a number"


def test_an_assertion_on_a_capture_that_never_came(bench: Bench) -> None:
    step = Run(id="a", device="web", cmd=("true",), captures=(Capture(name="v", regex="v"),))
    assert bench.fails(step, check("a.v == 1")).message == "a exited with code 0 without v"


def test_a_bad_pattern_from_a_capture(bench: Bench) -> None:
    assert "bad regular expression '['" in bench.fails(words("a", "["), check("a.v matches ${a.v}")).message


# Generated files


def test_gen_file(bench: Bench) -> None:
    recorder = bench.passes(
        words("w", "7"),
        GenFile(id="conf", content="port = ${w.v}\nip = $NETSIM_IP_web é\n"),
        Run(id="a", device="web", cmd=("cat", "${conf.path}")),
    )
    assert bench.value("conf.path") == str(recorder.directory / "files/conf/content")
    assert recorder.log("a").decode() == "port = 7\nip = 198.18.1.2 é\n"
    assert recorder.of_kind("file_generated")[0]["id"] == "conf"


def test_gen_certs(bench: Bench) -> None:
    recorder = bench.passes(
        GenCerts(id="c", device="web", cn="example", san=("web.test", "$NETSIM_IP_web", "10.0.0.1", "::1")),
        Run(id="a", device="web", cmd=("cat", "${c.cert_pem_path}")),
    )
    certificate_path, key_path = Path(bench.value("c.cert_pem_path")), Path(bench.value("c.key_pem_path"))
    assert certificate_path == recorder.directory / "certs/c/cert.pem"
    assert key_path == recorder.directory / "certs/c/key.pem"
    assert key_path.stat().st_mode & 0o777 == 0o600
    assert bench.value("c.cert_pem") == certificate_path.read_text() == recorder.log("a").decode()
    assert bench.value("c.key_pem") == key_path.read_text()
    certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = ["198.18.1.2", "2001:db8:1:1::2", "10.0.0.1", "::1"]
    assert names.get_values_for_type(x509.IPAddress) == [ip_address(address) for address in addresses]
    assert names.get_values_for_type(x509.DNSName) == ["web.test"]
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
    assert certificate.subject.rfc4514_string() == "CN=example"


def test_a_generated_certificate_serves_tls(bench: Bench) -> None:
    bench.passes(GenCerts(id="c", san=("localhost",)))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(bench.value("c.cert_pem_path"), bench.value("c.key_pem_path"))
    client = ssl.create_default_context(cafile=bench.value("c.cert_pem_path"))

    async def shake_hands() -> bytes:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello")
            writer.close()
            await writer.wait_closed()

        listening = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server)
        port = listening.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname="localhost")
        text = await reader.read()
        writer.close()
        await writer.wait_closed()
        listening.close()
        return text

    assert asyncio.run(shake_hands()) == b"hello"


def test_gen_certs_takes_a_device_of_its_own_name(bench: Bench) -> None:
    bench.passes(GenCerts(id="web"))
    certificate = x509.load_pem_x509_certificate(bench.value("web.cert_pem").encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert len(names.get_values_for_type(x509.IPAddress)) == 2


def test_gen_certs_for_an_unknown_device(bench: Bench) -> None:
    assert bench.fails(GenCerts(id="c", device="nobody")).message == "nobody: there is no such node"


# The network


def test_link_and_route_changes_reach_the_network(bench: Bench) -> None:
    bench.passes(
        LinkDown(device="web", interface="eth0"),
        SetDefaultRoute(device="web", to="eth1"),
        LinkUp(device="web", interface="eth0"),
    )
    assert bench.network.calls == [
        ("link_down", "web", "eth0"),
        ("set_default_route", "web", "eth1"),
        ("link_up", "web", "eth0"),
    ]


def test_changes_of_interfaces_routers_and_regions_reach_the_network(bench: Bench) -> None:
    bench.passes(
        words("w", "web"),
        echo("$NETSIM_IP_WEB", name="before"),
        Replug(device="${w.v}", interface="eth0", to="cell"),
        echo("$NETSIM_IP_WEB", name="after"),
        AddInterface(device="web", interface="eth1", gateway="home"),
        RemoveInterface(device="web", interface="eth0"),
        RenewAddress(device="web", interface="eth1"),
        SetNat(router="home", nat=nat_mode("corporate")),
        FlushNat(router="home"),
        SetNatV6(router="home", nat_v6=NatV6.NAT64),
        RebootRouter(router="home", down_for_s=1.5),
        SetDownlink(router="home", condition=LinkCondition(latency_ms=7)),
        SetUplink(router="home"),
        SetFirewall(router="home", firewall=firewall_mode("captive-portal")),
        BreakRegionLink(regions=("eu", "us")),
        RestoreRegionLink(regions=("us", "eu")),
    )
    assert bench.network.calls == [
        ("replug", "web", "eth0", "cell"),
        ("add_interface", "web", "eth1", "home"),
        ("remove_interface", "web", "eth0"),
        ("renew_address", "web", "eth1"),
        ("set_nat", "home", "corporate"),
        ("flush_nat", "home"),
        ("set_nat_v6", "home", "nat64"),
        ("reboot_router", "home", "1.5"),
        ("set_downlink", "home", "7"),
        ("set_uplink", "home", "None"),
        ("set_firewall", "home", "captive-portal"),
        ("break_region_link", "eu", "us"),
        ("restore_region_link", "us", "eu"),
    ]
    assert bench.recorder.log("before") == b"198.18.1.2\n"
    assert bench.recorder.log("after") == b"198.18.3.2\n"


def test_names_are_filled_in_when_they_are_set(bench: Bench) -> None:
    entries = {"api.example": ("${w.v}",), "both": ("$NETSIM_IP_WEB", "fd00::1"), "gone": ()}
    bench.passes(
        words("w", "10.0.0.7"),
        SetNames(device="web", entries=entries),
        words("x", "server"),
        SetNames(entries={"www": ("${x.v}",)}),
    )
    assert bench.network.calls == [
        ("set_names", "web", "api.example", "", "10.0.0.7"),
        ("set_names", "web", "both", "", "198.18.1.2", "fd00::1"),
        ("set_names", "web", "gone", ""),
        ("set_names", "", "www", "server"),
    ]


def test_a_name_cannot_stand_for_what_is_no_address(bench: Bench) -> None:
    failure = bench.fails(words("w", "10.0.0"), SetNames(entries={"api": ("${w.v}",)}))
    assert failure.message.startswith("'api' cannot stand for '10.0.0': Expected 4 octets")
    assert bench.network.calls == []


def test_a_change_that_the_network_refuses_fails_the_step(bench: Bench) -> None:
    failure = bench.fails(Wait(duration_s=0), LinkDown(device="web", interface="missing"))
    assert failure.message == "web: it has no interface 'missing'"
    assert (failure.phase, failure.step, failure.action) == ("step", 1, "link-down")


def test_link_conditions_reach_the_network(bench: Bench) -> None:
    slow = LinkCondition(latency_ms=20)
    bench.passes(
        SetLinkCondition(device="web", interface="eth0", condition=slow),
        SetLinkCondition(device="web", interface="eth0", direction="both"),
    )
    assert bench.network.calls == [
        ("set_link_condition", "web", "eth0", "20", "up"),
        ("set_link_condition", "web", "eth0", "None", "both"),
    ]


# Results


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("2500000", None, "2.5"),
        ("10.05", None, "10.05"),
        ("10.0", None, "10"),
        ("1e1", None, "10"),
        ("0", None, "0"),
        ("10", "s", "10"),
        ("1500", "ms", "1.5"),
        ("1500.5", "us", "0.0015005"),
        ("1", None, "0.000001"),
        ("100000000", "s", "100000000"),
    ],
)
def test_durations(text: str, unit: DurationUnit | None, expected: str) -> None:
    assert seconds(text, unit) == expected


def transfer(name: str, duration: str, kind: type[Run | Spawn] = Run, script: str = "") -> Run | Spawn:
    captures = (Capture(name="d", regex="d=(.*)"), Capture(name="b", regex="b=(.*)"))
    keys = ResultKeys(duration=f"{name}.d", down_bytes=f"{name}.b", latency_ms=f"{name}.none")
    command = sh(f"echo d={duration}; echo b=1000; {script}")
    return kind(id=name, device="web", cmd=command, captures=captures, results=keys)


def test_results_of_run_wait_for_and_what_still_runs(bench: Bench) -> None:
    recorder = bench.passes(
        transfer("a", "1.5"),
        transfer("b", "2000000", Spawn),
        WaitFor(id="b"),
        transfer("c", "3.0", Spawn, "exec sleep 60"),
        Run(id="d", device="web", cmd=("true",), requires=("c.b",)),
        Run(id="e", device="web", cmd=("true",), results=ResultKeys(duration="e.none")),
    )
    assert recorder.latest_results == {
        "a": StepResult(id="a", duration="1.5", down_bytes="1000"),
        "b": StepResult(id="b", duration="2", down_bytes="1000"),
        "c": StepResult(id="c", duration="3", down_bytes="1000"),
    }


def test_a_result_that_is_no_number_fails_the_step(bench: Bench) -> None:
    failure = bench.fails(transfer("a", "soon"))
    assert failure.message == "results.duration: a.d is 'soon', which is not a number"
    assert failure.step == 0


def test_results_are_kept_when_a_later_step_fails(bench: Bench) -> None:
    bench.fails(
        transfer("a", "1.5", Spawn, "exec sleep 60"), Run(id="d", device="web", cmd=("false",), requires=("a.b",))
    )
    assert bench.recorder.latest_results["a"].duration == "1.5"


def test_numbers_only() -> None:
    from patchbay_runner.executor.captures import CaptureStore
    from patchbay_runner.executor.results import step_result

    for text in ("nan", "inf", "", "1s"):
        store = CaptureStore()
        store.record("a.b", (text,))
        with pytest.raises(StepError, match="not a number"):
            step_result("a", ResultKeys(up_bytes="a.b"), store)


def test_a_plan_without_steps_passes(bench: Bench) -> None:
    assert bench.plan() == Plan(name="sim", source="sim.toml", topology=bench.plan().topology)
    bench.passes()


def test_the_network_is_reported_from_the_start_and_at_the_end(bench: Bench) -> None:
    bench.network.state = {"devices": {"web": {}}}
    bench.network.links = LinkReport("emulator", (LinkStatistics("web.eth0"),))
    recorder = bench.passes(LinkDown(device="web", interface="eth0"))
    assert recorder.states == [{"devices": {"web": {}}}]
    assert recorder.link_reports == [bench.network.links]  # the second time it is the same


def test_an_emulator_that_died_is_a_defect_at_once(bench: Bench) -> None:
    def dies() -> None:
        raise EmulatorDied("the link emulator has ended")

    async def run() -> None:
        asyncio.get_running_loop().call_later(0.1, dies)
        await bench.run_async(Wait(duration_s=60))

    with pytest.raises(EmulatorDied):
        asyncio.run(run())
