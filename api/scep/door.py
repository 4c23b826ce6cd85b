"""SCEP over plain HTTP (RFC 8894 §4): paths, decoding, one operation each, encoding.

/scep/ENDPOINT?operation=…                         as RFC 8894 §4.1 has it, for any path
/scep/ENDPOINT/pkiclient.exe?operation=…           what old devices put behind it
/scep/ENDPOINT/cgi-bin/pkiclient.exe?operation=…
"""

import base64
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import unquote

from cryptography.hazmat.primitives.asymmetric import rsa

from api import refused
from api.errors import MethodNotAllowed, RouteNotFound
from api.scep import operations
from api.scep.operations import Ask
from core.errors import IkewardenError, NotFound, TooFast, Unavailable
from pki import enrollments, ra_credential
from pki.actors import Actor, Role
from pki.authorities import Authority
from pki.desk import Desk
from pki.endpoints import Endpoint, EndpointNotFound, ScepDoor
from pki.enrollments import EnrollmentWaits
from pki.identity import (
    ClientCertificateExpired,
    ClientCertificateRevoked,
    ClientCertificateUnknown,
)
from pki.ra_credential import NoRaCredential, RaCredential, RaCredentials
from pki.scep import envelopes, messages, replies
from pki.scep.algorithms import DIGESTS, Digest
from pki.scep.failures import (
    ScepAlgorithmRefused,
    ScepCertificateUnknown,
    ScepCheckFailed,
    ScepMessageMalformed,
    ScepRefused,
    ScepTimeRefused,
)
from pki.scep.messages import PkiMessage
from pki.scep.replies import Outcome
from pki.scep_transactions import TransactionUnknown

_PATH: Final = re.compile(r"/scep/([a-z0-9][a-z0-9-]{0,39})(?:/(?:cgi-bin/)?pkiclient\.exe)?/?")
_SERVICE: Final = Actor("service", Role.SCHEDULER)
# How long a revoked registration authority may go on here; new ones are looked for when they are met.
_LOOK_AGAIN: Final = timedelta(seconds=2)
# charon's pki before 5.9.11 takes DES3 for SHA-256 and SHA-384 for AES: without these words it asks for nothing.
_CAPABILITIES: Final = (
    "AES", "DES3", "SHA-256", "SHA-384", "SHA-512", "POSTPKIOperation", "Renewal", "GetNextCACert", "SCEPStandard",
)  # fmt: skip
# The class itself or its nearest ancestor decides (RFC 8894 §3.2.1.4); whatever else is refused is badRequest.
_FAIL_INFO: Final[Mapping[type[IkewardenError], str]] = {
    ScepAlgorithmRefused: replies.BAD_ALG,
    ScepCheckFailed: replies.BAD_MESSAGE_CHECK,
    ScepTimeRefused: replies.BAD_TIME,
    ScepCertificateUnknown: replies.BAD_CERT_ID,
    TransactionUnknown: replies.BAD_CERT_ID,
    ClientCertificateUnknown: replies.BAD_CERT_ID,
    ClientCertificateRevoked: replies.BAD_CERT_ID,
    ClientCertificateExpired: replies.BAD_CERT_ID,
}


class ScepOperationUnknown(NotFound):
    """An operation that SCEP does not have, or not by this method."""

    code = "scep_operation_unknown"
    next_step = "Use operation=GetCACaps, GetCACert, GetNextCACert or PKIOperation."


class NoNextAuthority(NotFound):
    """Nobody is about to issue in the place of who issues now."""

    code = "scep_no_next_authority"
    next_step = "Ask again when a rollover was published: `ikewarden ca rollover`."


@dataclass(frozen=True)
class Answer:
    """What goes back."""

    media_type: str
    body: bytes


def is_scep(path: str) -> bool:
    """Whether a path is of this door."""
    return path.startswith("/scep/")


