"""What a CMP message asks for, once it is known who sent it: one operation for each kind (RFC 9483 §4)."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from api.cmp.failures import failure_of, words_of
from api.cmp.senders import Sender
from core.errors import IkewardenError, TooFast, Unavailable
from fleet import ca_sets
from pki import authorities, cmp_news, cmp_transactions, enrollments, identity, own_revocation
from pki.authorities import Authority
from pki.certificates import find
from pki.cmp import answers, orders
from pki.cmp.errors import (
    CmpCertificateWanted,
    CmpOldCertificateOther,
    NoTransaction,
    TransactionInUse,
)
from pki.cmp.grants import is_granted
from pki.cmp.messages import Message, Reply
from pki.cmp.protection import digest_name
from pki.cmp.requests import OldCertificate, Wanted, wanted
from pki.cmp_transactions import Kept, Opening, State, Transaction, Word
from pki.desk import Desk
from pki.endpoints import Endpoint
from pki.enrollments import EnrollmentWaits
from pki.identity import TokenRefused, certificate_credential
from pki.publication import CrlNotFound
from pki.x509 import der, serials
from pki.x509.csr import SigningRequest
from store.errors import Duplicate

#: How long a client waits before it polls again for what a person has to approve.
CHECK_AFTER: Final = 10  # seconds
# OIDs of InfoTypeAndValue (RFC 9810 §5.3.19), in DER.
_CURRENT_CRL: Final = bytes.fromhex("06082b06010505070406")
_CA_CERTS: Final = bytes.fromhex("06082b06010505070411")
_ROOT_UPDATE: Final = bytes.fromhex("06082b06010505070412")
_TEMPLATE: Final = bytes.fromhex("06082b06010505070413")
_ROOT: Final = bytes.fromhex("06082b06010505070414")
_CRL_STATUS: Final = bytes.fromhex("06082b06010505070416")
_CRLS: Final = bytes.fromhex("06082b06010505070417")


@dataclass(frozen=True)
class Ask:
    """One message, and who sent it; `issuer`: who issues now."""

    desk: Desk
    through: Endpoint
    issuer: Authority
    message: Message
    sender: Sender
    request_id: str
    now: datetime

    @property
    def transaction(self) -> Transaction:
        """What the message is a part of."""
        return Transaction(self.through.name, self.sender.credential, self.message.transaction)


@dataclass(frozen=True)
class Done:
    """What is answered. `chain`: of a certificate that is in it; `confirmed`: it need not be confirmed; `refused`: why
    it is a refusal of what the message asks for.
    """

    reply: Reply
    chain: tuple[x509.Certificate, ...] = ()
    confirmed: bool = False
    refused: IkewardenError | None = None


def perform(ask: Ask) -> Done:
    """Do what the message asks for.

    Raises CmpRefused and its kin, and what the operations raise; what is wrong with the one request in it, once that is
    read, is answered there.
    """
    return _OPERATIONS[ask.message.kind](ask)


def _certificate(ask: Ask) -> Done:
    """RFC 9483 §4.1: ir, cr, p10cr, kur."""
    kind = ask.message.kind
    asked = wanted(ask.message)
    digest = hashlib.sha256(ask.message.protected).hexdigest()
    opening = Opening(digest, kind, asked.number, ask.message.implicit_confirm)
    # Before anything is judged: a transactionID that is in use says nothing of this request.
    kept = cmp_transactions.look(ask.desk, ask.transaction, opening)
    if kept is not None and _is_being_made(ask.desk, kept):
        return Done(answers.waiting(kind, asked.number))
    try:
        if kind == "kur" and ask.sender.holder is None:
            raise CmpCertificateWanted("An update is signed with the key of the old certificate.")
        if asked.old is not None:
            _check_old(ask, asked.old)
        made = _made(ask, opening, asked.request)
    except EnrollmentWaits:
        cmp_transactions.wait(ask.desk, ask.transaction, opening, asked.request, ask.now)
        return Done(answers.waiting(kind, asked.number))
    except (
        Duplicate,
        TransactionInUse,
    ):  # the same message twice at the same moment: it has a transaction by now
        if cmp_transactions.look(ask.desk, ask.transaction, opening) is None:
            raise
        return Done(answers.waiting(kind, asked.number))
    except (Unavailable, TooFast):
        raise
    except IkewardenError as error:
        failure = failure_of(error, of_request=True)
        reply = answers.refused(kind, asked.number, failure, words_of(error))
        return Done(reply, refused=error)
    return _issued(ask, opening, made, asked)


def _is_being_made(desk: Desk, kept: Kept) -> bool:
    """Whether it is on record that a certificate will be signed: somebody does that now, or has died over it."""
    if kept.serial is None:
        return False
    return find(desk, kept.serial, authority=kept.authority).status == "pending"


def _check_old(ask: Ask, old: OldCertificate) -> None:
    """RFC 9483 §4.1.3: oldCertID names the certificate whose key signed."""
    holder = ask.sender.holder
    if holder is not None:
        authority = holder.credential.split(":", 2)[1]
        named = certificate_credential(authority, serials.to_hex(old.serial))
        issuer = authorities.load(ask.desk, authority).certificate.subject.public_bytes()
        if named == holder.credential and issuer == old.issuer:
            return
    raise CmpOldCertificateOther("oldCertID names another certificate than that which signed.")


def _made(ask: Ask, opening: Opening, csr: SigningRequest) -> bytes:
    """The certificate of a sender for a key: one, however often and in how many transactions it is asked for."""
    desk, now = ask.desk, ask.now
    note = cmp_transactions.noting(ask.transaction, opening, now)
    try:
        actor = ask.sender.holder or identity.enroller_by_id(
            desk, ask.sender.token_id or "", now=now, request_id=ask.request_id
        )
        made = enrollments.once(desk, actor, ask.through, "cmp", csr, now=now, note=note)
    except TokenRefused:
        # Perhaps used up by the same request, whose answer was lost.
        spent = identity.used_up_by_id(desk, ask.sender.token_id or "", now=now)
        given = spent and enrollments.given(desk, spent, ask.through, csr, now=now)
        if not given:
            raise
        made = given
    serial = serials.to_hex(x509.load_der_x509_certificate(made).serial_number)
    kept = cmp_transactions.look(desk, ask.transaction, opening)
    if kept is None or kept.serial != serial:
        # It was made in another transaction, and can be confirmed in this one too.
        authority = find(desk, serial).authority
        cmp_transactions.again(desk, ask.transaction, opening, authority, serial, now)
    return made


def _issued(
    ask: Ask,
    opening: Opening,
    made: bytes,
    asked: Wanted | None = None,
    *,
    confirmed: bool = False,
) -> Done:
    certificate = x509.load_der_x509_certificate(made)
    serial = serials.to_hex(certificate.serial_number)
    chain = authorities.load(ask.desk, find(ask.desk, serial).authority).chain
    # RFC 9483 §4.1.1: a root is believed where a secret protects it.
    by_secret = ask.sender.token_id is not None
    trusted = [chain[-1].public_bytes(Encoding.DER)] if by_secret else []
    modified = asked is not None and not is_granted(asked, certificate)
    reply = answers.issued(opening.kind, opening.number, made, trusted, modified=modified)
    return Done(reply, chain, confirmed=confirmed or ask.message.implicit_confirm)


def _poll(ask: Ask) -> Done:
    """RFC 9483 §4.4."""
    kept = cmp_transactions.recall(ask.desk, ask.transaction)
    cmp_transactions.check_nonce(ask.desk, ask.transaction, ask.message.recipient_nonce)
    _check_number(kept, orders.polled(ask.message))
    return _polled(ask, kept)


def _check_number(kept: Kept, number: int) -> None:
    # OpenSSL 3.0 has 0 where the request was a PKCS #10, which has none.
    if number != kept.number and not (kept.kind == "p10cr" and number == 0):
        raise NoTransaction("Nothing with this number was asked for.")


def _polled(ask: Ask, kept: Kept) -> Done:
    desk, opening = ask.desk, kept.opening
    csr = kept.request
    if csr is None:
        if kept.serial is None:
            raise NoTransaction("Nothing of this transaction waits.")
        found = find(desk, kept.serial, authority=kept.authority)
        if found.status == "pending":
            return Done(answers.poll_again(kept.number, CHECK_AFTER))
        if found.der is None:
            raise NoTransaction("Nothing of this transaction waits.")
        # What it said in its request of confirming holds.
        return _issued(ask, opening, found.der, confirmed=kept.state == State.CONFIRMED)
    try:
        made = _made(ask, opening, csr)
    except EnrollmentWaits:
        return Done(answers.poll_again(kept.number, CHECK_AFTER))
    except (Unavailable, TooFast):
        raise
    except IkewardenError as error:
        failure = failure_of(error, of_request=True)
        reply = answers.refused(kept.kind, kept.number, failure, words_of(error))
        return Done(reply, refused=error)
    return _issued(ask, opening, made, Wanted(kept.number, csr))


def _confirm(ask: Ask) -> Done:
    """RFC 9483 §4.1: certConf."""
    said = orders.confirmation(ask.message)
    word = Word(accepted=False)
    if said is not None:
        digest = None if said.digest is None else digest_name(said.digest)
        word = Word(said.accepted, said.hash, digest)
    kept = cmp_transactions.recall(ask.desk, ask.transaction)
    cmp_transactions.check_nonce(ask.desk, ask.transaction, ask.message.recipient_nonce)
    if said is not None:
        _check_number(kept, said.number)
    actor = ask.sender.actor(ask.request_id)
    cmp_transactions.confirm(ask.desk, actor, ask.transaction, word, now=ask.now)
    return Done(answers.confirmed())


def _revoke(ask: Ask) -> Done:
    """RFC 9483 §4.2: a certificate by its own key."""
    named = orders.revocation(ask.message)
    try:
        if ask.sender.holder is None:
            raise CmpCertificateWanted("A revocation is signed with the certificate's own key.")
        own_revocation.revoke_own(
            ask.desk, ask.sender.holder, named.issuer, named.serial, named.reason, now=ask.now
        )
    except (Unavailable, TooFast):
        raise
    except IkewardenError as error:
        return Done(answers.not_revoked(failure_of(error), words_of(error)), refused=error)
    return Done(answers.revoked())


def _tell(ask: Ask) -> Done:
    """RFC 9483 §4.3; what is not known is passed over (RFC 9810 §5.3.19)."""
    # Each once: a short question that is repeated must not make a very long answer.
    asked = {each.oid: each.value for each in orders.questions(ask.message)}
    known = [(_TELLERS[oid], value) for oid, value in asked.items() if oid in _TELLERS]
    return Done(answers.told(teller(ask, value) for teller, value in known))


def _tell_authorities(ask: Ask, value: bytes) -> tuple[bytes, bytes]:
    line = ca_sets.line_of(ask.desk, ask.issuer.name, now=ask.now)
    found = b"".join(each.certificate.public_bytes(Encoding.DER) for each in line)
    return _CA_CERTS, der.tlv(der.SEQUENCE, found)


def _tell_root(ask: Ask, value: bytes) -> tuple[bytes, bytes]:
    update = cmp_news.root_update(ask.desk, ask.issuer, value, now=ask.now)
    if update is None:
        return _ROOT_UPDATE, b""
    content = update.new.public_bytes(Encoding.DER)
    for tag, cross in ((0xA0, update.new_with_old), (0xA1, update.old_with_new)):
        content += b"" if cross is None else der.tlv(tag, cross)
    return _ROOT_UPDATE, der.tlv(der.SEQUENCE, content)


def _tell_template(ask: Ask, value: bytes) -> tuple[bytes, bytes]:
    """RFC 9483 §4.3.3: without a value nothing is demanded of requests; the profile decides, and says what is wrong."""
    return _TEMPLATE, b""


def _tell_current(ask: Ask, value: bytes) -> tuple[bytes, bytes]:
    try:
        return _CURRENT_CRL, cmp_news.current(ask.desk, ask.issuer).der
    except CrlNotFound:
        return _CURRENT_CRL, b""


def _tell_lists(ask: Ask, value: bytes) -> tuple[bytes, bytes]:
    found = cmp_news.newer(ask.desk, ask.issuer, cmp_news.read_statuses(value))
    content = b"".join(each.der for each in found)
    return _CRLS, der.tlv(der.SEQUENCE, content) if content else b""


_TELLERS: Final[Mapping[bytes, Callable[[Ask, bytes], tuple[bytes, bytes]]]] = {
    _CA_CERTS: _tell_authorities,
    _ROOT: _tell_root,
    _TEMPLATE: _tell_template,
    _CURRENT_CRL: _tell_current,
    _CRL_STATUS: _tell_lists,
}


def _heard(ask: Ask) -> Done:
    """RFC 9483 §3.6.4: an error of the client's ends its transaction; what it has not confirmed will be revoked."""
    return Done(answers.confirmed())


_OPERATIONS: Final[Mapping[str, Callable[[Ask], Done]]] = {
    "ir": _certificate,
    "cr": _certificate,
    "p10cr": _certificate,
    "kur": _certificate,
    "rr": _revoke,
    "genm": _tell,
    "certConf": _confirm,
    "pollReq": _poll,
    "error": _heard,
}
