"""The OCSP responder: exact request bytes to signed answer bytes, as fast as a dictionary is.

Three layers. First a dictionary on the bytes of recent requests. Then `ocsp_answers`, signed in advance or by
another process. Then the truth: the certificate's record, and a fresh signature by the authority's delegated signer.
A change of status deletes the second layer in its own transaction and is read from `status_changes` a few times a
second to clear the first, so an answer is never older than that. When the signer itself is revoked or put on hold, all
its answers go the same way.
"""

import threading
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Row, exists, func, select

from core import spans
from core.errors import IkewardenError, Unavailable
from hsm.signonly import with_key
from pki import authorities, ocsp_signers
from pki.authorities import Authority, AuthorityNotFound
from pki.desk import Desk
from pki.ocsp_answers import Kept, keep, kept, renewal, status_of
from pki.x509 import ocsp, serials
from pki.x509.ocsp import OcspMalformed, OcspQuestion, ResponderKey
from store.tables import ocsp_signers as signers
from store.tables import status_changes

_MAX_RECENT = 200_000
# A question about one certificate has less than half of it; who pads his is not remembered for it.
_MAX_REMEMBERED = 512
_SIGNER_AGE = timedelta(minutes=1)
# On PostgreSQL a transaction may commit after one with a higher number, by no more than its time limits allow.
_OVERLAP = {"sqlite": timedelta(0), "postgresql": timedelta(seconds=30)}


_CHANGES = select(
    status_changes.c.id,
    status_changes.c.authority_id,
    status_changes.c.serial,
    exists()
    .where(
        signers.c.authority_id == status_changes.c.authority_id,
        signers.c.serial == status_changes.c.serial,
    )
    .label("is_signer"),
)


@dataclass(frozen=True, slots=True)
class OcspAnswer:
    """An answer: DER, and from when until when it may be cached (`next_update` None: not at all)."""

    body: bytes
    this_update: datetime | None = None
    next_update: datetime | None = None
    fresh_until: datetime | None = None


