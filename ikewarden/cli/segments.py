"""Names of things as segments of a path of the service."""

from urllib.parse import quote

import click


def segment(name: str) -> str:
    """The name, encoded (RFC 3986 §2.1), whatever its octets are. An empty one would be another path: UsageError."""
    if not name:
        raise click.UsageError("A name is empty.")
    return quote(name, safe="", errors="surrogateescape")
