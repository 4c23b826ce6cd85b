"""The syntax of swanctl.conf. Pure."""

from collections.abc import Mapping
from typing import Any

HEAD = "# Written by the ikewarden agent, which replaces it. Do not edit.\n"


def render(section: Mapping[str, Any], depth: int = 0) -> str:
    """A section as text: mappings become sections, lists are joined, the rest is `key = "value"`.

    Every section gets lines of its own: `x { a = b }` on one line is a syntax error. Values are quoted; none may hold
    a quotation mark, a backslash or a control character, which `ike.daemons.connections` sees to.
    """
    margin = "  " * depth
    lines = []
    for key, value in section.items():
        if isinstance(value, Mapping):
            lines.append(f"{margin}{key} {{\n{render(value, depth + 1)}{margin}}}\n")
        else:
            text = ", ".join(value) if isinstance(value, list | tuple) else str(value)
            lines.append(f'{margin}{key} = "{text}"\n')
    return "".join(lines)
