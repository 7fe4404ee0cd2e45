"""The network of a running sim answers the same commands as one that nobody runs a sim in."""

from __future__ import annotations

import os
import select
from pathlib import Path

import msgspec

from patchbay_runner.cli.sandboxed import ENTRY_NAME, SimJob, run_sim
from patchbay_runner.kernel.sandbox import Zygote
from patchbay_runner.lab.client import LabClient
from patchbay_runner.model.plan import Plan
from patchbay_runner.model.steps import Run
from patchbay_runner.model.topology import Device, Interface, Router, Topology


def test_a_running_sim_serves_its_network(tmp_path: Path) -> None:
    topology = Topology(
        routers=(Router(name="dc"),),
        devices=(Device(name="server", interfaces=(Interface(name="eth0", gateway="dc"),)),),
    )
    # The program waits for a datagram that only a socket of the same network can send.
    listen = "import socket; s=socket.socket(2,2); s.bind(('', 9)); print(s.recv(9).decode())"
    plan = Plan(
        name="served",
        source="served.toml",
        topology=topology,
        steps=(Run(id="listen", device="server", cmd=("python3", "-c", listen)),),
    )
    job = SimJob(plan=plan, directory=str(tmp_path), project_root=str(tmp_path), binaries={}, timeout_s=20, owner=None)
    reader, writer = os.pipe()
    with (
        Zygote.start({ENTRY_NAME: run_sim}) as zygote,
        os.fdopen(reader, "rb", buffering=0) as messages,
        zygote.sandbox(ENTRY_NAME, msgspec.json.encode(job), (writer,)) as sandbox,
    ):
        os.close(writer)
        sandbox.wait_ready(10)
        client = LabClient(sandbox.control)
        address = client.state()["devices"]["server"]["interfaces"][0]["ip"]
        with client.socket("dc", "inet", "dgram") as sender:
            reported = b""
            # Before the program listens, datagrams are lost: send until the step is over.
            while b'"step_finished"' not in reported:
                sender.sendto(b"hello", (address, 9))
                if select.select([messages], [], [], 0.05)[0]:
                    reported += messages.read(65536)
        assert sandbox.wait(10).status == 0
        client.close()
    assert (tmp_path / "nodes/server/stdout.log").read_bytes() == b"hello\n"
