"""The program of `keeper`'s process: `python -m patchbay_runner.library.zygote DESCRIPTOR`."""

from __future__ import annotations

import socket
import sys

from patchbay_runner.kernel import syscalls
from patchbay_runner.kernel.sandbox import serve_forever
from patchbay_runner.library.keeper import LAB_ENTRY
from patchbay_runner.library.recorded import serve_recorded

if __name__ == "__main__":
    # What a program that has entered passes on is for making labs; the agent chooses what programs in them get.
    syscalls.clear_ambient_capabilities()
    serve_forever(socket.socket(fileno=int(sys.argv[1])), {LAB_ENTRY: serve_recorded}, None)
