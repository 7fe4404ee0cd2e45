"""Steps for spawned programs, with programs that people run: Redis, nginx, and whatever prints."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.netns.support.running import Project, finish

REDIS = """
[[step]]
action = "spawn"
id = "redis"
device = "server"
cmd = ["sh", "-c", 'exec redis-server --bind "*" --protected-mode no --dir "$PATCHBAY_NODE_DIR" --dbfilename d.rdb']
[step.captures.ready]
regex = "Ready to accept connections"
"""
NGINX = """
[[step]]
action = "gen-file"
id = "conf"
content = '''
pid nginx.pid; error_log error.log; worker_processes 2; daemon off;
events {}
http {
  access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  include answer.conf;
}
'''
"""


@pytest.fixture
def project() -> Iterator[Project]:
    """In a directory that any user may enter: pytest's own are closed to servers that become another."""
    with tempfile.TemporaryDirectory(prefix="pb") as name:
        Path(name).chmod(0o755)
        yield Project(Path(name))


def passes(project: Project, *steps: str) -> dict[str, list[str]]:
    """Runs steps between a public `server` and a `client` behind a home NAT; the histories of the captures."""
    ended = project.run(project.sim("sim", "\n".join(steps)))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert project.processes() == {}
    return {key: capture["history"] for key, capture in project.read("sim/results.json")["captures"].items()}


def client(step_id: str, command: str, *more: str) -> str:
    lines = ("[[step]]", f'id = "{step_id}"', 'device = "client"', f"cmd = ['sh', '-c', '''{command}''']", *more)
    return "\n".join(lines)


def control(action: str, step_id: str, *more: str) -> str:
    return "\n".join(("[[step]]", f'action = "{action}"', f'id = "{step_id}"', *more))


def wait_for_capture(key: str, count: int = 1) -> str:
    return f'[[step]]\naction = "wait-for-capture"\ncapture = "{key}"\ncount = {count}\ntimeout = "30s"'


def test_redis_keeps_its_data_over_a_restart_and_is_gone_when_stopped(project: Project) -> None:
    """It saves on SIGTERM and exits with 0; the port refuses when it is stopped."""
    histories = passes(
        project,
        REDIS,
        wait_for_capture("redis.ready"),
        client("set", "redis-cli -h $NETSIM_IP_server set answer 42"),
        control("restart", "redis"),
        wait_for_capture("redis.ready", 2),
        client("get", "redis-cli -h $NETSIM_IP_server get answer", "[step.captures]", 'value.regex = "[0-9]+"'),
        control("stop", "redis", "expect_exit = 0"),
        client(
            "refused",
            "redis-cli -h $NETSIM_IP_server ping 2>&1",
            'expect_exit = "any"',
            "[step.captures]",
            'how.regex = "refused"',
        ),
        control("wait-for", "redis"),
    )
    assert histories["get.value"] == ["42"]
    assert histories["redis.exit_code"] == ["0", "0"]
    assert histories["refused.how"] == ["refused"]
    log = (project.latest / "sim/nodes/server/redis.stdout.log").read_text()
    assert log.count("Ready to accept connections") == 2
    events = project.events("sim")
    assert [event["signal"] for event in events if event["kind"] == "process_signalled"] == ["SIGTERM", "SIGTERM"]


def test_nginx_reloads_what_it_answers_on_sighup(project: Project) -> None:
    """To the master alone, as its manual says; the workers are replaced."""
    answer = 'server {{ listen 80; listen [::]:80; location / {{ return 200 "{}\\n"; }} }}'
    write = "echo '{}' > $PATCHBAY_NODE_DIR/answer.conf"

    def configure(number: int) -> str:
        return f"""[[step]]
id = "write-{number}"
device = "server"
cmd = ['sh', '-c', '''{write.format(answer.format(number))}''']"""

    urls = "http://$NETSIM_IP_server/ http://[$NETSIM_IP6_server]/"
    ask = f"until curl -sg {urls} | grep -c {{}} | grep -x 2; do sleep 0.05; done"
    histories = passes(
        project,
        NGINX,
        configure(1),
        """[[step]]
action = "spawn"
id = "nginx"
device = "server"
cmd = ["sh", "-c", 'cd $PATCHBAY_NODE_DIR && cp ${conf.path} . && exec nginx -e stderr -p . -c content']""",
        client("one", ask.format(1), 'timeout = "30s"'),
        configure(2),
        control("signal", "nginx", 'signal = "HUP"'),
        client("two", ask.format(2), 'timeout = "30s"'),
        control("stop", "nginx", 'signal = "QUIT"', "expect_exit = 0"),
    )
    assert histories["nginx.exit_code"] == ["0"]


