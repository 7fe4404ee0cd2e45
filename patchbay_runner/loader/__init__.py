"""TOML files to plans: pure, and everything that can be found wrong without running is found here, all at once."""

from patchbay_runner.loader.load import Loaded, load, load_network

__all__ = ["Loaded", "load", "load_network"]
