"""A great many certificates as rows, in a fraction of the time that issuing them would take.

A few are issued by the service; of these the rest are copies, in which name, number, times and key are others. They
decode as any other; only their signatures are those of what was copied.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pki import founding, issuance
from pki.actors import Actor, Role
from pki.authorities import Authority
from pki.desk import Desk
from pki.founding import AuthorityRequest
from pki.issuance import IssueRequest
from pki.x509 import serials
from pki.x509.crl import Reason, entry
from store.tables import audit_events, certificates, revocations

PEOPLE = Actor(name="bench", role=Role.ADMIN)
# All of one length, so that a copy is as long as what it is of.
CITIES = (
    *("berlin", "munich", "london", "madrid", "lisbon", "dublin", "prague", "warsaw", "vienna"),
    *("zurich", "geneva", "naples", "athens", "ankara", "riyadh", "mumbai", "taipei", "manila"),
    *("sydney", "boston", "dallas", "denver", "austin", "quebec", "ottawa", "bogota", "havana"),
    *("panama", "durban", "harare"),
)
ROUNDS = 4
_ROUND = timedelta(days=60)
_LIFETIME = timedelta(days=90)
_MARK = 999_999
_PRINT = hashlib.sha256


def city(number: int) -> str:
    """Where a holder is."""
    return f"{CITIES[number * 7 % len(CITIES)]}{number % 90 + 10}"


def gateway_name(number: int) -> str:
    """The name of a gateway; the first ones are those of the fleet."""
    return f"gw{number:06}.{city(number)}.fleet.example"


def _host_name(number: int) -> str:
    return f"host{number:06}.{city(number)}.fleet.example"


def _user_name(number: int) -> str:
    return f"user{number:06}@{city(number)}.fleet.example"


@dataclass(frozen=True)
class _Kind:
    profile: str
    authority: str
    prefix: str
    name: Callable[[int], str]


_KINDS = (
    _Kind("gateway", "issuing", "dns", gateway_name),
    _Kind("gateway", "issuing-eu", "dns", gateway_name),
    _Kind("gateway", "issuing-us", "dns", gateway_name),
    _Kind("gateway-sharded", "issuing-cloud", "dns", gateway_name),
    _Kind("host", "issuing-eu", "dns", _host_name),
    _Kind("user", "issuing-us", "email", _user_name),
)
# Which kind the holder has, by the last digit of his number.
_SHARES = (0, 1, 1, 2, 2, 3, 4, 4, 5, 5)


@dataclass(frozen=True)
class _Pattern:
    """A certificate that was issued, and where in it stands what differs."""

    kind: _Kind
    owner: Authority
    subject: str
    der: bytes
    places: Sequence[tuple[str, int, int]]

    def copy(self, **values: bytes) -> bytes:
        made = bytearray(self.der)
        for name, begin, end in self.places:
            made[begin:end] = values[name]
        return bytes(made)


@dataclass
class Crowd:
    """All certificates of the seed, in the order of time; `gateways` of the holders are the fleet's."""

    desk: Desk
    count: int
    gateways: int
    now: datetime
    first: int
    serials: list[str] = field(default_factory=list)
    revoked: list[tuple[int, int, str, int, datetime, datetime, Reason]] = field(
        default_factory=list
    )

    def __post_init__(self) -> None:
        self.holders = -(-self.count // ROUNDS)
        self.patterns = [_pattern(self.desk, kind, self.now) for kind in _KINDS]
        self.points = [_point() for _ in range(self.holders)]
        self._hashes = [b"" for _ in range(self.holders)]
        self.leaves: dict[str, tuple[int, str]] = {}

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Rows of `COLUMNS`, as the service writes them."""
        self.serials = [""] * self.holders
        for number in range(self.count):
            turn, holder = divmod(number, self.holders)
            yield self._row(number, turn, holder)

    def _row(self, number: int, turn: int, holder: int) -> tuple[Any, ...]:
        share = 0 if holder < self.gateways else _SHARES[holder % 10]
        pattern = self.patterns[share]
        owner, name = pattern.owner, pattern.kind.name(holder)
        at = self.now - (ROUNDS - turn) * _ROUND + holder * _ROUND / self.holders
        at = at.replace(microsecond=0)
        # Some were never renewed: they end, and somebody should see it.
        gone = turn == ROUNDS - 1 and holder % 33 == 32 and holder >= self.gateways
        if gone:
            at = at - timedelta(days=30)
        digest = hashlib.blake2b(b"%d" % number, digest_size=16).digest()
        serial = serials.from_random(digest, at)
        begins, ends = at - timedelta(minutes=5), at + _LIFETIME
        point, spki = self.points[holder]
        der = pattern.copy(
            name=name.encode(),
            serial=serial.to_bytes(16, "big"),
            begins=_utc(begins),
            ends=_utc(ends),
            point=point,
            key=hashlib.sha1(point, usedforsecurity=False).digest(),
        )
        status = self._status(turn, holder)
        signed = status != "abandoned"
        before, text = self.serials[holder], serials.to_hex(serial)
        self.serials[holder] = text
        shard = owner.shard_of(serial)
        if status in {"revoked", "held"}:
            self._end(self.first + number, pattern, serial, shard, at, ends, status)
        printed = _PRINT(der).hexdigest() if signed else None
        if holder < self.gateways and turn == ROUNDS - 1 and printed is not None:
            self.leaves[name] = (self.first + number, printed)
        return (
            self.first + number,
            owner.id,
            text,
            status,
            pattern.kind.profile,
            pattern.subject.replace(pattern.kind.name(_MARK), name),
            f"{pattern.kind.prefix}:{name}",
            begins,
            ends,
            shard,
            der if signed else None,
            printed,
            spki,
            f"gateway {name}" if turn else "oscar",
            "",
            name if pattern.kind.prefix == "dns" and "gateway" in pattern.kind.profile else None,
            f"seed-{number:x}",
            at,
            at if signed else None,
            None if gone else before or None,
        )

    def _status(self, turn: int, holder: int) -> str:
        if holder < self.gateways and turn == ROUNDS - 1:
            return "valid"
        if (holder + turn) % 20 == 19:
            return "revoked"
        if turn == ROUNDS - 1 and holder % 997 == 996:
            return "held"
        return "abandoned" if turn == 1 and holder % 499 == 498 else "valid"

    def _end(
        self,
        number: int,
        pattern: _Pattern,
        serial: int,
        shard: int,
        at: datetime,
        ends: datetime,
        status: str,
    ) -> None:
        reason = Reason.certificateHold if status == "held" else Reason.superseded
        if number % 50 == 0 and status == "revoked":
            reason = Reason.cessationOfOperation
        when = min(at + timedelta(days=10), self.now - timedelta(minutes=1))
        self.revoked.append(
            (number, pattern.owner.id, serials.to_hex(serial), shard, when, ends, reason)
        )

    def ended_rows(self) -> Iterator[tuple[Any, ...]]:
        """Rows of `ENDED`, after all of `rows`."""
        for number, owner, serial, shard, when, ends, reason in self.revoked:
            made = entry(int(serial, 16), when, reason, None)
            state = "held" if reason is Reason.certificateHold else "revoked"
            yield (number, owner, serial, shard, state, reason.value, when, when, ends, made)

    def trail(self, most: int) -> Iterator[tuple[Any, ...]]:
        """Rows of `TRAIL`: what the audit log says of the last ones."""
        for holder in range(max(0, self.holders - most // 2), self.holders):
            share = 0 if holder < self.gateways else _SHARES[holder % 10]
            about = f"certificate:{self.patterns[share].kind.authority}:{self.serials[holder]}"
            at = self.now - _ROUND + holder * _ROUND / self.holders
            for action, outcome in (("certificate.sign", "intent"), ("certificate.issue", "ok")):
                detail = json.dumps({"profile": self.patterns[share].kind.profile})
                yield (at, "oscar", "operator", action, about, outcome, detail, f"seed-{holder:x}")


CERTIFICATES = (
    certificates,
    (
        *("id", "authority_id", "serial", "status", "profile", "subject", "names", "not_before"),
        *("not_after", "shard", "der", "fingerprint", "spki_sha256", "requested_by", "credential"),
        *("gateway", "request_id", "created_at", "issued_at", "renewed_from"),
    ),
)
ENDED = (
    revocations,
    (
        *("certificate_id", "authority_id", "serial", "shard", "state", "reason", "revoked_at"),
        *("changed_at", "not_after", "entry"),
    ),
)
TRAIL = (
    audit_events,
    ("at", "actor", "role", "action", "object", "outcome", "detail", "request_id"),
)


def found_authorities(desk: Desk, now: datetime) -> None:
    """Make the authorities beside those of `init`."""
    for name, shards in (("issuing-eu", 0), ("issuing-us", 0), ("issuing-cloud", 8)):
        request = AuthorityRequest(
            name=name, kind="issuing", parent="root", subject=f"CN={name},O=bench", shards=shards
        )
        founding.create(desk, PEOPLE, request, now=now)


def _pattern(desk: Desk, kind: _Kind, now: datetime) -> _Pattern:
    name = kind.name(_MARK)
    key = ec.generate_private_key(ec.SECP256R1())
    other = (x509.DNSName if kind.prefix == "dns" else x509.RFC822Name)(name)
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([other]), critical=False)
        .sign(key, hashes.SHA256())
    )
    wanted = IssueRequest(
        csr=csr.public_bytes(Encoding.DER), profile=kind.profile, authority=kind.authority
    )
    made = issuance.issue(desk, PEOPLE, wanted, now=now)
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    known = {
        "name": name.encode(),
        "serial": int(made.serial, 16).to_bytes(16, "big"),
        "begins": _utc(made.not_before),
        "ends": _utc(made.not_after),
        "point": point,
        "key": hashlib.sha1(point, usedforsecurity=False).digest(),
    }
    places = [
        (what, at, at + len(value))
        for what, value in known.items()
        for at in _all_places(made.der, value)
    ]
    return _Pattern(kind, made.authority, made.subject, made.der, places)


def _all_places(der: bytes, value: bytes) -> Iterator[int]:
    at = der.find(value)
    while at >= 0:
        yield at
        at = der.find(value, at + 1)


def _point() -> tuple[bytes, str]:
    """A new public key: its point, and the hash of its SubjectPublicKeyInfo."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return spki[-65:], _PRINT(spki).hexdigest()


def _utc(moment: datetime) -> bytes:
    return moment.strftime("%y%m%d%H%M%SZ").encode()
