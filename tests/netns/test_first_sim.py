"""The sim that `patchbay init` writes passes as it stands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_the_first_sim_passes_as_written(tmp_path: Path) -> None:
    patchbay = [sys.executable, "-m", "patchbay_runner"]
    subprocess.run([*patchbay, "init", "project"], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    project = tmp_path / "project"
    done = subprocess.run(
        [*patchbay, "run", "sims/first.toml"], cwd=project, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((project / ".patchbay-work" / "latest" / "first" / "results.json").read_text())
    captured = {name: capture["value"] for name, capture in results["captures"].items()}
    assert captured["fetch.status"] == "200"
    assert captured["web.client"].startswith("198.18.")
