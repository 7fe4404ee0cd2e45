"""What programs see of /etc, /run, /proc and /sys, in the sandbox and in its nodes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.sandbox_inside import inside, new_node, own_view, run

from patchbay_runner.kernel import mounts, syscalls
from patchbay_runner.kernel.mounts import HOST_DIRECTORY, SHARED_DIRECTORY
from patchbay_runner.kernel.sandbox import SandboxContext, SandboxOptions

_LOOK_UP = "import socket, sys; print(socket.gethostbyname(sys.argv[1]))"


def test_each_node_has_its_own_hosts_and_resolver() -> None:
    def look(_: SandboxContext) -> list[str]:
        nodes = [new_node(f"n{n}", f"10.9.8.{n} peer\n", f"nameserver 10.0.0.{n}\n") for n in (1, 2)]
        return [run(node, ["cat", "/etc/hosts", "/etc/resolv.conf"]).output for node in nodes]

    assert inside(look) == [
        "10.9.8.1 peer\nnameserver 10.0.0.1\n",
        "10.9.8.2 peer\nnameserver 10.0.0.2\n",
    ]


def test_hosts_are_what_the_resolver_of_programs_uses() -> None:
    def look(_: SandboxContext) -> tuple[str, str]:
        node = new_node("n", "10.9.8.7 other.example\n")
        lookup = ["python3", "-c", _LOOK_UP, "other.example"]
        before = run(node, lookup).output
        mounts.write_node_files(mounts.NODES_DIRECTORY / "n", "10.9.8.6 other.example\n")
        return before, run(node, lookup).output

    assert inside(look) == ("10.9.8.7\n", "10.9.8.6\n")


def test_etc_is_the_hosts_in_everything_else() -> None:
    def look(_: SandboxContext) -> dict[str, bytes]:
        names = ["/etc/passwd", "/etc/os-release", "/etc/nsswitch.conf", "/etc/ssl/openssl.cnf"]
        return {name: Path(name).read_bytes() for name in names if Path(name).exists()}

    seen = inside(look)
    assert "/etc/passwd" in seen
    assert seen == {name: Path(name).read_bytes() for name in seen}


def test_no_link_of_etc_leads_astray() -> None:
    broken = set(inside(lambda _: _broken_links()))
    assert broken <= set(_broken_links())


def _broken_links() -> list[str]:
    """Links below /etc that lead nowhere, as seen through the links at its top."""
    found = []
    for entry in os.scandir("/etc"):
        below = os.walk(entry.path) if entry.is_dir() else []
        inner = [f"{directory}/{name}" for directory, names, files in below for name in (*names, *files)]
        found += [path for path in (entry.path, *inner) if Path(path).is_symlink() and not _exists(path)]
    return found


def _exists(path: str) -> bool:
    try:
        os.stat(path)  # noqa: PTH116 - Path.exists would take a refusal for an answer
    except FileNotFoundError:
        return False
    except PermissionError:
        return True
    return True


def test_links_that_climb_out_of_etc_arrive() -> None:
    """Such as fonts/conf.d/x.conf -> ../../../usr/share/..., which are followed from where the host's /etc is bound."""
    tops = [path.name for path in Path("/").iterdir() if path.exists()]

    def astray(_: SandboxContext) -> list[str]:
        host = mounts.HOST_DIRECTORY / "etc" / "ssl" / ".." / ".."
        return [name for name in tops if name not in ("etc", "run") and not (host / name).samefile(f"/{name}")]

    assert inside(astray) == []


def test_hosts_do_not_hang_on_the_hosts_file() -> None:
    host_file = Path("/etc/hosts").read_bytes()

    def look(_: SandboxContext) -> str:
        node = new_node("n", "10.1.1.1 mine\n")
        target = mounts.HOST_DIRECTORY / "etc" / "hosts"
        assert target.read_bytes() == host_file
        return run(node, ["readlink", "-f", "/etc/hosts"]).output

    assert inside(look) == "/run/patchbay/device/hosts\n"


def test_run_is_the_hosts_but_for_what_is_hidden() -> None:
    visible = inside(lambda _: [path.name for path in _entries(Path("/run"))])
    assert {path.name for path in _entries(Path("/run"))} <= set(visible)


