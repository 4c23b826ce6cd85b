"""Pictures are written as graphs (docs/pictures/*.dot) and drawn by graphviz; the drawings are kept, so that nobody
needs it to read or build the pages.
"""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent / "pictures"
_STAMP = "<!-- drawn from {name}, SHA-256 {digest} -->"


def stamp(graph: Path) -> str:
    """What a drawing says of the graph that it was drawn from."""
    return _STAMP.format(name=graph.name, digest=hashlib.sha256(graph.read_bytes()).hexdigest())


def draw() -> list[str]:
    """Draw the graphs that changed; returns the names of those that could not be, for want of graphviz."""
    stale = []
    for graph in sorted(FOLDER.glob("*.dot")):
        drawing = graph.with_suffix(".svg")
        if drawing.exists() and stamp(graph) in drawing.read_text("utf-8"):
            continue
        if shutil.which("dot") is None:
            stale.append(graph.name)
            continue
        command = ["dot", "-Tsvg", str(graph)]
        drawn = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        # The document type names a host that no reader should ask.
        drawn = re.sub(r"<!DOCTYPE[^>]*>\s*", "", drawn)
        drawing.write_text(drawn.rstrip() + "\n" + stamp(graph) + "\n", "utf-8")
    return stale
