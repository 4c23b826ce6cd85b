"""Benchmarks against a named peer, in one run, alternating, on the same transport: `python -m bench`."""
