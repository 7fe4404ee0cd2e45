"""Where the latest tests have left the records of their labs: cargo's testdir, or what pytest's plugin remembers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import click

from patchbay_runner.cli.text import printable

# Relative to pytest's root directory: what `config.cache.set("patchbay/records", …)` writes.
_REMEMBERED = Path(".pytest_cache/v/patchbay/records")
_KEPT_BY_PYTEST = "pytest keeps the records of tests that fail, with --patchbay-outdir those of all"


class _Place(NamedTuple):
    directory: Path
    what: str


def find_testdir(here: Path, environment: Mapping[str, str]) -> Path:
    """The directory with records that tests have written last, of the project that `here` is in.

    Raises click.UsageError, which names every place that was looked at.
    """
    places = list(_places(here, environment))
    there = [place.directory for place in places if _has_something(place.directory)]
    if there:
        return max(there, key=lambda directory: directory.stat().st_mtime_ns).resolve()
    looked = "".join(f"\n  {printable(str(place.directory))}: nothing there; {place.what}" for place in places)
    raise click.UsageError(
        f"no records of tests below {printable(str(here))}{looked or ': there is neither Cargo.toml nor .pytest_cache'}"
    )


def _places(here: Path, environment: Mapping[str, str]) -> Iterator[_Place]:
    if (manifest := _above(here, Path("Cargo.toml"))) is not None:
        yield _Place(_target_directory(manifest.parent, environment) / "testdir-current", "cargo's testdir writes it")
    if said := environment.get("PATCHBAY_OUTDIR"):
        yield _Place(here / said, "PATCHBAY_OUTDIR names it")
    if (remembered := _above(here, _REMEMBERED)) is not None:
        yield _Place(_path_in(remembered), _KEPT_BY_PYTEST)


def _above(here: Path, name: Path) -> Path | None:
    return next((path for each in (here, *here.parents) if (path := each / name).is_file()), None)


def _target_directory(directory: Path, environment: Mapping[str, str]) -> Path:
    argv = ["cargo", "metadata", "--format-version=1", "--no-deps"]
    try:
        done = subprocess.run(argv, cwd=directory, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # tests may have run elsewhere, as in a virtual machine
        return directory / environment.get("CARGO_TARGET_DIR", "target")
    if done.returncode != 0:
        raise click.UsageError(f"cargo metadata: {done.stderr.strip()}")
    return Path(json.loads(done.stdout)["target_directory"])


def _path_in(remembered: Path) -> Path:
    try:
        return Path(str(json.loads(remembered.read_bytes())))
    except (OSError, ValueError) as error:
        raise click.UsageError(f"cannot read {printable(str(remembered))}: {error}") from error


def _has_something(directory: Path) -> bool:
    return directory.is_dir() and any(directory.iterdir())
