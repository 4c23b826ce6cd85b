"""Secrets where systems keep them that write their daemons' files themselves: a change belongs there, or it is undone.

Each parser has a `Source` and gives a `Parsed` with entries alone. What a value means to the daemon is what the system
makes of it: nearly always the text as it stands.
"""
