"""The JSON Schemas: valid themselves, never narrower than the loader, and a net for what a schema can see."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from patchbay_runner.cli.main import run_command
from patchbay_runner.errors import InputError
from patchbay_runner.loader import load
from patchbay_runner.loader.jsonschemas import sim_schema, topology_schema
from patchbay_runner.loader.steps.schema import ACTIONS, FIELDS

CHECKOUT = Path(__file__).parents[2]
GOLDEN = CHECKOUT / "tests" / "golden"
SIMS = sorted(
    path
    for directory in ("sims", "tests/golden/plans", "patchbay_runner/cli/starter/sims")
    for path in (CHECKOUT / directory).rglob("*.toml")
)
TOPOLOGIES = sorted(
    path for directory in ("topos", "patchbay_runner/cli/starter/topos") for path in (CHECKOUT / directory).glob("*")
)
# Wrong files that a schema can tell: keys, types, names, ranges. What names refer to is the loader's own to check.
TOLD = [
    "all-at-once",
    "assert-over-time",
    "assert-syntax",
    "binary-keys",
    "capture-bad-match",
    "capture-bad-pick",
    "capture-unknown-key",
    "change-missing-keys",
    "change-wrong-step-hides-nothing-else",
    "change-wrong-values",
    "condition-impair",
    "condition-ranges",
    "condition-unknown-key",
    "condition-unknown-preset",
    "control-steps",
    "device-bad-count",
    "device-is-no-table",
    "device-reserved-key-as-interface",
    "device-unknown-key",
    "dns-names",
    "dns-no-tables",
    "dns-steps",
    "dns-values",
    "extends-own-keys",
    "group-variable-types",
    "group-variables",
    "group-without-steps",
    "interface-unknown-key",
    "interface-without-gateway",
    "lab-is-array",
    "lab-wrong-values",
    "matrix-axes",
    "nat-older-table-wrong",
    "nat-ports-wrong",
    "nat-table-wrong",
    "nat-v6-wrong",
    "prepare-wrong",
    "ready-when",
    "reboot-router-wrong",
    "reference-requires-syntax",
    "region-link-steps",
    "region-wrong",
    "results-wrong",
    "router-bad-enums",
    "router-bad-firewall",
    "router-cidr",
    "router-isolated",
    "router-mtu",
    "router-presets",
    "router-ra",
    "router-unknown-key",
    "router-unknown-nat",
    "router-uplink-and-black-hole",
    "router-without-name",
    "section-device-is-array",
    "section-router-is-table",
    "section-step-is-table",
    "section-steps-misspelled",
    "section-unknown",
    "sim-bad-values",
    "sim-capture-kind",
    "sim-capture-values",
    "sim-unknown-key",
    "step-action-and-kind",
    "step-args-without-command",
    "step-bad-direction",
    "step-bad-durations",
    "step-bad-env",
    "step-bad-expect-exit",
    "step-bad-ids",
    "step-bad-parser",
    "step-bad-when",
    "step-key-of-another-action",
    "step-missing-keys",
    "step-set-downlink-and-uplink",
    "step-unknown-action",
    "step-unknown-key",
    "step-without-action",
    "step-wrong-types",
    "template-call-unknown-key",
    "template-unused-is-checked",
    "toml-infinite-number",
    "toml-integer-too-large",
    "use-unknown",
    "wait-for-capture",
    "wrong-step-of-a-device",
    "wrong-steps-are-not-judged-twice",
]

SIM = Draft202012Validator(sim_schema())
TOPOLOGY = Draft202012Validator(topology_schema())
LAN = '[[router]]\nname = "r"\n[device.d.eth0]\ngateway = "r"\n'


def problem(validator: Draft202012Validator, document: dict[str, Any]) -> str:
    error = best_match(validator.iter_errors(document))
    return "" if error is None else f"{error.json_path}: {error.message}"


def test_they_are_schemas() -> None:
    Draft202012Validator.check_schema(sim_schema())
    Draft202012Validator.check_schema(topology_schema())


@pytest.mark.parametrize("path", SIMS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_right_sims_and_libraries_are_valid(path: Path) -> None:
    assert problem(SIM, tomllib.loads(path.read_text(encoding="utf-8"))) == ""


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.name)
def test_right_topologies_are_valid_as_both(path: Path) -> None:
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    assert problem(TOPOLOGY, document) == ""
    assert problem(SIM, document) == ""


@pytest.mark.parametrize("name", TOLD)
def test_wrong_sims_are_invalid(name: str) -> None:
    assert problem(SIM, tomllib.loads((GOLDEN / "errors" / f"{name}.toml").read_text(encoding="utf-8"))) != ""


def test_a_topology_has_no_steps() -> None:
    assert problem(TOPOLOGY, {"step": []}) != ""


# One wrong thing each, which both must refuse, and a right one beside it, which both must take.
PAIRS = [
    ('[[step]]\nkind = "wait"\nduration = "1s"', '[[step]]\nkind = "wiat"\nduration = "1s"'),
    ('[[step]]\naction = "wait"\nduration = "1s"', '[[step]]\naction = "wait"\nduration = 1'),
    ('[[step]]\ndevice = "d"\ncmd = ["true"]', '[[step]]\ndevice = "d"\ncmd = "true"'),
    ('[[step]]\ndevice = "d"\ncmd = ["true"]', '[[step]]\ncmd = ["true"]'),
    ('[[step]]\ndevice = "d"\ncmd = ["x"]\ntimeout = "5s"', '[[step]]\ndevice = "d"\ncmd = ["x"]\ntimeuot = "5s"'),
    (
        '[[step]]\naction = "link-down"\ndevice = "d"\ninterface = "eth0"',
        '[[step]]\naction = "link-down"\ndevice = "d"\ninterface = "eth0"\ncmd = ["x"]',
    ),
    (
        '[[step]]\naction = "set-impair"\ndevice = "d"\nimpair = { latency_ms = "20" }',
        '[[step]]\naction = "set-impair"\ndevice = "d"\nimpair = { latency_ms = "soon" }',
    ),
    (
        '[[step]]\naction = "set-nat"\nrouter = "r"\nnat = { mapping = "eim", udp_timeout = "30s" }',
        '[[step]]\naction = "set-nat"\nrouter = "r"\nnat = { maping = "eim" }',
    ),
    ('[sim]\nseed = 1', '[sim]\nseed = -1'),
]  # fmt: skip


@pytest.mark.parametrize(("right", "wrong"), PAIRS)
def test_schema_and_loader_agree(right: str, wrong: str, tmp_path: Path) -> None:
    for text, is_right in ((right, True), (wrong, False)):
        whole = text + "\n" + LAN if text.startswith("[sim]") else LAN + text
        path = tmp_path / "x.toml"
        path.write_text(whole if "[[step]]" in whole else whole + '[[step]]\naction = "wait"\nduration = "1s"\n')
        assert (problem(SIM, tomllib.loads(path.read_text())) == "") == is_right
        if is_right:
            load([path], cwd=tmp_path)
        else:
            with pytest.raises(InputError):
                load([path], cwd=tmp_path)


def test_placeholders_stand_for_anything() -> None:
    step = {"use": "t", "timeout": "${matrix.t}", "when": "${matrix.on}", "vars": {"n": 1}}
    sim = {"sim": {"seed": "${matrix.seed}"}, "matrix": {"t": ["1s"], "params": {}}, "step": [step]}
    router = {"name": "r", "mtu": "${matrix.mtu}", "nat": "${matrix.nat}", "isolated": "${matrix.alone}"}
    assert problem(SIM, {**sim, "router": [router]}) == ""


def test_every_action_and_key_is_offered() -> None:
    step = sim_schema()["$defs"]["step"]
    assert FIELDS.keys() <= step["properties"].keys()
    assert set(ACTIONS) <= set(step["properties"]["action"]["anyOf"][0]["enum"])


@pytest.mark.parametrize(
    ("arguments", "expected"), [([], sim_schema), (["sim"], sim_schema), (["topology"], topology_schema)]
)
def test_the_command_prints_them(arguments: list[str], expected: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["schema", *arguments]) == 0
    assert json.loads(capsys.readouterr().out) == expected()


@pytest.mark.parametrize("arguments", [["plan"], ["sim", "topology"], ["--json"]])
def test_nonsense_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["schema", *arguments]) == 2
    assert capsys.readouterr().out == ""
