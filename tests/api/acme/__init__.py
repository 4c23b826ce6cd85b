"""ACME: the door with a client of our own, and with other people's."""
