"""Fresh authentications, make-before-break, and what they show."""

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import takewhile

from ike.daemons.port import Abilities, Credential, DaemonRefused, IkeSa, Proof
from ike.daemons.strongswan import listing, names
from ike.daemons.strongswan.sas import sas_of
from ike.daemons.strongswan.session import Endpoint, Session

_LOOK_EVERY = 0.02
# Only shown to people, never acted on: charon's words change from version to version.
_REASON = re.compile(r"notify error|fail|not respond|giving up|no .* found|refus|reject|constraint")
_MAKES_BEFORE_BREAK = 6  # from this major version on, unless set otherwise
_KNOWS_PPK = (5, 7)


class Proving:
    """Reauthentication of one charon.

    `make_before_break` is charon's setting of that name; None: as the version has it by default. VICI does not tell.
    `is_widened`: the peer's certificate may be of an authority that the SAs of this connection do not know. charon
    reauthenticates them under what they know, so nothing is asked of them.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        make_before_break: bool | None,
        is_widened: Callable[[str], bool],
        now: Callable[[], datetime],
    ) -> None:
        self._endpoint = endpoint
        self._is_widened = is_widened
        self._make_before_break = make_before_break
        self._now = now

    def prove(self, credential: Credential, connections: Sequence[str], *, seconds: float) -> Proof:
        deadline = time.monotonic() + seconds
        with self._endpoint.session() as session:
            self._require_in_use(session, credential)
            if not self.is_gapless(session):
                return Proof.LOADED
            proof = Proof.LOADED
            for name in connections:
                if not self._is_widened(name) and self._prove_one(session, name, deadline):
                    proof = Proof.AUTHENTICATED
            return proof

    def is_gapless(self, session: Session) -> bool:
        """Whether charon makes before it breaks."""
        if self._make_before_break is not None:
            return self._make_before_break
        return _version(session) >= (_MAKES_BEFORE_BREAK,)

    def abilities(self) -> Abilities:
        with self._endpoint.session() as session:
            gapless, version = self.is_gapless(session), _version(session)
        return Abilities(overlap=True, ppk=version >= _KNOWS_PPK, gapless=gapless, beside=True)

    # inside

    def _require_in_use(self, session: Session, credential: Credential) -> None:
        listed = listing.certificates(session)
        if not any(each.fingerprint == credential.fingerprint and each.has_key for each in listed):
            raise DaemonRefused("charon does not list the certificate with its key.")
        before = listing.goes_before(listed, credential.fingerprint)
        if before is not None:
            raise DaemonRefused(
                f"charon would show another certificate of this name, {before.fingerprint[:16]}….",
                next_step="Take that certificate's key out of charon, and its files out of the swanctl folder.",
            )

    def _fit(self, session: Session, connection: str) -> list[IkeSa]:
        """The SAs of a connection that can be reauthenticated: charon needs a CHILD_SA to make anew."""
        found = self._listed(session, connection)
        return [sa for sa in found if sa.established and sa.children]

    def _prove_one(self, session: Session, connection: str, deadline: float) -> bool:
        old = self._fit(session, connection)
        if not old:
            return False
        known = {sa.id for sa in self._listed(session, connection)}
        with self._endpoint.session() as ears:
            words = Words(ears, connection)
            for sa in old:
                session.ask("rekey", {"ike-id": sa.id, "reauth": "yes"})
            started: set[str] = set()
            while time.monotonic() < deadline:
                words.take()
                new = [sa for sa in self._listed(session, connection) if sa.id not in known]
                if _replaces([sa for sa in new if sa.established], old):
                    return True
                started |= {sa.id for sa in new} | (words.ids - known)
                if started - {sa.id for sa in new}:
                    raise DaemonRefused(
                        f"The fresh authentication of '{connection}' failed: {words.last}."
                    )
        raise DaemonRefused(f"The fresh authentication of '{connection}' had no answer in time.")

    def _listed(self, session: Session, connection: str) -> list[IkeSa]:
        return sas_of(session, self._now(), connection)


def _version(session: Session) -> tuple[int, ...]:
    """`5.9.8` as numbers; what is no number ends it."""
    parts = session.ask("version").get("version", "").split(".")
    return tuple(int(each) for each in takewhile(str.isdigit, parts))


def _replaces(new: list[IkeSa], old: list[IkeSa]) -> bool:
    """Whether every SA has a successor with the same peer."""
    left = Counter(sa.remote_id for sa in old)
    left.subtract(sa.remote_id for sa in new)
    return all(count <= 0 for count in left.values())


class Words:
    """What charon logs of a connection while it is authenticated anew: which SAs it works on, and why one failed."""

    def __init__(self, ears: Session, connection: str) -> None:
        self._names = (connection, names.companion(connection))
        self._heard = ears.listen(["log"], idle=_LOOK_EVERY)
        self.ids: set[str] = set()
        self.last = "charon gave no reason"
        self.take()

    def take(self) -> None:
        """Read what came, for a moment at most."""
        deadline = time.monotonic() + 5 * _LOOK_EVERY
        for event in self._heard:
            if event is None or time.monotonic() > deadline:
                return
            line = event[1]
            if line.get("ikesa-name") in self._names:
                self.ids.add(line.get("ikesa-uniqueid", ""))
                if _REASON.search(line.get("msg", "")):
                    self.last = line["msg"].strip()
