"""Where a sim's files are."""

from __future__ import annotations

from typing import NamedTuple

from patchbay_runner.server.catalog import Catalog
from patchbay_runner.server.refusals import not_found
from patchbay_runner.server.rooted import Parts
from patchbay_runner.server.runs import Found, read_detail
from patchbay_runner.server.shapes import RunHead, SimLine


class SimPlace(NamedTuple):
    """A sim of a run. Its directory is there once it has begun."""

    run: str
    name: str
    parts: Parts
    line: SimLine
    is_running: bool


def read_run_detail(catalog: Catalog, name: str, only: str | None = None) -> tuple[Found, RunHead, tuple[SimLine, ...]]:
    """A run as it is now, and its sims or `only` that one. Raises Refusal when there is none."""
    found = catalog.get(name, is_fresh=True)
    with catalog.root.directory(found.parts) as directory:
        head, sims = read_detail(directory, found, only)
    return found, head, sims


def find_sim(catalog: Catalog, run: str, sim: str) -> SimPlace:
    """A sim as it is now. Raises Refusal when the run names none such."""
    found, head, sims = read_run_detail(catalog, run, only=sim)
    line = next((line for line in sims if line.name == sim), None)
    if line is None:
        raise not_found(f"sim {sim[:200]} in the run {run[:200]}")
    parts = found.parts if found.is_record else (*found.parts, sim)
    return SimPlace(head.name, sim, parts, line, head.status == "running" and line.status in ("running", "pending"))


def only_sim(catalog: Catalog, run: str) -> str:
    """The name of the sim of a run that has just one. Raises Refusal."""
    _, _, sims = read_run_detail(catalog, run)
    if len(sims) != 1:
        raise not_found(f"single sim in the run {run[:200]}: it has {len(sims)}")
    return sims[0].name
