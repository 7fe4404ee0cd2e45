"""`--binary name:mode:value`: another source for a binary than its sim says. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec

from patchbay_runner.errors import Diagnostic, InputError
from patchbay_runner.model.plan import Binary, Plan
from patchbay_runner.model.topology import Origin

EXPECTED = "NAME:MODE:VALUE, with the mode path, fetch, build or target"


class Override(msgspec.Struct, frozen=True):
    """`text` is what was written."""

    name: str
    mode: str
    value: str
    text: str


def parse_override(text: str) -> Override:
    """Raises ValueError with what is wrong."""
    name, _, rest = text.partition(":")
    mode, _, value = rest.partition(":")
    if not name or not mode or not value:
        raise ValueError(f"found {text!r}; expected {EXPECTED}")
    if mode not in ("path", "fetch", "build", "target"):
        raise ValueError(f"unknown mode {mode!r}; expected {EXPECTED}")
    if mode == "fetch" and not value.startswith(("http://", "https://")):
        raise ValueError(f"found {value!r}; expected an http:// or https:// address, or the mode path for a file")
    return Override(name, mode, value, text)


def override_binaries(
    plans: Sequence[Plan], overrides: Sequence[Override], declared: Collection[str], cwd: Path
) -> list[Plan]:
    """The plans with other sources. Values that are paths are relative to `cwd`.

    Raises InputError for two overrides of one name, and for a name that is not `declared`.
    """
    by_name: dict[str, Override] = {}
    problems = []
    known = sorted(declared)
    for override in overrides:
        place = f"--binary {override.text}"
        if override.name in by_name:
            message = f"{by_name[override.name].text} overrides {override.name!r} already"
            problems.append(Diagnostic(place, 0, "", message))
        elif override.name not in known:
            near = difflib.get_close_matches(override.name, known, n=1)
            expected = f"one of: {', '.join(known)}" if known else "a sim that declares it"
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            problems.append(Diagnostic(place, 0, "", f"no sim declares a binary {override.name!r}{hint}", expected))
        by_name.setdefault(override.name, override)
    if problems:
        raise InputError(problems)
    return [
        msgspec.structs.replace(plan, binaries=tuple(_overridden(binary, by_name, cwd) for binary in plan.binaries))
        for plan in plans
    ]


def _overridden(binary: Binary, overrides: dict[str, Override], cwd: Path) -> Binary:
    override = overrides.get(binary.name)
    if override is None:
        return binary
    origin = Origin(f"--binary {override.text}")
    value = override.value
    match override.mode:
        case "path":
            path = value if value.startswith("target:") else str((cwd / Path(value).expanduser()).resolve())
            return Binary(name=binary.name, mode="path", path=path, origin=origin)
        case "fetch":
            return Binary(name=binary.name, mode="fetch", url=value, origin=origin)
        case "target":
            return Binary(name=binary.name, mode="path", path=f"target:{value}", origin=origin)
    built = Binary(
        name=binary.name,
        mode="build",
        example=binary.example,
        bin=binary.bin,
        features=binary.features,
        all_features=binary.all_features,
        origin=origin,
    )
    repo, _, commit = value.partition("#")
    if "://" in repo:
        return msgspec.structs.replace(built, repo=repo, commit=commit or binary.commit)
    return msgspec.structs.replace(built, path=str((cwd / Path(value).expanduser()).resolve()))
