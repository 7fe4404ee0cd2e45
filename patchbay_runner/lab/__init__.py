"""Topology to network: addresses and blueprint (pure), then the kernel, runtime changes and the agent's commands."""
