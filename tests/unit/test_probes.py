"""Probes of settings and limits: what is enough, what is not, and the command that changes it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from patchbay_runner.kernel import nftables, remedies
from patchbay_runner.kernel.probes import host, limits
from patchbay_runner.kernel.probes.records import Probe

GIB = 1024**3
SLICE = "/sys/fs/cgroup/user.slice/user-1000.slice"


@pytest.fixture(autouse=True)
def _ordinary_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)


@pytest.mark.parametrize(
    ("release", "verdict"), [("5.2.9", "missing"), ("5.3.0", "fine"), ("6.18.1-fc", "fine"), ("x", "fine")]
)
def test_kernels_before_the_calls_that_sandboxes_make(release: str, verdict: str) -> None:
    found = host.kernel_version(release)
    assert (found.verdict, found.prevents_labs) == (verdict, verdict == "missing")


@pytest.mark.parametrize(
    ("setting", "is_capable", "has_sandbox", "verdict"),
    [(None, False, True, "fine"), ("0", False, False, "fine"), ("1", False, False, "missing"),
     ("1", False, True, "fine"), ("1", True, True, "weaker")],
)  # fmt: skip
def test_apparmor(setting: str | None, is_capable: bool, has_sandbox: bool, verdict: str) -> None:
    found = host.apparmor(lambda _: setting, is_capable=is_capable, has_sandbox=has_sandbox)
    assert found.verdict == verdict
    if verdict != "fine":
        assert found.remedy == "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"


@pytest.mark.parametrize(
    ("has_library", "program", "verdicts"),
    [(True, "/usr/sbin/nft", ("fine", "fine")), (True, None, ("fine", "weaker")),
     (False, "/usr/sbin/nft", ("weaker", "fine")), (False, None, ("missing", "missing"))],
)  # fmt: skip
def test_either_of_nftables_library_and_program_is_enough(
    has_library: bool, program: str | None, verdicts: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nftables, "has_library", lambda: has_library)
    monkeypatch.setattr(nftables, "find_program", lambda: program)
    found = (host.nftables_library(), host.nft_program())
    assert tuple(probe.verdict for probe in found) == verdicts
    assert all(bool(probe.remedy) == (probe.verdict != "fine") for probe in found)
    assert any(probe.prevents_labs for probe in found) == (verdicts == ("missing", "missing"))


CGROUPS: list[tuple[dict[str, str], str, str, str, str]] = [
    ({"/proc/self/cgroup": "0::/"}, "fine", "no limit", "fine", ""),
    (
        {
            "/proc/self/cgroup": "0::/user.slice/user-1000.slice/session-1.scope",
            f"{SLICE}/session-1.scope/pids.max": "max",
            f"{SLICE}/pids.max": "600",
            f"{SLICE}/pids.current": "500",
            f"{SLICE}/memory.max": str(2 * GIB),
            f"{SLICE}/memory.current": str(GIB),
        },
        "weaker",
        "100 more processes of 600",
        "fine",
        "sudo systemctl set-property --runtime user-1000.slice TasksMax=infinity",
    ),
    (
        {"/proc/self/cgroup": "0::/", "/sys/fs/cgroup/pids.max": "100", "/sys/fs/cgroup/memory.max": str(GIB // 4)},
        "weaker",
        "100 more processes of 100",
        "weaker",
        "start the container with --pids-limit=-1",
    ),
    (
        {
            "/proc/self/cgroup": "8:pids:/job\n4:memory:/job\n1:cpu,cpuacct:/\n0::/",
            "/sys/fs/cgroup/pids/job/pids.max": "64",
            "/sys/fs/cgroup/pids/job/pids.current": "70",
            "/sys/fs/cgroup/memory/job/memory.limit_in_bytes": "9223372036854771712",
        },
        "weaker",
        "0 more processes of 64",
        "fine",
        "echo max | sudo tee /sys/fs/cgroup/pids/job/pids.max",
    ),
]


@pytest.mark.parametrize(("files", "pids", "found", "memory", "remedy"), CGROUPS)
def test_the_tightest_control_group_counts(
    files: Mapping[str, str], pids: str, found: str, memory: str, remedy: str
) -> None:
    of_pids, of_memory = limits.control_groups(files.get)
    assert (of_pids.verdict, of_pids.found, of_pids.remedy) == (pids, found, remedy)
    assert of_memory.verdict == memory


@pytest.mark.parametrize(("hard", "verdict"), [(-1, "fine"), (1_048_576, "fine"), (1024, "weaker"), (20, "missing")])
def test_open_files(hard: int, verdict: str) -> None:
    found = limits.open_files((20, hard))
    assert found.verdict == verdict
    assert ("ulimit -n" in found.remedy) == (verdict != "fine")


@pytest.mark.parametrize(("instances", "verdict"), [(64, "fine"), (3, "weaker")])
def test_inotify(instances: int, verdict: str) -> None:
    assert limits.inotify(instances, {}.get).verdict == verdict


@pytest.mark.parametrize(
    ("values", "verdict"), [({}, "fine"), ({"ipv4": "1024", "ipv6": "1024"}, "fine"), ({"ipv4": "128"}, "weaker")]
)
def test_neighbour_tables(values: Mapping[str, str], verdict: str) -> None:
    settings = {f"net.{family}.neigh.default.gc_thresh3": value for family, value in values.items()}
    found = limits.neighbours(settings.get)
    assert found.verdict == verdict
    if verdict == "weaker":
        assert found.remedy == (
            "sudo sysctl -w net.ipv4.neigh.default.gc_thresh3=16384 net.ipv6.neigh.default.gc_thresh3=16384"
        )


@pytest.mark.parametrize(("number", "verdict"), [("0", "missing"), ("20", "weaker"), ("9000", "fine"), (None, "fine")])
def test_namespaces(number: str | None, verdict: str) -> None:
    found = limits.namespaces({"user.max_net_namespaces": number, "user.max_user_namespaces": "0"}.get, ("net", "mnt"))
    assert found.verdict == verdict
    if verdict in ("weaker", "missing"):
        assert found.remedy == "sudo sysctl -w user.max_net_namespaces=65536"


@pytest.mark.parametrize(
    ("os_release", "command"),
    [
        ('ID=debian\nVERSION_ID="12"', "sudo apt-get install nftables"),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"', "sudo apt-get install nftables"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"', "sudo dnf install nftables"),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"', "sudo zypper install nftables"),
        ("ID=arch", "sudo pacman -S nftables"),
        ("ID=alpine", "sudo apk add nftables"),
        ("", "install the package nftables"),
        ("ID=nixos", "install the package nftables"),
    ],
)
def test_each_distribution_installs_in_its_own_way(os_release: str, command: str) -> None:
    assert remedies.install("nftables", remedies.families_of(os_release)) == command


def test_netem_comes_in_different_packages() -> None:
    assert remedies.install_netem(("ubuntu", "debian")) == "sudo apt-get install linux-modules-extra-$(uname -r)"
    assert remedies.install_netem(("debian",)).endswith(", then boot that kernel")
    assert remedies.install_netem(("nixos",)) == ""


def test_root_needs_no_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert remedies.set_sysctl("a.b", 1) == "sysctl -w a.b=1"


def test_only_what_is_needed_prevents_labs() -> None:
    tun = Probe(name="tun", verdict="missing", found="")
    assert not tun.prevents_labs
