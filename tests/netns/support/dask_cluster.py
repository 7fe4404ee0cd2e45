"""A Dask scheduler and workers, each a process of this machine, as people start them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.netns.support.running import Project
from tests.netns.support.sandbox_inside import wait_until

_STARTED_S = 60.0
# A network namespace more is one too many.
_NO_NETWORKS = ("unshare", "-U", "-r", "sh", "-c", 'echo 0 >/proc/sys/user/max_net_namespaces; exec "$@"', "sh")


class DaskCluster:
    """Everything that it starts ends with `close`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        found = directory / "scheduler.json"
        options = ("--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0")
        self._scheduler = self._start("scheduler", "scheduler", *options, "--scheduler-file", str(found))
        wait_until(lambda: found.exists() and found.read_bytes().endswith(b"}"), _STARTED_S)
        self.address: str = json.loads(found.read_bytes())["address"]

    def work(
        self, name: str, *, labs: int = 1, has_resource: bool = True, has_networks: bool = True, **environment: str
    ) -> None:
        """Starts a worker; returns when it has found the scheduler."""
        options = ["--no-nanny", "--no-dashboard", "--host", "127.0.0.1", "--nthreads", str(labs), "--name", name]
        options += ["--local-directory", str(self._directory / name)]
        options += ["--resources", f"labs={labs}"] if has_resource else []
        prefix = () if has_networks else _NO_NETWORKS
        self._workers[name] = self._start(name, "worker", self.address, *options, prefix=prefix, **environment)
        wait_until(lambda: "Registered to" in self.log(name), _STARTED_S)

    def kill(self, name: str) -> None:
        """Ends a worker as a power cut would."""
        process = self._workers.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def log(self, name: str) -> str:
        """What the scheduler or a worker says."""
        return (self._directory / f"{name}.log").read_text()

    def close_workers(self) -> None:
        """Ends the workers alone."""
        for name in tuple(self._workers):
            self.kill(name)

    def close(self) -> None:
        """Ends everything."""
        self.close_workers()
        self._scheduler.kill()
        self._scheduler.wait()

    def _start(
        self, name: str, what: str, *options: str, prefix: tuple[str, ...] = (), **environment: str
    ) -> subprocess.Popen[bytes]:
        with (self._directory / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [*prefix, sys.executable, "-m", f"distributed.cli.dask_{what}", *options],
                cwd=self._directory,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )


def worker_of(project: Project, sim: str) -> str:
    """The name of the worker that a sim was last given to."""
    assigned = [event["name"] for event in project.events(sim) if event["kind"] == "worker_assigned"]
    return str(assigned[-1])
