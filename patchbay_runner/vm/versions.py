"""Which patchbay runs in a machine: `--patchbay-version`. Pure."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

EXPECTED = "latest, a version such as 0.1.0, git:REF, git:URL#REF or path:WHEEL"
DISTRIBUTION = "patchbay-runner"

# PEP 440, as far as releases are called by it; the "v" is what tags have.
_RELEASE = re.compile(r"v?(?P<version>[0-9]+(?:\.[0-9]+)*(?:(?:a|b|rc)[0-9]+)?(?:\.post[0-9]+)?(?:\.dev[0-9]+)?)")
# What git takes for a branch, a tag or a commit, and no option of a command.
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+-]*")


class Version(msgspec.Struct, frozen=True):
    """`own` is the one that is running here, whose `value` is empty. `release` is of the package index."""

    kind: Literal["own", "latest", "release", "git", "path"]
    value: str = ""
    repository: str = ""


OWN = Version("own")


def parse_version(text: str) -> Version:
    """Raises ValueError with what is wrong."""
    if text == "latest":
        return Version("latest")
    kind, colon, value = text.partition(":")
    if colon and kind == "path" and value:
        return Version("path", value)
    if colon and kind == "git":
        repository, mark, ref = value.rpartition("#")
        if _REF.fullmatch(ref) and (not mark or repository):
            return Version("git", ref, repository)
    elif release := _RELEASE.fullmatch(text):
        return Version("release", release["version"])
    raise ValueError(f"{text!r} is no version of patchbay; expected {EXPECTED}")
