"""Link conditions made real, by one of two engines behind one interface.

`line`, `segments` and `lateness` are pure: what befalls each frame, where a segment of many frames is cut for it, and
how late frames were. The emulator's frames go `splice` (out of the kernel) → `relay` in the process of a `shard` →
back.
"""

from patchbay_runner.kernel.links.emulator import LinkEmulator
from patchbay_runner.kernel.links.engine import LinkEngine, LinkPort
from patchbay_runner.kernel.links.netem import NetemEngine, has_netem


def link_engine(seed: int | None = None) -> LinkEngine:
    """The engine for this kernel: its own where it has netem and tbf, else ours.

    `seed` None is a different one each time for netem, and 0 for the emulator, which is always repeatable.
    """
    return NetemEngine(seed) if has_netem() else LinkEmulator(seed or 0)


__all__ = [
    "LinkEmulator",
    "LinkEngine",
    "LinkPort",
    "NetemEngine",
    "has_netem",
    "link_engine",
]