class ScepDoors:
    """All endpoints of one process. `clock` is read once per request."""

    def __init__(self, desk: Desk, clock: Callable[[], datetime]) -> None:
        self._desk = desk
        self._clock = clock
        self._held = RaCredentials(())
        self._looked: datetime | None = None

    def answer(self, method: str, path: str, query: str, body: bytes, client: str = "") -> Answer:
        """Answer one request; `client` is the address that it came from. Raises what is answered by HTTP alone:
        RouteNotFound, EndpointNotFound, MethodNotAllowed, ScepOperationUnknown, NoNextAuthority, ScepMessageMalformed,
        Unavailable and TooFast.
        """
        match = _PATH.fullmatch(path)
        name = match[1] if match else ""
        try:
            return self._answer(name, method, query, body, client)
        except IkewardenError as error:
            number = secrets.token_hex(12)
            refused.tell("SCEP", error, endpoint=name, client=client, request_id=number)
            raise

    def _answer(self, name: str, method: str, query: str, body: bytes, client: str) -> Answer:
        if not name:
            raise RouteNotFound("There is nothing at this path.")
        through = enrollments.endpoint(self._desk, name)
        if through.scep is None:
            raise EndpointNotFound(f"The endpoint {through.name!r} is not reached by SCEP.")
        if method not in {"GET", "POST"}:
            raise MethodNotAllowed("SCEP has GET and POST.", details={"allow": "GET, POST"})
        asked = _parameters(query)
        operation, now = asked.get("operation", ""), self._clock()
        if operation == "PKIOperation":
            data = body if method == "POST" else _from_query(asked.get("message", ""))
            return self._pki_operation(through, through.scep, data, now, client)
        if method == "GET" and operation == "GetCACaps":
            return Answer("text/plain", "\n".join(_capabilities(through.scep)).encode())
        issuer = enrollments.issuer(self._desk, through, now=now)
        if method == "GET" and operation == "GetCACert":
            return self._authority(issuer, now)
        if method == "GET" and operation == "GetNextCACert":
            return self._next_authority(issuer, now)
        raise ScepOperationUnknown("SCEP has no such operation.")

    def _authority(self, issuer: Authority, now: datetime) -> Answer:
        """RFC 8894 §4.2.1.2: the registration authority, who issues, and all above."""
        own = self._own(issuer, now).certificate
        content = replies.certs_only([own, *issuer.chain])
        return Answer("application/x-x509-ca-ra-cert", content)

    def _next_authority(self, issuer: Authority, now: datetime) -> Answer:
        """RFC 8894 §4.7.1: who will issue, and its registration authority, signed by that of now."""
        heir = ra_credential.successor(self._desk, issuer, now=now)
        if heir is None:
            raise NoNextAuthority("Nobody is about to issue in the place of who issues now.")
        own, other = self._own(issuer, now), self._own(heir, now)
        content = replies.certs_only([other.certificate, *heir.chain])
        signed = replies.next_ca(content, own.key, own.certificate)
        return Answer("application/x-x509-next-ca-cert", signed)

    def _pki_operation(
        self, through: Endpoint, door: ScepDoor, data: bytes, now: datetime, client: str
    ) -> Answer:
        message = messages.read(data)
        turn = _Turn(self, through, door, message, now, client)
        outcome = turn.outcome()
        # The device checks the answer with what it encrypted to; where that was not found, with what is shown now.
        ra = turn.ra or self._own(enrollments.issuer(self._desk, through, now=now), now)
        body = replies.cert_rep(message, outcome, ra.key, ra.certificate, turn.digest)
        return Answer("application/x-pki-message", body)

    def _credentials(self, now: datetime, *, afresh: bool = False) -> RaCredentials:
        # abs: the clock may have been set back since
        if afresh or self._looked is None or abs(now - self._looked) > _LOOK_AGAIN:
            self._held = ra_credential.held(self._desk, _SERVICE, now=now)
            self._looked = now
        return self._held

    def _own(self, authority: Authority, now: datetime) -> RaCredential:
        """That of an authority; another process may have just made it. Raises NoRaCredential."""
        try:
            return self._credentials(now).of(authority)
        except NoRaCredential:
            return self._credentials(now, afresh=True).of(authority)

    def addressed(self, issuer: bytes, serial: int, now: datetime) -> RaCredential | None:
        """The registration authority that a message is encrypted to; another process may have just made it."""
        found = self._credentials(now).addressed(issuer, serial)
        return found or self._credentials(now, afresh=True).addressed(issuer, serial)

    @property
    def desk(self) -> Desk:
        """What operations work with."""
        return self._desk


