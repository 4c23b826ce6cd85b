"""What succeeds an authority: its name, its subject, and all else that follows from the authority itself."""

import itertools
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID
from sqlalchemy import select

from hsm.keystores import place_of
from hsm.ports import KeyAlgorithm
from pki import authorities, founding
from pki.authorities import Authority
from pki.desk import Desk
from pki.founding import AuthorityRequest, BadAuthority
from pki.x509.keys import key_algorithm
from store.tables import authorities as authorities_table

# More are a year.
_DIGITS: Final = 2
_NUMBERED: Final = re.compile(rf"(.*\S) (\d{{1,{_DIGITS}}})")


@dataclass(frozen=True)
class RolloverRequest:
    """What is to succeed an authority. Without them: `NAME-2`, its kind of key, as many days as it was made for, and
    its subject with the next number; a root keeps its subject; its key store, wherever the settings have new keys made.
    `subject` is an RFC 4514 string.
    """

    name: str
    successor: str | None = None
    algorithm: KeyAlgorithm | None = None
    days: int | None = None
    subject: str | None = None
    key_store: str | None = None


def successor_of(desk: Desk, old: Authority, request: RolloverRequest) -> AuthorityRequest:
    """The founding of the successor. Raises BadAuthority."""
    certificate, limits = old.certificate, old.constraints[0]
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    known = key_algorithm(old.public_key)
    name = request.successor or _next_name(desk, old.name)
    return AuthorityRequest(
        name=name,
        kind=old.kind,
        subject=request.subject or _next_subject(desk, old, name),
        algorithm=request.algorithm or known,  # type: ignore[arg-type]  # founding looks at it
        parent=old.parent,
        lifetime=timedelta(days=request.days or max(life.days, 1)),
        path_length=old.path_length,
        permitted=tuple(map(str, limits.permitted)),
        excluded=tuple(map(str, limits.excluded)),
        shards=old.shards,
        replaces=old.name,
        key_store=request.key_store or place_of(old.key_uri),
    )


def _next_name(desk: Desk, name: str) -> str:
    """`issuing` is followed by `issuing-2`, that by `issuing-3`."""
    stem, _, last = name.rpartition("-")
    if not (stem and last.isdecimal() and len(last) <= _DIGITS):
        stem, last = name, "1"
    taken = set(authorities.all_names(desk))
    numbers = itertools.count(int(last) + 1)
    found = next(wanted for each in numbers if (wanted := f"{stem}-{each}") not in taken)
    if not founding.NAME.fullmatch(found):
        raise BadAuthority(
            f"The next name would be {found!r}, which is too long.",
            next_step="Say what the successor is called (`--successor NAME`).",
        )
    return found


def _next_subject(desk: Desk, old: Authority, name: str) -> str:
    """`CN=Issuing CA` is followed by `CN=Issuing CA 2`; a root keeps its subject.

    Verifiers tell issuers apart by their names (RFC 5280 §4.1.2.4), and NSS keeps one list for a name. But the
    certificates by which a root and its successor certify each other are to be self-issued (RFC 4210 §4.4): verifiers
    do not count those against the path length of a root.
    """
    subject = old.certificate.subject
    if old.kind == "root":
        return subject.rfc4514_string()
    common = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if not common:
        return x509.Name([*subject, x509.NameAttribute(NameOID.COMMON_NAME, name)]).rfc4514_string()
    value = str(common[-1].value)
    numbered = _NUMBERED.fullmatch(value)
    stem, last = (numbered[1], int(numbered[2])) if numbered else (value, 1)
    with desk.store.read() as connection:
        taken = set(connection.scalars(select(authorities_table.c.subject)))
    for number in itertools.count(last + 1):
        found = _with(subject, common[-1], f"{stem} {number}")
        if found not in taken:
            return found
    raise AssertionError


def _with(subject: x509.Name, old: x509.NameAttribute[str | bytes], value: str) -> str:
    try:
        fresh = x509.NameAttribute(NameOID.COMMON_NAME, value)
    except ValueError:
        raise BadAuthority(
            f"The next common name would be {value!r}, which is too long.",
            next_step="Say what the subject of the successor is (`--subject DN`).",
        ) from None
    return x509.Name(fresh if each is old else each for each in subject).rfc4514_string()
