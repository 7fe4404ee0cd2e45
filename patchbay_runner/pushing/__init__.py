"""Run directories on their way to a server: found, packed and sent as a stream."""
