"""Fields of a JSON document that is not trusted: each of the kind it must be, bounded, and no other is there."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from ike.audit.windows.errors import CollectedInvalid

MAX_TEXT: Final = 4096
_MARKS: Final = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),  # what `>` writes in Windows PowerShell
    (b"\xfe\xff", "utf-16"),
)


def document(content: bytes) -> Any:
    """The JSON value in some octets, UTF-8 or UTF-16 with its mark. Raises CollectedInvalid."""
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        return json.loads(
            content.decode(encoding), object_pairs_hook=_object, parse_constant=_constant
        )
    except (ValueError, RecursionError):  # ValueError: of the decoder, and of the two below
        raise CollectedInvalid("The document is no JSON, or not all of it is there.") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _constant(_name: str) -> None:
    raise ValueError("no number of JSON")


class Fields:
    """An object of the document; `where` is its place there."""

    def __init__(self, value: Any, where: str = "") -> None:
        if not isinstance(value, dict):
            raise CollectedInvalid(f"{where or 'The document'} is no object.")
        self._value = value
        self._where = where
        self._asked: set[str] = set()

    def text(self, name: str, limit: int = MAX_TEXT) -> str:
        """A text of at most `limit` characters."""
        value = self._take(name)
        if not isinstance(value, str) or len(value) > limit:
            raise self._unfit(name, f"a text of at most {limit} characters")
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self._take(name)
        if not isinstance(value, bool):
            raise self._unfit(name, "true or false")
        return value

    def flag_or_none(self, name: str) -> bool | None:
        """True, false or null."""
        value = self._take(name)
        if value is not None and not isinstance(value, bool):
            raise self._unfit(name, "true, false or null")
        return value

    def number(self, name: str, limit: int) -> int:
        """A whole number from 0 to `limit`."""
        value = self._take(name)
        if type(value) is not int or not 0 <= value <= limit:
            raise self._unfit(name, f"a whole number up to {limit}")
        return value

    @contextmanager
    def one(self, name: str) -> Iterator["Fields | None"]:
        """An object, or None for null."""
        value = self._take(name)
        if value is None:
            yield None
            return
        with Fields(value, self._path(name)).whole() as fields:
            yield fields

    def each(self, name: str, limit: int) -> Iterator["Fields"]:
        """Objects of a list of at most `limit`."""
        value = self._take(name)
        if not isinstance(value, list) or len(value) > limit:
            raise self._unfit(name, f"a list of at most {limit}")
        for number, item in enumerate(value):
            with Fields(item, f"{self._path(name)}[{number}]").whole() as fields:
                yield fields

    @contextmanager
    def whole(self) -> Iterator["Fields"]:
        """Itself; raises CollectedInvalid in the end where there is a field that was not asked for.

        What is not expected may be what must not be there: a secret.
        """
        yield self
        others = len(self._value.keys() - self._asked)
        if others:
            raise CollectedInvalid(
                f"{self._where or 'The document'} has {others} fields that do not belong there."
            )

    def _take(self, name: str) -> Any:
        self._asked.add(name)
        if name not in self._value:
            raise self._unfit(name, "there")
        return self._value[name]

    def _unfit(self, name: str, wanted: str) -> CollectedInvalid:
        return CollectedInvalid(f"{self._path(name)} must be {wanted}.")

    def _path(self, name: str) -> str:
        return f"{self._where}.{name}" if self._where else name