def test_an_assertion_waits_for_what_a_client_sees(project: Project) -> None:
    """Pings get through again some time after the link comes up."""
    ping = "ping -n -D -O -i 0.2 $NETSIM_IP_server"
    histories = passes(
        project,
        f"""[[step]]
action = "spawn"
id = "ping"
device = "client"
cmd = ["sh", "-c", "exec {ping}"]
[step.captures]
state = {{ regex = "time=|no answer|Unreachable" }}
[[step]]
action = "assert"
check = "ping.state == time="
eventually = "20s"
for = "600ms"
[[step]]
action = "link-down"
device = "client"
interface = "eth0"
[[step]]
action = "assert"
check = "ping.state != time="
eventually = "20s"
[[step]]
action = "link-up"
device = "client"
interface = "eth0"
[[step]]
action = "assert"
check = "ping.state == time="
eventually = "20s"
for = "1s" """,
        control("stop", "ping", 'signal = "INT"'),
    )
    assert histories["ping.state"][-1] == "time="
    assert len(set(histories["ping.state"])) >= 2


def test_an_assertion_that_does_not_last_fails_at_its_line(project: Project) -> None:
    sim = project.sim(
        "sim",
        """[[step]]
action = "spawn"
id = "flaky"
device = "client"
cmd = ["sh", "-c", "echo state up; sleep 0.5; echo state down; exec sleep 100"]
[step.captures]
state = { regex = "state (.*)" }
[[step]]
action = "assert"
check = "flaky.state == up"
for = "60s" """,
    )
    ended = project.run(sim)
    assert ended.returncode == 1
    assert "assertion failed: flaky.state == up" in ended.stdout
    assert "it had to hold for 60 s" in ended.stdout
    assert project.read("sim/sim.json")["error"]["step"]["index"] == 1


def test_a_frozen_program_answers_when_it_goes_on(project: Project) -> None:
    histories = passes(
        project,
        REDIS,
        wait_for_capture("redis.ready"),
        control("signal", "redis", 'signal = "STOP"'),
        client("silent", "timeout 1 redis-cli -h $NETSIM_IP_server ping", "expect_exit = 124"),
        control("signal", "redis", 'signal = "CONT"'),
        client(
            "answer", "redis-cli -h $NETSIM_IP_server ping", 'timeout = "30s"', "[step.captures]", 'text.regex = "PONG"'
        ),
        control("stop", "redis"),
    )
    assert histories["answer.text"] == ["PONG"]


def test_redis_is_ready_when_its_port_is(project: Project) -> None:
    """The client does not try twice, though the server takes its time; the port of another node is not its own."""
    histories = passes(
        project,
        """[[step]]
action = "spawn"
id = "other"
device = "client"
cmd = ["python3", "-m", "http.server", "6379"]
ready_when = { port = 6379 }
timeout = "30s"
[[step]]
action = "spawn"
id = "redis"
device = "server"
cmd = ["sh", "-c", 'sleep 0.5; exec redis-server --bind "*" "-::*" --protected-mode no --save "" --dir "$TMPDIR"']
ready_when = { port = 6379 }
timeout = "30s" """,
        client("v4", "redis-cli -h $NETSIM_IP_server ping", "[step.captures]", 'text.regex = "PONG"'),
        client("v6", "redis-cli -h $NETSIM_IP6_server ping", "[step.captures]", 'text.regex = "PONG"'),
        control("restart", "redis"),
        client("again", "redis-cli -h $NETSIM_IP_server ping", "[step.captures]", 'text.regex = "PONG"'),
    )
    assert [histories[f"{name}.text"] for name in ("v4", "v6", "again")] == [["PONG"]] * 3
    ready = [event for event in project.events("sim") if event["kind"] == "process_ready"]
    assert [event["id"] for event in ready] == ["other", "redis", "redis"]
    assert min(event["after_s"] for event in ready[1:]) >= 0.5


def test_a_udp_server_and_a_unix_socket_are_ready_when_they_are_there(project: Project) -> None:
    """The socket is in the device's own TMPDIR, which only its programs see."""
    serve = "import socket, time; s = socket.socket({}); time.sleep(0.4); s.bind({}); {}; time.sleep(100)"
    udp = serve.format("type=2", '("", 5353)', "d, a = s.recvfrom(9); s.sendto(d, a)")
    unix = serve.format("1", '__import__("os").environ["TMPDIR"] + "/s"', "s.listen()")
    ask = """import socket; s = socket.socket(type=2); s.settimeout(10)
s.sendto(b"x", ("$NETSIM_IP_server", 5353)); s.recv(9)"""
    passes(
        project,
        f"""[[step]]
action = "spawn"
id = "udp"
device = "server"
cmd = ["python3", "-c", '''{udp}''']
ready_when = {{ port = 5353, protocol = "udp" }}
timeout = "30s"
[[step]]
id = "ask"
device = "client"
cmd = ["python3", "-c", '''{ask}''']
[[step]]
action = "spawn"
id = "unix"
device = "client"
cmd = ["python3", "-c", '''{unix}''']
ready_when = {{ file = "$TMPDIR/s" }}
timeout = "30s" """,
        client("look", "test -S $TMPDIR/s"),
    )


