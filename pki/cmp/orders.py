"""What the other kinds of messages ask for (RFC 9810 §5.3): confirmations, polls, revocations, questions."""

from dataclasses import dataclass

from pki.cmp.errors import CmpMalformed, TemplateRefused
from pki.cmp.messages import Message, members, sequence
from pki.cmp.protection import algorithm
from pki.x509 import der
from pki.x509.der import Element

_ISSUER, _SERIAL = 0xA3, 0x81
_REASON = bytes.fromhex("0603551d15")  # id-ce-cRLReasons
_ENUMERATED = 0x0A
_HASH_ALGORITHM = 0xA0


@dataclass(frozen=True)
class Confirmation:
    """A client's word on a certificate: its hash, and whether it takes it. `digest`: the content of the hash's OID."""

    number: int
    hash: bytes
    accepted: bool
    digest: bytes | None = None


@dataclass(frozen=True)
class Revocation:
    """Which certificate is to be revoked: its serial number, its issuer (a Name in DER), and the reason's number."""

    serial: int
    issuer: bytes
    reason: int


@dataclass(frozen=True)
class Question:
    """One InfoTypeAndValue: the OID and the value, both in DER; no value is empty."""

    oid: bytes
    value: bytes


def confirmation(message: Message) -> Confirmation | None:
    """The one confirmation of a certConf; None for one without any, which rejects all (RFC 9810 §5.3.18).

    Raises CmpMalformed.
    """
    try:
        body = message.body
        statuses = members(body, sequence(body, 0))
        if not statuses:
            return None
        (status,) = statuses
        hash_, number, *others = members(body, status)
        info = next((each for each in others if each.tag == der.SEQUENCE), None)
        named = next((each for each in others if each.tag == _HASH_ALGORITHM), None)
        return Confirmation(
            number=_number(body, number),
            hash=body[hash_.content : hash_.end],
            accepted=info is None or _number(body, members(body, info)[0]) in (0, 1),
            digest=None if named is None else algorithm(body[named.content : named.end])[0],
        )
    except (ValueError, IndexError):
        raise CmpMalformed("The confirmation cannot be read.") from None


def polled(message: Message) -> int:
    """The number of the request that a pollReq is about. Raises CmpMalformed."""
    try:
        (one,) = members(message.body, sequence(message.body, 0))
        (number,) = members(message.body, one)
        return _number(message.body, number)
    except (ValueError, IndexError):
        raise CmpMalformed("The poll cannot be read.") from None


def revocation(message: Message) -> Revocation:
    """The one certificate of an rr. Raises CmpMalformed, TemplateRefused."""
    try:
        body = message.body
        details = members(body, sequence(body, 0))
        if len(details) != 1:
            raise TemplateRefused("A message revokes one certificate at a time.")
        template, *others = members(body, details[0])
        parts = {each.tag: each for each in members(body, template)}
        if _ISSUER not in parts or _SERIAL not in parts:
            raise TemplateRefused("The template names no issuer and serial number.")
        issuer = parts[_ISSUER]
        serial = parts[_SERIAL]
        return Revocation(
            serial=int.from_bytes(body[serial.content : serial.end], "big"),
            issuer=body[issuer.content : issuer.end],
            reason=_reason(body, others),
        )
    except (ValueError, IndexError):
        raise CmpMalformed("The revocation request cannot be read.") from None


def questions(message: Message) -> list[Question]:
    """What a genm asks. Raises CmpMalformed."""
    try:
        body = message.body
        found = []
        for each in members(body, sequence(body, 0)):
            oid, *value = members(body, each)
            held = body[value[0].start : value[0].end] if value else b""
            found.append(Question(body[oid.start : oid.end], held))
    except (ValueError, IndexError):
        raise CmpMalformed("The question cannot be read.") from None
    return found


def _reason(body: bytes, others: list[Element]) -> int:
    for listed in others:
        for extension in members(body, listed):
            oid, *_, value = members(body, extension)
            if body[oid.start : oid.end] == _REASON:
                inside = der.read(body, value.content)
                if inside.tag != _ENUMERATED:
                    raise ValueError("no reason")
                return int.from_bytes(body[inside.content : inside.end], "big")
    return 0


def _number(body: bytes, element: Element) -> int:
    if element.tag != der.INTEGER or element.end - element.content > 8:
        raise ValueError("no number")
    return int.from_bytes(body[element.content : element.end], "big", signed=True)
