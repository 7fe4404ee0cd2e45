"""The two processes around the agent: outer, which makes the namespaces, and init, which is PID 1 in them."""

from __future__ import annotations

import os
import select
import signal
import socket
from typing import NoReturn

from patchbay_runner.errors import KernelError
from patchbay_runner.kernel import capabilities, syscalls
from patchbay_runner.kernel.sandbox import messages
from patchbay_runner.kernel.sandbox.agent import STATUS_OF_EXCEPTION, Job, report_failure, run_agent
from patchbay_runner.kernel.user_namespaces import unshare_with_user

_NAMESPACES = (
    syscalls.CLONE_NEWPID | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWNET
)


def run_outer(job: Job, zygote_pid: int, lifeline: int) -> NoReturn:
    """The process the zygote forks: makes the namespaces, forks init, tells the parent when it has ended."""
    try:
        os.setsid()
        _make_namespaces(job.options)
        _die_with_parent(lifeline)
        if os.getppid() != zygote_pid:
            os._exit(STATUS_OF_EXCEPTION)
        own_lifeline, held = os.pipe()
        init = os.fork()
        if init == 0:
            os.close(held)
            _run_init(job, lifeline, own_lifeline)
        _watch(job, init, lifeline)
    except (KernelError, OSError) as error:
        report_failure(job.status, error)
    finally:
        os._exit(STATUS_OF_EXCEPTION)


def _make_namespaces(options: messages.SandboxOptions) -> None:
    uid, gid = os.geteuid(), os.getegid()
    inner_uid, inner_gid = (0, 0) if options.user == "root" else (uid, gid)
    if capabilities.is_capable() and inner_uid == uid:
        syscalls.unshare(_NAMESPACES)
        return
    unshare_with_user(_NAMESPACES, inner_uid, inner_gid)


def _die_with_parent(*lifelines: int) -> None:
    # Changes of credentials clear the parent-death signal, so this comes after them. The look at the lifelines covers
    # a parent that ended before: getppid cannot tell init, for it is 0 whoever the parent outside is.
    syscalls.set_parent_death_signal(signal.SIGKILL)
    if select.select(lifelines, [], [], 0)[0]:
        os._exit(STATUS_OF_EXCEPTION)


def _watch(job: Job, init: int, lifeline: int) -> NoReturn:
    job.drop()
    init_pidfd = os.pidfd_open(init)
    messages.send(job.status, messages.InitStarted(), [init_pidfd])
    poller = select.poll()
    poller.register(init_pidfd, select.POLLIN)
    poller.register(lifeline, select.POLLIN)
    ready = [fd for fd, _ in poller.poll()]
    if init_pidfd not in ready:
        os.kill(init, signal.SIGKILL)
    _, status = os.waitpid(init, 0)
    messages.send(job.status, messages.InitEnded(status))
    os._exit(0)


def _run_init(job: Job, *lifelines: int) -> NoReturn:
    """PID 1. After the agent's fork it only reaps: signals without a handler do not reach it, but for SIGKILL.

    Its end, one way or the other, makes the kernel end everything in the PID namespace.
    """
    try:
        _die_with_parent(*lifelines)
        agent = os.fork()
        if agent == 0:
            os.setsid()
            syscalls.set_parent_death_signal(signal.SIGKILL)
            messages.close_all(lifelines)
            run_agent(job)
        job.drop()
        _reap_until(agent, job.status)
    except (KernelError, OSError) as error:
        report_failure(job.status, error)
    finally:
        os._exit(STATUS_OF_EXCEPTION)


def _reap_until(agent: int, status: socket.socket) -> None:
    while True:
        pid, wait_status = os.waitpid(-1, 0)
        if pid == agent:
            messages.send(status, messages.AgentEnded(wait_status))
            os._exit(0)
