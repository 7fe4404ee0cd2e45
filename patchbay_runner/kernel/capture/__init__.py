"""Packet captures: pcapng files of a lab's interfaces, written by one process beside the agent.

::

    node ── packet socket on all interfaces, ring ──┐
    node ── packet socket on all interfaces, ring ──┼── process.py ── tap.py ── writer.py ── <node>.<iface>.pcapng
    node ── …                                       ┘   one a lab     a node    an interface
"""

from patchbay_runner.kernel.capture.process import Capturer, CaptureReport, NodeTap
from patchbay_runner.kernel.capture.writer import InterfaceCounts, Keeper

__all__ = ["CaptureReport", "Capturer", "InterfaceCounts", "Keeper", "NodeTap"]
