"""A wheel of patchbay, of whatever version, on this machine (PEP 427)."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

import patchbay_runner
from patchbay_runner.errors import BinaryError
from patchbay_runner.vm.versions import DISTRIBUTION, Version

_PACKAGE = "patchbay_runner"
_WHEEL = "Wheel-Version: 1.0\nGenerator: patchbay\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_KEPT_METADATA = ("METADATA", "entry_points.txt")
# Zip files know no time before it; one time for all makes equal wheels of equal files.
_TIME = (1980, 1, 1, 0, 0, 0)
_FILE = 0o100644 << 16
_LAST_LINES = 20

Report = Callable[[str], None]


def wheel_of(version: Version, directory: Path, report: Report) -> Path:
    """The wheel, in `directory` unless it lies elsewhere already. Raises BinaryError."""
    match version.kind:
        case "own":
            return own_wheel(directory)
        case "path":
            return _given(Path(version.value).expanduser(), directory, report)
        case "git":
            address = f"git+{version.repository or _own_repository()}@{version.value}"
            report(f"building patchbay {version.value}")
            return _made(["wheel", "--no-deps", address], directory)
    wanted = DISTRIBUTION if version.kind == "latest" else f"{DISTRIBUTION}=={version.value}"
    report(f"looking for {wanted} in the package index")
    return _made(["download", "--no-deps", "--only-binary=:all:", wanted], directory)


def own_wheel(directory: Path) -> Path:
    """The running patchbay as a wheel, also when it is a checkout: nothing is built, and nothing is needed for it."""
    installed = metadata.distribution(DISTRIBUTION)
    info = f"{_PACKAGE}-{installed.version}.dist-info"
    files = dict(_sources(Path(patchbay_runner.__file__).parent))
    for name in _KEPT_METADATA:
        files[f"{info}/{name}"] = (installed.read_text(name) or "").encode()
    files[f"{info}/WHEEL"] = _WHEEL.encode()
    files[f"{info}/RECORD"] = _record(files, f"{info}/RECORD")
    path = directory / f"{_PACKAGE}-{installed.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = _FILE
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return path


def pip(arguments: Sequence[str]) -> None:
    """Runs pip, whose configuration is the user's. Raises BinaryError with the last that it says."""
    command = [sys.executable, "-m", "pip", *arguments[:1], "--quiet", "--disable-pip-version-check", *arguments[1:]]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        output = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        if any("No module named pip" in line for line in output):
            raise BinaryError(f"{sys.executable} has no pip", f"{sys.executable} -m ensurepip")
        raise BinaryError("\n".join([f"pip {arguments[0]} failed", *(f"  │ {line}" for line in output[-_LAST_LINES:])]))


def _sources(package: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(package.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            yield path.relative_to(package.parent).as_posix(), path.read_bytes()


def _record(files: Mapping[str, bytes], own_name: str) -> bytes:
    lines = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(content)}")
    return "\n".join([*lines, f"{own_name},,", ""]).encode()


def _given(path: Path, directory: Path, report: Report) -> Path:
    """A wheel, or what pip makes one of: a source distribution or a checkout."""
    if not path.exists():
        raise BinaryError(f"there is no {path}", "a wheel, a source distribution or a checkout of patchbay")
    if path.suffix == ".whl":
        return path
    report(f"building patchbay from {path}")
    return _made(["wheel", "--no-deps", str(path.resolve())], directory)


def _made(arguments: list[str], directory: Path) -> Path:
    option = "--wheel-dir" if arguments[0] == "wheel" else "--dest"
    pip([*arguments[:1], option, str(directory), *arguments[1:]])
    (wheel,) = directory.glob(f"{_PACKAGE}-*.whl")
    return wheel


def _own_repository() -> str:
    """The repository that the running patchbay comes from (PEP 610, or its checkout)."""
    checkout = Path(patchbay_runner.__file__).parent.parent
    if (checkout / ".git").exists():
        return checkout.as_uri()
    for label, address in (line.split(", ", 1) for line in metadata.metadata(DISTRIBUTION).get_all("Project-URL", [])):
        if label.lower() in ("repository", "source"):
            return str(address)
    raise BinaryError("nothing says which repository this patchbay comes from", "git:URL#REF")
