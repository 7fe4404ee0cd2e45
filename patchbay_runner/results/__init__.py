"""The run directory: every read and write of it. `docs/reference/output.md` describes what stands in it."""
