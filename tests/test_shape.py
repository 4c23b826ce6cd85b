"""The shape of the code: small modules, short functions, telling names (DESIGN §2, house rule 14)."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOMS = ("core", "store", "hsm", "ike", "pki", "fleet", "api", "scheduler", "ikewarden")
ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(
    path
    for room in ROOMS
    for path in (ROOT / room).rglob("*.py")
    if "versions" not in path.parts  # migrations list every column of every table
)
MAX_MODULE = 400
MAX_FUNCTION = 50
VAGUE = {"utils", "util", "helpers", "helper", "manager", "service", "misc", "common"}
_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def _docstring_lines(tree: ast.AST) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                lines |= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return lines


def _code_lines(source: str) -> set[int]:
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return lines - _docstring_lines(ast.parse(source))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_small_and_its_functions_are_short(path: Path) -> None:
    assert path.stem not in VAGUE
    source = path.read_text("utf-8")
    code = _code_lines(source)
    assert len(code) <= MAX_MODULE, f"{len(code)} lines of code"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = len([n for n in code if node.lineno <= n <= (node.end_lineno or node.lineno)])
            assert length <= MAX_FUNCTION, f"{node.name} has {length} lines of code"


# What is right where it is left out, whatever the machine has.
_LEFT_OUT = {
    "tests/fixtures/another_year.py",  # `make future`, for some programs have a clock of their own
    "tests/fixtures/needs.py",
    "tests/ike/daemons/test_libreswan_live.py",  # its like runs where the kernel has ESP
    "tests/scheduler/test_telling.py",  # as another_year
}


def test_nothing_is_left_out_silently_in_ci() -> None:
    """Tests ask by tests/fixtures/needs.py for what may not be there."""
    leaves_out = re.compile(r"\b(mark\.skip|skipif|importorskip|pytest\.skip)\b")
    found = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("*.py")
        if path != Path(__file__) and leaves_out.search(path.read_text("utf-8"))
    }
    assert found == _LEFT_OUT


def test_the_measure_sees_a_long_function() -> None:
    body = "\n".join(f"    x = {number}" for number in range(60))
    assert len(_code_lines(f'def f():\n    """Text."""\n{body}\n')) == 61
