"""Authentications beside the running SAs, to prove a key: an IKE_SA without a CHILD_SA (RFC 6023), ended when it is up.

It is made under a connection of its own, `<name>+proof`, which is the managed one without children. charon keeps what
it needs of a connection with the IKE_SA, so that one is there only for the moment in which the IKE_SA is begun. What an
agent that died left behind is taken out by the next that comes; and charon itself ends the IKE_SA soon.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from threading import Lock
from typing import Any

from ike.daemons.port import DaemonRefused, IkeSa
from ike.daemons.strongswan import names
from ike.daemons.strongswan.sas import sa_of
from ike.daemons.strongswan.session import Endpoint, Session

_SECONDS = 10.0
# A peer that is asked for its SAs from time to time is to see it.
_STAY_SECONDS = 1.5
# Without an agent charon ends one that is up by itself: it has no CHILD_SA to be made anew.
_LIFE: dict[str, Any] = {
    "rekey_time": "0s",
    "reauth_time": f"{_SECONDS:.0f}s",
    "over_time": "1s",
    "rand_time": "0s",
}
# It tells the peer nothing of the other SAs (no INITIAL_CONTACT), and nothing is done when it ends.
_ALONE: dict[str, Any] = {
    "unique": "never",
    "childless": "force",
    "mobike": "no",
    "dpd_delay": "0s",
    "children": {},
}


class Beside:
    """The proofs of one charon. `section` gives a managed connection that can be proven so, as a section."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        section: Callable[[str], dict[str, Any] | None],
        now: Callable[[], datetime],
    ) -> None:
        self._endpoint = endpoint
        self._section = section
        self._now = now
        self._lock = Lock()  # a sweep does not take out a connection that is about to be used
        self._since: dict[str, float] = {}
        self._to_sweep = True

    def start(self, connection: str) -> bool:
        """Begin one, without waiting for what comes of it; False where the connection cannot be proven so.

        One that is still under way goes first, so that two never stand for different keys.
        """
        section = self._section(connection)
        if section is None:
            return False
        name = names.proof(connection)
        with self._lock, self._endpoint.session() as session:
            self._end(session, self._listed(session, ike=name))
            self._to_sweep = True
            session.ask("load-conn", {name: {**section, **_ALONE, **_LIFE}})
            try:
                # No complaint: whether it came up is told by the events.
                with suppress(DaemonRefused):
                    session.stream("initiate", "control-log", {"ike": name, "timeout": "-1"})
            finally:
                session.ask("unload-conn", {"name": name})
        return True

    def sweep(self) -> None:
        """End what is left of earlier ones: those that came up and were there to be seen, and those whose time is up.

        It is cheap while there are none, but for the first time.
        """
        if not self._to_sweep:
            return
        with self._lock, self._endpoint.session() as session:
            for name in session.ask("get-conns").get("conns", []):
                if names.is_proof(name):
                    session.ask("unload-conn", {"name": name})
            found = self._listed(session)
            self._end(session, self._over(found))
            self._to_sweep = bool(found)

    # inside

    def _over(self, sas: list[IkeSa]) -> list[IkeSa]:
        now = time.monotonic()
        self._since = {sa.id: self._since.get(sa.id, now) for sa in sas}
        return [
            sa
            for sa in sas
            if now - self._since[sa.id] >= (_STAY_SECONDS if sa.established else _SECONDS)
        ]

    def _listed(self, session: Session, **filters: str) -> list[IkeSa]:
        listed = session.stream("list-sas", "list-sa", filters)
        return [
            sa_of(name, raw, self._now())
            for entry in listed
            for name, raw in entry.items()
            if names.is_proof(name)
        ]

    def _end(self, session: Session, sas: Iterable[IkeSa]) -> None:
        for sa in sas:
            force = "no" if sa.established else "yes"
            request = {"ike-id": sa.id, "timeout": "-1", "force": force}
            with suppress(DaemonRefused):  # it ended by itself
                session.stream("terminate", "control-log", request)
