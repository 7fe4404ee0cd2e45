"""Runs that others push: taken in as a stream, kept whole, deleted when they are too many."""
