"""The `[sim]` table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from patchbay_runner.loader.capture import packet_capture
from patchbay_runner.loader.diagnostics import Report
from patchbay_runner.loader.extends import Source
from patchbay_runner.loader.fields import boolean, filled_text, integer, name_choice, read_table
from patchbay_runner.loader.node import Node, quote
from patchbay_runner.loader.shapes import FILLED_TEXT, accepts, described
from patchbay_runner.loader.substitute import substitute
from patchbay_runner.model.capture import PacketCapture
from patchbay_runner.model.plan import SandboxUser

# Part of a directory's name, so well below the 255 bytes of a file name.
_LONGEST_NAME = 200


@accepts(FILLED_TEXT)
def sim_name(node: Node, report: Report) -> str | None:
    """A name that fits a line and a directory."""
    name = filled_text(node, report)
    if name is None:
        return None
    if not name.isprintable() or len(name.encode()) > _LONGEST_NAME:
        report.error(
            node, f"{quote(name)} cannot name a sim", f"at most {_LONGEST_NAME} bytes without control characters"
        )
        return None
    return name


SIM_FIELDS: dict[str, Any] = {
    "name": described(
        sim_name, "names the sim in reports and its directory among the results", "the file's name without `.toml`"
    ),
    "topology": described(
        filled_text,
        "the name of a [topology file](#topology-files); excludes routers, devices and regions in the same file",
    ),
    "user": described(
        name_choice(("caller", "root")),
        "who the programs run as: you, or uid 0 of the sandbox. Either way nothing on the host changes",
        '`"caller"`',
    ),
    "seed": described(
        integer(0, 2**63 - 1),  # the largest integer of TOML
        "which packets impaired links lose, delay and damage: with the same seed the n-th packet of a link meets the "
        "same fate, see [link conditions](#link-conditions)",
    ),
    "exclusive": described(
        boolean,
        "`true`: runs while no other sim does; `false`: beside others, although it measures",
        "see [many sims at once](../commands/run.md#many-sims-at-once)",
    ),
    "capture": described(
        packet_capture,
        "writes every interface's packets to [pcapng files](../guide/captures.md); a table says how much of them",
        "`false`",
        kind="boolean or table",
    ),
}


class SimTable(msgspec.Struct, frozen=True):
    """What `[sim]` says of a variant, the topology aside."""

    name: str
    user: SandboxUser
    seed: int | None
    exclusive: bool | None
    capture: PacketCapture | None
    report: Report


def read_sim_table(source: Source, values: Mapping[str, str]) -> SimTable:
    """Reads `[sim]`; a sim without a name is called like its file."""
    report = Report()
    root = source.document.table.get("sim", source.document.root)
    node = substitute(root.with_value(source.sim), "matrix", values, report)
    found = read_table(node, SIM_FIELDS, report, "[sim]") or {}
    name, user = found.get("name", source.document.path.stem), found.get("user", "caller")
    return SimTable(name, user, found.get("seed"), found.get("exclusive"), found.get("capture"), report)
