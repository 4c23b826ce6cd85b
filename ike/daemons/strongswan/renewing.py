"""Connections authenticated afresh, or for the first time."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from threading import Event

from ike.daemons.port import DaemonRefused, IkeSa
from ike.daemons.strongswan.proving import Words
from ike.daemons.strongswan.sas import sas_of
from ike.daemons.strongswan.session import Endpoint, Session

_LOOK_EVERY = 0.02
# What is on its way under the old SA still comes in.
_OVERLAP_SECONDS = 0.3
_pause = Event().wait


class Renewing:
    """`prove_beside` begins an authentication beside a connection's SAs where it can, `is_gapless` tells whether charon
    makes before it breaks, `may_differ` whether a connection may be another than when its SAs came up, by its PPK or
    by the authorities of its peer; `seconds` is how long a new SA may take that is made before an old one ends.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        prove_beside: Callable[[str], bool],
        is_gapless: Callable[[Session], bool],
        may_differ: Callable[[str], bool],
        now: Callable[[], datetime],
        seconds: float = 10.0,
    ) -> None:
        self._endpoint = endpoint
        self._prove_beside = prove_beside
        self._is_gapless = is_gapless
        self._may_differ = may_differ
        self._now = now
        self._seconds = seconds

    def reauthenticate(self, connection: str, *, gap: bool) -> int:
        if not gap and self._prove_beside(connection):
            return 1
        with self._endpoint.session() as session:
            fit = [sa for sa in self._listed(session, connection) if sa.established and sa.children]
            if gap and fit and self._may_differ(connection):
                if self._renew(session, connection, fit):
                    return len(fit)
            if not gap and not self._is_gapless(session):
                return 0
            for sa in fit:
                session.ask("rekey", {"ike-id": sa.id, "reauth": "yes"})
            return len(fit)

    def initiate(self, connection: str) -> bool:
        with self._endpoint.session() as session:
            if self._listed(session, connection):
                return False
            children = _children(session, connection)
            _start(session, connection, children)
            return bool(children)

    # inside

    def _listed(self, session: Session, connection: str) -> list[IkeSa]:
        return sas_of(session, self._now(), connection)

    def _renew(self, session: Session, connection: str, old: Sequence[IkeSa]) -> bool:
        """Make an IKE_SA under the connection as it is now, and end the old ones when it is up.

        charon reauthenticates an SA under the connection as it was when that came up: it would send that PPK_ID, and
        take no peer of an authority that was added since. It makes a new one beside it if the two differ; if they are
        the same it makes none, and False is the answer.
        """
        known = {sa.id for sa in self._listed(session, connection)}
        children = sorted({child.name for sa in old for child in sa.children})
        with self._endpoint.session() as ears:
            # One that a peer refused at once may be gone before it is listed.
            words = Words(ears, connection)
            _start(session, connection, children)
            words.take()
        fresh = [sa for sa in self._listed(session, connection) if sa.id not in known]
        if not fresh and not words.ids - known:
            return False
        deadline = time.monotonic() + self._seconds
        while fresh:
            if any(_carries(sa, children) for sa in fresh):
                _pause(_OVERLAP_SECONDS)
                _end(session, old)
                break
            if time.monotonic() > deadline:
                _end(session, fresh, force="yes")
                break
            _pause(_LOOK_EVERY)
            fresh = [sa for sa in self._listed(session, connection) if sa.id not in known]
        return True


def _carries(sa: IkeSa, children: Sequence[str]) -> bool:
    up = {child.name for child in sa.children if child.state == "INSTALLED"}
    return sa.established and up >= set(children)


def _children(session: Session, connection: str) -> list[str]:
    listed = session.stream("list-conns", "list-conn", {"ike": connection})
    return [
        name for entry in listed for each in entry.values() for name in each.get("children", ())
    ]


def _start(session: Session, connection: str, children: Sequence[str]) -> None:
    """No waiting, and no complaint: whether they came up is seen in the SAs."""
    for child in children:
        request = {"ike": connection, "child": child, "timeout": "-1"}
        with suppress(DaemonRefused):
            session.stream("initiate", "control-log", request)


def _end(session: Session, sas: Sequence[IkeSa], *, force: str = "no") -> None:
    for sa in sas:
        request = {"ike-id": sa.id, "timeout": "-1", "force": force}
        with suppress(DaemonRefused):  # it ended by itself
            session.stream("terminate", "control-log", request)
