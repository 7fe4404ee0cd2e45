"""What `from patchbay_runner import …` gives."""

import subprocess
import sys

import patchbay_runner
from patchbay_runner import library


def test_the_package_exports_what_the_library_has() -> None:
    assert set(library.__all__) <= set(dir(patchbay_runner))
    assert all(getattr(patchbay_runner, name) is getattr(library, name) for name in library.__all__)
    assert set(library.__all__) == patchbay_runner._EXPORTED


def test_asking_for_a_module_of_the_package_loads_no_library() -> None:
    program = "import sys; from patchbay_runner import errors; assert 'patchbay_runner.library' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
