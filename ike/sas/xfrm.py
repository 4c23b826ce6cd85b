"""What `ip -s xfrm state` prints, as associations. Pure.

A line with a key is looked at alone, and nothing of it is kept but the names of the algorithms.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ike.sas.association import MANUAL, UNKNOWN, Association, Child

HEAD: Final = re.compile(r"src (\S+) dst (\S+)\s*$")
_PROTO: Final = re.compile(
    r"\s+proto (\w+) spi (?:0x)?([0-9a-f]+)\S* reqid (\d+)\S* mode (\w+)", re.IGNORECASE
)
# What follows the name is the key, and then the length of the check value in bits.
_ALGORITHM: Final = re.compile(r"\s+(enc|auth|auth-trunc|aead|comp) (\S+)")
_EXPIRE: Final = re.compile(r"\s+expire add: soft (\d+)\(sec\), hard (\d+)\(sec\)")
_BYTES: Final = re.compile(r"\s+(\d+)\(bytes\), \d+\(packets\)")
_ADDED: Final = re.compile(r"\s+add (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)")
_SEQUENCE: Final = re.compile(r"\bseq 0x([0-9a-f]+), oseq 0x([0-9a-f]+)")
_DIRECTION: Final = re.compile(r"\bdir (in|out)\b")
_SELECTOR: Final = re.compile(r"\s+sel src (\S+) dst (\S+)")
_KEYED: Final = frozenset({"esp", "ah"})
_ORDER: Final = ("aead", "enc", "auth-trunc", "auth", "comp")
_ANY: Final = ("0.0.0.0/0", "::/0")


@dataclass
class State:
    """One direction of an SA, as the kernel has it. `soft` and `hard` are seconds from `added`; 0 is never."""

    source: str
    destination: str
    protocol: str = ""
    spi: str = ""
    reqid: int = 0
    mode: str = ""
    algorithms: tuple[tuple[str, str], ...] = ()
    encapsulated: bool = False
    soft: int = 0
    hard: int = 0
    carried: int | None = None
    added: datetime | None = None
    direction: str = ""
    selector: tuple[str, str] = ("", "")


def states(lines: Iterable[str]) -> Iterator[State]:
    """The ESP and AH states of a dump. Lines that are not known are passed over."""
    state: State | None = None
    for line in lines:
        head = HEAD.match(line)
        if head:
            if state is not None and state.protocol in _KEYED:
                yield state
            state = State(head[1], head[2])
        elif state is not None:
            _take(state, line)
    if state is not None and state.protocol in _KEYED:
        yield state


def _take(state: State, line: str) -> None:
    if found := _ALGORITHM.match(line):
        state.algorithms += ((found[1], found[2]),)
    elif found := _PROTO.match(line):
        state.protocol, state.spi = found[1].lower(), found[2].lower().zfill(8)
        state.reqid, state.mode = int(found[3]), found[4].lower()
    elif found := _EXPIRE.match(line):
        state.soft, state.hard = int(found[1]), int(found[2])
    elif found := _BYTES.match(line):
        state.carried = int(found[1])
    elif found := _ADDED.match(line):
        state.added = _moment(found[1])
    elif found := _SELECTOR.match(line):
        state.selector = (found[1], found[2])
    elif line.lstrip().startswith("encap type espin"):
        state.encapsulated = True
    else:
        _take_direction(state, line)


def _take_direction(state: State, line: str) -> None:
    """Linux 6.10 and later tell it; else numbers of packets do, once there were any."""
    if found := _DIRECTION.search(line):
        state.direction = found[1]
    elif (found := _SEQUENCE.search(line)) and not state.direction:
        came, went = int(found[1], 16), int(found[2], 16)
        if bool(came) != bool(went):
            state.direction = "in" if came else "out"


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def associations(
    found: Iterable[State], *, now: datetime | None = None, local: Collection[str] = ()
) -> list[Association]:
    """States as pairs of both directions, in the order in which the kernel has them.

    `now` is the time of the dump by the clock of its host, without a zone, as the kernel's times are printed. `local`
    are that host's addresses, as far as they are known.
    """
    groups: dict[tuple[object, ...], list[State]] = {}
    for state in found:
        ends = tuple(sorted((state.source, state.destination)))
        key = (*ends, state.protocol, state.reqid, state.mode)
        groups.setdefault(key, []).append(state)
    return [
        _association(one, other, now, local)
        for group in groups.values()
        for one, other in _pairs(group)
    ]


def _pairs(group: list[State]) -> Iterator[tuple[State, State | None]]:
    """Both directions of each SA: made at about the same time, so the newest go together, then those before them.

    After a rekeying the old SA may be left in one direction alone.
    """
    first = group[0]
    oldest = sorted(group, key=lambda state: str(state.added or ""))
    ones = [each for each in oldest if each.source == first.source]
    others = [each for each in oldest if each.source != first.source]
    while ones or others:
        if not ones:
            yield others.pop(), None
        else:
            yield ones.pop(), others.pop() if others else None


def _association(
    one: State, other: State | None, now: datetime | None, local: Collection[str]
) -> Association:
    outward = _outward(one, other, local)
    out, into = (other, one) if outward is False else (one, other)
    selector = out.selector if out else one.selector[::-1]
    plain = not selector[0] or set(selector) <= set(_ANY)
    times = _times([each for each in (out, into) if each], now)
    child = Child(
        protocol=one.protocol.upper(),
        mode=one.mode,
        nat_t=one.encapsulated,
        algorithms="/".join(
            name for kind in _ORDER for each, name in one.algorithms if each == kind
        ),
        spi_in=into.spi if into else "",
        spi_out=out.spi if out else "",
        local_ts=() if plain else (selector[0],),
        remote_ts=() if plain else (selector[1],),
        bytes_in=into.carried if into else None,
        bytes_out=out.carried if out else None,
        age_seconds=times.get("age"),
        rekey_seconds=times.get("soft"),
        expire_seconds=times.get("hard"),
        lifetime_seconds=one.hard or None,
    )
    ends = (out.source, out.destination) if out else (one.destination, one.source)
    return Association(
        source="xfrm",
        origin=UNKNOWN if one.reqid else MANUAL,
        directed=outward is not None,
        local=ends[0],
        remote=ends[1],
        nat_t=one.encapsulated,
        children=(child,),
    )


def _outward(one: State, other: State | None, local: Collection[str]) -> bool | None:
    """Whether the first goes out of this host; None where nothing tells."""
    if (one.source in local) != (one.destination in local):
        return one.source in local
    if one.direction:
        return one.direction == "out"
    if other is not None and other.direction:
        return other.direction == "in"
    return None


def _times(both: list[State], now: datetime | None) -> dict[str, int]:
    """What comes first counts: each direction has a time of its own to be rekeyed at."""
    added = [each.added for each in both if each.added]
    if now is None or len(added) < len(both):
        return {}
    ages = [int((now - each).total_seconds()) for each in added]
    if min(ages) < -1:
        return {}  # by another clock
    found = {"age": max(0, *ages)}
    for limit in ("soft", "hard"):
        both_limits = [(getattr(each, limit), age) for each, age in zip(both, ages, strict=True)]
        left = [seconds - age for seconds, age in both_limits if seconds]
        if left:
            found[limit] = max(0, min(left))
    return found