class OcspResponder:
    """Answers for all authorities of a desk. Safe to share between threads.

    `watch` must be called a few times a second by whoever runs the process.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._recent: dict[tuple[str, bytes], OcspAnswer] = {}
        self._by_serial: dict[tuple[int, str], list[tuple[str, bytes]]] = {}
        self._lock = threading.Lock()
        self._generation = 0
        self._signers: dict[str, tuple[datetime, ResponderKey]] = {}
        self._hashes: dict[tuple[str, str], tuple[bytes, bytes]] = {}
        self._floor: int | None = None
        self._seen: set[int] = set()
        self._marks: deque[tuple[datetime, int]] = deque()

    def answer(self, authority: str, request: bytes, now: datetime) -> OcspAnswer:
        """Answer a DER request about certificates of `authority`; never raises for what a client sent."""
        held = self._recent.get((authority, request))
        if held is not None and held.fresh_until is not None and now < held.fresh_until:
            return held
        try:
            return self._answer(authority, request, now)
        except OcspMalformed:
            return OcspAnswer(ocsp.error_answer("malformedRequest"))
        except AuthorityNotFound:
            return OcspAnswer(ocsp.error_answer("unauthorized"))
        except IkewardenError:
            return OcspAnswer(ocsp.error_answer("tryLater"))

    def _answer(self, name: str, request: bytes, now: datetime) -> OcspAnswer:
        question = ocsp.read_request(request)
        owner = authorities.load(self._desk, name)
        asked = question.certificate
        if (asked.name_hash, asked.key_hash) != self._issuer_hashes(owner, asked.hash):
            # RFC 5019 §2.2.3: not ours to answer for.
            return OcspAnswer(ocsp.error_answer("unauthorized"))
        serial = serials.to_hex(asked.serial)
        before = self._generation
        stored = None
        if question.nonce is None or not self._desk.rules.nonces:
            stored = kept(self._desk, owner.id, serial, asked.hash, now)
        if stored is None:
            return self._sign(owner, request, question, serial, now)
        if now < renewal(self._desk, stored.this_update, stored.next_update):
            return self._remember(owner, request, serial, stored, before)
        try:
            return self._sign(owner, request, question, serial, now)
        except Unavailable:
            # It is late to make a new one, and the old one holds until its end. Not remembered: the next may be new.
            return OcspAnswer(stored.der, stored.this_update, stored.next_update)

    def _sign(
        self, owner: Authority, request: bytes, question: OcspQuestion, serial: str, now: datetime
    ) -> OcspAnswer:
        nonce = question.nonce if self._desk.rules.nonces else None
        before = self._generation
        known = status_of(self._desk, owner.id, serial)
        signer = self._signer(owner, now)
        this_update = now.replace(microsecond=0)
        next_update = min(
            this_update + self._desk.rules.ocsp_lifetime, signer.certificate.not_valid_after_utc
        )
        answer = partial(
            ocsp.sign_answer,
            signer,
            question.certificate,
            known.status,
            this_update=this_update,
            next_update=next_update,
            nonce=nonce,
        )
        with spans.span("sign answer", ikewarden__serial=serial):
            body = with_key(signer.key, answer)
        if nonce is not None or not known.cacheable:
            return OcspAnswer(body, this_update)
        signed = Kept(body, this_update, next_update)
        try:
            keep(self._desk, owner.id, signer, (serial, question.certificate.hash), signed, known)
        except Unavailable:
            pass  # the answer is right all the same; the next process signs its own
        return self._remember(owner, request, serial, signed, before)

    def _issuer_hashes(self, owner: Authority, algorithm: str) -> tuple[bytes, bytes]:
        key = (owner.name, algorithm)
        held = self._hashes.get(key)
        if held is None:
            held = self._hashes[key] = ocsp.issuer_hashes(owner.certificate, algorithm)
        return held

    def _signer(self, owner: Authority, now: datetime) -> ResponderKey:
        held = self._signers.get(owner.name)
        if held is not None and now < held[0]:
            return held[1]
        before = self._generation
        signer = ocsp_signers.current(self._desk, owner, now=now)
        until = min(now + _SIGNER_AGE, signer.certificate.not_valid_after_utc)
        with self._lock:
            if before == self._generation:  # else it may have been revoked since it was read
                self._signers[owner.name] = (until, signer)
        return signer

    def _remember(
        self, owner: Authority, request: bytes, serial: str, stored: Kept, before: int
    ) -> OcspAnswer:
        until = renewal(self._desk, stored.this_update, stored.next_update)
        answer = OcspAnswer(stored.der, stored.this_update, stored.next_update, until)
        with self._lock:
            # A status that changed after the record was read must not be remembered as it was before.
            if before == self._generation and len(request) <= _MAX_REMEMBERED:
                if len(self._recent) >= _MAX_RECENT:
                    self._recent.clear()
                    self._by_serial.clear()
                key = (owner.name, request)
                self._recent[key] = answer
                self._by_serial.setdefault((owner.id, serial), []).append(key)
        return answer

    def watch(self, now: datetime) -> int:
        """Forget answers about certificates whose status changed since the last call; tell how many changes.

        Raises the errors of the store; then everything is forgotten, because a change may have been missed.
        """
        if self._floor is None:
            self.forget_all()  # what was answered before anybody watched
        try:
            changes = self._changes(now)
        except IkewardenError:
            self.forget_all()
            raise
        if any(each.is_signer for each in changes):
            self.forget_all()  # whoever has the key of one that was revoked may have signed any of it
        elif changes:
            with self._lock:
                self._generation += 1
                for each in changes:
                    for key in self._by_serial.pop((each.authority_id, each.serial), ()):
                        self._recent.pop(key, None)
        return len(changes)

    def forget_all(self) -> None:
        """Start again with an empty memory."""
        with self._lock:
            self._generation += 1
            self._recent.clear()
            self._by_serial.clear()
            self._signers.clear()

    def _changes(self, now: datetime) -> list[Row[Any]]:
        overlap = _OVERLAP[self._desk.store.dialect]
        with self._desk.store.read() as connection:
            if self._floor is None:
                highest = select(func.max(status_changes.c.id)).where(
                    status_changes.c.at < now - overlap
                )
                self._floor = connection.execute(highest).scalar() or 0
            query = _CHANGES.where(status_changes.c.id > self._floor)
            rows = [row for row in connection.execute(query) if row.id not in self._seen]
        self._seen.update(row.id for row in rows)
        self._marks.append((now, max(self._seen, default=self._floor)))
        while self._marks and self._marks[0][0] <= now - overlap:
            self._floor = self._marks.popleft()[1]
        self._seen = {number for number in self._seen if number > self._floor}
        return rows
