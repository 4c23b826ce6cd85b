"""Security associations: listed, ended, started anew, watched."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Event

from cryptography import x509

from core.errors import IkewardenError
from ike.daemons.libreswan import sections, status
from ike.daemons.libreswan.status import Conn, State, Status
from ike.daemons.libreswan.whack import Whack
from ike.daemons.port import (
    ChildSa,
    Connection,
    Cut,
    DaemonEvent,
    DaemonUnreachable,
    EventKind,
    IkeSa,
    RevokedPeer,
)

_LOOK_SECONDS = 0.5
_DELETE_SECONDS = 0.5
_LOOKS = 4
_PAUSE_SECONDS = 0.1
_UNKNOWN = Conn("", 0, "", "", "", "")


def look(whack: Whack) -> Status:
    """What pluto has and does now."""
    now = status.parse(whack.ask("--status"))
    if not now.version:
        raise DaemonUnreachable("What whack printed is not understood as pluto's status.")
    return now


def names(now: Status, managed: Sequence[Connection]) -> tuple[str, ...]:
    """Names of the connections, managed ones as the service names them."""
    return tuple(sorted({sections.name_of(each, managed) for each in now.names}))


def listed(whack: Whack, managed: Sequence[Connection]) -> tuple[IkeSa, ...]:
    """The IKE SAs, half-open ones too."""
    now = look(whack)
    carried = status.traffic(whack.ask("--trafficstatus"))
    return tuple(_sa(each, now, carried, managed) for each in now.states if not each.child)


def _sa(
    state: State, now: Status, carried: dict[int, tuple[int, int]], managed: Sequence[Connection]
) -> IkeSa:
    conn = now.conn_of(state) or _UNKNOWN
    children = tuple(
        _child(each, now, carried)
        for each in now.states
        if each.child and each.parent == state.number and each.established
    )
    return IkeSa(
        id=str(state.number),
        connection=sections.name_of(state.name, managed),
        state=state.state,
        version=state.version,
        local_address=conn.local_address,
        remote_address=state.peer or conn.remote_address,
        local_id=conn.local_id.removeprefix("@"),
        remote_id=conn.remote_id.removeprefix("@"),
        established=state.established,
        algorithms=conn.algorithms,
        children=children,
        rekey_seconds=state.left.get("REKEY"),
        reauth_seconds=now.reauth_seconds(state),
    )


def _child(state: State, now: Status, carried: dict[int, tuple[int, int]]) -> ChildSa:
    conn = now.conn_of(state) or _UNKNOWN
    bytes_in, bytes_out = carried.get(state.number, (0, 0))
    return ChildSa(
        name=state.name,
        state=state.state,
        spi_in=state.spi_in,
        spi_out=state.spi_out,
        local_ts=(conn.local_net,) if conn.local_net else (),
        remote_ts=(conn.remote_net,) if conn.remote_net else (),
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        protocol=state.protocol,
        mode=state.mode,
        algorithms=conn.child_algorithms,
        rekey_seconds=state.left.get("REKEY"),
        expire_seconds=state.left.get("EXPIRE", state.left.get("REPLACE")),
    )


# revocation


def cut(whack: Whack, managed: Sequence[Connection], peer: RevokedPeer) -> tuple[Cut, ...]:
    """End the IKE SAs with a peer of these identities: pluto does not tell certificates, so they decide."""
    now = look(whack)
    doomed = [
        (state, conn)
        for state in now.states
        if not state.child and (conn := now.conn_of(state)) and _is_peer(conn.remote_id, peer)
    ]
    errors: dict[int, str] = {}
    for state, conn in doomed:
        try:
            _end(whack, state, conn)
        except IkewardenError as error:
            errors[state.number] = error.message
    left = _left(whack, {state.number for state, _ in doomed}) if doomed and not errors else set()
    return tuple(
        Cut(
            _sa(state, now, {}, managed),
            "identity",
            ended=state.number not in left and state.number not in errors,
            error=errors.get(state.number, "pluto still has it" if state.number in left else ""),
        )
        for state, _ in doomed
    )


def _left(whack: Whack, doomed: set[int]) -> set[int]:
    """Those that pluto still has, once it has had a moment: it may be told and not have come to it."""
    for _ in range(_LOOKS):
        left = doomed & {each.number for each in look(whack).states}
        if not left:
            break
        Event().wait(_PAUSE_SECONDS)
    return left


def _end(whack: Whack, state: State, conn: Conn) -> None:
    """End an IKE SA without waiting for a peer that may be silent."""
    if not state.instance:
        # At once, half-open ones too, and pluto does not bring it up again by itself. The connection has one peer.
        whack.try_for(_DELETE_SECONDS, "--terminate", "--name", state.name)
        return
    # An instance of a connection for any peer: --terminate would end all of them. This waits for the peer's answer.
    done = whack.try_for(_DELETE_SECONDS, "--deletestate", str(state.number))
    if done.status is None:
        # At once, with every SA of that address; pluto tries to bring it up again, and the list refuses.
        whack.try_for(_DELETE_SECONDS, "--crash", state.peer or conn.remote_address)


def _is_peer(remote_id: str, peer: RevokedPeer) -> bool:
    """Whether an identity as pluto writes it is one of the certificate's."""
    for each in peer.identities:
        kind, _, value = each.partition(":")
        if kind == "dn":
            if _same_name(remote_id, value):
                return True
        elif remote_id.removeprefix("@").lower() == value.lower():
            return True
        # rightid=%fromcert: pluto takes the subject for the identity, whose CN is the first name in certificates of
        # the service. Ended one too many is better than one too few.
        elif _common_name(remote_id).lower() == value.lower():
            return True
    return False


