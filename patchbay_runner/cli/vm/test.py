"""`patchbay-vm test`: a project's tests in its virtual machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from patchbay_runner.cli.vm.guests import name_option, recreate_option, version_option
from patchbay_runner.cli.vm.options import read_settings
from patchbay_runner.cli.vm.suites import Suite
from patchbay_runner.model.vm import MachineOptions
from patchbay_runner.vm.versions import Version

# What marks a project as one of Python's for all that is in Rust beside it.
_OF_PYTHON = ("pyproject.toml", "pytest.ini", "tox.ini", "conftest.py", "setup.py", "setup.cfg")


@click.command()
@click.argument("arguments", nargs=-1, metavar="[FILTER|PATH]... [-- ARGS]")
@click.option("--pytest/--cargo", "is_python", default=None, help="Which tests; what the project has by default.")
@click.option("--needs", multiple=True, metavar="REQUIREMENT", help="pytest: what to install instead of what it says.")
@click.option("-p", "--package", "packages", multiple=True, metavar="NAME", help="Cargo: only this package's tests.")
@click.option("--test", "targets", multiple=True, metavar="NAME", help="Cargo: only this test target.")
@click.option("--lib", "has_lib", is_flag=True, help="Cargo: only the library's own tests.")
@click.option("-F", "--features", multiple=True, metavar="FEATURES", help="Cargo: builds with these features.")
@click.option("--all-features", is_flag=True, help="Cargo: builds with all features.")
@click.option("--release", "is_release", is_flag=True, help="Cargo: builds in release mode.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), metavar="N", help="Cargo: how many builds run at once.")
@click.option("--target", "triple", metavar="TRIPLE", help="Cargo: builds for this target, instead of musl or glibc.")
@click.option("--no-fail-fast", "is_keeping_going", is_flag=True, help="Cargo: runs all, whatever fails.")
@click.option(
    "--project-root",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=".",
    help="The project, which the guest sees as /app; the working directory by default.",
)
@name_option
@recreate_option
@version_option
def test(
    *,
    arguments: tuple[str, ...],
    is_python: bool | None,
    needs: tuple[str, ...],
    packages: tuple[str, ...],
    targets: tuple[str, ...],
    has_lib: bool,
    features: tuple[str, ...],
    all_features: bool,
    is_release: bool,
    jobs: int | None,
    triple: str | None,
    is_keeping_going: bool,
    project_root: Path,
    name: str | None,
    is_recreating: bool,
    version: Version,
) -> int:
    """Runs the project's tests in the virtual machine: pytest, or the tests of a Cargo workspace.

    Those of Rust are built on this machine. What stands behind -- is for pytest, or for the test programs.
    """
    flags = _cargo_flags(
        packages, targets, features, jobs, has_lib=has_lib, all_features=all_features, is_release=is_release
    )
    settings = read_settings(project_root, MachineOptions(name=name))
    is_of_cargo = bool(flags or triple or is_keeping_going)
    if is_python and is_of_cargo:
        raise click.UsageError("an option of Cargo's tests is given, and --pytest as well")
    if is_python is None:
        is_python = not is_of_cargo and _is_python(settings.workspace)
    if needs and not is_python:
        raise click.UsageError("--needs is of pytest's tests, and these are Cargo's")
    suite = Suite(settings, version, arguments, is_recreating)
    if is_python:
        return suite.run_pytest(needs)
    return suite.run_cargo(triple, flags, is_keeping_going=is_keeping_going)


def _is_python(workspace: Path) -> bool:
    return not (workspace / "Cargo.toml").is_file() or any((workspace / name).is_file() for name in _OF_PYTHON)


def _cargo_flags(
    packages: Sequence[str],
    targets: Sequence[str],
    features: Sequence[str],
    jobs: int | None,
    *,
    has_lib: bool,
    all_features: bool,
    is_release: bool,
) -> list[str]:
    """As `cargo test` takes them."""
    flags = [word for name in packages for word in ("--package", name)]
    flags += [word for name in targets for word in ("--test", name)]
    flags += [word for names in features for word in ("--features", names)]
    flags += ["--jobs", str(jobs)] if jobs else []
    switches = {"--lib": has_lib, "--all-features": all_features, "--release": is_release}
    return flags + [flag for flag, is_set in switches.items() if is_set]
