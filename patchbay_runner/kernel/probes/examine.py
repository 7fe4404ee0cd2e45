"""All probes of this host, in the order in which a reader wants them."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Mapping

import msgspec

from patchbay_runner.errors import HostError, PatchbayError, SandboxDied
from patchbay_runner.kernel import remedies
from patchbay_runner.kernel.capabilities import is_capable
from patchbay_runner.kernel.probes import host, limits
from patchbay_runner.kernel.probes.inside import inotify_room, probe_inside
from patchbay_runner.kernel.probes.records import Probe, fine
from patchbay_runner.kernel.sandbox import Entry, SandboxContext, Zygote
from patchbay_runner.kernel.sandbox.diagnosis import exhaustion

_INSIDE = "probe"
_LARGEST_REPLY_BYTES = 64 * 1024
# Far more than anything here takes on a host that can run labs at all.
_PATIENCE_S = 60.0


class _Inside(msgspec.Struct, frozen=True):
    """What the sandbox reports."""

    probes: list[Probe]
    inotify_instances: int


def examine_host(trials: Mapping[str, Entry]) -> list[Probe]:
    """Everything that labs need of this host. `trials` are sandbox entries that send one Probe, as JSON, by control.

    The process must have one thread. A host that can make no sandbox is examined from outside only.
    """
    inside: _Inside | None = None
    tried: list[Probe] = []
    try:
        with Zygote.start({_INSIDE: _report, **trials}) as zygote:
            began = time.monotonic()
            inside = msgspec.json.decode(_reply(zygote, _INSIDE), type=_Inside)
            took_s = time.monotonic() - began
            sandbox = fine("sandbox", f"namespaces, mounts and probes took {took_s:.2f} s, {_rights()}")
            tried = [_tried(zygote, name) for name in trials]
    except (PatchbayError, OSError) as error:
        sandbox = _refused(error)
    return [
        host.kernel_version(os.uname().release),
        sandbox,
        host.apparmor(remedies.read_setting, is_capable=is_capable(), has_sandbox=inside is not None),
        host.nftables_library(),
        host.nft_program(),
        *(inside.probes if inside else ()),
        *tried,
        *_limits(inotify_room() if inside is None else inside.inotify_instances),
    ]


def _report(context: SandboxContext) -> int:
    context.control.send(msgspec.json.encode(_Inside(probe_inside(), inotify_room())))
    return 0


def _reply(zygote: Zygote, entry: str) -> bytes:
    """What a sandbox's entry sends. Raises what kept it from that."""
    with zygote.sandbox(entry) as sandbox:
        sandbox.wait_ready(_PATIENCE_S)
        sandbox.control.settimeout(_PATIENCE_S)
        if reply := sandbox.control.recv(_LARGEST_REPLY_BYTES):
            return reply
        raise sandbox.wait(_PATIENCE_S).error or SandboxDied(f"the sandbox of {entry} ended without a word")


def _tried(zygote: Zygote, name: str) -> Probe:
    try:
        return msgspec.json.decode(_reply(zygote, name), type=Probe)
    except (PatchbayError, OSError) as error:
        return Probe(name=name, verdict="missing", found=str(error), is_needed=True)


def _refused(error: PatchbayError | OSError) -> Probe:
    problem = exhaustion(error) or error if isinstance(error, OSError) else error
    found, remedy = (problem.problem, problem.remedy) if isinstance(problem, HostError) else (str(problem), "")
    return Probe(
        name="sandbox",
        verdict="missing",
        found=found,
        meaning="nothing that follows from a sandbox was tried",
        remedy=remedy,
        is_needed=True,
    )


def _rights() -> str:
    return "with capabilities of our own" if is_capable() else "in a user namespace"


def _limits(inotify_instances: int) -> list[Probe]:
    kinds = ("net", "mnt", "uts", "pid", "ipc") if is_capable() else ("user", "net", "mnt", "uts", "pid", "ipc")
    return [
        limits.namespaces(remedies.read_setting, kinds),
        *limits.control_groups(remedies.read_text),
        limits.open_files(resource.getrlimit(resource.RLIMIT_NOFILE)),
        limits.inotify(inotify_instances, remedies.read_text),
        limits.neighbours(remedies.read_setting),
    ]
