"""`certificate_rejected` and `revocation_unchecked`: peers that are kept out, and peers that are let in unseen.

**certificate_rejected.** Condition: a revoked certificate is presented, or a certificate is rejected in two attempts
within an hour (three while a renewal of ours is under way; without times three).
Looks alike and is let pass: a single rejection at the moment of a renewal, several lines about one attempt.

**revocation_unchecked.** Condition: a peer authenticated within a minute after its revocation data was not to be had.
Where only OCSP failed, three times, since the CRL that is asked next is not logged when it is there. One condition for
a gateway: its CRL server is one. Looks alike and is let pass: a failed fetch after which the peer is refused
(strict policy), one failed OCSP request with a CRL behind it.
"""

from typing import Final

from ike.detection import clock, slow
from ike.detection.attempts import REMEMBERED, fresh, place_of, source_of
from ike.detection.conditions import Place
from ike.detection.signs import lines_of, note
from ike.detection.state import MOST_SUSPECTS, Gateway, Tunnel
from ike.events.event import SaEvent

WITHIN: Final = 3600.0
TIMES, _TIMES_PLANNED, _TIMES_UNTIMED = 2, 3, 3
_SOON, _SOON_LINES = 60.0, 40
_OCSP_TIMES, _DAY = 3, 86_400.0


def rejected(gateway: Gateway, event: SaEvent, at: float | None) -> None:
    """`cert_invalid`, `cert_revoked`."""
    suspect = gateway.suspect(source_of(event))
    suspect.certificate = (event.ike_id, at, event.line)
    if event.ike_id is not None and event.ike_id not in suspect.rejected[-1:]:
        suspect.rejected.append(event.ike_id)
        del suspect.rejected[:-REMEMBERED]
    revoked = event.kind == "cert_revoked"
    again = not fresh(suspect, event.kind, event, at)
    if again:
        return
    clock.out_of_date(gateway, event, at)
    place = place_of(gateway, event)
    signs = suspect.signs.setdefault("certificate", [])
    count = note(signs, at, event.line, WITHIN, 64)
    needed = _TIMES_UNTIMED if at is None else TIMES
    planned = gateway.plans(at, place.connection) if gateway.planned else ()
    if "cut" in planned:
        return
    if planned:
        needed = _TIMES_PLANNED
    day = slow.count(gateway, suspect, "certificate", place, at, event.line)
    often = count >= needed
    # A revoked one is told at once, and the second one within a day makes it a condition that lasts.
    seldom = not often and day >= (2 if revoked else slow.TIMES_OF_CERTIFICATE)
    if not (often or seldom or revoked):
        return
    if seldom:
        signs = slow.signs_of(suspect, "certificate")
    elif often:
        slow.told("certificate", suspect)
    reason = "revoked" if revoked else event.reason
    gateway.sign(
        "certificate_rejected",
        place,
        at,
        lines_of(signs),
        {**(slow.numbers(signs) if seldom else {"attempts": count}), "reason": reason},
        since=signs[0][0],
        variant=reason or "",
        slow=seldom,
    )


def unfetched(gateway: Gateway, event: SaEvent, at: float | None) -> None:
    """`crl_fetch_failed`: matters if the peer is let in."""
    source = source_of(event)
    how = "ocsp" if event.reason == "ocsp" else "crl"
    there = gateway.unchecked.get(source)
    if there is not None and there[2] == "crl" and at is not None and there[0] is not None:
        how = "crl" if at - there[0] < _SOON else how
    gateway.unchecked[source] = (at, event.line, how)
    if len(gateway.unchecked) > MOST_SUSPECTS:
        del gateway.unchecked[next(iter(gateway.unchecked))]


def came_up(gateway: Gateway, tunnel: Tunnel, event: SaEvent, at: float | None) -> None:
    """A peer was let in: was its certificate checked?"""
    for who in (event.source or event.peer, tunnel.name, event.identity, ""):
        found = gateway.unchecked.pop(who, None) if who is not None else None
        if found is not None:
            _let_in(gateway, tunnel, event, at, found)
            return


def _let_in(
    gateway: Gateway,
    tunnel: Tunnel,
    event: SaEvent,
    at: float | None,
    found: tuple[float | None, int, str],
) -> None:
    then, line, how = found
    if at is not None and then is not None:
        if at - then > _SOON:
            return
    elif event.line - line > _SOON_LINES:
        return
    soft = gateway.soft
    soft.append((at, line, how))
    while at is not None and soft[0][0] is not None and soft[0][0] < at - _DAY:
        del soft[0]
    del soft[:-64]
    if not any(one[2] == "crl" for one in soft) and len(soft) < _OCSP_TIMES:
        return
    gateway.sign(
        "revocation_unchecked",
        Place(gateway.name),
        at,
        [one[1] for one in soft],
        {"authentications": len(soft), "last_connection": tunnel.name},
        since=soft[0][0],
    )
