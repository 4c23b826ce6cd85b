"""Shared secrets of tunnels and their rotation: made before broken, proven by both ends, undone on failure."""
