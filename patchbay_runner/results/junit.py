"""A run as JUnit XML, in the dialect that Jenkins' junit-10 schema describes and GitLab and GitHub's actions read.

One test suite a sim file, one test case a variant: its class is the file without `.toml`, because Jenkins takes what
follows the last dot for the class and what precedes it for a package. A sim that failed is a failure, one that patchbay
or the machine ended an error; one that is overloaded or never ran is skipped, which services show as neither passed nor
failed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from patchbay_runner.results.documents import Status
from patchbay_runner.results.record import RecordedRun, RecordedSim
from patchbay_runner.results.wording import note_line, step_title

# What XML 1.0 cannot hold, not even escaped (section 2.2), and lone surrogates.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FAULTS_NOT_OF_THE_SIM = ("internal", "host", "interrupted")


def junit_xml(run: RecordedRun) -> bytes:
    """The document, in UTF-8."""
    root = ET.Element("testsuites", name="patchbay")
    for source, sims in _by_source(run.sims).items():
        suite = ET.SubElement(
            root, "testsuite", name=_text(source), timestamp=run.manifest.started_at.removesuffix("Z")
        )
        for sim in sims:
            _add_case(suite, sim, run.path)
        _count(suite, sims)
    total_ms = run.manifest.runtime_ms
    _count(root, run.sims, total_ms)
    del root.attrib["skipped"]  # which the schema has for suites only
    ET.indent(root)
    xml: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return xml + b"\n"


def outcome(sim: RecordedSim) -> str | None:
    """The element that says what became of a sim: None for one that passed."""
    match sim.summary.status:
        case Status.OK:
            return None
        case Status.OVERLOADED | Status.PENDING:
            return "skipped"
    error = sim.document.error if sim.document else None
    return "error" if error is None or error.phase in _FAULTS_NOT_OF_THE_SIM else "failure"


def _by_source(sims: Sequence[RecordedSim]) -> dict[str, list[RecordedSim]]:
    by_source: dict[str, list[RecordedSim]] = {}
    for sim in sims:
        by_source.setdefault(sim.summary.source, []).append(sim)
    return by_source


def _count(element: ET.Element, sims: Sequence[RecordedSim], total_ms: int | None = None) -> None:
    outcomes = [outcome(sim) for sim in sims]
    if total_ms is None:
        total_ms = sum(sim.summary.runtime_ms or 0 for sim in sims)
    element.set("tests", str(len(sims)))
    element.set("failures", str(outcomes.count("failure")))
    element.set("errors", str(outcomes.count("error")))
    element.set("skipped", str(outcomes.count("skipped")))
    element.set("time", _seconds(total_ms))


def _add_case(suite: ET.Element, sim: RecordedSim, run: Path) -> None:
    summary = sim.summary
    case = ET.SubElement(
        suite, "testcase", name=_text(summary.title), classname=_text(summary.source.removesuffix(".toml"))
    )
    case.set("time", _seconds(summary.runtime_ms or 0))
    kind = outcome(sim)
    if kind is not None:
        details = ET.SubElement(case, kind, message=_text(_headline(sim)), type=_type(sim))
        details.text = _text("\n".join(_explanation(sim)))
    ET.SubElement(case, "system-out").text = _text("\n".join(_where(sim, run)))


def _headline(sim: RecordedSim) -> str:
    if sim.document is None or sim.document.error is None:
        return "never started" if sim.summary.status is Status.PENDING else sim.summary.status.value
    return sim.document.error.message.partition("\n")[0]


def _type(sim: RecordedSim) -> str:
    error = sim.document.error if sim.document else None
    return error.phase if error else sim.summary.status.value


def _explanation(sim: RecordedSim) -> list[str]:
    error = sim.document.error if sim.document else None
    if error is None:
        return [_headline(sim)]
    lines = []
    if error.step:
        at = f"{error.step.origin}: " if error.step.origin else ""
        lines.append(f"{at}step {error.step.index + 1}: {step_title(error.step)}")
    lines += error.message.splitlines()
    lines += [f"| {line}" for line in error.output]
    lines += [note_line(note) for note in sim.document.on_failure_errors] if sim.document else []
    return [*lines, *(error.traceback or "").splitlines()]


def _where(sim: RecordedSim, run: Path) -> list[str]:
    """The last lines of the output involved, and where all of it is. GitLab shows only what `_explanation` says."""
    directory = f"{run.name}/{sim.summary.sim_dir}"
    if sim.document is None:
        return [f"no logs: {directory} was never written"]
    error = sim.document.error
    lines = [*error.output, ""] if error and error.output else []
    return [*lines, f"record: {directory}", *(f"log: {directory}/{log.path}" for log in sim.document.logs)]


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.3f}"


def _text(text: str) -> str:
    """`text` with what XML cannot hold replaced by U+FFFD."""
    return _ILLEGAL.sub("\ufffd", text)
