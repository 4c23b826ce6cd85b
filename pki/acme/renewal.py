"""Renewal information (RFC 9773): when a certificate should be renewed, and which order renews it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from sqlalchemy import select

from pki import authorities
from pki.acme.jws import encoded, plain
from pki.acme.refusals import NothingThere, RequestMalformed
from pki.certificates import CertificateNotFound, CertificateView, SerialAmbiguous, find
from pki.desk import Desk
from pki.x509 import serials
from pki.x509.names import GeneralName
from store.acme_tables import acme_orders

#: How often clients are to ask (RFC 9773 §4.3).
ASK_AGAIN: Final = timedelta(hours=6)
_ID: Final = re.compile(r"([A-Za-z0-9_-]{1,86})\.([A-Za-z0-9_-]{1,28})")
_REVOKED_SINCE: Final = timedelta(hours=1)


@dataclass(frozen=True)
class Window:
    """When to renew: some time from `start` to `end`. One that is over means at once."""

    start: datetime
    end: datetime


def window(desk: Desk, identifier: str, *, now: datetime) -> Window:
    """When the certificate of this identifier (RFC 9773 §4.1) should be renewed. Public.

    Raises RequestMalformed, NothingThere.
    """
    found = _certificate(desk, identifier)
    if found.status in {"revoked", "held"}:
        ended = found.revoked_at or now
        return Window(ended - _REVOKED_SINCE, ended)
    # The last third of its life, as agents of ours do; not all at the same moment.
    life = found.not_after - found.not_before
    return Window(found.not_after - life / 3, found.not_after - life / 4)


def _certificate(desk: Desk, identifier: str) -> CertificateView:
    key, serial = read(identifier)
    missing = NothingThere("There is no such certificate.")
    try:
        found = find(desk, serial)
    except SerialAmbiguous:
        found = _of_key(desk, key, serial)
    except CertificateNotFound:
        raise missing from None
    if found.der is None or _key_of(desk, found.authority) != key:
        raise missing
    return found


def _of_key(desk: Desk, key: bytes, serial: str) -> CertificateView:
    for name in authorities.all_names(desk):
        if _key_of(desk, name) == key:
            return find(desk, serial, authority=name)
    raise NothingThere("There is no such certificate.")


def _key_of(desk: Desk, authority: str) -> bytes:
    own = authorities.load(desk, authority).certificate.extensions
    return own.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def read(identifier: str) -> tuple[bytes, str]:
    """Key identifier of the issuer and serial number in hexadecimal. Raises RequestMalformed."""
    match = _ID.fullmatch(identifier)
    if match is None:
        raise RequestMalformed("This is no identifier of a certificate (RFC 9773 section 4.1).")
    number = int.from_bytes(plain(match[2]), "big")
    return plain(match[1]), serials.to_hex(number)


def check_replaceable(
    desk: Desk, account: int, identifier: str, names: Iterable[GeneralName]
) -> None:
    """Make sure that an order of these names may replace a certificate (RFC 9773 §5): one of the same account, named in
    the one spelling that there is, with one of the names at least. Raises RequestMalformed.
    """
    key, serial = read(identifier)
    own = select(acme_orders.c.authority, acme_orders.c.identifiers).where(
        acme_orders.c.account_id == account, acme_orders.c.serial == serial
    )
    with desk.store.read() as connection:
        found = connection.execute(own).all()
    held = [each for each in found if _key_of(desk, each.authority) == key]
    if not held or identifier != _identifier(key, serial):
        raise RequestMalformed("`replaces` names no certificate of this account.")
    if not {str(each) for each in names} & set(held[0].identifiers.split("\n")):
        raise RequestMalformed("`replaces` names a certificate with none of these names.")


def _identifier(key: bytes, serial: str) -> str:
    """RFC 9773 §4.1: the octets of the two DER values, a sign's zero in front of the number included."""
    number = int(serial, 16)
    octets = number.to_bytes(number.bit_length() // 8 + 1, "big")
    return f"{encoded(key)}.{encoded(octets)}"
