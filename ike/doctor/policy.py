"""Do the two ends' policies match: versions, proposals, authentication, identities, networks. Pure."""

from typing import Final

from ike.audit.configuration.values import Offer, Round, Tunnel
from ike.doctor import matching
from ike.doctor.values import Case, Check, Verdict
from ike.secrets.values import Place

OK, WRONG, UNKNOWN = Verdict.OK, Verdict.WRONG, Verdict.UNKNOWN
GIVE_PEER: Final = (
    "Give the peer's configuration: --peer FILE, or --peer-root DIR for a copy of its files."
)
_SHOWN: Final = 3


def configuration(case: Case) -> Check:
    """Whether there is a connection, and the daemon takes it as it is written."""
    name = "configuration"
    if case.tunnel is None and case.daemon is not None and case.daemon.connections:
        return _unwritten(case.name, case.daemon.connections)
    if case.tunnel is None:
        said = "No connection is configured in the files that were read."
        step = "Write the connection, or say with --root where this host's files are."
        return Check(name, WRONG, said, step)
    own = [each for each in case.here.problems if _is_within(case, each.place, case.tunnel)]
    if own:
        said = "; ".join(f"{each.place}: {each.message}" for each in own[:_SHOWN])
        return Check(
            name, WRONG, f"{said}.", f"Mend {own[0].place} and load the configuration again."
        )
    return Check(name, OK, f"{case.tunnel.name} stands at {case.tunnel.place}.")


def _unwritten(wanted: str, loaded: frozenset[str]) -> Check:
    """What a program loaded into the daemon stands in no file."""
    names = ", ".join(sorted(loaded)[:_SHOWN])
    if wanted and wanted not in loaded:
        said = f"No file has {wanted}, and neither has the daemon; it has {names}."
        return Check("configuration", WRONG, said, "Name one of these, or load the connection.")
    said = f"The daemon has {wanted or names}, and no file has: a program loaded it."
    step = (
        "Look at it as the daemon has it: swanctl --list-conns. Its log says why it fails: --log."
    )
    return Check("configuration", UNKNOWN, said, step)


def _is_within(case: Case, place: Place, tunnel: Tunnel) -> bool:
    """Whether something stands in the section of a connection."""
    start = tunnel.place
    following = [
        each.place.line
        for each in case.here.tunnels
        if each.place.path == start.path and each.place.line > start.line
    ]
    return (
        place.path == start.path
        and place.line >= max(start.line, 1)
        and place.line < min(following, default=place.line + 1)
    )


def readable(case: Case) -> Check | None:
    """Whether all files could be read."""
    unread = [each for each in case.here.problems if not each.place.line]
    if not unread:
        return None
    shown = "; ".join(f"{each.place}: {each.message}" for each in unread[:_SHOWN])
    more = f" And {len(unread) - _SHOWN} more." if len(unread) > _SHOWN else ""
    step = "Run it as root, and look at the files that are named."
    return Check("readable", UNKNOWN, f"Not read: {shown}.{more}", step)


def counterpart(case: Case) -> Check | None:
    """Whether the peer has a connection for this one."""
    if case.tunnel is None:
        return None
    name = "counterpart"
    if case.peer is None:
        return Check(name, UNKNOWN, "The peer's configuration was not given.", GIVE_PEER)
    if case.peer_tunnel is None and not case.peer.whole:
        said = "The files that were given of the peer hold no connection that can be read."
        return Check(name, UNKNOWN, said, GIVE_PEER)
    if case.peer_tunnel is None:
        said = "No connection is configured in the peer's files."
        return Check(name, WRONG, said, "Configure the connection on the peer too.")
    said = f"The peer has {case.peer_tunnel.name} for it, at {case.peer_tunnel.place}."
    return Check(name, OK, said)


def versions(case: Case) -> Check | None:
    """Whether both speak a version of IKE."""
    ends = _both(case)
    if ends is None:
        return None
    mine, theirs = ends
    common = sorted(set(mine.versions) & set(theirs.versions))
    if common:
        return Check("versions", OK, f"Both speak IKEv{common[-1]}.")
    said = f"This end speaks {_speaks(mine)} only, the peer {_speaks(theirs)}."
    return Check("versions", WRONG, said, f"Let both speak IKEv2: {mine.at('version')}.")


def _speaks(tunnel: Tunnel) -> str:
    return " and ".join(f"IKEv{each}" for each in tunnel.versions)


