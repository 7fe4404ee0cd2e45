"""What this host lets labs do: pure looks at its settings, and trials of the real thing in a sandbox."""

from patchbay_runner.kernel.probes.examine import examine_host
from patchbay_runner.kernel.probes.records import Probe, Verdict, fine

__all__ = ["Probe", "Verdict", "examine_host", "fine"]
