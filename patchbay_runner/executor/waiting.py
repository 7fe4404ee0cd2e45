"""`wait`: sleeping."""

from __future__ import annotations

import asyncio

from patchbay_runner.executor.interpolation import Resolver
from patchbay_runner.executor.session import Session
from patchbay_runner.model.steps import Wait


async def wait(session: Session, step: Wait, resolver: Resolver) -> None:
    """Sleeps for the step's duration."""
    await asyncio.sleep(step.duration_s)
