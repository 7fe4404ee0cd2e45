"""Declarative network simulations on Linux network namespaces."""

__version__ = "0.1.0"
