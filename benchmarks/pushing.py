"""What `patchbay push` and `patchbay-serve` take for a gigabyte, and what hostile archives cost the server.

The run is one of logs and one capture of noise, which does not shrink: half of the bytes each.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import re
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

_KEY = "benchmark"
_SERVE = "from patchbay_runner.__main__ import serve; serve()"
_GIGABYTE = 1_000_000_000
_WORDS = ("connection", "from", "10.0.1.2", "established", "in", "ms", "stream", "closed", "retry", "INFO", "WARN")


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Prints and returns times in seconds and memory in megabytes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes", type=int, default=_GIGABYTE)
    options = parser.parse_args(arguments)
    report: dict[str, Any] = {"benchmark": "pushing", "bytes": options.bytes}
    with tempfile.TemporaryDirectory(prefix="pushing-") as name, _server(Path(name) / "data") as (url, process):
        idle_mb = _peak_mb(process)
        report |= _push(_run(Path(name) / "run", options.bytes), url)
        report["server_more_mb"] = round(_peak_mb(process) - idle_mb, 1)
        before_s = _processor_s(process)
        report["bomb"] = _refused(url, _bomb(options.bytes))
        report["many_files"] = _refused(url, _many_files(20_000))
        report["wrong_key"] = _refused(url, [bytes(100_000_000)], key="wrong")
        report["hostile_processor_s"] = round(_processor_s(process) - before_s, 2)
        report["server_more_mb_after_hostile"] = round(_peak_mb(process) - idle_mb, 1)
    print(json.dumps(report))
    return report


@contextmanager
def _server(data: Path) -> Iterator[tuple[str, int]]:
    command = [sys.executable, "-c", _SERVE, "--data-dir", str(data), "--accept-push", "--http-bind", "127.0.0.1:0"]
    environment = os.environ | {"PATCHBAY_API_KEY": _KEY, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [*command, "--max-files", "10000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[3].removesuffix("/runs"), process.pid
        finally:
            process.terminate()


def _run(directory: Path, size: int) -> Path:
    node = directory / "sim" / "nodes" / "client"
    node.mkdir(parents=True)
    (directory / "sim" / "events.jsonl").write_text("{}\n")
    chance = random.Random(1)
    lines = [" ".join(chance.choices(_WORDS, k=12)) + f" {chance.random()}\n" for _ in range(20_000)]
    with (node / "stdout.log").open("w") as log, (node / "capture.pcap").open("wb") as capture:
        while log.tell() < size // 2:
            log.writelines(chance.sample(lines, 5_000))
        for _ in range(0, size // 2, 1 << 20):
            capture.write(chance.randbytes(1 << 20))
    return directory


def _push(run: Path, url: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "patchbay_runner", "push", str(run), "--url", url, "--project", "benchmark"]
    started_s = time.monotonic()
    subprocess.run(
        command,
        check=True,
        env=os.environ | {"PATCHBAY_API_KEY": _KEY},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    client_kb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {"push_s": round(time.monotonic() - started_s, 1), "client_mb": round(client_kb / 1000, 1)}


def _refused(url: str, body: Iterable[bytes], key: str = _KEY) -> dict[str, Any]:
    pieces = list(body)  # made before the clock starts
    started_s = time.monotonic()
    headers = {"Authorization": f"Bearer {key}"}
    response = httpx.post(f"{url}/api/push/hostile", content=iter(pieces), headers=headers, timeout=120)
    return {"status": response.status_code, "s": round(time.monotonic() - started_s, 2)}


def _bomb(size: int) -> Iterator[bytes]:
    """A file of zeros: a thousandth of its size on the way."""
    info = tarfile.TarInfo("zeros")
    info.size = size
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    yield packer.compress(info.tobuf())
    for _ in range(0, size, 1 << 20):
        yield packer.compress(bytes(1 << 20))
    yield packer.flush()


def _many_files(number: int) -> Iterator[bytes]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        for index in range(number):
            archive.addfile(tarfile.TarInfo(f"directory-{index}/file"))
    yield buffer.getvalue()


def _peak_mb(process: int) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024 / 1e6


def _processor_s(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
