"""What a log says of the tunnel, for the doctor. Pure: events in, what matters of them out."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from ike.audit.configuration.values import Tunnel
from ike.doctor import matching
from ike.doctor.values import Log
from ike.events.event import SaEvent
from ike.secrets import identities

# What failed, the most telling first: a certificate's end says more than the refusal that follows.
_FAILURES: Final = (
    "cert_revoked",
    "cert_invalid",
    "crl_fetch_failed",
    "ts_unacceptable",
    "proposal_mismatch",
    "unknown_peer",
    "auth_failed",
    "invalid_ke",
    "giving_up",
    "ike_timeout",
    "retransmit",
)
_TRIES: Final = frozenset({"ike_initiate", "ike_respond"})
NAT_WORDS: Final = {
    "local": b"local host is behind NAT",
    "remote": b"remote host is behind NAT",
}


def read(
    events: Iterable[SaEvent],
    tunnel: Tunnel | None,
    behind_nat: Iterable[str] = (),
    *,
    name: str = "",
    caller: Tunnel | None = None,
) -> Log:
    """What the events say of a tunnel; where no file has one, of that `name`, or of all. They are in the order of the
    log. `caller`: the log is the other end's, whose files have no such tunnel, and this is the tunnel as it is here.
    """
    doubtful = False
    if tunnel is not None:
        every, doubtful = _of(list(events), tunnel)
    elif caller is not None:
        every = _with(list(events), caller)
    else:
        every = [each for each in events if not name or each.name in (None, name)]
    duplicates = _duplicates(every)
    last_up = max(
        (at for at, each in enumerate(every) if each.kind == "child_established"), default=-1
    )
    since = every[last_up + 1 :]
    attempt = _last_that_failed(since)
    failures = [each for each in attempt if each.kind in _FAILURES]
    return Log(
        failures=tuple(sorted(failures, key=_telling)),
        ike_came_up=any(each.kind == "ike_established" for each in attempt),
        tried=any(each.kind in _TRIES for each in every),
        came_up=last_up >= 0,
        duplicates=duplicates,
        behind_nat=frozenset(behind_nat),
        newest=max((each.time for each in every if each.time is not None), default=None),
        doubtful=doubtful,
    )


def together(logs: Sequence[Log]) -> Log:
    """What the logs of both ends say, this end's first: the one that refused tells why."""
    first = logs[0]
    return replace(
        first,
        failures=tuple(sorted((each for log in logs for each in log.failures), key=_telling)),
        ike_came_up=any(log.ike_came_up for log in logs),
        tried=any(log.tried for log in logs),
        came_up=any(log.came_up for log in logs),
        duplicates={key: each for log in logs for key, each in (log.duplicates or {}).items()},
        newest=max((log.newest for log in logs if log.newest is not None), default=None),
        theirs=tuple(each for log in logs[1:] for each in log.failures),
        both=len(logs) > 1,
        doubtful=all(log.doubtful for log in logs if log.failures),
    )


def _with(events: Sequence[SaEvent], tunnel: Tunnel) -> list[SaEvent]:
    """What the other end's log says of this end, by its address and identity: whatever the connection is called there,
    a hub has more of them. All, where neither is known.
    """
    own = matching.own_identity(tunnel)
    sources = set(matching.literal(tunnel.local_addrs))
    strangers = set()
    for each in events:
        if each.identity is None or own.kind == "any":
            continue
        if matching.fits(own, identities.strongswan(each.identity)):
            sources.add(each.source or "")
        else:
            strangers.add(_sa(each))
    if not sources:
        return list(events)
    return [
        each for each in events if (each.source or "") in sources and _sa(each) not in strangers
    ]


def _sa(event: SaEvent) -> tuple[str | None, int]:
    """What belongs together; where nothing tells, the line alone."""
    return event.source, event.ike_id if event.ike_id is not None else -event.line


def _of(events: Sequence[SaEvent], tunnel: Tunnel) -> tuple[list[SaEvent], bool]:
    """What is of the tunnel, and whether nothing shows that it is. Hosts that scan knock everywhere: what nothing shows
    counts where the peer comes from that address, or where the log has nothing else.
    """
    said = [(each, _is_of(each, tunnel)) for each in events]
    by_sa = {_sa(each): verdict for each, verdict in said if verdict is not None}
    judged = [
        (each, by_sa.get(_sa(each)) if verdict is None else verdict) for each, verdict in said
    ]
    sources = {each.source for each, verdict in judged if verdict} - {None}
    every = [
        each
        for each, verdict in judged
        if verdict or (verdict is None and (not sources or each.source in {None, *sources}))
    ]
    return every, bool(every) and not any(verdict for _, verdict in judged)


def _is_of(event: SaEvent, tunnel: Tunnel) -> bool | None:
    """Whether an event is of the tunnel; None where nothing shows it."""
    if event.name is not None:
        return event.name == tunnel.name
    known = matching.literal(tunnel.remote_addrs)
    if known and event.source in (None, *known):
        return True
    asked = matching.asked_identity(tunnel)
    if event.identity and asked.kind != "any":
        if matching.fits(asked, matching.identity(tunnel, event.identity)):
            return True
        # From another address and with another identity: a stranger.
        return False if known else None
    # A peer behind NAT comes from an address that the configuration does not have.
    return None if not known or event.kind == "unknown_peer" else False


def _last_that_failed(events: Sequence[SaEvent]) -> list[SaEvent]:
    """What belongs to the last try in which something failed; without a try in the log, all."""
    tries: list[list[SaEvent]] = [[]]
    for each in events:
        if each.kind in _TRIES:
            tries.append([])
        tries[-1].append(each)
    failed = (found for found in reversed(tries) if any(each.kind in _FAILURES for each in found))
    return next(failed, [])


def _telling(event: SaEvent) -> int:
    if event.kind == "auth_failed" and event.reason == "refused":
        return _FAILURES.index("invalid_ke")  # that it was refused says less than why
    return _FAILURES.index(event.kind)


def _duplicates(events: Iterable[SaEvent]) -> dict[str, frozenset[str]]:
    """Identities that came back to an address that they had left: a host that moves does so once in a while, two hosts
    do nothing else.
    """
    replaced: set[str] = set()
    sources: dict[str, list[str]] = {}
    for each in events:
        if not each.identity:
            continue
        if each.kind == "duplicate_replaced":
            replaced.add(each.identity)
        if each.kind == "ike_established" and each.source:
            seen = sources.setdefault(each.identity, [])
            if not seen or seen[-1] != each.source:
                seen.append(each.source)
    return {
        identity: frozenset(seen)
        for identity, seen in sources.items()
        if identity in replaced and len(set(seen)) < len(seen)
    }
