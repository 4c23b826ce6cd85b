"""What evidence is called, of whatever kind: every name is among those that are said in other languages."""

import ast
from collections.abc import Iterator
from pathlib import Path

import ike.detection
from ike.detection.alert import EVIDENCE

MODULES = sorted(Path(ike.detection.__file__).parent.glob("*.py"))
# Documents that evidence is added to before it is told.
_GROWING = {"evidence", "told"}


def names(tree: ast.AST) -> Iterator[str]:
    """What stands before a value: in a dictionary that a function makes, or adds to."""
    functions = (each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef))
    for node in (node for function in functions for node in ast.walk(function)):
        keys: list[ast.expr | None] = []
        if isinstance(node, ast.Dict):
            keys = node.keys
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) in _GROWING:
            keys = [node.slice]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "evidence.setdefault":
            keys = node.args[:1]
        for key in keys:
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield key.value


def test_every_name_is_known_and_none_is_left_over() -> None:
    found = {name for path in MODULES for name in names(ast.parse(path.read_text("utf-8")))}
    assert sorted(found ^ EVIDENCE) == []
