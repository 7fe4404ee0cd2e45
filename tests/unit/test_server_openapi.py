"""The description matches the API, and the API the reference: schemathesis asks what the description allows."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from patchbay_runner.server.openapi import describe
from tests.unit.server_support import make_record, make_run, serving

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# What there is in the directory that is served, so that more than 404 is heard.
NAMES = {"run": "run", "sim": "web", "path": "events.jsonl", "invocation": "run"}
OPERATIONS = schemathesis.openapi.from_dict(describe())


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    work = tmp_path_factory.mktemp("work")
    make_run(work).rename(work / "run")
    make_record(work / "lab")
    with serving(work) as client:
        yield str(client.base_url)


@OPERATIONS.exclude(path="/api/stream").parametrize()
@settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_replies_are_as_described(case: Any, url: str) -> None:
    case.call_and_validate(base_url=url, checks=CHECKS)
    for name in case.path_parameters or {}:
        case.path_parameters[name] = NAMES[name]
    case.call_and_validate(base_url=url, checks=CHECKS)


def test_every_path_is_in_the_reference(checkout: Path) -> None:
    text = (checkout / "docs" / "reference" / "http-api.md").read_text()
    for path in describe()["paths"]:
        ends = [path, re.sub(r"^/api/runs/{run}/sims/{sim}", "…", path).replace("…/", "…/", 1)]
        named = any(end in text for end in ends) or f"`…/{path.rsplit('/', 1)[1]}" in text or path.endswith("/results")
        assert named, path


def test_every_parameter_is_in_the_reference(checkout: Path) -> None:
    named = set(re.findall(r"\w+", (checkout / "docs" / "reference" / "http-api.md").read_text()))
    for operation in describe()["paths"].values():
        assert {parameter["name"] for parameter in operation["get"]["parameters"]} - named == set()
