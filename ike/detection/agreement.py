"""`proposal_mismatch` and `unknown_peers`: negotiations that cannot succeed, and peers nobody configured.

**proposal_mismatch.** Condition: three attempts of one peer within 10 minutes ended without a common proposal, without
agreement on the networks, or four times in a row with a request for another group (without times: five).
Not normal, because both ends were configured for each other. Looks alike and is let pass: one INVALID_KE at the start
of each negotiation (the first guess of a group), a single refusal while a policy is changed on both ends, several
lines about one attempt; strangers who try many proposals (that is a scan).

**unknown_peers.** Condition: five refused attempts of one source in 10 minutes, or ten sources in an hour, or a source
that never succeeded and no connection knows offers ten unfit proposals in a minute; or, where the daemon only counts
them (`counted`) and names none, twenty refused requests in 10 minutes. An unfit proposal of a source that no connection
knows is a refused attempt, as its sender may be forged; so is one at a connection that is open to any address, which
shows where ten such sources found it; and while such come, so is what an agent left out of a flood.
Not normal, because a gateway's peers are configured. Looks alike and is let pass: the daily probe of an internet scan.

What one peer does is counted over a day as well, see `slow`.
"""

from itertools import islice

from ike.detection import slow
from ike.detection.attempts import fresh, place_of, source_of
from ike.detection.conditions import Place
from ike.detection.crowds import Attempt
from ike.detection.failures import about_certificate, failed
from ike.detection.signs import Sign, lines_of, note
from ike.detection.state import MOST_SUSPECTS, Gateway, Suspect
from ike.events.event import LEFT_OUT, REFUSED, SaEvent

TIMES, _TIMES_UNTIMED, WITHIN = 3, 5, 600.0
_GROUPS = 4
ATTEMPTS, _ATTEMPTS_UNTIMED = 5, 10
SOURCES, SOURCES_WITHIN = 10, 3600.0
_PROBES, _PROBES_WITHIN = 10, 60.0
_NAMELESS, _MOST_NAMELESS = 20, 1 << 32
_TOGETHER = 60.0
_FOUND = "unknown sources"
_TOLD = 3  # of one refused request a daemon tells that it came, and twice that it is refused


def disagreed(gateway: Gateway, event: SaEvent, at: float | None) -> None:
    """`proposal_mismatch`, `ts_unacceptable`."""
    place = _place(gateway, event, at)
    suspect = gateway.caller(place, source_of(event))
    if not fresh(suspect, "proposal", event, at):
        return
    signs = suspect.signs.setdefault("proposal", [])
    count = note(signs, at, event.line, WITHIN, 64)
    day = slow.count(gateway, suspect, "proposal", place, at, event.line)
    if gateway.is_strange(place) and _is_scan(gateway, suspect, place, event, at):
        return
    evidence = _counted(gateway, "proposal_mismatch", place, event, at)
    seldom = count < (_TIMES_UNTIMED if at is None else TIMES)
    always = day >= (slow.TIMES_OF_STRANGER if gateway.is_strange(place) else slow.TIMES)
    if seldom and not always:
        return
    if seldom:
        signs = slow.signs_of(suspect, "proposal")
        evidence = _of_day(gateway, "proposal_mismatch", place, signs, evidence)
    else:
        slow.told("proposal", suspect)
    gateway.sign(
        "proposal_mismatch",
        gateway.common(place),
        at,
        lines_of(signs),
        evidence or {"attempts": count},
        since=signs[0][0],
        variant="selectors" if event.kind == "ts_unacceptable" else "",
        slow=seldom,
    )


def _of_day(
    gateway: Gateway, kind: str, place: Place, signs: list[Sign], evidence: dict[str, object]
) -> dict[str, object]:
    """The numbers of a day, beside the `evidence` of what strangers do in an hour."""
    there = gateway.conditions.find(kind, gateway.common(place)) if evidence else None
    return {**evidence, **slow.numbers(signs, there)}


