"""The pytest plugin in projects of its users: an outer pytest looks at what an inner one says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from patchbay_runner.cli.testdir import find_testdir

SIM = """\
[sim]
name = "reach"

[matrix]
nat = ["home", "none"]

[[router]]
name = "dc"

[[router]]
name = "edge"
nat = "${matrix.nat}"

[device.server.eth0]
gateway = "dc"

[device.laptop.eth0]
gateway = "edge"

[[step]]
id = "look"
device = "laptop"
cmd = ["sh", "-c", "ping -c1 $NETSIM_IP_SERVER && test ${matrix.nat} = home"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An empty one, which pytest takes for a project of its own."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def run(project: Path, *arguments: str) -> tuple[int, str]:
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--basetemp={project}/tmp", *arguments]
    done = subprocess.run(argv, cwd=project, capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_fresh_lab_for_each_test_whose_record_is_kept_when_it_fails(project: Path) -> None:
    (project / "test_it.py").write_text(
        "def test_good(lab):\n"
        "    assert lab.add_device('d', lab.add_router('r')).run(['hostname']).stdout == 'd\\n'\n"
        "def test_bad(lab):\n"
        "    lab.add_router('r').set_nat('home')\n"
        "    assert lab.devices\n"
    )
    code, output = run(project)
    assert code == 1, output
    assert "1 failed, 1 passed" in output
    kept = (project / "tmp/patchbay/latest").resolve()
    assert {path.name for path in kept.parent.iterdir()} >= {kept.name, "latest"}
    assert f"\n{kept}\n" in output
    assert json.loads((kept / "state.json").read_text())["status"] == "failed"
    events = [json.loads(line)["kind"] for line in (kept / "events.jsonl").read_text().splitlines()]
    assert events == ["lab_created", "ix_created", "router_added", "nat_changed"]


def test_records_of_all_labs_where_somebody_asks_for_them(project: Path) -> None:
    (project / "test_it.py").write_text("def test_good(lab):\n    lab.add_router('r')\n")
    assert run(project, "--patchbay-outdir=records", "--patchbay-capture")[0] == 0
    latest, kept = sorted((project / "records").iterdir(), reverse=True)
    assert latest.resolve() == kept.resolve()
    assert kept.name.endswith("-test_good")
    assert {path.name for path in (kept / "captures").iterdir()} >= {"r.ix.pcapng", "r.lan.pcapng"}
    assert json.loads((kept / "state.json").read_text())["status"] == "success"


def test_the_logs_of_a_test_are_in_its_record_and_its_own_logging_notices_nothing(project: Path) -> None:
    (project / "test_it.py").write_text(
        "import logging\n"
        "log = logging.getLogger('app')\n"
        "def test_logs(lab, caplog, capfd):\n"
        "    device = lab.add_device('d', lab.add_router('r'))\n"
        "    log.info('unheard'); log.warning('heard')\n"
        "    device.run_sync(log.info, 'in the node')\n"
        "    assert caplog.messages == ['heard']\n"
        "    with caplog.at_level('INFO'): log.info('now heard')\n"
        "    assert caplog.messages == ['heard', 'now heard']\n"
        "    assert capfd.readouterr() == ('', '')\n"
    )
    code, output = run(project, "--patchbay-outdir=records")
    assert code == 0, output
    record = project / "records/latest"
    lines = (record / "lab.tracing.jsonl").read_text().splitlines()
    assert [json.loads(line)["fields"]["message"] for line in lines] == ["unheard", "heard", "now heard"]
    assert "in the node" in (record / "device.d.tracing.jsonl").read_text()


def test_serve_finds_what_the_last_session_kept(project: Path) -> None:
    (project / "test_it.py").write_text("def test_bad(lab):\n    assert not lab.add_router('r')\n")
    argv = [sys.executable, "-m", "pytest", f"--basetemp={project}/tmp"]
    assert subprocess.run(argv, cwd=project, capture_output=True, timeout=100, check=False).returncode == 1
    assert find_testdir(project, {}) == project / "tmp/patchbay"


def test_modes_and_presets_are_parameters(project: Path) -> None:
    (project / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.mark.nat_modes('home', 'cgnat')\n"
        "@pytest.mark.link_presets('wifi')\n"
        "def test_some(nat_mode, link_preset): pass\n"
        "def test_all(nat_mode): pass\n"
        "@pytest.mark.needs_labs\n"
        "def test_needy(): pass\n"
    )
    code, output = run(project, "-v")
    assert code == 0, output
    assert "test_some[wifi-home]" in output or "test_some[home-wifi]" in output
    assert "test_all[full-cone]" in output
    assert "9 passed" in output


def test_sims_are_tests_one_for_each_variant(project: Path) -> None:
    (project / "sims").mkdir()
    (project / "sims/reach.toml").write_text(SIM)
    (project / "other.toml").write_text("[tool]\nstep = 1\n")
    code, output = run(project, "-v")
    assert code == 1, output
    assert "sims/reach.toml::reach-home PASSED" in output
    assert "sims/reach.toml::reach-none FAILED" in output
    assert "1 failed, 1 passed" in output
    assert "look" in output.partition("FAILURES")[2]


def test_a_sim_that_is_wrong_is_an_error_with_its_line(project: Path) -> None:
    (project / "reach.toml").write_text(SIM.replace('name = "edge"', 'name = "edge"\nnut = "home"'))
    code, output = run(project, "reach.toml")
    assert code == 2, output
    assert 'reach.toml:12: router[1].nut: unknown key "nut" (did you mean "nat"?)' in output


def test_it_works_beside_xdist(project: Path) -> None:
    (project / "test_it.py").write_text(
        "import logging, pytest\n"
        "@pytest.mark.parametrize('number', range(4))\n"
        "def test_each(lab, number, worker_id):\n"
        "    device = lab.add_device('d', lab.add_router('r'))\n"
        "    device.run_sync(logging.getLogger(worker_id).info, 'number %d', number)\n"
        "    assert number % 2\n"
    )
    code, output = run(project, "-n2", "-q")
    assert code == 1, output
    assert "2 failed, 2 passed" in output
    records = project / "tmp/patchbay"  # one place for all workers
    kept = [path for path in records.iterdir() if path.name != "latest"]
    assert [f"\n{path}\n" in output for path in kept] == [True, True]
    logged = [json.loads((path / "device.d.tracing.jsonl").read_text()) for path in kept]
    assert {line["fields"]["message"] for line in logged} == {"number 0", "number 2"}
    assert {line["target"] for line in logged} <= {"gw0", "gw1"}


def test_it_works_beside_asyncio(project: Path) -> None:
    (project / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    (project / "test_it.py").write_text(
        "import asyncio, logging, socket\n"
        "import pytest, pytest_asyncio\n"
        "from patchbay_runner import PIPE\n"
        "pytestmark = pytest.mark.asyncio\n"
        "log = logging.getLogger('app')\n"
        "@pytest_asyncio.fixture\n"
        "async def pair(lab):\n"
        "    dc, home = lab.add_router('dc'), lab.add_router('home', nat='home')\n"
        "    server, client = lab.add_device('server', dc), lab.add_device('client', home)\n"
        "    with server.listen(9000) as listener:\n"
        "        yield server, client, await asyncio.start_server(answer, sock=listener)\n"
        "async def answer(reader, writer):\n"
        "    writer.write(writer.get_extra_info('peername')[0].encode())\n"
        "    writer.close()\n"
        "async def ask(host):\n"
        "    log.info('asking')\n"
        "    reader, writer = await asyncio.open_connection(host, 9000)\n"
        "    answer = await reader.read()\n"
        "    writer.close()\n"
        "    return answer.decode(), socket.gethostname()\n"
        "async def test_a_coroutine_in_a_node_meets_one_of_the_test(lab, pair):\n"
        "    server, client, _ = pair\n"
        "    seen = await asyncio.gather(client.spawn(ask, 'server'), server.spawn(ask, 'server'))\n"
        "    assert seen == [(str(lab.router('home').ip), 'client'), (str(server.ip), 'server')]\n"
        "    with pytest.raises(ZeroDivisionError):\n"
        "        await client.spawn(fail)\n"
        "    assert lab.outdir.joinpath('device.client.tracing.jsonl').exists()\n"
        "async def fail():\n"
        "    return 1 / 0\n"
        "@pytest.mark.nat_modes('home', 'corporate')\n"
        "async def test_a_program_in_a_node(lab, nat_mode):\n"
        "    client = lab.add_device('client', lab.add_router('edge', nat=nat_mode))\n"
        "    process = await client.create_subprocess_exec('cat', stdin=PIPE, stdout=PIPE)\n"
        "    assert (await asyncio.wait_for(process.communicate(b'through'), 10))[0] == b'through'\n"
        "async def test_tasks_log_each_for_its_node(lab):\n"
        "    dc = lab.add_router('dc')\n"
        "    async def work(device):\n"
        "        with device.logging():\n"
        "            await asyncio.sleep(0.01)\n"
        "            log.info(device.name)\n"
        "    await asyncio.gather(*(work(lab.add_device(name, dc)) for name in 'ab'))\n"
        "    for name in 'ab':\n"
        "        assert f'\"{name}\"' in lab.outdir.joinpath(f'device.{name}.tracing.jsonl').read_text()\n"
    )
    code, output = run(project, "-W", "error")
    assert code == 0, output
    assert "4 passed" in output
