"""CMP over plain HTTP (RFC 9811 §3, RFC 9483 §6.1): paths, decoding, one operation each, protection, encoding.

/.well-known/cmp                      the endpoint `gateway`
/.well-known/cmp/p/ENDPOINT           any endpoint
/.well-known/cmp/p/ENDPOINT/OPERATION and only this operation
"""

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from api import refused
from api.cmp import operations, senders
from api.cmp.failures import failure_of, words_of
from api.cmp.operations import Ask, Done
from api.cmp.senders import Sender
from api.cmp.shields import NoShield, Outgoing, Shield, SignatureShield
from api.errors import MediaTypeRefused, MethodNotAllowed, RouteNotFound
from core.errors import IkewardenError
from pki import cmp_transactions, enrollments, ra_credential
from pki.actors import Actor, Role
from pki.authorities import Authority
from pki.cmp import answers, messages
from pki.cmp.errors import (
    CmpNestedRefused,
    CmpNonceMissing,
    CmpOperationMismatch,
    CmpTimeRefused,
    CmpTransactionMissing,
    ProtectionInvalid,
)
from pki.cmp.messages import Message
from pki.desk import Desk
from pki.endpoints import DEFAULT, CmpDoor, Endpoint, EndpointNotFound
from pki.ra_credential import NoRaCredential, RaCredential, RaCredentials

#: RFC 9811 §3.2.
MEDIA_TYPE: Final = "application/pkixcmp"
_ROOT: Final = "/.well-known/cmp"
_PATH: Final = re.compile(
    r"/\.well-known/cmp(?:/p/([a-z0-9][a-z0-9-]{0,39}))?(?:/([a-z0-9]{1,40}))?/?"
)
_SERVICE: Final = Actor("service", Role.SCHEDULER)
# How long a revoked registration authority may go on here; new ones are looked for when they are met.
_LOOK_AGAIN: Final = timedelta(seconds=2)
_SKEW: Final = timedelta(minutes=5)
_ENOUGH: Final = 16  # octets of a nonce, or of a transactionID (RFC 9483 §3.1)
_FOLLOWING: Final = frozenset({"certConf", "pollReq", "error"})
# RFC 9483 §6.1: what each operation's path takes beside what follows it.
_OPERATIONS: Final[Mapping[str, str]] = {
    "initialization": "ir",
    "certification": "cr",
    "keyupdate": "kur",
    "pkcs10": "p10cr",
    "revocation": "rr",
    "getcacerts": "genm",
    "getrootupdate": "genm",
    "getcertreqtemplate": "genm",
    "getcrls": "genm",
}
# What is answered to something that is no message: the sender is nobody (RFC 9810 §5.1.1), the version ours.
_NOBODY: Final = b"\xa4\x02\x30\x00"
_NO_MESSAGE: Final = Message(2, "", _NOBODY, _NOBODY, b"", b"")


def is_cmp(path: str) -> bool:
    """Whether a path is of this door."""
    return path == _ROOT or path.startswith(_ROOT + "/")


@dataclass(frozen=True)
class _Arrival:
    """A request: through which endpoint, to which operation's path, when."""

    through: Endpoint
    door: CmpDoor
    operation: str | None
    issuer: Authority
    request_id: str
    now: datetime
    client: str