def ike_proposals(case: Case) -> Check | None:
    """Whether the ends have a proposal for IKE in common."""
    ends = _both(case)
    if ends is None:
        return None
    mine, theirs = ends[0].ike, ends[1].ike
    if matching.agree(mine, theirs):
        return Check("ike_proposals", OK, "The ends have a proposal for IKE in common.")
    said = (
        f"No proposal for IKE in common: they differ in {matching.differing(mine, theirs)}."
        f" This end has {matching.written(mine)} ({mine.place} here), the peer"
        f" {matching.written(theirs)} ({theirs.place})."
    )
    step = (
        f"Give both ends one proposal for IKE that is the same, at {mine.place} here or"
        f" {theirs.place} at the peer."
    )
    return Check("ike_proposals", WRONG, said, step)


def child_proposals(case: Case) -> Check | None:
    """Whether some Child SAs of the ends have a proposal in common."""
    ends = _both(case)
    if ends is None or not ends[0].children or not ends[1].children:
        return None
    for mine in ends[0].children:
        if any(matching.agree_on_child(mine.offers, each.offers) for each in ends[1].children):
            continue
        theirs = ends[1].children[0]
        said = (
            f"No proposal for the Child SA {mine.name} in common: this end has"
            f" {_offers(mine.offers)} ({mine.offers[0].place}), the peer {_offers(theirs.offers)}"
            f" ({theirs.offers[0].place})."
        )
        return Check(
            "child_proposals", WRONG, said, "Give both ends one ESP proposal that is the same."
        )
    return Check("child_proposals", OK, "The ends have a proposal for their Child SAs in common.")


def _offers(offers: tuple[Offer, ...]) -> str:
    return "; ".join(matching.written(each) for each in offers)


def authentication(case: Case) -> Check | None:
    """Whether each end proves itself as the other asks."""
    ends = _both(case)
    if ends is None:
        return None
    mine, theirs = ends
    for who, proves, asked in (
        ("this end", mine.local, theirs.remote),
        ("the peer", theirs.local, mine.remote),
    ):
        for shown, wanted in zip(proves, asked, strict=False):
            if "any" not in (shown.auth, wanted.auth) and shown.auth != wanted.auth:
                said = (
                    f"{who.capitalize()} proves itself by {shown.auth} ({shown.place}), and"
                    f" {wanted.auth} is asked for ({wanted.place})."
                )
                step = f"Make {shown.place} and {wanted.place} the same."
                return Check("authentication", WRONG, said, step)
    return Check(
        "authentication", OK, f"Both prove themselves as is asked: {_methods(mine.local)}."
    )


def _methods(rounds: tuple[Round, ...]) -> str:
    return ", ".join(each.auth for each in rounds)


def identities(case: Case) -> Check | None:
    """Whether each end says that it is whom the other asks for."""
    ends = _both(case)
    if ends is None:
        return None
    mine, theirs = ends
    for who, shown, asked, places in (
        ("This end", mine, theirs, (mine.local, theirs.remote)),
        ("The peer", theirs, mine, (theirs.local, mine.remote)),
    ):
        is_, wanted = matching.own_identity(shown), matching.asked_identity(asked)
        if not matching.fits(wanted, is_):
            own, other = places[0][0].place, places[1][0].place
            said = (
                f"{who} says that it is {is_} (by {own}), and {wanted} is asked for (by {other})."
            )
            step = f"Write the same identity at both: {is_} or {wanted}, at {own} and {other}."
            return Check("identities", WRONG, said, step)
    said = f"Each end is whom the other asks for: {matching.own_identity(mine)}, {matching.own_identity(theirs)}."
    return Check("identities", OK, said)


def selectors(case: Case) -> Check | None:
    """Whether some Child SAs of the ends are for the same networks."""
    ends = _both(case)
    if ends is None or not ends[0].children or not ends[1].children:
        return None
    here, there = _only(ends[0].local_addrs), _only(ends[0].remote_addrs)
    for mine in ends[0].children:
        if any(matching.selectors_agree(mine, each, here, there) for each in ends[1].children):
            continue
        theirs = ends[1].children[0]
        said = (
            f"The networks of {mine.name or ends[0].name} differ: here {_selectors(mine.local)} to"
            f" {_selectors(mine.remote)} ({mine.at('local_ts')}), at the peer"
            f" {_selectors(theirs.remote)} to {_selectors(theirs.local)} ({theirs.at('remote_ts')})."
        )
        step = "Make this end's local networks the peer's remote ones, and the other way round."
        return Check("selectors", WRONG, said, step)
    return Check("selectors", OK, "The ends have the same networks.")


def _selectors(selectors: tuple[str, ...]) -> str:
    return ", ".join(selectors)


def _only(addresses: tuple[str, ...]) -> str:
    found = matching.literal(addresses)
    return next(iter(found)) if len(found) == 1 else ""


def _both(case: Case) -> tuple[Tunnel, Tunnel] | None:
    if case.tunnel is None or case.peer_tunnel is None:
        return None
    return case.tunnel, case.peer_tunnel
