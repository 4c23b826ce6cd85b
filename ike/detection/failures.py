"""`auth_failures`, `rotation_failed`, `auth_guessing`: failed authentication, per identity and per source.

What is counted are attempts, not lines: one attempt has the number of its IKE SA, or lasts two seconds.

**auth_failures.** Condition: three attempts of one identity failed within 10 minutes, with no success between
(without times: five). Not normal, because in steady state nobody fails. Looks alike and is let pass: one failure, a
failure of the certificate (`certificate_rejected` says it better), several lines about one attempt.

**rotation_failed.** Condition: two attempts failed, or one and nobody succeeded for a minute, on a connection whose
rotation of ours is under way (`Planned`). It stands in place of `auth_failures`: the answer is to roll back.

**auth_guessing.** Condition: within 10 minutes one source failed twenty times without ever having succeeded, or with
five identities (ten where it has succeeded before). Looks alike and is let pass: a gateway of ours that keeps trying
with an old secret (it succeeded before, and has one identity), many clients behind one NAT after a rotation (it is
planned).
"""

from typing import Final

from ike.detection.conditions import Place
from ike.detection.state import Gateway, Suspect, Tunnel, lines_of, note
from ike.events.event import SaEvent

_TIMES, _TIMES_UNTIMED, _WITHIN = 3, 5, 600.0
_GUESSES, _IDENTITIES, _IDENTITIES_OF_KNOWN = 20, 5, 10
_ROTATION_TIMES: Final = 2
_ROTATION_WAIT: Final = 60.0
_SAME, _SAME_LINES = 2.0, 8


def fresh(record: Suspect, category: str, event: SaEvent, at: float | None) -> bool:
    """Is `event` a new attempt, and not one more line about the last one?"""
    last = record.attempts.get(category)
    record.attempts[category] = (event.ike_id, at, event.line)
    if last is None:
        return True
    ike, then, line = last
    if ike is not None and event.ike_id is not None:
        # Under one IKE SA a Child SA may be tried again and again.
        again = (
            category == "proposal" and at is not None and then is not None and at - then >= _SAME
        )
        return ike != event.ike_id or again
    if at is not None and then is not None:
        return at - then >= _SAME
    return event.line - line >= _SAME_LINES


def source_of(event: SaEvent) -> str:
    """Whom a failure is put down to: the address, else the connection, else the identity."""
    return event.source or event.peer or event.name or event.connection or event.identity or ""


def place_of(gateway: Gateway, event: SaEvent) -> Place:
    """The connection where one is known, and the source."""
    name = event.name or event.connection
    source = event.source or event.peer
    if name is None and source is not None:
        name = gateway.sources.get(source)
    return Place(gateway.name, name, source, event.identity)


def failed(gateway: Gateway, event: SaEvent, at: float | None) -> None:
    """`auth_failed`."""
    source = source_of(event)
    suspect = gateway.suspect(source)
    if not fresh(suspect, "auth", event, at):
        _remember(suspect, event, at)
        return
    if _about_certificate(suspect, event, at):
        return
    _remember(suspect, event, at)
    signs = suspect.signs.setdefault("auth", [])
    count = note(signs, at, event.line, _WITHIN, 64)
    place = place_of(gateway, event)
    if gateway.planned and gateway.plan(at, place.connection) == "rotation":
        _failed_in_rotation(gateway, suspect, place, at, count)
        return
    if _guesses(gateway, suspect, place, at, count, event):
        return
    _count_identity(gateway, event, place, at)


def _remember(suspect: Suspect, event: SaEvent, at: float | None) -> None:
    if event.identity is not None and len(suspect.identities) < 64:
        suspect.identities[event.identity] = at


def _about_certificate(suspect: Suspect, event: SaEvent, at: float | None) -> bool:
    last = suspect.certificate
    if last is None:
        return False
    if last[0] is not None and event.ike_id is not None:
        return last[0] == event.ike_id
    if at is not None and last[1] is not None:
        return at - last[1] < _SAME
    return event.line - last[2] < _SAME_LINES


def _guesses(
    gateway: Gateway,
    suspect: Suspect,
    place: Place,
    at: float | None,
    count: int,
    event: SaEvent,
) -> bool:
    known = (event.source or event.peer) in gateway.sources
    if at is not None and suspect.identities:
        for name, then in list(suspect.identities.items()):
            if then is not None and then < at - _WITHIN:
                del suspect.identities[name]
    identities = len(suspect.identities)
    if not (
        (count >= _GUESSES and not known)
        or identities >= (_IDENTITIES_OF_KNOWN if known else _IDENTITIES)
    ):
        return False
    source = Place(gateway.name, None, event.source or event.peer, None)
    signs = suspect.signs["auth"]
    gateway.sign(
        "auth_guessing",
        source,
        at,
        lines_of(signs),
        {"attempts": count, "identities": max(identities, 1)},
        since=signs[0][0],
    )
    # The same attempts are no misconfiguration of an identity as well.
    for connection in (place.connection, None):
        gateway.conditions.clear(
            "auth_failures", Place(gateway.name, connection, place.peer, place.identity), at
        )
    return True


def _count_identity(gateway: Gateway, event: SaEvent, place: Place, at: float | None) -> None:
    who = event.identity or place.connection or source_of(event)
    record = gateway.identity(who)
    signs = record.signs.setdefault("auth", [])
    count = note(signs, at, event.line, _WITHIN, 64)
    if count < (_TIMES_UNTIMED if at is None else _TIMES):
        return
    gateway.sign(
        "auth_failures",
        place,
        at,
        lines_of(signs),
        {"attempts": count, "reason": event.reason},
        since=signs[0][0],
    )


def _failed_in_rotation(
    gateway: Gateway, suspect: Suspect, place: Place, at: float | None, count: int
) -> None:
    if count < _ROTATION_TIMES:
        if at is not None:
            gateway.waiting[place.connection or place.peer or ""] = (
                at,
                suspect.signs["auth"][-1][1],
                place,
            )
        return
    _rotation_failed(gateway, place, at, suspect.signs["auth"], count)


def _rotation_failed(
    gateway: Gateway,
    place: Place,
    at: float | None,
    signs: list[tuple[float | None, int]],
    count: int,
) -> None:
    gateway.sign(
        "rotation_failed",
        place,
        at,
        lines_of(signs),
        {"attempts": count},
        since=signs[0][0],
    )


def overdue(gateway: Gateway, now: float) -> None:
    """A failure within our own rotation that no success followed for a minute."""
    for key, (at, line, place) in list(gateway.waiting.items()):
        if now - at >= _ROTATION_WAIT:
            del gateway.waiting[key]
            _rotation_failed(gateway, place, at, [(at, line)], 1)


def succeeded(gateway: Gateway, tunnel: Tunnel, event: SaEvent, at: float | None) -> None:
    """Somebody authenticated: its failures are over."""
    source = event.source or event.peer
    if gateway.waiting:
        gateway.waiting.pop(tunnel.name or source or "", None)
    if source is not None:
        suspect = gateway.suspects.get(source)
        if suspect is not None:
            if len(suspect.identities) < _IDENTITIES:
                suspect.signs.clear()
                suspect.identities.clear()
    if gateway.named:
        for who in (event.identity, tunnel.name, source):
            record = gateway.named.get(who) if who is not None else None
            if record is not None and record.signs:
                record.signs.clear()
    if gateway.conditions.opened:
        place = gateway.place(tunnel)
        for kind in ("auth_failures", "rotation_failed", "certificate_rejected"):
            gateway.conditions.clear(kind, place, at)
        gateway.conditions.clear("proposal_mismatch", place, at)
