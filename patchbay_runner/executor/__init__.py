"""Carries out a plan's steps in a network."""

from patchbay_runner.executor.network import Network
from patchbay_runner.executor.run import run_plan
from patchbay_runner.executor.session import RunOptions

__all__ = ["Network", "RunOptions", "run_plan"]
