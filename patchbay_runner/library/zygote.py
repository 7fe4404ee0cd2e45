"""The program of `keeper`'s process: `python -m patchbay_runner.library.zygote DESCRIPTOR`."""

from __future__ import annotations

import socket
import sys

from patchbay_runner.kernel.sandbox import serve_forever
from patchbay_runner.lab.agent import serve_lab
from patchbay_runner.library.keeper import LAB_ENTRY

if __name__ == "__main__":
    serve_forever(socket.socket(fileno=int(sys.argv[1])), {LAB_ENTRY: serve_lab}, None)
