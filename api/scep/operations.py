"""What a SCEP message asks for, once it is opened: one operation for each type (RFC 8894 §3.3)."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from core.errors import NotAuthenticated
from core.secret import Secret
from pki import enrollments, identity, scep_transactions
from pki.actors import Actor, Role
from pki.certificates import CertificateNotFound
from pki.desk import Desk
from pki.endpoints import Endpoint, ScepDoor, Way
from pki.enrollments import EnrollmentWaits
from pki.identity import (
    ClientCertificateExpired,
    ClientCertificateRevoked,
    ClientCertificateUnknown,
    TokenRefused,
)
from pki.scep import messages, replies
from pki.scep.challenge import challenge_password
from pki.scep.failures import ScepCertificateUnknown, ScepRefused, unreadable
from pki.scep.messages import IssuerAndSerial, PkiMessage
from pki.scep_transactions import Transaction, TransactionUnknown, Waiting
from pki.x509.csr import (
    CsrMalformed,
    CsrSignatureInvalid,
    CsrTooLarge,
    SigningRequest,
    read_csr,
    spki_sha256,
)


class ChallengeMissing(NotAuthenticated):
    """A first request without a challenge password."""

    code = "scep_challenge_missing"
    next_step = (
        "Give the device an enroller's token as its challenge password: `ikewarden token create`."
    )


class ChallengeRefused(NotAuthenticated):
    """The challenge password is a token of somebody who is no enroller."""

    code = "scep_challenge_refused"
    next_step = "Make a token of the role enroller for the device; revoke the one that was sent."


class ScepWayClosed(NotAuthenticated):
    """The endpoint wants another kind of proof of who asks."""

    code = "scep_way_closed"
    next_step = "`ikewarden enroll-endpoint list` shows what each endpoint takes: a token, a certificate, or both."


@dataclass(frozen=True)
class Ask:
    """One message. `old` are the algorithms of old devices that it uses.

    `opened` decrypts what it holds. Before that an operation has asked who signed, if it asks that at all; after that
    it answers with `unreadable` whatever is not whole: who may choose what is decrypted and is told more than that
    reads other people's messages.
    """

    desk: Desk
    through: Endpoint
    door: ScepDoor
    message: PkiMessage
    opened: Callable[[], bytes]
    old: tuple[str, ...]
    request_id: str
    now: datetime

    def require(self, way: Way) -> None:
        """Raise ScepWayClosed unless the endpoint takes this kind of proof."""
        if way not in self.door.ways:
            raise ScepWayClosed(f"This endpoint takes no {way}.")

    def said(self, csr: SigningRequest) -> Mapping[str, Any]:
        """What the audit log shall tell beside."""
        old = (*self.old, *(["sha1 in the request"] if csr.sha1 else []))
        return {"legacy": ", ".join(old)} if old else {}

    @property
    def signer(self) -> bytes:
        """The certificate of who signed, in DER."""
        return self.message.signer.public_bytes(Encoding.DER)

    @property
    def transaction(self) -> Transaction:
        """What the message is a part of."""
        key = spki_sha256(self.message.signer_key)
        return Transaction(self.through.name, self.message.transaction_id, key)

    def holder(self) -> Actor:
        """Who holds the certificate that signed. Raises what `identity.actor_from_certificate` raises."""
        return identity.actor_from_certificate(
            self.desk, self.signer, now=self.now, request_id=self.request_id, by_itself=True
        )


def perform(ask: Ask) -> bytes:
    """Do what the message asks for; give what the answer holds.

    Raises ScepRefused and its kin, ChallengeMissing, ChallengeRefused, ScepWayClosed, and what the operations raise.
    """
    return _OPERATIONS[ask.message.message_type](ask)


def is_known(message_type: str) -> bool:
    """Whether there is such an operation."""
    return message_type in _OPERATIONS


def _first(ask: Ask) -> bytes:
    """RFC 8894 §3.3.1: PKCSReq. Devices also renew by it: one that the certificate in force has signed is a renewal,
    whatever password the device still has in its settings.
    """
    csr, password = _request(ask)
    holder, unknown = _holder(ask)
    if holder is not None and ("certificate" in ask.door.ways or password is None):
        return _renewed(ask, holder, csr)
    if password is None:
        if unknown is None or isinstance(unknown, ClientCertificateUnknown):
            raise ChallengeMissing("The request has no challenge password.")
        raise unknown
    ask.require("token")
    if holder is None and csr.spki_sha256 != ask.transaction.key_sha256:
        raise ScepRefused("The message is signed with another key than that of the request.")
    return _by_token(ask, csr, password)


def _holder(ask: Ask) -> tuple[Actor | None, NotAuthenticated | None]:
    """Who holds the certificate that signed, if it is one of this service that counts; or what is against it."""
    signer = ask.message.signer
    if (
        signer.issuer == signer.subject
    ):  # of its own making, as first requests are: nobody need look for it
        return None, ClientCertificateUnknown("This client certificate may not call the service.")
    try:
        return ask.holder(), None
    except (ClientCertificateUnknown, ClientCertificateRevoked, ClientCertificateExpired) as error:
        return None, error


def _by_token(ask: Ask, csr: SigningRequest, password: Secret) -> bytes:
    try:
        actor = identity.actor_from_token(
            ask.desk, password, now=ask.now, request_id=ask.request_id
        )
    except TokenRefused as refused:
        spent = identity.used_up(ask.desk, password, now=ask.now)
        if spent is None:
            raise
        return _given(ask, spent, csr, refused)
    if actor.role is not Role.ENROLLER:
        raise ChallengeRefused(f"A challenge password is no token of the role {actor.role}.")
    return _made(ask, actor, csr)


def _given(ask: Ask, spent: str, csr: SigningRequest, refused: TokenRefused) -> bytes:
    """What a token that is used up was used for, if it was for the same key. Raises `refused`."""
    with _polling(ask, spent, csr):
        found = enrollments.given(ask.desk, spent, ask.through, csr, now=ask.now)
    if found is None:
        raise refused
    return _certificate(found)


def _made(ask: Ask, actor: Actor, csr: SigningRequest) -> bytes:
    """The certificate of a token or the successor of a certificate for a key: one, however often it is asked for."""
    with _polling(ask, actor.credential, csr):
        made = enrollments.once(
            ask.desk, actor, ask.through, "scep", csr, now=ask.now, said=ask.said(csr)
        )
    return _certificate(made)


@contextmanager
def _polling(ask: Ask, credential: str, csr: SigningRequest) -> Iterator[None]:
    """Keep what has to wait, so that the device can poll for it."""
    try:
        yield
    except EnrollmentWaits:
        waiting = Waiting(credential, csr)
        scep_transactions.remember(ask.desk, ask.transaction, waiting, now=ask.now)
        raise


def _renewal(ask: Ask) -> bytes:
    """RFC 8894 §3.3.1: RenewalReq."""
    actor = ask.holder()
    csr, _ = _request(ask)
    return _renewed(ask, actor, csr)


def _renewed(ask: Ask, actor: Actor, csr: SigningRequest) -> bytes:
    ask.require("certificate")
    return _made(ask, actor, csr)


def _poll(ask: Ask) -> bytes:
    """RFC 8894 §3.3.3: CertPoll; who knows the transaction and signs with its key is who began it. What it holds
    decides nothing, and is not opened: nothing in it could be told from a change.
    """
    waiting = scep_transactions.recall(ask.desk, ask.transaction, now=ask.now)
    if waiting.token_id is None:
        return _polled_renewal(ask, waiting)
    ask.require("token")
    try:
        actor = identity.enroller_by_id(
            ask.desk, waiting.token_id, now=ask.now, request_id=ask.request_id
        )
    except TokenRefused as refused:
        spent = identity.used_up_by_id(ask.desk, waiting.token_id, now=ask.now)
        if spent is None:
            raise
        return _given(ask, spent, waiting.csr, refused)
    return _made(ask, actor, waiting.csr)


def _polled_renewal(ask: Ask, waiting: Waiting) -> bytes:
    actor = ask.holder()
    if actor.credential != waiting.credential:
        raise TransactionUnknown("Nothing of this transaction waits.")
    return _renewed(ask, actor, waiting.csr)


def _get_certificate(ask: Ask) -> bytes:
    """RFC 8894 §3.3.4: GetCert."""
    actor = ask.holder()
    wanted = _wanted(ask)
    try:
        found = enrollments.certificate_of(ask.desk, actor, wanted.issuer, wanted.serial)
    except CertificateNotFound:
        raise ScepCertificateUnknown("There is no such certificate.") from None
    return _certificate(found.der or b"")


def _wanted(ask: Ask) -> IssuerAndSerial:
    """What GetCert and GetCRL name. Only the name of an authority of this service, octet by octet, shows that nothing
    was changed: the form alone many a change has.
    """
    wanted = messages.read_issuer_and_serial(ask.opened())
    if not enrollments.is_issuer(ask.desk, wanted.issuer):
        raise unreadable()
    return wanted


def _get_list(ask: Ask) -> bytes:
    """RFC 8894 §3.3.4: GetCRL."""
    actor = ask.holder()
    wanted = _wanted(ask)
    try:
        found = enrollments.list_for(ask.desk, actor, wanted.issuer, wanted.serial)
    except CertificateNotFound:
        raise ScepCertificateUnknown("There is no such certificate.") from None
    return replies.crl_only(found.der)


_OPERATIONS: Final[Mapping[str, Callable[[Ask], bytes]]] = {
    messages.PKCS_REQ: _first,
    messages.RENEWAL_REQ: _renewal,
    messages.CERT_POLL: _poll,
    messages.GET_CERT: _get_certificate,
    messages.GET_CRL: _get_list,
}


def _request(ask: Ask) -> tuple[SigningRequest, Secret | None]:
    """The request, with its password: what is no whole request with a signature that fits is as unreadable as what
    cannot be decrypted.
    """
    try:
        csr = read_csr(ask.opened(), sha1=ask.door.legacy)
        return csr, challenge_password(csr.der)
    except (CsrMalformed, CsrSignatureInvalid, CsrTooLarge, ValueError):
        raise unreadable() from None


def _certificate(der: bytes) -> bytes:
    return replies.certs_only([x509.load_der_x509_certificate(der)])
