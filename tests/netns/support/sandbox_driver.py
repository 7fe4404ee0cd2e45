"""A parent with a zygote and a sandbox full of stubborn programs, to be killed by a test.

`python sandbox_driver.py once` starts one sandbox, says "ready" with the pids it knows as JSON, says how the sandbox
ended, reads a line, runs a second sandbox to show that the zygote still serves, and ends with its standard input.
`python sandbox_driver.py churn` says "ready" and starts and ends sandboxes until it is killed.
"""

from __future__ import annotations

import json
import os
import sys

from support.sandbox_inside import new_node, spawn

from patchbay_runner.errors import SandboxDied
from patchbay_runner.kernel.sandbox import SandboxContext, Zygote

STUBBORN = "trap '' TERM HUP INT; sleep 300 & sleep 300"
DAEMON = "import os, time\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0: time.sleep(300)\n os._exit(0)\n"


def fill(context: SandboxContext) -> int:
    """Nodes joined by a link, programs that ignore signals, a daemon that forked away; then waits to be killed."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    nodes = [new_node(f"n{n}") for n in range(2)]
    spawn(nodes[0], ["ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"], null)
    for node in nodes:
        spawn(node, ["sh", "-c", STUBBORN], null)
    spawn(nodes[1], ["python3", "-S", "-c", DAEMON], null)
    context.control.send(b"full")
    context.control.recv(1)
    return 0


def _say(word: str, content: object) -> None:
    sys.stdout.write(f"{word} {json.dumps(content)}\n")
    sys.stdout.flush()


def once() -> None:
    with Zygote.start({"fill": fill, "nothing": lambda _: 0}) as zygote:
        with zygote.sandbox("fill") as sandbox:
            assert sandbox.control.recv(10) == b"full"
            _say("ready", {"parent": os.getpid(), "zygote": zygote.pid, "outer": sandbox.pid})
            ended = sandbox.wait()
        _say("ended", {"signal": ended.signal, "error": type(ended.error).__name__})
        sys.stdin.readline()
        try:
            with zygote.sandbox("nothing") as sandbox:
                _say("next", sandbox.wait().status)
        except SandboxDied as error:
            _say("next", str(error))
        sys.stdin.read()


def churn() -> None:
    with Zygote.start({"fill": fill}) as zygote:
        _say("ready", {"parent": os.getpid(), "zygote": zygote.pid})
        while True:
            with zygote.sandbox("fill") as sandbox:
                sandbox.control.recv(10)


if __name__ == "__main__":
    {"once": once, "churn": churn}[sys.argv[1]]()
