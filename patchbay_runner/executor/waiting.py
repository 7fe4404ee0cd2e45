"""`wait` and `wait-for-capture`."""

from __future__ import annotations

import asyncio

from patchbay_runner.executor.interpolation import Resolver
from patchbay_runner.executor.session import Session
from patchbay_runner.model.steps import Wait, WaitForCapture


async def wait(session: Session, step: Wait, resolver: Resolver) -> None:
    """Sleeps for the step's duration."""
    await asyncio.sleep(step.duration_s)


async def wait_for_capture(session: Session, step: WaitForCapture, resolver: Resolver) -> None:
    """Waits until a capture has been recorded often enough."""
    await resolver.capture(step.capture, step.count)
