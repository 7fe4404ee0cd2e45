"""What code in nodes and around them logs, in the record of its lab."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from patchbay_runner import Device, Lab
from patchbay_runner.errors import InputError, LabError


def logged(path: Path) -> list[str]:
    return [json.loads(line)["fields"]["message"] for line in path.read_text().splitlines()]


def files(record: Path) -> list[str]:
    return sorted(path.name for path in record.glob("*.*.jsonl"))


def test_what_runs_in_a_node_logs_to_the_nodes_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHBAY_LOG", "info,app.net=debug")
    log, connected = logging.getLogger("app.net"), logging.getLogger("app._events.Connected")

    def in_turn() -> None:
        log.debug("in turn")
        logging.getLogger("other").debug("not wanted")

    async def dial(host: str) -> Any:
        _, writer = await asyncio.open_connection(host, 9)
        connected.info("", extra={"peer": writer.get_extra_info("peername")[0]})
        log.info("dialled %s", host)
        writer.close()

    with Lab(outdir=tmp_path) as lab:
        dc = lab.add_router("dc")
        server, client, quiet = (lab.add_device(name, dc) for name in ("server", "my.client", "quiet"))
        address = str(server.ip)
        with server.tcp_reflector(9):
            client.run_sync(in_turn)
            client.spawn(dial, "server").result(10)
            client.spawn_thread(log.warning, "in a thread").result(10)
            dc.run_sync(log.info, "a router's")
            lab.ix.run_sync(log.info, "the exchange's")
            quiet.run_sync(int)
        with server.logging():
            log.info("for the server")
        log.info("the test's own")
    log.info("afterwards")
    assert files(tmp_path) == [
        "device.my.client.events.jsonl",
        "device.my.client.tracing.jsonl",
        "device.server.tracing.jsonl",
        "ix.ix.tracing.jsonl",
        "lab.tracing.jsonl",
        "router.dc.tracing.jsonl",
    ]
    assert logged(tmp_path / "device.my.client.tracing.jsonl") == ["in turn", "", "dialled server", "in a thread"]
    event = json.loads((tmp_path / "device.my.client.events.jsonl").read_text())
    assert (event["kind"], event["fields"]) == ("Connected", {"peer": address})
    assert logged(tmp_path / "device.server.tracing.jsonl") == ["for the server"]
    assert logged(tmp_path / "router.dc.tracing.jsonl") == ["a router's"]
    assert logged(tmp_path / "lab.tracing.jsonl") == ["the test's own"]


def test_nothing_is_lost_when_a_worker_ends(tmp_path: Path) -> None:
    def log_and_end(end: str) -> None:
        for number in range(200):
            logging.getLogger("app").info("%s %d", end, number)
        if end == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        elif end == "exit":
            os._exit(0)

    with Lab(outdir=tmp_path) as lab:
        device = lab.add_device("d", lab.add_router("dc"))
        for end in ("crash", "exit"):
            with pytest.raises(LabError, match="its worker ended"):
                device.run_sync(log_and_end, end)
        device.spawn_thread(log_and_end, "close").result(10)
    expected = [f"{end} {number}" for end in ("crash", "exit", "close") for number in range(200)]
    assert logged(tmp_path / "device.d.tracing.jsonl") == expected


def test_a_program_that_is_killed_has_logged_what_it_logged(tmp_path: Path) -> None:
    program = (
        "import logging, os, sys; from patchbay_runner import Lab\n"
        "lab = Lab(outdir=sys.argv[1]); d = lab.add_device('d', lab.add_router('dc'))\n"
        "logging.getLogger('app').info('here'); d.run_sync(logging.getLogger('app').info, 'there')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == -9, done.stderr
    assert logged(tmp_path / "lab.tracing.jsonl") == ["here"]
    assert logged(tmp_path / "device.d.tracing.jsonl") == ["there"]


def test_a_process_that_has_entered_logs_for_its_nodes_too(tmp_path: Path) -> None:
    program = (
        "import logging, sys; import patchbay_runner; from patchbay_runner import Lab; patchbay_runner.enter()\n"
        "log = logging.getLogger('app')\n"
        "async def work(): log.info('a coroutine')\n"
        "with Lab(outdir=sys.argv[1]) as lab:\n"
        "    d = lab.add_device('d', lab.add_router('dc'))\n"
        "    assert d.runs_in_process\n"
        "    d.run_sync(log.info, 'a function'); d.spawn_thread(log.info, 'a thread').result(10)\n"
        "    d.spawn(work).result(10); log.info('here')\n"
    )
    argv = [sys.executable, "-c", program, tmp_path]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert logged(tmp_path / "device.d.tracing.jsonl") == ["a function", "a thread", "a coroutine"]
    assert logged(tmp_path / "lab.tracing.jsonl") == ["here"]


def test_what_third_party_sockets_are_put_into_logs_for_the_node(tmp_path: Path) -> None:
    def fetch(device: Device) -> None:
        with device.network():
            logging.getLogger("client").info("from inside")
        logging.getLogger("client").info("from outside")

    with Lab(outdir=tmp_path) as lab:
        thread = threading.Thread(target=fetch, args=(lab.add_device("d", lab.add_router("dc")),))
        thread.start()
        thread.join()
    assert logged(tmp_path / "device.d.tracing.jsonl") == ["from inside"]
    assert logged(tmp_path / "lab.tracing.jsonl") == ["from outside"]


def test_a_malformed_filter_is_an_error_before_there_is_a_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHBAY_LOG", "info,app=loud")
    with pytest.raises(InputError, match="PATCHBAY_LOG: 'app=loud' has no level 'loud'; expected directives such as"):
        Lab(outdir=tmp_path / "record")
    assert not (tmp_path / "record").exists()
    Lab().close()  # nothing is to be logged
