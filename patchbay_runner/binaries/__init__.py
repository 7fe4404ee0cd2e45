"""The programs of sims: found, downloaded and built before any network is."""

from patchbay_runner.binaries.resolve import Options, resolve

__all__ = ["Options", "resolve"]
