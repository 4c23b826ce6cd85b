"""The syntax that strongswan.conf and swanctl.conf share."""

from collections.abc import Mapping
from typing import Any

Section = Mapping[str, Any]


def render(section: Section, depth: int = 0) -> str:
    """A section as text: mappings become sections, everything else `key = value`.

    Every section gets its own lines: strongSwan reads `x { a = b }` on one line as a syntax error.
    """
    margin = "  " * depth
    lines = []
    for key, value in section.items():
        if isinstance(value, Mapping):
            lines.append(f"{margin}{key} {{\n{render(value, depth + 1)}{margin}}}\n")
        else:
            lines.append(f"{margin}{key} = {value}\n")
    return "".join(lines)


def merged(base: Section, over: Section) -> dict[str, Any]:
    """`base` with `over` laid on top, section by section; neither is changed."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            result[key] = merged(below, value)
        else:
            result[key] = value
    return result