def _place(gateway: Gateway, event: SaEvent, at: float | None) -> Place:
    """As `place_of`, less the name of a connection that anybody finds: it says nothing of who sent the proposal."""
    place = place_of(gateway, event)
    if place.connection is None or place.peer is None or gateway.knows(place.peer):
        return place
    crowd = gateway.crowd(_FOUND, at, SOURCES_WITHIN, place.connection)
    crowd.join(Attempt(at, event.line, place.peer))
    if len(crowd.sources) < SOURCES:
        return place
    return Place(gateway.name, None, place.peer, place.identity)


def _counted(
    gateway: Gateway, kind: str, place: Place, event: SaEvent, at: float | None
) -> dict[str, object]:
    """One more attempt, where it is a stranger's: the numbers of all strangers together."""
    if not gateway.is_strange(place):
        return {}
    crowd = gateway.crowd(kind, at, SOURCES_WITHIN)
    crowd.join(Attempt(at, event.line, place.peer, event.identity))
    if not gateway.conditions.is_open(kind, gateway.common(place)):
        crowd.restrict(at, SOURCES_WITHIN)
    return crowd.shown()


def _is_scan(
    gateway: Gateway, suspect: Suspect, place: Place, event: SaEvent, at: float | None
) -> bool:
    """Is a stranger's proposal one of many, of his own or of others?"""
    evidence = _counted(gateway, "unknown_peers", place, event, at)
    many = _count_sources(gateway, place, source_of(event), event, at, evidence)
    probed = _probed(gateway, suspect, place, event, at, evidence)
    if many or probed:
        gateway.conditions.clear("proposal_mismatch", gateway.common(place), at)
    return many or probed


def _probed(
    gateway: Gateway,
    suspect: Suspect,
    place: Place,
    event: SaEvent,
    at: float | None,
    evidence: dict[str, object],
) -> bool:
    signs = suspect.signs["proposal"]
    if at is not None:
        signs = [one for one in signs if one[0] is not None and one[0] >= at - _PROBES_WITHIN]
    if len(signs) < _PROBES and "scan" not in suspect.attempts:
        return False
    suspect.attempts["scan"] = (None, at, event.line)
    gateway.sign(
        "unknown_peers",
        gateway.common(place),
        at,
        lines_of(signs),
        evidence,
        since=signs[0][0],
    )
    return True


def regrouped(gateway: Gateway, event: SaEvent, at: float | None) -> None:
    """`invalid_ke`: normal once for each negotiation that then comes up."""
    place = place_of(gateway, event)
    suspect = gateway.caller(place, source_of(event))
    last = suspect.attempts.get("group")
    if last is not None and at is not None and last[1] is not None and at - last[1] < 0.2:
        return  # the other end's line about the same request
    suspect.attempts["group"] = (event.ike_id, at, event.line)
    signs = suspect.signs.setdefault("group", [])
    count = note(signs, at, event.line, WITHIN, 64)
    evidence = _counted(gateway, "proposal_mismatch", place, event, at)
    if count < (_GROUPS if at is not None else 2 * _GROUPS):
        return
    gateway.sign(
        "proposal_mismatch",
        gateway.common(place),
        at,
        lines_of(signs),
        evidence or {"requests": count},
        since=signs[0][0],
        variant="group",
    )


