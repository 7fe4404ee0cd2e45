"""Runs a named entry function in fresh namespaces; knows nothing of labs.

::

    Zygote.start ── fork ──► zygote ── fork ──► outer ── unshare, fork ──► init (PID 1) ── fork ──► agent (PID 2)
    zygote.py                server.py          outer.py                   outer.py                 agent.py

Each of them is killed by the kernel when the one before it ends, and init's end takes everything inside with it.
"""

from patchbay_runner.kernel.sandbox.agent import Entry, SandboxContext
from patchbay_runner.kernel.sandbox.handle import Sandbox, SandboxExit
from patchbay_runner.kernel.sandbox.messages import SandboxOptions
from patchbay_runner.kernel.sandbox.server import serve_forever
from patchbay_runner.kernel.sandbox.zygote import Zygote

__all__ = ["Entry", "Sandbox", "SandboxContext", "SandboxExit", "SandboxOptions", "Zygote", "serve_forever"]
