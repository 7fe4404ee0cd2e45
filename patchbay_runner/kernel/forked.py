"""What a process does first that the agent has forked for a job of its own."""

from __future__ import annotations

import os
import signal

from patchbay_runner.kernel import syscalls


def leave_parent(parent: int) -> None:
    """Ends with the process `parent`, and does away with its signal handlers; Ctrl-C is nobody's but the runner's."""
    syscalls.set_parent_death_signal(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def silence_standard_streams() -> None:
    """Standard input, output and error are nothing from now on."""
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    if null > 2:
        os.close(null)
