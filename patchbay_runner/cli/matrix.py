"""`patchbay matrix`: the variants of sims as the matrix of a CI service, a job for each or a job for each shard."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from patchbay_runner.cli.parameters import SIM_PATH
from patchbay_runner.cli.selection import select, selection_options
from patchbay_runner.loader import load
from patchbay_runner.loader.node import scalar_text
from patchbay_runner.loader.project import read_project
from patchbay_runner.model.plan import Plan
from patchbay_runner.model.steps import Scalar

# What the services refuse: GitHub's "Running variations of jobs in a workflow", GitLab's "parallel:matrix".
_MOST_GITHUB_JOBS = 256
_MOST_GITLAB_JOBS = 200
_GITLAB_JOB = ".patchbay-matrix"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job of the matrix: `patchbay run ARGS` is what it does."""

    name: str
    args: tuple[str, ...]


class VariantJob(Job, frozen=True, kw_only=True):
    """A job for one variant."""

    file: str
    axes: dict[str, Scalar]


class ShardJob(Job, frozen=True, kw_only=True):
    """A job for one shard."""

    shard: str


@click.command()
@click.argument("sims", nargs=-1, type=SIM_PATH)
@selection_options
@click.option(
    "--format",
    "service",
    type=click.Choice(["github", "gitlab", "json"]),
    default="json",
    show_default=True,
    help="The CI service that reads it.",
)
@click.option(
    "--shards",
    "total",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Makes N jobs, each for a shard, instead of one for every variant; fewer where there are fewer variants.",
)
def matrix(
    sims: tuple[str, ...],
    *,
    patterns: tuple[str, ...],
    axis_values: tuple[str, ...],
    service: str,
    total: int | None,
) -> None:
    """Prints the variants of SIMS (files, directories or globs) as a CI job matrix. Nothing is run."""
    loaded = load(sims or read_project(Path(), Path.cwd()).simulations, cwd=Path.cwd())
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    plans = select(loaded.plans, patterns, axis_values)
    if total is None:
        jobs: list[Job] = [_variant_job(plan) for plan in plans]
    else:
        chosen = [f"--filter={each}" for each in patterns] + [f"--matrix={each}" for each in axis_values]
        jobs = _shard_jobs([*sims, *chosen], min(total, len(plans)))
    click.echo({"github": _github, "gitlab": _gitlab, "json": _json}[service](jobs))


def _variant_job(plan: Plan) -> VariantJob:
    chosen = [f"--matrix={axis}={scalar_text(value)}" for axis, value in plan.matrix.items()]
    return VariantJob(name=plan.name, args=(plan.source, *chosen), file=plan.source, axes=plan.matrix)


def _shard_jobs(chosen: Sequence[str], total: int) -> list[Job]:
    shards = [f"{index}/{total}" for index in range(1, total + 1)]
    return [ShardJob(name=f"shard {shard}", args=(*chosen, "--shard", shard), shard=shard) for shard in shards]


def _json(jobs: Sequence[Job]) -> str:
    return msgspec.json.format(msgspec.json.encode(jobs), indent=2).decode()


def _github(jobs: Sequence[Job]) -> str:
    """One line, as a job's output takes it, for `strategy.matrix: ${{ fromJSON(…) }}`."""
    _refuse_more_than(_MOST_GITHUB_JOBS, "GitHub", jobs)
    include = [{**msgspec.to_builtins(job), "args": shlex.join(job.args)} for job in jobs]
    return msgspec.json.encode({"include": include}).decode()


def _gitlab(jobs: Sequence[Job]) -> str:
    """A hidden job that the jobs of a child pipeline extend. JSON strings are YAML strings; `$` is doubled there."""
    _refuse_more_than(_MOST_GITLAB_JOBS, "GitLab", jobs)
    lines = [f"{_GITLAB_JOB}:", "  parallel:", "    matrix:"]
    for job in jobs:
        variables = {"PATCHBAY_NAME": job.name, "PATCHBAY_ARGS": shlex.join(job.args)}
        entries = [f"{key}: {_yaml_text(value)}" for key, value in variables.items()]
        lines += [f"      - {entries[0]}", f"        {entries[1]}"]
    return "\n".join(lines)


def _yaml_text(text: str) -> str:
    return json.dumps(text.replace("$", "$$"))


def _refuse_more_than(most: int, service: str, jobs: Sequence[Job]) -> None:
    if len(jobs) > most:
        raise click.UsageError(f"{service} takes at most {most} jobs, and these are {len(jobs)}: use --shards N")
