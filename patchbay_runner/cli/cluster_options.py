"""`--cluster` and `--cluster-wait`: sims on other machines."""

from __future__ import annotations

import importlib.util
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from patchbay_runner.cli.parameters import duration_s
from patchbay_runner.model.plan import Plan

if TYPE_CHECKING:
    from patchbay_runner.cli.clustered import Workers
    from patchbay_runner.cli.supervision import Interruption
    from patchbay_runner.cluster.crew import Load

_PATIENCE_S = 60.0
_ADDRESS = re.compile(r"(?:(?:tcp|tls|ws|wss|ucx)://)?(?:\[[0-9A-Fa-f:.]+\]|[^\s/:\[\]]+):(?P<port>\d{1,5})/?")
_INSTALL = "pip install 'patchbay-runner[cluster]'"

_Command = TypeVar("_Command", bound=Callable[..., Any])


def cluster_options(command: _Command) -> _Command:
    """Adds the options `cluster` and `patience_s`."""
    add_wait = click.option(
        "--cluster-wait",
        "patience_s",
        metavar="DURATION",
        callback=duration_s,
        help=f"How long to wait while the cluster has no worker; {_PATIENCE_S:g}s by default.",
    )
    add_cluster = click.option(
        "--cluster",
        metavar="ADDRESS",
        callback=_read_address,
        help="Runs the sims on the workers of the Dask scheduler at ADDRESS, such as tcp://head:8786.",
    )
    return add_cluster(add_wait(command))


def open_load(
    stack: ExitStack,
    plans: Sequence[Plan],
    project_root: Path,
    binaries: Sequence[Mapping[str, str]],
    runs_directory: Path,
) -> Load:
    """What the workers need, copied aside for as long as the stack lasts.

    Raises InputError and HostError for files that cannot travel.
    """
    from patchbay_runner.cli.clustered import pack_load  # noqa: PLC0415 - Dask takes its time to import

    copies = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="patchbay-")))
    return pack_load(plans, project_root, binaries, runs_directory, copies)


def open_workers(address: str, patience_s: float | None, load: Load, interruption: Interruption) -> Workers:
    """The place for sims behind the address."""
    from patchbay_runner.cli.clustered import Workers  # noqa: PLC0415 - as above

    return Workers(address, load, _PATIENCE_S if patience_s is None else patience_s, interruption)


def _read_address(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    if text is None:
        return None
    match = _ADDRESS.fullmatch(text)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise click.BadParameter(f"{text!r} is no address of a scheduler, such as tcp://head:8786 or tls://head:8786")
    if importlib.util.find_spec("distributed") is None:
        raise click.UsageError(f"--cluster needs Dask Distributed: {_INSTALL}")
    return text.rstrip("/")
