"""Measurements. `make bench` runs them all; each prints one JSON document and compares within its own run."""