def test_a_server_that_dies_before_it_is_ready_shows_why(project: Project) -> None:
    """At once, not when the time is over."""
    sim = project.sim(
        "sim",
        """[[step]]
action = "spawn"
id = "nginx"
device = "server"
cmd = ["nginx", "-e", "stderr", "-c", "/nonexistent/nginx.conf"]
ready_when = { port = 80 }
timeout = "50s" """,
    )
    ended = project.run(sim)
    assert ended.returncode == 1
    error = project.read("sim/sim.json")["error"]
    assert (
        error["message"] == "nginx exited with code 1 before it was ready: nothing new listens on TCP port 80 of server"
    )
    assert "No such file" in error["output"][-1]
    assert "No such file" in ended.stdout
    assert project.read("sim/sim.json")["runtime_ms"] < 30_000


_DUMP = """
[[on_failure]]
id = "sockets"
device = "server"
cmd = ["ss", "-Hltn"]
[[on_failure]]
action = "signal"
id = "http"
signal = "INT"
[[on_failure]]
action = "wait-for"
id = "http"
expect_exit = "any"
[[on_failure]]
id = "broken"
device = "client"
cmd = ["false"]
[[on_failure]]
id = "route"
device = "client"
cmd = ["ip", "-4", "route"]
"""
_HTTP = """
[[step]]
action = "spawn"
id = "http"
device = "server"
cmd = ["python3", "-m", "http.server", "8080"]
ready_when = { port = 8080 }
timeout = "30s"
"""


def dumped(project: Project, node: str, step_id: str) -> str:
    return (project.latest / "sim/nodes" / node / f"{step_id}.stdout.log").read_text()


@pytest.mark.parametrize("how", ["step", "timeout", "interrupted"])
def test_a_failed_sim_dumps_its_state(project: Project, how: str) -> None:
    """However it fails, while its programs run; what fails in the dump does not hide why the sim has."""
    waiting = {"step": client("fails", "exit 3")}.get(how, '[[step]]\naction = "wait"\nduration = "10m"')
    sim = project.sim("sim", f"{_HTTP}\n{waiting}\n{_DUMP}")
    process = project.start(sim, *(("--timeout", "6s") if how == "timeout" else ()))
    if how == "interrupted":
        wait_until(lambda: any(event.get("action") == "wait" for event in events(project)))
        process.send_signal(signal.SIGINT)
    ended = finish(process)
    assert ended.returncode == (130 if how == "interrupted" else 1)
    assert project.processes() == {}
    assert ":8080" in dumped(project, "server", "sockets")
    assert "default" in dumped(project, "client", "route")
    document = project.read("sim/sim.json")
    assert (document["error"]["phase"], document["steps_done"]) == (how, 1)
    told = [event for event in project.events("sim") if event["kind"] == "step_failed" and event.get("on_failure")]
    assert [event["message"] for event in told] == ["broken exited with code 1"]


def test_a_passing_sim_dumps_nothing(project: Project) -> None:
    passes(project, client("true", "true"), _HTTP, _DUMP)
    assert not (project.latest / "sim/nodes/server/sockets.stdout.log").exists()


def events(project: Project) -> list[dict[str, Any]]:
    path = project.latest / "sim/events.jsonl"
    return project.events("sim") if path.exists() else []


def wait_until(condition: Callable[[], bool], patience_s: float = 30) -> None:
    deadline_s = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_parallel_runs_talk_to_each_other(project: Project) -> None:
    """Neither ends without the other, and the third, on the server too, takes the rest of the time."""
    answer = "import socket; s = socket.socket(type=2); s.bind((str(), 5000)); d, a = s.recvfrom(9); s.sendto(d, a)"
    ask = """import socket; s = socket.socket(type=2); s.settimeout(0.1)
for i in range(300):
    s.sendto(b"x", ("$NETSIM_IP_server", 5000))
    try: print("got", s.recv(9).decode()); break
    except OSError: pass"""
    block = ('parallel = "talk"', 'timeout = "40s"')
    server = ("[[step]]", 'id = "answer"', 'device = "server"', f"cmd = ['python3', '-c', '''{answer}''']", *block)
    caller = ("[[step]]", 'id = "ask"', 'device = "client"', f"cmd = ['python3', '-c', '''{ask}''']", *block)
    histories = passes(
        project,
        "\n".join(server),
        "\n".join((*caller, "[step.captures]", 'text.regex = "got (.*)"')),
        '[[step]]\naction = "assert"\nchecks = ["ask.text == x", "answer.exit_code == 0"]',
    )
    assert histories["ask.text"] == ["x"]
    assert project.read("sim/sim.json")["steps_done"] == 3


def test_all_failures_of_parallel_runs_are_shown(project: Project) -> None:
    steps = [client(f"run-{code}", f"sleep 0.{code}; exit {code}", 'parallel = "all"') for code in (3, 0, 2)]
    ended = project.run(project.sim("sim", "\n".join(steps)))
    assert ended.returncode == 1
    assert "run-3 exited with code 3" in ended.stdout
    assert "step 3 (run run-2): run-2 exited with code 2" in ended.stdout
    document = project.read("sim/sim.json")
    assert (document["error"]["step"]["id"], document["steps_done"]) == ("run-3", 1)
