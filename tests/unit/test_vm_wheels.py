"""`--patchbay-version`: a wheel of the version that is asked for, from an index, a repository, a file or ourselves."""

from __future__ import annotations

import functools
import http.server
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import patchbay_runner
from patchbay_runner.errors import BinaryError
from patchbay_runner.vm.versions import Version, parse_version
from patchbay_runner.vm.wheels import own_wheel, wheel_of
from tests.unit.wheelhouse import make_index, make_wheel

BACKEND = """
import zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = "patchbay_runner-3.dist-info"
    with zipfile.ZipFile(f"{directory}/patchbay_runner-3-py3-none-any.whl", "w") as archive:
        archive.writestr("patchbay_runner/__init__.py", open("source.py").read())
        archive.writestr(f"{name}/METADATA", "Metadata-Version: 2.1\\nName: patchbay-runner\\nVersion: 3\\n")
        archive.writestr(f"{name}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(f"{name}/RECORD", "")
    return "patchbay_runner-3-py3-none-any.whl"
"""


def ignore(_line: str) -> None:
    pass


@pytest.fixture(autouse=True)
def _own_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package index with patchbay 0.9 and 0.10, which sort otherwise as text."""
    wheels = [make_wheel(tmp_path / "made", "patchbay-runner", each, {"x.py": each}) for each in ("0.9", "0.10")]
    make_index(tmp_path / "index", wheels)
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path / "index"))
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple/")
    yield
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("latest", Version("latest")),
        ("0.10.0", Version("release", "0.10.0")),
        ("v0.10.0", Version("release", "0.10.0")),
        ("1.0rc1", Version("release", "1.0rc1")),
        ("git:main", Version("git", "main")),
        ("git:feature/x", Version("git", "feature/x")),
        ("git:https://host/a.git#v1", Version("git", "v1", "https://host/a.git")),
        ("path:/a b/x.whl", Version("path", "/a b/x.whl")),
    ],
)
def test_versions_are_read(text: str, version: Version) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize("text", ["", "newest", "path:", "git:", "git:#x", "git:--upload-pack=x", "1.x", "url:x"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected latest, a version such as"):
        parse_version(text)


@pytest.mark.usefixtures("index")
@pytest.mark.parametrize(
    ("version", "expected"),
    [(Version("latest"), "0.10"), (Version("release", "0.9"), "0.9"), (Version("release", "0.10"), "0.10")],
)
def test_releases_come_from_the_index(version: Version, expected: str, tmp_path: Path) -> None:
    wheel = wheel_of(version, tmp_path, ignore)
    assert wheel.name == f"patchbay_runner-{expected}-py3-none-any.whl"


@pytest.mark.usefixtures("index")
def test_a_release_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BinaryError, match=r"(?s)pip download failed.*0\.9, 0\.10"):
        wheel_of(Version("release", "7"), tmp_path, ignore)


def test_a_commit_is_built(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "backend.py").write_text(BACKEND)
    (repository / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "patchbay-runner"\nversion = "3"\n'
    )
    git = ["git", "-C", str(repository), "-c", "user.name=x", "-c", "user.email=x@y", "-c", "commit.gpgsign=false"]
    subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
    for number in (1, 2):
        (repository / "source.py").write_text(f"number = {number}\n")
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "-q", "-m", "x"], check=True)
        subprocess.run([*git, "tag", f"v{number}"], check=True)
    (tmp_path / "out").mkdir()
    wheel = wheel_of(Version("git", "v1", repository.as_uri()), tmp_path / "out", ignore)
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("patchbay_runner/__init__.py") == b"number = 1\n"


def test_a_wheel_is_taken_as_it_is(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "patchbay-runner", "1", {})
    assert wheel_of(Version("path", str(wheel)), tmp_path / "elsewhere", ignore) == wheel
    with pytest.raises(BinaryError, match=r"there is no .*missing\.whl"):
        wheel_of(Version("path", str(tmp_path / "missing.whl")), tmp_path, ignore)


def test_ourselves_as_a_wheel(tmp_path: Path) -> None:
    """It is the same each time, and pip installs it with everything that we consist of."""
    first, second = tmp_path / "1", tmp_path / "2"
    for directory in (first, second):
        directory.mkdir()
    wheel = own_wheel(first)
    assert wheel.read_bytes() == own_wheel(second).read_bytes()
    target = tmp_path / "site"
    install = ["install", "-q", "--no-deps", "--no-index", "--no-compile", "--target", str(target), str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True, stderr=subprocess.DEVNULL)
    said = subprocess.run(
        [sys.executable, "-m", "patchbay_runner", "--version"],
        env={**os.environ, "PYTHONPATH": str(target)},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert said.stdout == f"patchbay {patchbay_runner.__version__}\n"
    assert "[pytest11]" in next(target.glob("*.dist-info/entry_points.txt")).read_text()
    assert "Requires-Dist: click" in next(target.glob("*.dist-info/METADATA")).read_text()