class CmpDoors:
    """All endpoints of one process. `clock` is read once per request."""

    def __init__(self, desk: Desk, clock: Callable[[], datetime]) -> None:
        self._desk = desk
        self._clock = clock
        self._held = RaCredentials(())
        self._looked: datetime | None = None

    def answer(
        self, method: str, path: str, media_type: str, body: bytes, client: str = ""
    ) -> bytes:
        """Answer one request with a PKIMessage (DER); `client` is the address that it came from. Raises what is
        answered by HTTP alone: RouteNotFound, EndpointNotFound, MethodNotAllowed, MediaTypeRefused, and what
        `enrollments.issuer` raises.
        """
        match = _PATH.fullmatch(path)
        name = (match[1] or DEFAULT) if match else ""
        operation = match[2] if match else None
        try:
            return self._answer(name, operation, method, media_type, body, client)
        except IkewardenError as error:
            number = secrets.token_hex(12)
            refused.tell("CMP", error, endpoint=name, client=client, request_id=number)
            raise

    def _answer(
        self,
        name: str,
        operation: str | None,
        method: str,
        media_type: str,
        body: bytes,
        client: str,
    ) -> bytes:
        if not name or (operation is not None and operation not in _OPERATIONS):
            raise RouteNotFound("There is nothing at this path.")
        through = enrollments.endpoint(self._desk, name)
        if through.cmp is None:
            raise EndpointNotFound(f"The endpoint {through.name!r} is not reached by CMP.")
        if method != "POST":
            raise MethodNotAllowed("CMP is sent by POST.", details={"allow": "POST"})
        if media_type.partition(";")[0].strip().lower() != MEDIA_TYPE:
            raise MediaTypeRefused(
                "The body must be a PKIMessage.",
                next_step=f"Send it with Content-Type: {MEDIA_TYPE}.",
            )
        now = self._clock()
        issuer = enrollments.issuer(self._desk, through, now=now)
        number = secrets.token_hex(12)
        arrival = _Arrival(through, through.cmp, operation, issuer, number, now, client)
        return self._message(arrival, body)

    def _message(self, arrival: _Arrival, body: bytes) -> bytes:
        message, sender = _NO_MESSAGE, None
        nonce = secrets.token_bytes(_ENOUGH)
        try:
            message = messages.read(body)
            sender = self._sender(arrival, message)
            ask = Ask(
                self._desk, arrival.through, arrival.issuer, message, sender, arrival.request_id, arrival.now
            )  # fmt: skip
            _check_header(arrival, message)
            nonce = cmp_transactions.nonce(self._desk, ask.transaction)
            done = operations.perform(ask)
        except IkewardenError as error:
            done = Done(answers.failed(failure_of(error), words_of(error)), refused=error)
        if done.refused is not None:
            refused.tell(
                "CMP",
                done.refused,
                endpoint=arrival.through.name,
                client=arrival.client,
                request_id=arrival.request_id,
                actor="" if sender is None or sender.holder is None else sender.holder.name,
                claims=_claims(message),
            )
        out = Outgoing(message, done.reply, nonce, arrival.now, done.confirmed, done.chain)
        return self._shield(arrival, sender).around(out)

    def _sender(self, arrival: _Arrival, message: Message) -> Sender:
        if message.kind == "nested":
            raise CmpNestedRefused("Messages inside of others are not taken here.")
        if message.kind == "genm" and message.algorithm is None and message.protection is None:
            return Sender("nobody")  # who asks for what is public
        if message.algorithm is None:
            raise ProtectionInvalid("The message is not protected.")
        return senders.identify(
            self._desk,
            arrival.door,
            message,
            arrival.issuer.certificate.subject,
            now=arrival.now,
            request_id=arrival.request_id,
        )

    def _shield(self, arrival: _Arrival, sender: Sender | None) -> Shield:
        if sender is not None and sender.shield is not None:
            return sender.shield
        try:
            return SignatureShield(self._own(arrival), arrival.issuer.chain)
        except NoRaCredential:
            return NoShield(arrival.issuer.certificate.subject)

    def _own(self, arrival: _Arrival) -> RaCredential:
        """That of who issues; another process may have just made it. Raises NoRaCredential."""
        try:
            return self._credentials(arrival.now).of(arrival.issuer)
        except NoRaCredential:
            return self._credentials(arrival.now, afresh=True).of(arrival.issuer)

    def _credentials(self, now: datetime, *, afresh: bool = False) -> RaCredentials:
        # abs: the clock may have been set back since
        if afresh or self._looked is None or abs(now - self._looked) > _LOOK_AGAIN:
            self._held = ra_credential.held(self._desk, _SERVICE, now=now)
            self._looked = now
        return self._held


def _claims(message: Message) -> str:
    """Who a message says that it is from: the reference of a token, or the subject of a certificate. What stands in the
    place of a reference may be a secret.
    """
    if senders.is_reference(message.sender_kid):
        return message.sender_kid.decode()
    return refused.subject_of(next(iter(message.certificates), None))


def _check_header(arrival: _Arrival, message: Message) -> None:
    """RFC 9483 §3.5. Raises CmpRefused and its kin."""
    if message.time is not None and abs(arrival.now - message.time) > _SKEW:
        raise CmpTimeRefused("The message was made more than five minutes from now.")
    if len(message.transaction) < _ENOUGH:
        raise CmpTransactionMissing("The message has no transactionID of 16 octets.")
    if len(message.sender_nonce) < _ENOUGH:
        raise CmpNonceMissing("The message has no senderNonce of 16 octets.")
    if arrival.operation is not None:
        taken = {_OPERATIONS[arrival.operation], *_FOLLOWING}
        if message.kind not in taken:
            raise CmpOperationMismatch(f"This path does not take the message {message.kind}.")
