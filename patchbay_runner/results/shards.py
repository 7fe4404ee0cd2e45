"""Sims dealt to several machines, so that all are ready at about the same time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from patchbay_runner.results.documents import Manifest, Status

# Of a sim about which no earlier run says anything, when none says anything at all.
_ANY_DURATION_S = 1.0
_TELLING = (Status.OK, Status.ERROR, Status.OVERLOADED)
_DIGEST_CHARACTERS = 16


class SimKey(msgspec.Struct, frozen=True, order=True):
    """A variant, the same on every machine that sees the same files from the same working directory."""

    source: str
    name: str


class Shard(msgspec.Struct, frozen=True):
    """One of `total` parts, counted from 1."""

    index: int
    total: int

    def __str__(self) -> str:
        return f"{self.index}/{self.total}"


def deal(sims: Sequence[SimKey], durations_s: Mapping[SimKey, float], total: int) -> list[int]:
    """The shard of each sim, from 1 to `total`: the longest first, each to the shard with the least to do.

    A sim of unknown duration counts as the median of the known ones; when none is known, all count the same, so the
    shards get equal numbers. The same sims and durations always give the same shards. (Graham's rule: the longest
    shard takes at most 4/3 of the least time possible.)
    """
    typical_s = sorted(durations_s.values())[len(durations_s) // 2] if durations_s else _ANY_DURATION_S
    takes_s = [durations_s.get(sim, typical_s) for sim in sims]
    load_s, numbers, shards = [0.0] * total, [0] * total, [0] * len(sims)
    for position in sorted(range(len(sims)), key=lambda each: (-takes_s[each], each)):
        chosen = min(range(total), key=lambda shard: (load_s[shard], numbers[shard], shard))
        load_s[chosen] += takes_s[position]
        numbers[chosen] += 1
        shards[position] = chosen + 1
    return shards


def digest(sims: Sequence[SimKey], shards: Sequence[int], total: int) -> str:
    """Names a way of dealing: shards whose digests differ may miss sims between them, or have some twice."""
    dealt = sorted(zip(sims, shards, strict=True))
    return hashlib.sha256(msgspec.json.encode([total, dealt])).hexdigest()[:_DIGEST_CHARACTERS]


def durations(runs: Iterable[Manifest]) -> dict[SimKey, float]:
    """How long sims took that ran to their end, in seconds; the mean where there are several figures."""
    figures: dict[SimKey, list[float]] = {}
    for run in runs:
        for summary in run.simulations:
            if summary.status in _TELLING and summary.runtime_ms is not None:
                key = SimKey(summary.source, summary.sim)
                figures.setdefault(key, []).append(summary.runtime_ms / 1000)
    return {key: sum(values) / len(values) for key, values in figures.items()}
