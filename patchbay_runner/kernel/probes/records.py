"""What a probe found."""

from __future__ import annotations

from typing import Literal

import msgspec

Verdict = Literal["fine", "weaker", "missing"]


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that labs may need. `weaker` works within limits that `meaning` names; `remedy` is a command or advice.

    Labs cannot run when something `is_needed` is missing.
    """

    name: str
    verdict: Verdict
    found: str
    meaning: str = ""
    remedy: str = ""
    is_needed: bool = False

    @property
    def prevents_labs(self) -> bool:
        """Whether no lab can run because of it."""
        return self.is_needed and self.verdict == "missing"


def fine(name: str, found: str) -> Probe:
    """All is well."""
    return Probe(name=name, verdict="fine", found=found)