class _Turn:
    """One message on its way to an answer: who answers, and with which hash function, turns out meanwhile."""

    def __init__(
        self,
        doors: ScepDoors,
        through: Endpoint,
        door: ScepDoor,
        message: PkiMessage,
        now: datetime,
        client: str,
    ) -> None:
        self._doors, self._through, self._door = doors, through, door
        self._message, self._now, self._client = message, now, client
        self._request_id = secrets.token_hex(12)
        self.ra: RaCredential | None = None
        self.digest: Digest = DIGESTS["sha256"]

    def outcome(self) -> Outcome:
        """What becomes of it. Raises what is no failure of the message: Unavailable, TooFast."""
        try:
            return Outcome(replies.SUCCESS, envelope=self._envelope())
        except EnrollmentWaits:
            return Outcome(replies.PENDING)
        except (Unavailable, TooFast):
            raise
        except IkewardenError as error:
            refused.tell(
                "SCEP",
                error,
                endpoint=self._through.name,
                client=self._client,
                request_id=self._request_id,
                claims=refused.subject_of(self._message.signer),
            )
            text = f"{error.code}: {error.message}"[:500]
            return Outcome(replies.FAILURE, fail_info=_fail_info(error), text=text)

    def _envelope(self) -> bytes:
        message, door = self._message, self._door
        self.digest = messages.check(message, legacy=door.legacy, now=self._now)
        if not operations.is_known(message.message_type):
            raise ScepRefused("There is no such type of message.")
        envelope = envelopes.read_envelope(message.content, self._key, legacy=door.legacy)
        used = (envelope.cipher, self.digest)
        ask = Ask(
            desk=self._doors.desk,
            through=self._through,
            door=door,
            message=message,
            opened=envelope.opened,
            old=tuple(each.name for each in used if each.legacy),
            request_id=self._request_id,
            now=self._now,
        )
        signer = message.signer
        recipient = (signer.issuer.public_bytes(), signer.serial_number)
        made = operations.perform(ask)
        # In the algorithms of the request: Windows opens OAEP where it has sent OAEP.
        cipher, transport = envelope.cipher, envelope.transport
        return envelopes.seal(made, cipher, recipient, message.signer_key, transport)

    def _key(self, issuer: bytes, serial: int) -> rsa.RSAPrivateKey | None:
        found = self._doors.addressed(issuer, serial, self._now)
        if found is None:
            return None
        self.ra = found
        return found.key


def _fail_info(error: IkewardenError) -> str:
    known = (_FAIL_INFO[kind] for kind in type(error).__mro__ if kind in _FAIL_INFO)
    return next(known, replies.BAD_REQUEST)


def _capabilities(door: ScepDoor) -> tuple[str, ...]:
    """RFC 8894 §3.5.2."""
    return (*_CAPABILITIES, "SHA-1") if door.legacy else _CAPABILITIES


def _parameters(query: str) -> dict[str, str]:
    """The parameters of a query: percent-encoding undone, and `+` left as it is, which base64 has and few encode."""
    pairs = (each.partition("=") for each in query.split("&"))
    return {name: unquote(value, errors="replace") for name, _, value in pairs}


def _from_query(text: str) -> bytes:
    cleaned = re.sub(r"[\r\n\t]", "", text).replace(" ", "+")
    try:
        return base64.b64decode(cleaned, validate=True)
    except ValueError:
        raise ScepMessageMalformed("The message is not in base64.") from None
