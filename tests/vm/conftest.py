"""What the tests of virtual machines share: one image, built by the command for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from patchbay_runner.vm.image.store import images_root

VM = str(Path(sys.executable).with_name("patchbay-vm"))


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of an image that was just built, where every command of these tests looks for images.

    Debian's packages are kept from one time to the next.
    """
    kept = images_root(os.environ) / "packages"
    kept.mkdir(parents=True, exist_ok=True)
    data = tmp_path_factory.mktemp("data")
    root = images_root({"XDG_DATA_HOME": str(data)})
    root.mkdir(parents=True)
    (root / "packages").symlink_to(kept)
    os.environ["XDG_DATA_HOME"] = str(data)
    built = subprocess.run([VM, "image", "build"], capture_output=True, text=True, timeout=600, check=False)
    assert built.returncode == 0, built.stderr
    return root / "built" / built.stdout.strip()
