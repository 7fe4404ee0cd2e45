"""Where a run comes from, as CI services tell it in the environment of their jobs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from patchbay_runner.results.origin import RunOrigin, origin_of


def origin_in(environment: Mapping[str, str]) -> RunOrigin:
    """What GitHub Actions (and services that set the same variables) or GitLab CI tell; nothing elsewhere."""
    if environment.get("GITHUB_ACTIONS") == "true":
        return _github(environment)
    if environment.get("GITLAB_CI") == "true":
        return _gitlab(environment)
    return RunOrigin()


def merged(*origins: RunOrigin) -> RunOrigin:
    """Each field from the first origin that has it."""
    fields: dict[str, Any] = {}
    for origin in reversed(origins):
        fields |= {name: value for name, value in msgspec.structs.asdict(origin).items() if value is not None}
    return RunOrigin(**fields)


def _github(environment: Mapping[str, str]) -> RunOrigin:
    """https://docs.github.com/en/actions/reference/workflows-and-actions/variables"""
    event = _github_event(environment.get("GITHUB_EVENT_PATH", ""))
    request, commit = _table(event, "pull_request"), _table(event, "head_commit")
    return origin_of(
        {
            "project": _project(environment.get("GITHUB_REPOSITORY", "")),
            "branch": environment.get("GITHUB_HEAD_REF") or environment.get("GITHUB_REF_NAME"),
            "commit": environment.get("GITHUB_SHA"),
            "pr": request.get("number"),
            "pr_url": request.get("html_url"),
            "title": request.get("title") or commit.get("message"),
        }
    )


def _github_event(path: str) -> object:
    """The event that started the job, a file of JSON. Without it, less is known."""
    if not path:
        return None
    try:
        return msgspec.json.decode(Path(path).read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _table(value: object, name: str) -> dict[str, Any]:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _gitlab(environment: Mapping[str, str]) -> RunOrigin:
    """https://docs.gitlab.com/ci/variables/predefined_variables/"""
    number, project_url = environment.get("CI_MERGE_REQUEST_IID"), environment.get("CI_MERGE_REQUEST_PROJECT_URL")
    source = environment.get("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME")
    return origin_of(
        {
            "project": _project(environment.get("CI_PROJECT_NAME", "")),
            "branch": source or environment.get("CI_COMMIT_REF_NAME"),
            "commit": environment.get("CI_COMMIT_SHA"),
            "pr": number,
            "pr_url": f"{project_url}/-/merge_requests/{number}" if number and project_url else None,
            "title": environment.get("CI_MERGE_REQUEST_TITLE") or environment.get("CI_COMMIT_TITLE"),
        }
    )


def _project(repository: str) -> str:
    """The repository's own name, with `-` for what names of projects cannot hold."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", repository.rpartition("/")[2])[:100]
