"""Messages of charon's plugin error-notify as events of SAs. Pure.

Each is one packed structure of 768 bytes (strongSwan's error_notify_msg.h; seen so from charon 5.9.8): a type in
network order, and four texts of fixed size that end with a zero. The texts hold what a peer sent, cut to their size.
"""

import struct
from collections.abc import Mapping
from typing import Final

from ike.events.event import SaEvent

MESSAGE: Final = struct.Struct("!i384s64s256s60s")
# By type: the event, and the reason where there is one, as for charon's `alert` over VICI. What says nothing of a
# negotiation is not in it: RADIUS, virtual addresses, what was not installed, messages that are no IKE.
_TYPES: Final[Mapping[int, tuple[str, str | None]]] = {
    2: ("auth_failed", "refused"),
    3: ("auth_failed", "key"),
    6: ("giving_up", None),
    7: ("ike_timeout", None),
    8: ("proposal_mismatch", None),
    9: ("proposal_mismatch", None),
    10: ("ts_unacceptable", None),
    13: ("duplicate_replaced", "duplicate"),
    16: ("auth_failed", None),
    17: ("cert_invalid", "expired"),
    18: ("cert_revoked", None),
    19: ("cert_invalid", "issuer"),
}
# There are some twenty; newer ones may come.
_MOST_TYPES: Final = 255


def event_of(message: bytes, at: float) -> SaEvent | None:
    """What a message of `MESSAGE.size` bytes says, as of `at`, POSIX seconds; None where it is no event.

    Raises ValueError for what the plugin does not send.
    """
    number, _, name, identity, address = MESSAGE.unpack(message)
    if not 0 < number <= _MOST_TYPES:
        raise ValueError("no message of error-notify")
    found = _TYPES.get(number)
    if found is None:
        return None
    kind, reason = found
    connection, peer = _text(name), _address(_text(address))
    return SaEvent(
        kind,
        0,
        at,
        peer=peer,
        source=peer,
        connection=connection,
        name=connection,
        identity=_text(identity),
        reason=reason,
        daemon="charon",
    )


def _text(field: bytes) -> str | None:
    return field.split(b"\0", 1)[0].decode("utf-8", "replace") or None


def _address(text: str | None) -> str | None:
    """charon writes `address[port]`."""
    return text.split("[", 1)[0] or None if text else None
