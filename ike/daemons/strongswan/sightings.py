"""Which certificates authenticated which IKE_SA: VICI does not tell, so it is noted when an SA comes up.

charon remembers in its cache every certificate whose chain it verified. Read when an SA comes up, the cache holds the
one that authenticated the peer, beside those verified since it was last flushed. It is flushed soon after, so that the
next time there is little beside it. If several certificates prove the peer's identity, nothing is claimed: a
certificate is public, and anybody may have shown one without having its key. Nor is anything claimed of an SA that
was coming up while the cache was flushed: what was verified for it may be lost, and what is left be another's.

A rekeyed IKE_SA inherits what is known of the old one, since nobody is authenticated again.
"""

import json
import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock
from typing import Any

from ike.daemons.port import DaemonFilesUnwritable, IkeSa
from ike.daemons.strongswan import names
from ike.daemons.strongswan.files import SwanctlFiles
from ike.daemons.strongswan.listing import Listed

_log = logging.getLogger(__name__)
# A rekeyed SA's record is needed until the event is handled that tells its successor.
_KEEP_SECONDS = 60.0


@dataclass(frozen=True)
class Sighting:
    """Fingerprints of the certificates of both ends of an SA, None where nothing is known."""

    remote: str | None
    local: str | None


class Sightings:
    """The record, by SPIs, kept in a small JSON file so that it survives the agent."""

    def __init__(self, path: Path, files: SwanctlFiles) -> None:
        self._path = path
        self._files = files
        self._lock = RLock()
        self._known = read(path)
        self._changed = False
        self._missing: dict[str, float] = {}
        self._unsure: set[str] = set()

    def of(self, sa: IkeSa) -> Sighting | None:
        """What was noted of an SA."""
        return self._known.get(_key(sa))

    def flushed(self, sas: Iterable[IkeSa]) -> None:
        """The cache was flushed, and then these SAs were listed: of those not noted yet nothing can be said."""
        with self._lock:
            self._unsure = {sa.id for sa in sas if _key(sa) not in self._known}

    def is_quiet(self, sas: Iterable[IkeSa]) -> bool:
        """Whether no SA is coming up whose certificate a flush might take away unseen."""
        return all(sa.established or sa.id in self._unsure for sa in sas)

    def came_up(self, sa: IkeSa, listed: list[Listed]) -> None:
        """Note an SA that came up just now; `listed` was read after that."""
        candidates = _candidates(sa.remote_id, listed)
        sure = sa.id not in self._unsure and len(candidates) == 1
        remote = candidates.pop() if sure else None
        with self._lock:
            self._known[_key(sa)] = Sighting(remote, _shown(sa.local_id, listed))
            self._changed = True

    def rekeyed(self, old: IkeSa, new: IkeSa) -> None:
        """Hand down what is known of an SA to the one that replaces it."""
        with self._lock:
            known = self._known.get(_key(old))
            if known is not None:
                self._known[_key(new)] = known
                self._changed = True

    def keep_only(self, sas: Iterable[IkeSa]) -> None:
        """Forget SAs that have been missing for a while."""
        now = time.monotonic()
        with self._lock:
            gone = set(self._known) - {_key(sa) for sa in sas}
            self._missing = {key: self._missing.get(key, now) for key in gone}
            for key, since in self._missing.items():
                if now - since > _KEEP_SECONDS:
                    del self._known[key]

    def went_down(self, sa: IkeSa) -> None:
        """Forget one SA."""
        with self._lock:
            if self._known.pop(_key(sa), None) is not None:
                self._changed = True

    def told(self, sa: IkeSa, listed: list[Listed]) -> IkeSa:
        """An SA with the certificates that authenticated it: as noted, else the only one that can have been it."""
        seen = self.of(sa)
        if seen is not None:
            return replace(sa, remote_certificate=seen.remote, local_certificate=seen.local)
        candidates = _candidates(sa.remote_id, listed)
        return replace(sa, remote_certificate=candidates.pop() if len(candidates) == 1 else None)

    # inside

    def save(self) -> None:
        """Write down what is new; thousands of SAs may come up at once, so it is not done for each."""
        with self._lock:
            if self._changed:
                self._changed = False
                self._write()

    def _write(self) -> None:
        content = {
            "version": 1,
            "sas": {
                key: {"remote": each.remote, "local": each.local}
                for key, each in self._known.items()
            },
        }
        try:
            self._files.write(self._path, json.dumps(content, indent=1).encode())
        except DaemonFilesUnwritable as failed:
            # It goes on in memory; after the agent's death identities decide.
            _log.warning("%s", failed.message)


def read(path: Path) -> dict[str, Sighting]:
    """What was written down, by `SPI of the initiator:SPI of the responder`; nothing where it cannot be read."""
    known = {}
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        content: Any = json.loads(path.read_bytes())
        for key, each in content["sas"].items():
            known[str(key)] = Sighting(_text(each["remote"]), _text(each["local"]))
    return known


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _key(sa: IkeSa) -> str:
    return f"{sa.spi_initiator}:{sa.spi_responder}"


def _is_peer(each: Listed) -> bool:
    return not each.has_key and not each.authority


def _candidates(remote_id: str, listed: list[Listed]) -> set[str]:
    return {
        each.fingerprint
        for each in listed
        if _is_peer(each) and names.proves(each.certificate, remote_id)
    }


def _shown(local_id: str, listed: list[Listed]) -> str | None:
    """What charon showed: the first that proves its identity, and lay in the cache if there are several."""
    for each in listed:
        if each.has_key and not each.authority and names.proves(each.certificate, local_id):
            return each.fingerprint
    return None
