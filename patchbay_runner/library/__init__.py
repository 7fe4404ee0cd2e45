"""The library: labs in Python programs and test suites. `patchbay_runner` exports what is here."""

from patchbay_runner.library.devices import Device
from patchbay_runner.library.entered import enter
from patchbay_runner.library.interfaces import Interface
from patchbay_runner.library.lab import Lab
from patchbay_runner.library.nat64 import embed_v4_in_nat64
from patchbay_runner.library.nodes import Node
from patchbay_runner.library.processes import DEVNULL, PIPE, STDOUT, Popen
from patchbay_runner.library.reflectors import Reflector
from patchbay_runner.library.routers import Ix, Router
from patchbay_runner.library.tasks import AsyncProcess, Task

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "AsyncProcess",
    "Device",
    "Interface",
    "Ix",
    "Lab",
    "Node",
    "Popen",
    "Reflector",
    "Router",
    "Task",
    "embed_v4_in_nat64",
    "enter",
]
