"""Sims on other machines: what travels to the workers of a Dask cluster, and what comes home."""
