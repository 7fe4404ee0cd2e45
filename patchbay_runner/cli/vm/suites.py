"""Test suites in a guest: pytest's, and those of a Cargo workspace."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import msgspec

from patchbay_runner.cli.text import counted, printable
from patchbay_runner.cli.vm.guests import Inside, enter, is_terminal
from patchbay_runner.cli.vm.machines import tell
from patchbay_runner.errors import HostError
from patchbay_runner.vm.crates import TestProgram, build_tests, choose_platform
from patchbay_runner.vm.environments import Packages
from patchbay_runner.vm.requirements import Needs, import_paths, needs_of_tests
from patchbay_runner.vm.settings import Settings
from patchbay_runner.vm.staging import APP, TARGET, WORK, in_app, link_path
from patchbay_runner.vm.versions import Version

STAGED = PurePosixPath("binaries/tests")
_RECORDS = {"PATCHBAY_OUTDIR": str(WORK)}


class Suite(msgspec.Struct, frozen=True):
    """Whose tests, with which patchbay, and what pytest or the test programs are told."""

    settings: Settings
    version: Version
    arguments: tuple[str, ...]
    is_recreating: bool

    def run_pytest(self, needs: Sequence[str]) -> int:
        """The exit code of pytest, with `needs` installed, or what the project says."""
        workspace = self.settings.workspace
        wanted = Needs(("pytest", *needs)) if needs else needs_of_tests(workspace)
        packages = Packages((), wanted.requirements, wanted.files, import_paths(workspace))
        inside = enter(self.settings, self.version, packages, is_recreating=self.is_recreating)
        cwd = in_app(Path.cwd(), workspace) if Path.cwd().is_relative_to(workspace) else APP
        # The project is not written to, by whatever means it is shared.
        environment = {"PYTHONDONTWRITEBYTECODE": "1", **_RECORDS}
        command = ["pytest", "-p", "no:cacheprovider", *self.arguments]
        return inside.run(command, cwd=cwd, tty=is_terminal(), env=environment)

    def run_cargo(self, triple: str | None, flags: Sequence[str], *, is_keeping_going: bool) -> int:
        """The exit code of the first program that failed. They run in Cargo's order, none after one that failed."""
        settings = self.settings
        platform = choose_platform(settings.architecture, os.environ, triple)
        programs = build_tests(settings.workspace, platform, settings.target, flags, os.environ)
        if not programs:
            tell("there are no tests")
            return 0
        inside = enter(settings, self.version, is_recreating=self.is_recreating)
        for path, place in ((settings.workspace, APP), (settings.target, TARGET)):
            link_path(inside.guest, path, place)
        _stage(programs, settings.work)
        failed: list[tuple[str, int]] = []
        for program in programs:
            shown = printable(f"{program.package}: {program.kind} {program.target}")
            tell(f"     Running {shown}")
            code = self._run(inside, program)
            if code:
                failed.append((shown, code))
                if not is_keeping_going:
                    break
        for shown, code in failed:
            tell(f"failed with exit code {code}: {shown}")
        if not failed:
            tell(f"{counted(len(programs), 'test program')} passed")
        return failed[0][1] if failed else 0

    def _run(self, inside: Inside, program: TestProgram) -> int:
        """In its package's directory, as Cargo does."""
        directory = in_app(program.directory, self.settings.workspace)
        place = WORK / STAGED / program.path.name
        environment = {"CARGO_MANIFEST_DIR": str(directory), **_RECORDS}
        return inside.run([str(place), *self.arguments], cwd=directory, tty=is_terminal(), env=environment)


def _stage(programs: Sequence[TestProgram], work: Path) -> None:
    """Copies the programs to where the guest may write beside them: there tests keep what they find out."""
    directory = work / STAGED
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for program in programs:
            beside = directory / f".{program.path.name}.new"
            shutil.copy2(program.path, beside)
            beside.replace(directory / program.path.name)
    except OSError as error:
        raise HostError(f"cannot write {error.filename or directory}: {error.strerror}") from error
