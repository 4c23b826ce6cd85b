"""The contents of what is answered (RFC 9810 §5.3), in DER."""

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from pki.cmp.messages import Reply
from pki.x509 import der

_UTF8: Final = 0x0C
_ACCEPTED, _GRANTED_WITH_MODS, _REJECTED, _WAITING = 0, 1, 2, 3
#: The answer to each kind of request for a certificate.
ANSWERS: Final = {"ir": "ip", "cr": "cp", "p10cr": "cp", "kur": "kup"}


class Failure(IntEnum):
    """PKIFailureInfo (RFC 9810 §5.2.3): the number of the bit."""

    BAD_ALG = 0
    BAD_MESSAGE_CHECK = 1
    BAD_REQUEST = 2
    BAD_TIME = 3
    BAD_CERT_ID = 4
    BAD_DATA_FORMAT = 5
    WRONG_AUTHORITY = 6
    BAD_POP = 9
    CERT_REVOKED = 10
    CERT_CONFIRMED = 11
    BAD_RECIPIENT_NONCE = 13
    UNACCEPTED_POLICY = 15
    BAD_SENDER_NONCE = 18
    BAD_CERT_TEMPLATE = 19
    SIGNER_NOT_TRUSTED = 20
    TRANSACTION_ID_IN_USE = 21
    UNSUPPORTED_VERSION = 22
    NOT_AUTHORIZED = 23
    SYSTEM_UNAVAIL = 24
    SYSTEM_FAILURE = 25


def issued(
    asked: str,
    number: int,
    certificate: bytes,
    trusted: Iterable[bytes] = (),
    *,
    modified: bool = False,
) -> Reply:
    """A certificate for the request of that number; `trusted`: authorities, for an ir alone (caPubs). `modified`: it is
    not quite what was asked for.
    """
    pair = _sequence(der.tlv(0xA0, certificate))
    status = _status(_GRANTED_WITH_MODS if modified else _ACCEPTED)
    response = _sequence(_integer(number), status, pair)
    listed = _sequence(*trusted) if asked == "ir" else b""
    caps = der.tlv(0xA1, listed) if len(listed) > 2 else b""
    return Reply(ANSWERS[asked], _sequence(caps, _sequence(response)))


def refused(asked: str, number: int, failure: Failure, text: str) -> Reply:
    """No certificate for that request."""
    response = _sequence(_integer(number), _status(_REJECTED, failure, text))
    return Reply(ANSWERS[asked], _sequence(_sequence(response)))


def waiting(asked: str, number: int) -> Reply:
    """Not yet: the client polls (§5.3.22)."""
    response = _sequence(_integer(number), _status(_WAITING))
    return Reply(ANSWERS[asked], _sequence(_sequence(response)))


def poll_again(number: int, seconds: int) -> Reply:
    """Still not."""
    return Reply("pollRep", _sequence(_sequence(_integer(number), _integer(seconds))))


def confirmed() -> Reply:
    """PKIConfirm (§5.3.17)."""
    return Reply("pkiconf", b"\x05\x00")


def revoked() -> Reply:
    """The certificate is revoked (§5.3.10)."""
    return Reply("rp", _sequence(_sequence(_status(_ACCEPTED))))


def not_revoked(failure: Failure, text: str) -> Reply:
    """It is not."""
    return Reply("rp", _sequence(_sequence(_status(_REJECTED, failure, text))))


def told(values: Iterable[tuple[bytes, bytes]]) -> Reply:
    """The answer to a general message (§5.3.20): OIDs (DER) and values (DER, empty for none)."""
    return Reply("genp", _sequence(*(_sequence(oid, value) for oid, value in values)))


def failed(failure: Failure, text: str) -> Reply:
    """An error message (§5.3.21)."""
    return Reply("error", _sequence(_status(_REJECTED, failure, text)))


def _status(status: int, failure: Failure | None = None, text: str = "") -> bytes:
    """PKIStatusInfo (§5.2.3)."""
    words = _sequence(der.tlv(_UTF8, text.encode())) if text else b""
    return _sequence(_integer(status), words, b"" if failure is None else _bit(failure))


def _bit(number: int) -> bytes:
    """A BIT STRING with one bit set, without zeros after it (X.690 §11.2.2)."""
    octets = bytearray(number // 8 + 1)
    octets[-1] = 0x80 >> number % 8
    return der.tlv(der.BIT_STRING, bytes((7 - number % 8, *octets)))


def _integer(value: int) -> bytes:
    if value >= 0:
        return der.integer(value)
    return der.tlv(der.INTEGER, value.to_bytes(1, "big", signed=True))


def _sequence(*parts: bytes) -> bytes:
    return der.tlv(der.SEQUENCE, b"".join(parts))
