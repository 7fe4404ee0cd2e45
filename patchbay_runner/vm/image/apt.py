"""Debian's packages by the host's apt, which knows its proxies and mirrors; what the host has installed stays."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

from patchbay_runner.binaries.progress import Task
from patchbay_runner.errors import HostError
from patchbay_runner.vm.image.tools import require, run
from patchbay_runner.vm.settings import Architecture

# The newest that the mirror has.
SUITES = ("trixie", "bookworm")
DEBIAN: dict[Architecture, str] = {"x86_64": "amd64", "aarch64": "arm64"}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_MIRROR = "http://deb.debian.org/debian"
_SECURITY = "http://deb.debian.org/debian-security"
_RETRIES = 3
_INSTALL = ("install", "--yes", "--no-install-recommends")
_INSTALLED = re.compile(r"^Inst (\S+) \((\S+) .*\[(\w+)\]\)")
_FETCHING = re.compile(r"^dlstatus:\d+:([\d.]+):(.*)$")


class Apt(msgspec.Struct, frozen=True):
    """apt as if nothing were installed, for one suite of Debian, with all of its files below `root`."""

    root: Path
    architecture: Architecture
    suite: str
    mirror: str
    security: str

    def update(self, task: Task) -> None:
        """Brings the lists of packages up to date. Raises HostError, also when the mirror does not have the suite."""
        for directory in ("lists/partial", "archives/partial"):
            (self.root / directory).mkdir(parents=True, exist_ok=True)
        (self.root / "status").touch()
        self._sources().write_text(self._lines())
        self._call(task, "update", "--error-on=any")

    def closure(self, packages: Sequence[str], task: Task) -> list[Path]:
        """The files of the packages and of all that they need. Raises HostError for one that Debian does not have."""
        return self._fetch(self._simulate(packages, task), task)

    def named(self, package: str, task: Task) -> Path:
        """The file of the one package that `package` stands for, as linux-image-amd64 does for the newest kernel.

        Without what that depends on. Raises HostError.
        """
        stem = package.rpartition("-")[0]
        simulated = self._simulate([package], task)
        found = [match for match in simulated if match[1].startswith(f"{stem}-") and match[1] != package]
        if not found:
            raise HostError(f"Debian has nothing that {package} stands for")
        return self._fetch(found[:1], task)[0]

    def forget_old(self, kept: Sequence[Path]) -> None:
        """Removes packages that are not of use any more."""
        wanted = {path.name for path in kept}
        for path in (self.root / "archives").glob("*.deb"):
            if path.name not in wanted:
                path.unlink(missing_ok=True)

    def _fetch(self, wanted: Sequence[re.Match[str]], task: Task) -> list[Path]:
        """The files of packages, once they are all there. apt gives a file its name when it has checked it."""
        missing = [match for match in wanted if not self._archive(match).exists()]
        if missing:
            names = [f"{match[1]}:{match[3]}={match[2]}" for match in missing]
            self._call(task, "download", *names, cwd=self.root / "archives")
        return [self._archive(match) for match in wanted]

    def _simulate(self, packages: Sequence[str], task: Task) -> list[re.Match[str]]:
        """Name, version and architecture of each package that would be installed."""
        told = self._call(task, *_INSTALL, "--simulate", *packages)
        return [match for match in map(_INSTALLED.match, told.splitlines()) if match]

    def _archive(self, installed: re.Match[str]) -> Path:
        name, version, architecture = installed.groups()
        return self.root / "archives" / f"{name}_{version.replace(':', '%3a')}_{architecture}.deb"

    def _sources(self) -> Path:
        return self.root / f"{self.suite}.list"

    def _lines(self) -> str:
        options = f"[arch={DEBIAN[self.architecture]} signed-by={KEYRING}]"
        archive = "".join(f"deb {options} {self.mirror} {self.suite}{part} main\n" for part in ("", "-updates"))
        return f"{archive}deb {options} {self.security} {self.suite}-security main\n"

    def _call(self, task: Task, *arguments: str, cwd: Path | None = None) -> str:
        """What apt-get prints. Its progress is shown."""

        def show(line: str) -> None:
            match = _FETCHING.match(line)
            if match:
                task.said(f"{match[1]} %: {match[2]}")

        return run(["apt-get", *self._options(), *arguments], task, "apt-get", heard=show, cwd=cwd)

    def _options(self) -> list[str]:
        architecture = DEBIAN[self.architecture]
        settings = {
            "Dir::State": self.root,
            "Dir::State::lists": self.root / "lists",
            "Dir::State::status": self.root / "status",
            "Dir::Cache": self.root,
            "Dir::Cache::archives": self.root / "archives",
            "Dir::Etc::SourceList": self._sources(),
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "APT::Default-Release": "",
            "APT::Keep-Downloaded-Packages": "true",
            # apt's own user need not be able to write here.
            "APT::Sandbox::User": "",
            "APT::Status-Fd": 1,
            "Acquire::Languages": "none",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
            "Acquire::Retries": _RETRIES,
            "Quiet": 1,
        }
        return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def find_apt(root: Path, architecture: Architecture, suite: str | None, task: Task) -> Apt:
    """apt with fresh lists, of the newest suite that the mirror has, or of the one that is asked for.

    Raises HostError where there is no apt, no key of Debian's to check packages by, or no mirror.
    """
    require("apt-get", "apt")
    require("dpkg-deb", "dpkg")
    if not KEYRING.exists():
        raise HostError(f"{KEYRING} is not there to check packages by", "apt-get install debian-archive-keyring")
    mirror, security = _mirrors()
    first: HostError | None = None
    for name in (suite,) if suite else SUITES:
        apt = Apt(root, architecture, name, mirror, security)
        try:
            apt.update(task)
        except HostError as error:
            first = first or error
        else:
            return apt
    assert first is not None
    raise first


def _mirrors() -> tuple[str, str]:
    """Where this host gets Debian's packages and their security updates from; Debian's own address on other systems."""
    told = subprocess.run(
        [shutil.which("apt-get") or "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    addresses = [line.rstrip("/") for line in told.stdout.splitlines()]
    archive = next((address for address in addresses if address.endswith("/debian")), _MIRROR)
    security = next((address for address in addresses if address.endswith("/debian-security")), _SECURITY)
    return archive, security
