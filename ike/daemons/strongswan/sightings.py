"""Which certificates authenticated which IKE_SA: VICI does not tell, so it is noted when an SA comes up.

charon remembers in its cache every certificate whose chain it verified. The cache is read and flushed at each IKE_SA
that comes up, so at the next one it holds what was verified for that one alone. If several certificates that prove the
peer's identity were verified lately, or none, nothing is claimed: somebody may have shown a certificate without having
its key. A rekeyed IKE_SA inherits what is known of the old one, since nobody is authenticated again.
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

from cryptography import x509

from ike.daemons.port import DaemonFilesUnwritable, IkeSa
from ike.daemons.strongswan import names
from ike.daemons.strongswan.files import SwanctlFiles
from ike.daemons.strongswan.listing import Listed

_log = logging.getLogger(__name__)
_LATELY_SECONDS = 10.0


@dataclass(frozen=True)
class Sighting:
    """Fingerprints of the certificates of both ends of an SA, None where nothing is known."""

    remote: str | None
    local: str | None


@dataclass(frozen=True)
class _Verified:
    certificate: x509.Certificate
    at: float
    attributed: bool = False


class Sightings:
    """The record, by SPIs, kept in a small JSON file so that it survives the agent."""

    def __init__(self, path: Path, files: SwanctlFiles) -> None:
        self._path = path
        self._files = files
        self._lock = RLock()
        self._known = _read(path)
        self._lately: dict[str, _Verified] = {}

    def of(self, sa: IkeSa) -> Sighting | None:
        """What was noted of an SA."""
        return self._known.get(_key(sa))

    def observe(self, listed: Iterable[Listed]) -> None:
        """Remember for a while what is in the cache, because it is flushed now."""
        now = time.monotonic()
        with self._lock:
            lately = {
                print_: each
                for print_, each in self._lately.items()
                if now - each.at < _LATELY_SECONDS
            }
            for each in listed:
                if _is_peer(each):  # in the cache again, so verified again
                    lately[each.fingerprint] = _Verified(each.certificate, now)
            self._lately = lately

    def came_up(self, sa: IkeSa, listed: list[Listed]) -> Sighting:
        """Note an SA that came up just now; `listed` was read after that and before the cache was flushed."""
        remote = self._authenticated(sa.remote_id, listed)
        local = _shown(sa.local_id, listed)
        with self._lock:
            if remote is not None and remote in self._lately:
                self._lately[remote] = replace(self._lately[remote], attributed=True)
            self._known[_key(sa)] = Sighting(remote, local)
            self._write()
            return self._known[_key(sa)]

    def rekeyed(self, old: IkeSa, new: IkeSa) -> None:
        """Hand down what is known of an SA to the one that replaces it."""
        with self._lock:
            known = self._known.get(_key(old))
            if known is not None:
                self._known[_key(new)] = known
                self._write()

    def noted(self) -> frozenset[str]:
        """The SAs of which something is noted; to be read before charon is asked which there are."""
        return frozenset(self._known)

    def forget(self, noted: Iterable[str], *, but: Iterable[IkeSa] = ()) -> None:
        """Forget SAs that are no more. Those that came up since `noted` was read stay."""
        with self._lock:
            gone = (set(noted) - {_key(sa) for sa in but}) & set(self._known)
            for key in gone:
                del self._known[key]
            if gone:
                self._write()

    def went_down(self, sa: IkeSa) -> None:
        """Forget one SA."""
        self.forget([_key(sa)])

    def told(self, sa: IkeSa, listed: list[Listed]) -> IkeSa:
        """An SA with the certificates that authenticated it: as noted, else the only one that can have been it."""
        seen = self.of(sa)
        if seen is not None:
            return replace(sa, remote_certificate=seen.remote, local_certificate=seen.local)
        candidates = _candidates(sa.remote_id, listed)
        return replace(sa, remote_certificate=candidates.pop() if len(candidates) == 1 else None)

    # inside

    def _authenticated(self, remote_id: str, listed: list[Listed]) -> str | None:
        self.observe(listed)
        with self._lock:
            proving = {
                print_: each
                for print_, each in self._lately.items()
                if names.proves(each.certificate, remote_id)
            }
        fresh = {print_ for print_, each in proving.items() if not each.attributed}
        candidates = fresh | _candidates(remote_id, listed) or set(proving)
        return candidates.pop() if len(candidates) == 1 else None

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


def _read(path: Path) -> dict[str, Sighting]:
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
