"""What a slot's connection is called at each end, and by which identities, where it is the operator's own."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from core.errors import InvalidInput
from fleet import identities
from fleet.rotation.values import Side

_LONGEST = 200


class BindingRefused(InvalidInput):
    """A connection or identity that cannot be meant."""

    code = "binding_refused"
    next_step = "Name the connection as the daemon does, and identities as dns:gw1.example.com or ip:192.0.2.1."


@dataclass(frozen=True)
class Binding:
    """None stands for the tunnel's name, and for the first identity on record of that end."""

    left_connection: str | None = None
    right_connection: str | None = None
    left_identity: str | None = None
    right_identity: str | None = None
    ike_version: int = 2

    def connection(self, side: Side) -> str | None:
        """What the connection is called at this end."""
        return self.left_connection if side is Side.LEFT else self.right_connection

    def identity(self, side: Side) -> str | None:
        """By which identity this end is known."""
        return self.left_identity if side is Side.LEFT else self.right_identity


def checked(given: Binding) -> Binding:
    """The binding with identities in their only spelling. Raises BindingRefused, InvalidName, IdentitiesRefused."""
    for name in (given.left_connection, given.right_connection):
        if name is not None and (not name.isprintable() or not 1 <= len(name) <= _LONGEST):
            raise BindingRefused(
                f"The name of a connection has 1 to {_LONGEST} visible characters."
            )
    if given.ike_version not in (1, 2):
        raise BindingRefused("The version of IKE is 1 or 2.")
    return replace(
        given,
        left_identity=_spelled(given.left_identity),
        right_identity=_spelled(given.right_identity),
    )


def _spelled(identity: str | None) -> str | None:
    return None if identity is None else identities.checked([identity])[0]


def document(binding: Binding) -> dict[str, Any] | None:
    """The binding as it is kept; None where it says nothing."""
    return None if binding == Binding() else asdict(binding)


def from_document(kept: Mapping[str, Any] | None) -> Binding:
    """Read what `document` made."""
    return Binding(**(kept or {}))
