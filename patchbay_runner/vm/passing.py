"""What of this machine's environment reaches the programs in a guest. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

# What says how much is shown and how; paths and credentials of this machine stay here.
_PASSED = (
    "RUST_LOG",
    "RUST_BACKTRACE",
    "PATCHBAY_LOG",
    "CI",
    "GITHUB_ACTIONS",
    "NO_COLOR",
    "FORCE_COLOR",
    "COLORTERM",
    "COLUMNS",
    "LINES",
)
_OUTDIR = "PATCHBAY_OUTDIR"


def passed_environment(
    environment: Mapping[str, str], inside: Callable[[Path], str | None], cwd: Path
) -> tuple[dict[str, str], list[str]]:
    """The variables, and warnings. `inside` says where the guest has a path of this machine."""
    passed = {name: environment[name] for name in _PASSED if name in environment}
    outdir = environment.get(_OUTDIR)
    if not outdir:
        return passed, []
    place = inside((cwd / Path(outdir).expanduser()).resolve())
    if place is None:
        return passed, [f"{_OUTDIR}={outdir} is not in what the machine shares with this one: it is left out"]
    return {**passed, _OUTDIR: place}, []