_PATHS = (
    "nscd/socket",
    "netns/n",
    "systemd/resolve/stub",
    "systemd/private",
    "app/a/x",
    "app/b/y",
    "plain",
    "avahi-daemon/socket",
)


@pytest.mark.parametrize(
    ("hidden", "gone"),
    [
        (mounts.HIDDEN_BELOW_RUN, {"nscd/socket", "netns/n", "systemd/resolve/stub", "avahi-daemon/socket"}),
        (("app/a", "systemd"), {"app/a/x", "systemd/resolve/stub", "systemd/private"}),
        (("nowhere/at/all",), set()),
        ((), set()),
    ],
)
def test_hidden_directories_are_empty_and_their_siblings_stay(hidden: tuple[str, ...], gone: set[str]) -> None:
    """In a sandbox within a sandbox, which takes for the host's /run what the outer one keeps of it, ours to fill."""

    def outer(_: SandboxContext) -> set[str]:
        run = HOST_DIRECTORY / "run"
        syscalls.mount("test", str(run), "tmpfs")
        for name in _PATHS:
            (run / name).parent.mkdir(parents=True, exist_ok=True)
            (run / name).write_text(name)
        return inside(look, SandboxOptions(hidden_below_run=hidden))

    def look(_: SandboxContext) -> set[str]:
        assert all(Path("/run", name).is_dir() for name in hidden if not name.startswith("nowhere"))
        return {name for name in _PATHS if not Path("/run", name).exists()}

    assert inside(outer) == gone


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def test_new_entries_of_run_are_private() -> None:
    marker = Path(f"/run/patchbay-test-{os.getpid()}")
    inside(lambda _: marker.write_text("inside"))
    assert not marker.exists()


def test_sys_and_proc_are_the_nodes_own() -> None:
    def look(_: SandboxContext) -> list[str]:
        node = new_node("n")
        made = run(node, ["ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"])
        assert made.code == 0, made.output
        return [
            run(node, ["ls", "/sys/class/net"]).output,
            run(own_view(), ["ls", "/sys/class/net"]).output,
            run(node, ["sh", "-c", "cut -d: -f1 /proc/net/dev | tail -n +3 | sort | xargs"]).output,
        ]

    assert inside(look) == ["lo\nv0\nv1\n", "lo\n", "lo v0 v1\n"]


def test_cgroups_are_still_there() -> None:
    expected = sorted(os.listdir("/sys/fs/cgroup"))  # noqa: PTH208
    assert inside(lambda _: run(new_node("n"), ["ls", "/sys/fs/cgroup"]).output).split() == expected


def test_only_the_sandboxs_processes_are_in_proc() -> None:
    pids = inside(lambda _: [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()])
    assert sorted(pids) == [1, 2]


def test_hostname_is_the_nodes() -> None:
    def look(_: SandboxContext) -> list[str]:
        views = (new_node("alice"), own_view())
        return [run(view, ["sh", "-c", "uname -n"]).output.strip() for view in views]

    assert inside(look) == ["alice", "patchbay"]
    assert os.uname().nodename not in ("alice", "patchbay")


def test_making_a_nodes_mounts_leaves_the_agent_where_it_was() -> None:
    def look(_: SandboxContext) -> bool:
        os.chdir("/usr/bin")
        before = [Path(f"/proc/self/ns/{kind}").readlink() for kind in ("net", "mnt", "uts")]
        new_node("n")
        after = [Path(f"/proc/self/ns/{kind}").readlink() for kind in ("net", "mnt", "uts")]
        return before == after and Path.cwd() == Path("/usr/bin")

    assert inside(look)


def test_mounts_do_not_reach_the_host() -> None:
    def mount_points() -> list[str]:
        return [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]

    before = mount_points()
    inside(lambda _: new_node("n"))
    assert mount_points() == before


def test_a_sandbox_within_a_sandbox_sees_the_hosts_files_and_what_is_shared() -> None:
    def outer(_: SandboxContext) -> list[object]:
        (SHARED_DIRECTORY / "told").write_text("from outside")
        return inside(look)

    def look(_: SandboxContext) -> list[object]:
        return [look_at_etc(), (SHARED_DIRECTORY / "told").read_text()]

    def look_at_etc() -> str:
        return Path("/etc/passwd").read_text()

    assert inside(outer) == [look_at_etc(), "from outside"]