def _same_name(written: str, rfc4514: str) -> bool:
    try:
        name = x509.Name.from_rfc4514_string(rfc4514)
    except ValueError:
        return False
    return sections.distinguished(name).lower() == written.lower()


def _common_name(written: str) -> str:
    parts = (part.strip() for part in written.split(","))
    return next((part[3:] for part in parts if part.upper().startswith("CN=")), "")


# a fresh authentication


def restart(whack: Whack, managed: Sequence[Connection], connection: str) -> int:
    """End and start anew the IKE SAs of a connection that have a CHILD SA; gives how many."""
    now = look(whack)
    again = {
        child.name
        for child in now.states
        if child.child
        and child.established
        and not child.instance  # an instance's peer must come by itself
        and sections.name_of(child.name, managed) == connection
    }
    parents = {child.parent for child in now.states if child.name in again and child.established}
    for name in again:
        whack.try_for(_DELETE_SECONDS, "--terminate", "--name", name)
    for name in again:
        whack.try_for(2.0, "--initiate", "--asynchronous", "--name", name)
    return len(parents - {None})


def initiate(whack: Whack, managed: Sequence[Connection], connection: str) -> bool:
    """Start a connection that has no IKE SA, not a half-open one either; tells whether pluto began."""
    now = look(whack)
    if any(sections.name_of(each.name, managed) == connection for each in now.states):
        return False
    began = False
    for name in sorted(now.names):
        if sections.name_of(name, managed) == connection:
            done = whack.try_for(2.0, "--initiate", "--asynchronous", "--name", name)
            began = began or "initiating" in done.text.replace("initiating all conns", "")
    return began


# watching


def watch(
    whack: Whack, managed: Callable[[], Sequence[Connection]], stop: Callable[[], bool]
) -> Iterator[DaemonEvent]:
    """As `watch` of the port: whack has no way to wait for news, so it looks.

    A rekeyed IKE SA is known by its CHILD SAs, which are older than it is. Where there are none, an IKE SA that takes
    the place of another between two looks is taken for a rekeyed one: UP is never said of a rekeying.
    """
    sleeper = Event()
    incarnation = whack.incarnation()
    lost = incarnation is None
    if lost:
        yield DaemonEvent(EventKind.LOST)
    news = _News({} if lost else _established(whack, managed) or {})
    while not stop():
        sleeper.wait(_LOOK_SECONDS)
        present = whack.incarnation()
        if present is None or (after := _established(whack, managed)) is None:
            if not lost:
                lost, news = True, _News({})
                yield DaemonEvent(EventKind.LOST)
            continue
        if lost or present != incarnation:
            incarnation, lost, news = present, False, _News({})
            yield DaemonEvent(EventKind.RESTARTED)
        yield from news.between(after)


@dataclass(frozen=True)
class _Seen:
    """An IKE SA that is up. `inherited`: it has a CHILD SA that is older than itself."""

    sa: IkeSa
    inherited: bool

    @property
    def children(self) -> set[tuple[str, str]]:
        return {(child.spi_in, child.spi_out) for child in self.sa.children}


def _established(
    whack: Whack, managed: Callable[[], Sequence[Connection]]
) -> dict[str, _Seen] | None:
    try:
        now, ours = look(whack), managed()
    except IkewardenError:
        return None
    return {
        str(each.number): _Seen(
            _sa(each, now, {}, ours),
            any(child.parent == each.number > child.number for child in now.states),
        )
        for each in now.states
        if not each.child and each.established
    }


class _News:
    """What was there at the last look, and which of it has been replaced by its rekeyed successor."""

    def __init__(self, before: dict[str, _Seen]) -> None:
        self._before = before
        self._replaced: set[str] = set()

    def between(self, after: dict[str, _Seen]) -> Iterator[DaemonEvent]:
        """What happened since the last look."""
        before, self._before = self._before, after
        for number, seen in after.items():
            if number not in before:
                old = self._predecessors(before, seen)
                self._replaced |= old
                rekeyed = seen.inherited or bool(old)
                yield DaemonEvent(EventKind.CHANGED if rekeyed else EventKind.UP, seen.sa)
        for number, seen in before.items():
            if number in self._replaced:
                continue
            if number not in after:
                yield DaemonEvent(EventKind.DOWN, seen.sa)
            elif after[number].children != seen.children:
                yield DaemonEvent(EventKind.CHANGED, after[number].sa)
        self._replaced &= after.keys()

    def _predecessors(self, before: dict[str, _Seen], new: _Seen) -> set[str]:
        """What a new IKE SA took the place of by a rekeying, as far as can be told."""
        if new.sa.version == 1:
            return set()  # there is none: the ends authenticate each other again
        if new.sa.children and not new.inherited:
            return set()
        found = {
            number
            for number, old in before.items()
            if (old.sa.connection, old.sa.remote_id) == (new.sa.connection, new.sa.remote_id)
            and number not in self._replaced
            and (new.inherited or not old.children)
        }
        return {each for each in found if before[each].children & new.children} or found
