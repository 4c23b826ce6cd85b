"""A value that must never be printed."""

from typing import Final, final


@final
class Secret:
    """Bytes that show as `Secret(…)` wherever they are printed, logged, formatted or pickled.

    `reveal()` is the only way to the value, so that every use can be found by searching for it.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes | str) -> None:
        self._value: Final[bytes] = value.encode() if isinstance(value, str) else bytes(value)

    def reveal(self) -> bytes:
        """The value itself. Pass it on at once; do not keep it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled")

    def __eq__(self, other: object) -> bool:
        raise TypeError("compare secrets with hmac.compare_digest(a.reveal(), b.reveal())")

    __hash__ = None  # type: ignore[assignment]
