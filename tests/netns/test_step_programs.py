"""Real programs as steps: servers that drop privileges or refuse them, daemons, pipelines, what they see and leave."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.support.running import Project
from tests.netns.support.sandbox_inside import host_output, postgresql

# Servers that refuse to be root are someone else when root runs the tests.
_AS_SOMEONE = "setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all" if os.geteuid() == 0 else ""


@pytest.fixture
def project() -> Iterator[Project]:
    """In a directory that any user may enter: pytest's own are closed to servers that become another."""
    with tempfile.TemporaryDirectory(prefix="pb") as name:
        Path(name).chmod(0o755)
        yield Project(Path(name))


def run_steps(project: Project, *steps: str, head: str = "") -> dict[str, str]:
    """Runs steps between a public `server` and a `client` behind a home NAT; the captures of a sim that has passed."""
    path = project.sim("sim", "\n".join(steps))
    if head:
        path.write_text(path.read_text().replace("[sim]\n", f"[sim]\n{head}\n"))
    ended = project.run(path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert project.processes() == {}
    return {key: capture["value"] for key, capture in project.read("sim/results.json")["captures"].items()}


def step(device: str, step_id: str, command: str, *more: str, captures: dict[str, str] | None = None) -> str:
    """A step that runs a shell command. `captures` are regexes by name; `more` are lines of TOML."""
    lines = ["[[step]]", f'id = "{step_id}"', f'device = "{device}"', f"cmd = ['sh', '-c', '''{command}''']", *more]
    for name, regex in (captures or {}).items():
        lines += [f"[step.captures.{name}]", f"regex = '''{regex}'''"]
    return "\n".join(lines)


def spawn(device: str, step_id: str, command: str, ready: str, pipe: str = "stdout") -> str:
    """A step that leaves a program running; `ready` is a regex of what it says when it serves."""
    text = step(device, step_id, command, 'action = "spawn"')
    return f"{text}\n[step.captures.ready]\npipe = '{pipe}'\nregex = '''{ready}'''"


def output(project: Project, node: str, step_id: str) -> str:
    """What a step printed."""
    return (project.latest / "sim" / "nodes" / node / f"{step_id}.stdout.log").read_text()


_NGINX = """
[[step]]
action = "gen-file"
id = "conf"
content = '''
pid nginx.pid; error_log error.log; worker_processes 2;
events {}
http {
  access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  server { listen 80; listen [::]:80; location / { return 200 "$$remote_addr\\n"; } }
}
'''
"""


def test_nginx_forks_away_and_serves_both_families(project: Project) -> None:
    """Its master is an orphan that leads a session of its own: nobody's child, and gone with the sim."""
    fetch = "curl -sS --retry 5 --retry-connrefused --max-time 10"
    run_steps(
        project,
        _NGINX,
        step("server", "nginx", 'nginx -e stderr -p "$TMPDIR" -c ${conf.path}', 'timeout = "10s"'),
        step("client", "v4", f"{fetch} http://$NETSIM_IP_server/"),
        step("client", "v6", f"{fetch} http://[$NETSIM_IP6_server]/"),
        step("server", "masters", "pgrep -fc '[n]ginx: master'"),
        step("client", "address", "echo $NETSIM_IP6_client"),
    )
    assert output(project, "client", "v4").startswith("198.18.")  # the home router's, not the client's
    assert output(project, "client", "v6") == output(project, "client", "address")
    assert output(project, "server", "masters") == "1\n"


def test_tcpdump_writes_what_a_ping_sends(project: Project) -> None:
    """As root, Debian's tcpdump becomes another user before it opens the file."""
    dump = 'exec tcpdump -i eth0 -U -c 6 -w "$TMPDIR/ping.pcap" icmp'
    run_steps(
        project,
        spawn("server", "dump", dump, "listening on", "stderr"),
        step("client", "ping", "ping -n -c 3 -i 0.1 $NETSIM_IP_server", 'requires = ["dump.ready"]'),
        '[[step]]\naction = "wait-for"\nid = "dump"\ntimeout = "10s"',
        step("server", "keep", 'cp "$TMPDIR/ping.pcap" "$PATCHBAY_NODE_DIR"'),
    )
    pcap = project.latest / "sim" / "nodes" / "server" / "ping.pcap"
    lines = host_output(["tcpdump", "-nr", str(pcap)]).splitlines()
    assert len(lines) == 6
    assert sum("ICMP echo request" in line for line in lines) == 3
    assert sum("ICMP echo reply" in line for line in lines) == 3


def test_postgresql_answers_across_a_nat(project: Project) -> None:
    """It refuses root, keeps its data and its Unix socket in the device's TMPDIR, and sees the router's address."""
    make = f"""
{_AS_SOMEONE} {postgresql("initdb")} -D "$TMPDIR/data" -A trust -U me -N
{_AS_SOMEONE} sh -c 'echo "host all all all trust" >> "$TMPDIR/data/pg_hba.conf"'"""
    serve = f"""exec {_AS_SOMEONE} {postgresql("postgres")} -D "$TMPDIR/data" -c listen_addresses="*" \
-c unix_socket_directories="$TMPDIR" -c fsync=off"""
    psql = f"{postgresql('psql')} -U me -At -d postgres"
    captures = run_steps(
        project,
        step("server", "initdb", make),
        spawn("server", "postgres", serve, "ready to accept connections", "stderr"),
        step(
            "client",
            "query",
            f"{psql} -h $NETSIM_IP_server -c 'select 6 * 7, inet_client_addr()'",
            'requires = ["postgres.ready"]',
            captures={"answer": r"^(\d+)\|", "seen": r"\|(.+)"},
        ),
        step("server", "local", f'{psql} -h "$TMPDIR" -c "select 1 + 1"', captures={"answer": r"\d+"}),
        step("client", "own", "echo $NETSIM_IP_client", captures={"address": ".+"}),
    )
    assert (captures["query.answer"], captures["local.answer"]) == ("42", "2")
    assert captures["query.seen"].startswith("198.18.")
    assert captures["own.address"].startswith("10.0.")


def test_a_program_may_make_user_and_network_namespaces_of_its_own(project: Project) -> None:
    run_steps(
        project,
        step("client", "root", "unshare -Ur id -u"),
        step("client", "net", "unshare -Urn ip -o link | wc -l"),
        step("client", "caller", "id -u"),
    )
    assert output(project, "client", "root") == "0\n"
    assert output(project, "client", "net") == "1\n"
    assert output(project, "client", "caller") == f"{os.geteuid()}\n"


def test_a_sim_may_ask_to_be_root(project: Project) -> None:
    run_steps(project, step("client", "id", 'id -u; touch "$PATCHBAY_NODE_DIR/mine"'), head='user = "root"')
    assert output(project, "client", "id") == "0\n"
    assert (project.latest / "sim/nodes/client/mine").stat().st_uid == os.geteuid()


def test_a_daemon_outlives_its_step_and_is_gone_with_the_sim(project: Project) -> None:
    serve = "python3 -u -m http.server 8000 --directory / >/dev/null 2>&1 </dev/null"
    run_steps(
        project,
        step("server", "daemon", f'(setsid sh -c "trap : TERM; while :; do {serve}; done" &)', 'timeout = "5s"'),
        step(
            "client",
            "fetch",
            "curl -sS --retry 20 --retry-connrefused --retry-delay 1 -o /dev/null -w '%{http_code}' "
            "http://$NETSIM_IP_server:8000/etc/hosts",
        ),
    )
    assert output(project, "client", "fetch") == "200"


def test_pipelines_end_as_in_a_shell(project: Project) -> None:
    """Python ignores SIGPIPE; a program that inherited that would print errors or go on for ever."""
    run_steps(
        project,
        step("client", "pipeline", "seq 100000 | sort -rn | head -n 3 | tr '\\n' ' '", 'timeout = "10s"'),
        step("client", "status", "bash -c 'yes | head -n 1; echo ${PIPESTATUS[*]}'", 'timeout = "10s"'),
        step("client", "input", "wc -c", 'timeout = "10s"'),
    )
    assert output(project, "client", "pipeline") == "100000 99999 99998 "
    assert output(project, "client", "status") == "y\n141 0\n"
    assert output(project, "client", "input") == "0\n"


def test_ping_works_by_capability_and_without(project: Project) -> None:
    """Debian's has a file capability; where it has none it uses the kernel's unprivileged ICMP sockets."""
    bare = "cp $(command -v ping) $TMPDIR/ping && $TMPDIR/ping -n -q -c 1 -W 2 $NETSIM_IP_server"
    ping = "ping -n -q -c 1 -W 2"
    run_steps(
        project,
        step("client", "v4", f"{ping} $NETSIM_IP_server"),
        step("client", "v6", f"{ping} $NETSIM_IP6_server"),
        step("client", "bare", bare),
    )
    assert "1 received" in output(project, "client", "bare")


def test_iperf3_sends_udp_through_the_nat(project: Project) -> None:
    captures = run_steps(
        project,
        spawn("server", "iperf", "exec iperf3 -s -1 --forceflush", "Server listening"),
        step(
            "client",
            "udp",
            "exec iperf3 -c $NETSIM_IP_server -u -b 8M -l 1000 -t 1 -J",
            'requires = ["iperf.ready"]',
            'parser = "json"',
            "[step.captures.packets]",
            'pick = ".end.sum.packets"',
            "[step.captures.lost]",
            'pick = ".end.sum.lost_packets"',
        ),
        '[[step]]\naction = "wait-for"\nid = "iperf"\ntimeout = "10s"',
    )
    assert 800 <= int(captures["udp.packets"]) <= 1200
    assert captures["udp.lost"] == "0"


_ASYNCIO = {
    "server": """
import asyncio, sys
async def echo(reader, writer):
    writer.write((await reader.readline()).upper())
    await writer.drain()
    writer.close()
async def main():
    async with await asyncio.start_server(echo, None, 7000) as server:
        print("serving", flush=True)
        await server.serve_forever()
asyncio.run(main())
""",
    "client": """
import asyncio, sys
async def ask(host, n):
    reader, writer = await asyncio.open_connection(host, 7000)
    writer.write(b"hello %d\\\\n" % n)
    answer = await reader.read()
    writer.close()
    return answer.decode()
async def main():
    sys.stdout.writelines(await asyncio.gather(*(ask(host, n) for n in range(10) for host in sys.argv[1:])))
asyncio.run(main())
""",
}


def test_asyncio_programs_talk_in_both_families(project: Project) -> None:
    files = [
        f'[[step]]\naction = "gen-file"\nid = "{name}-py"\ncontent = """{text}"""' for name, text in _ASYNCIO.items()
    ]
    run_steps(
        project,
        *files,
        spawn("server", "echo", "exec python3 ${server-py.path}", "serving"),
        step(
            "client",
            "ask",
            "exec python3 ${client-py.path} $NETSIM_IP_server $NETSIM_IP6_server",
            'requires = ["echo.ready"]',
        ),
    )
    assert output(project, "client", "ask") == "".join(f"HELLO {n}\n" * 2 for n in range(10))


_UNIX_SERVER = """python3 -uc "
import os, socket
server = socket.socket(socket.AF_UNIX)
server.bind(os.environ[\\"TMPDIR\\"] + \\"/a.sock\\")
server.listen()
print(\\"serving\\", flush=True)
connection, _ = server.accept()
connection.recv(1000)
connection.sendall(b\\"over a Unix socket\\")
" """


def test_tmpdir_is_a_devices_own_and_takes_unix_sockets(project: Project) -> None:
    run_steps(
        project,
        spawn("server", "unix", f"exec {_UNIX_SERVER}", "serving"),
        step(
            "server",
            "ask",
            "curl -sS --http0.9 --max-time 5 --unix-socket $TMPDIR/a.sock http://x/",
            'requires = ["unix.ready"]',
        ),
        step("client", "elsewhere", 'ls -A "$TMPDIR"; test -w "$TMPDIR"'),
    )
    assert output(project, "server", "ask") == "over a Unix socket"
    assert output(project, "client", "elsewhere") == ""


def test_what_is_written_to_the_node_directory_is_in_the_results(project: Project) -> None:
    run_steps(
        project,
        step("client", "write", 'mkdir "$PATCHBAY_NODE_DIR/mine"; hostname > "$PATCHBAY_NODE_DIR/mine/hostname"'),
        step("server", "look", 'hostname > "$PATCHBAY_NODE_DIR/hostname"; getent hosts "$(hostname)"; pwd'),
    )
    nodes = project.latest / "sim" / "nodes"
    assert (nodes / "client/mine/hostname").read_text() == "client\n"
    assert (nodes / "server/hostname").read_text() == "server\n"
    own, working_directory = output(project, "server", "look").splitlines()
    assert own.split() == ["2001:db8:1:1::2", "server"]
    assert working_directory == str(project.root)


def test_results_are_the_callers_and_the_host_is_untouched(project: Project) -> None:
    before = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    run_steps(
        project,
        step(
            "client",
            "link",
            "ip link add veth-x type veth peer name veth-y && nft add table inet mine && ls /sys/class/net",
        ),
    )
    assert output(project, "client", "link").split() == ["eth0", "lo", "veth-x", "veth-y"]
    assert subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout == before
    for path in (project.root / ".patchbay-work").rglob("*"):
        assert path.lstat().st_uid == os.geteuid(), path
