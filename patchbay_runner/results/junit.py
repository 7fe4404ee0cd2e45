"""A run as JUnit XML, valid under both schemas that readers go by: Ant's, which Windy Road wrote down, and Jenkins'.

One test suite a sim file, one test case a variant: its class is the file without `.toml`, because Jenkins takes what
follows the last dot for the class and what precedes it for a package. A sim that failed is a failure, one that patchbay
or the machine ended an error; one that is overloaded or never ran is skipped, which services show as neither passed nor
failed. Ant's schema has output of suites only, and GitLab shows none of it, so a case's own text says all.
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
    root = ET.Element("testsuites")
    for number, (source, sims) in enumerate(_by_source(run.sims).items()):
        _add_suite(root, number, source, sims, run)
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


def _add_suite(root: ET.Element, number: int, source: str, sims: Sequence[RecordedSim], run: RecordedRun) -> None:
    package, _, _ = source.rpartition("/")
    suite = ET.SubElement(root, "testsuite", name=_text(source), package=_text(package), id=str(number))
    suite.set("timestamp", run.manifest.started_at.removesuffix("Z"))
    suite.set("hostname", "localhost")  # the record does not name its machine, and this is what to write then
    outcomes = [outcome(sim) for sim in sims]
    suite.set("tests", str(len(sims)))
    for kind, attribute in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(attribute, str(outcomes.count(kind)))
    suite.set("time", _seconds(sum(sim.summary.runtime_ms or 0 for sim in sims)))
    properties = ET.SubElement(suite, "properties")
    for key, value in (("source", source), ("run", run.manifest.run)):
        ET.SubElement(properties, "property", name=key, value=_text(value))
    for sim in sims:
        _add_case(suite, sim, run.path)
    records = [line for sim in sims for line in (f"{sim.summary.title}:", *_record(sim, run.path))]
    ET.SubElement(suite, "system-out").text = _text("\n".join(records))
    ET.SubElement(suite, "system-err")


def _add_case(suite: ET.Element, sim: RecordedSim, run: Path) -> None:
    summary = sim.summary
    case = ET.SubElement(
        suite, "testcase", name=_text(summary.title), classname=_text(summary.source.removesuffix(".toml"))
    )
    case.set("time", _seconds(summary.runtime_ms or 0))
    kind = outcome(sim)
    if kind is not None:
        details = ET.SubElement(case, kind, message=_text(_headline(sim)), type=_type(sim))
        details.text = _text("\n".join([*_explanation(sim), *_record(sim, run, only_failed=True)]))


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


def _record(sim: RecordedSim, run: Path, *, only_failed: bool = False) -> list[str]:
    """Where the record is, and the logs in it, or those of the step that failed."""
    directory = f"{run.name}/{sim.summary.sim_dir}"
    if sim.document is None:
        return [f"no logs: {directory} was never written"]
    logs = sim.document.logs
    if only_failed:
        step = sim.document.error.step if sim.document.error else None
        logs = tuple(log for log in logs if step and log.step and (log.step, log.node) == (step.id, step.device))
    return [f"record: {directory}", *(f"log: {directory}/{log.path}" for log in logs)]


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.3f}"


def _text(text: str) -> str:
    """`text` with what XML cannot hold replaced by U+FFFD."""
    return _ILLEGAL.sub("\ufffd", text)
