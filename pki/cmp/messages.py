"""PKIMessages (RFC 9810 §5.1): taken apart with the very bytes that are protected, and put together."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from pki.cmp.errors import CmpMalformed, CmpVersion
from pki.x509 import der
from pki.x509.der import Element

MAX_OCTETS: Final = 65_536
_MOST: Final = 100  # elements of one list that are looked at
_VERSIONS: Final = frozenset({2, 3})
#: The kinds of body by their context tags (RFC 9810 §5.1.2); those that are never asked of a server are left out.
KINDS: Final = {
    0: "ir",
    2: "cr",
    4: "p10cr",
    7: "kur",
    11: "rr",
    20: "nested",
    21: "genm",
    23: "error",
    24: "certConf",
    25: "pollReq",
}
_TAGS: Final = {
    "ip": 1,
    "cp": 3,
    "kup": 8,
    "rp": 12,
    "pkiconf": 19,
    "genp": 22,
    "error": 23,
    "pollRep": 26,
}
_IMPLICIT_CONFIRM: Final = bytes.fromhex("06082b0601050507040d")
_CONTEXT: Final = 0xA0
_NULL: Final = b"\x05\x00"


@dataclass(frozen=True)
class Message:
    """A message as it came. `sender` and `recipient` are GeneralNames, `algorithm` an AlgorithmIdentifier, `body` what
    stands under the tag of its kind, `certificates` the extraCerts: all in DER. `protected` is the ProtectedPart that
    `protection` (the bits) is over.
    """

    version: int
    kind: str
    sender: bytes
    recipient: bytes
    body: bytes
    protected: bytes
    time: datetime | None = None
    algorithm: bytes | None = None
    sender_kid: bytes = b""
    transaction: bytes = b""
    sender_nonce: bytes = b""
    recipient_nonce: bytes = b""
    implicit_confirm: bool = False
    protection: bytes | None = None
    certificates: tuple[bytes, ...] = field(default=())


def read(data: bytes) -> Message:
    """Take a message apart. Raises CmpMalformed, CmpVersion."""
    if len(data) > MAX_OCTETS:
        raise CmpMalformed(f"The message has {len(data)} octets.")
    try:
        return _read(data)
    except (ValueError, IndexError, UnicodeDecodeError, OverflowError):
        raise CmpMalformed("This is not a PKIMessage.") from None


def _read(data: bytes) -> Message:
    whole = sequence(data, 0)
    if whole.end != len(data):
        raise ValueError("bytes after the message")
    header, body, *others = members(data, whole)
    kind = KINDS.get(body.tag - _CONTEXT)
    if header.tag != der.SEQUENCE or kind is None or len(others) > 2:
        raise CmpMalformed("A message of this kind is not answered here.")
    optional = {each.tag - _CONTEXT: each for each in others}
    fields = _header(data, header)
    return Message(
        kind=kind,
        body=data[body.content : body.end],
        protected=der.tlv(der.SEQUENCE, data[header.start : body.end]),
        protection=_bits(data, inner(data, optional[0])) if 0 in optional else None,
        certificates=_listed(data, optional[1]) if 1 in optional else (),
        **fields,  # type: ignore[arg-type]  # named as the fields are
    )


def _header(data: bytes, header: Element) -> dict[str, object]:
    version, sender, recipient, *others = members(data, header)
    if version.tag != der.INTEGER:
        raise ValueError("no version")
    number = int.from_bytes(data[version.content : version.end], "big")
    if number not in _VERSIONS:
        raise CmpVersion(f"CMP version {number} is not spoken here.")
    found: dict[str, object] = {
        "version": number,
        "sender": data[sender.start : sender.end],
        "recipient": data[recipient.start : recipient.end],
    }
    octets = {2: "sender_kid", 4: "transaction", 5: "sender_nonce", 6: "recipient_nonce"}
    for each in others:
        place, value = each.tag - _CONTEXT, inner(data, each)
        content = data[value.content : value.end]
        if place in octets:
            found[octets[place]] = _short(content)
        elif place == 0:
            found["time"] = _time(content)
        elif place == 1:
            found["algorithm"] = data[value.start : value.end]
        elif place == 8:
            found["implicit_confirm"] = _IMPLICIT_CONFIRM in content
    return found


def _short(octets: bytes) -> bytes:
    if len(octets) > 256:
        raise ValueError("too long")
    return octets


def _time(content: bytes) -> datetime:
    return datetime.strptime(content.decode("ascii"), "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _bits(data: bytes, element: Element) -> bytes:
    if element.tag != der.BIT_STRING or data[element.content] != 0:
        raise ValueError("no whole octets")
    return data[element.content + 1 : element.end]


def _listed(data: bytes, element: Element) -> tuple[bytes, ...]:
    return tuple(data[each.start : each.end] for each in members(data, inner(data, element)))


def sequence(data: bytes, at: int) -> Element:
    """The SEQUENCE that starts at `at`. Raises ValueError."""
    found = der.read(data, at)
    if found.tag != der.SEQUENCE:
        raise ValueError("no SEQUENCE")
    return found


def inner(data: bytes, element: Element) -> Element:
    """The one element under an explicit tag. Raises ValueError."""
    found = der.read(data, element.content)
    if found.end != element.end:
        raise ValueError("more than one element")
    return found


def members(data: bytes, element: Element) -> list[Element]:
    """What a constructed element holds. Raises ValueError, also for very many."""
    found = der.children(data, element)
    if len(found) > _MOST:
        raise ValueError("too many elements")
    return found


@dataclass(frozen=True)
class Reply:
    """What is to be answered: `content` is what stands under the tag of its kind, in DER."""

    kind: str
    content: bytes


def header_for(
    asked: Message,
    sender: bytes,
    *,
    now: datetime,
    nonce: bytes,
    algorithm: bytes | None,
    kid: bytes = b"",
    confirmed: bool = False,
) -> bytes:
    """The header (DER) of an answer (RFC 9810 §5.1.1): same version, transaction and the sender's nonce echoed.

    `confirmed`: the client need not confirm what it gets.
    """

    def explicit(tag: int, content: bytes) -> bytes:
        return der.tlv(_CONTEXT | tag, content)

    def octets(tag: int, content: bytes) -> bytes:
        return explicit(tag, der.tlv(der.OCTET_STRING, content)) if content else b""

    implicit = der.tlv(der.SEQUENCE, der.tlv(der.SEQUENCE, _IMPLICIT_CONFIRM + _NULL))
    return der.tlv(
        der.SEQUENCE,
        b"".join(
            (
                der.integer(asked.version),
                sender,
                asked.sender,
                explicit(0, der.generalized_time(now)),
                b"" if algorithm is None else explicit(1, algorithm),
                octets(2, kid),
                octets(4, asked.transaction),
                octets(5, nonce),
                octets(6, asked.sender_nonce),
                explicit(8, implicit) if confirmed else b"",
            )
        ),
    )


def body_of(reply: Reply) -> bytes:
    """A PKIBody (DER)."""
    return der.tlv(_CONTEXT | _TAGS[reply.kind], reply.content)


def protected_part(header: bytes, body: bytes) -> bytes:
    """What the protection is over (RFC 9810 §5.1.3)."""
    return der.tlv(der.SEQUENCE, header + body)


def message(
    header: bytes, body: bytes, protection: bytes | None, certificates: tuple[bytes, ...] = ()
) -> bytes:
    """A whole PKIMessage (DER)."""
    parts = [header, body]
    if protection is not None:
        parts.append(der.tlv(_CONTEXT, der.bit_string(protection)))
    if certificates:
        listed = der.tlv(der.SEQUENCE, b"".join(certificates))
        parts.append(der.tlv(_CONTEXT | 1, listed))
    return der.tlv(der.SEQUENCE, b"".join(parts))
