"""Signs of a condition: when, and by which line."""

from collections.abc import Sequence

Sign = tuple[float | None, int]


def note(signs: list[Sign], at: float | None, line: int, span: float, most: int) -> int:
    """Add a sign, drop those before `at - span`, keep `most`; gives how many there are."""
    signs.append((at, line))
    if at is not None:
        since = at - span
        while signs[0][0] is not None and signs[0][0] < since:
            del signs[0]
    if len(signs) > most:
        del signs[0]
    return len(signs)


def lines_of(signs: Sequence[Sign]) -> list[int]:
    """The lines of signs."""
    return [line for _, line in signs]
