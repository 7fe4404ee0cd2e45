"""Run directories over HTTP: what is in them, live, and new ones that others push."""
