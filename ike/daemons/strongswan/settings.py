"""swanctl.conf: written, and read with what it includes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ike.secrets.reading import read_settings
from ike.secrets.settings_syntax import Section
from ike.secrets.tree import Tree

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


def read(path: Path) -> Section:
    """A file with all that it includes, in the order in which swanctl takes it.

    What cannot be read or understood is passed over: swanctl takes nothing of such a file, but nor does it forget then
    what it had loaded.
    """
    return read_settings(Tree(), str(path)).top