def unknown(gateway: Gateway, event: SaEvent, at: float | None) -> None:
    """`unknown_peer`."""
    if event.connection is not None:
        # Its connection was found, and what it showed was not enough for it: no stranger.
        failed(gateway, event, at)
        return
    source = source_of(event)
    known = gateway.suspects.get(source)
    if known is not None and about_certificate(known, event, at):
        return  # its certificate was the reason, and another connection was looked for
    place = Place(gateway.name, None, event.source or event.peer, event.identity)
    suspect = gateway.caller(place, source)
    if not fresh(suspect, "unknown", event, at):
        return
    signs = suspect.signs.setdefault("unknown", [])
    count = note(signs, at, event.line, WITHIN, 64)
    day = slow.count(gateway, suspect, "unknown", place, at, event.line)
    evidence = _counted(gateway, "unknown_peers", place, event, at)
    seldom = count < (_ATTEMPTS_UNTIMED if at is None else ATTEMPTS)
    always = day >= slow.TIMES_OF_STRANGER
    if always or not seldom:
        told = evidence
        if seldom:
            signs = slow.signs_of(suspect, "unknown")
            told = _of_day(gateway, "unknown_peers", place, signs, evidence)
        else:
            slow.told("unknown", suspect)
        gateway.sign(
            "unknown_peers",
            gateway.common(place),
            at,
            lines_of(signs),
            told or {"attempts": count},
            since=signs[0][0],
            slow=seldom,
        )
    _count_sources(gateway, place, source, event, at, evidence)


def counted(gateway: Gateway, event: SaEvent, at: float | None) -> None:
    """`counted`: requests that no configuration fits, where no event tells of each; or what was left out of a flood."""
    if event.reason == LEFT_OUT:
        _left_out(gateway, event, at)
    if event.reason != REFUSED or at is None or _are_told(gateway, at, WITHIN):
        return
    nameless = gateway.nameless
    # Of what was counted in a longer time, as while the agent was away, so many fell into these minutes on average.
    share = WITHIN / max(WITHIN, event.seconds or 0.0)
    number = int(min(event.number or 0, _MOST_NAMELESS) * share)
    nameless.append((at, event.line, number))
    nameless[:] = [one for one in nameless if one[0] >= at - WITHIN]
    attempts = sum(one[2] for one in nameless)
    if attempts >= _NAMELESS:
        gateway.sign(
            "unknown_peers",
            Place(gateway.name, sender=""),  # nobody knows whose
            at,
            [line for _, line, _ in nameless[-20:]],
            {"attempts": attempts},
            since=nameless[0][0],
            variant="scan",
        )


def _are_told(gateway: Gateway, at: float, span: float) -> bool:
    """Do events tell of strangers that are refused?"""
    last = next(reversed(gateway.strangers.values()), None)
    return last is not None and (last[0] is None or last[0] >= at - span)


def _left_out(gateway: Gateway, event: SaEvent, at: float | None) -> None:
    """Beside the strangers that an agent told of there were more; of whom a fleet that comes back is none."""
    place = Place(gateway.name, sender="")
    if at is None or not _are_told(gateway, at, _TOGETHER):
        return
    if not gateway.conditions.is_open("unknown_peers", place):
        return
    crowd = gateway.crowd("unknown_peers", at, SOURCES_WITHIN)
    crowd.attempts += min(event.number or 0, _MOST_NAMELESS) // _TOLD
    gateway.sign("unknown_peers", place, at, [event.line], crowd.shown(), variant="scan")


def _count_sources(
    gateway: Gateway,
    place: Place,
    source: str,
    event: SaEvent,
    at: float | None,
    evidence: dict[str, object],
) -> bool:
    """Is it one of many sources?"""
    strangers = gateway.strangers
    strangers.pop(source, None)
    strangers[source] = (at, event.line)
    if at is not None:
        while True:
            oldest = next(iter(strangers))
            then = strangers[oldest][0]
            if then is None or then >= at - SOURCES_WITHIN:
                break
            del strangers[oldest]
    if len(strangers) > MOST_SUSPECTS:
        del strangers[next(iter(strangers))]
    if len(strangers) < (SOURCES if at is not None else 3 * SOURCES):
        return False
    first = next(iter(strangers.values()))
    gateway.sign(
        "unknown_peers",
        Place(gateway.name, None, None, place.identity, source),
        at,
        [line for _, line in islice(strangers.values(), 20)],
        {"sources": len(strangers), **evidence},
        since=first[0],
        variant="scan",
    )
    return True
