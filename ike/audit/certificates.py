"""Certificates of a host: whether they are valid, whether its daemons take them, and whether their keys fit. Pure."""

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final

from cryptography.exceptions import InvalidSignature

from ike.audit import keyfiles
from ike.audit.certificate_rules import (
    AUTHORITY_KEY,
    DOUBTFUL,
    EXPIRED,
    EXPIRING,
    ISSUER_MISMATCH,
    ISSUER_MISSING,
    KEY_MISMATCH,
    NOT_YET_VALID,
    REFUSED,
    SELF_SIGNED,
    WEAK_SIGNATURE,
)
from ike.audit.keyfiles import Certificate, Key
from ike.audit.values import Finding, Item, Policy, Role, Severity
from ike.secrets.reading import Found
from ike.secrets.values import Dialect, Place
from pki.x509.lint import lint
from pki.x509.lint.facts import Facts as CertificateParts
from pki.x509.lint.facts import read_facts
from pki.x509.lint.report import Finding as Remark
from pki.x509.malformed import MALFORMED
from pki.x509.profile import Dialect as LintDialect

# What rules of the audit say themselves, with more knowledge of the host.
_SAID_HERE: Final = frozenset(
    {
        "x509.expired",
        "x509.not_yet_valid",
        "x509.self_signed",
        "x509.signature_broken_hash",
        "x509.rsa_too_short",
        "x509.rsa_below_3072",
        "x509.rsa_exponent",
        "x509.dsa_key",
    }
)
_BROKEN: Final = frozenset({"md2", "md4", "md5", "sha1"})
_STEM: Final = re.compile(
    r"(?:[._-]?(?:private|key|cert(?:ificate)?|crt|cer|fullchain|chain))?"
    r"(?:\.(?:pem|der|key|crt|cer|cert|p8|pk8))*\Z",
    re.IGNORECASE,
)
_MAX_ISSUERS: Final = 20
_MAX_NAMED: Final = 1000  # of one issuer


@dataclass(frozen=True, eq=False)
class Held:
    """A certificate, and what the file is in which it stands."""

    found: Certificate
    role: Role

    @cached_property
    def parts(self) -> CertificateParts:
        """The certificate, taken apart."""
        return read_facts(self.found.certificate)

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self.found.place

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen digits by which it is known in the next run."""
        return keyfiles.fingerprint(self.found.certificate)[:16]

    @cached_property
    def name(self) -> str:
        """How people know it: its subject, or its serial number."""
        try:
            text = self.found.certificate.subject.rfc4514_string()
        except MALFORMED:
            text = ""
        return text[:100] or f"serial {self.found.certificate.serial_number:x}"


def dialects(founds: Iterable[Found], items: Iterable[Item]) -> tuple[LintDialect, ...]:
    """Whose certificates these are, by the daemons whose configuration was read."""
    every = tuple(founds)
    used = {each.dialect for found in every for each in found.entries}
    used |= {each.dialect for found in every for each in found.connections}
    if not used and any(item.role is Role.DATABASE for item in items):
        used = {Dialect.LIBRESWAN}
    names: Mapping[Dialect, LintDialect] = {
        Dialect.STRONGSWAN: "strongswan",
        Dialect.LIBRESWAN: "libreswan",
    }
    return tuple(names[each] for each in sorted(used or {Dialect.STRONGSWAN}))


@dataclass(frozen=True, eq=False)
class CertificateFacts:
    """All certificates of a host, its private keys, and the dialects of its daemons."""

    held: tuple[Held, ...]
    keys: tuple[Key, ...]
    dialects: tuple[LintDialect, ...]

    def judge(self, policy: Policy, now: datetime) -> Iterator[Finding]:
        """See `ike.audit.values.Facts`."""
        for held in self._different:
            own = self._is_own(held)
            yield from _validity(held, own, policy, now)
            yield from _signature(held)
            yield from self._accepted(held)
            yield from self._issued(held, own)
        yield from self._keys()

    @cached_property
    def _different(self) -> tuple[Held, ...]:
        """Each certificate once in each file."""
        return tuple({(each.place.path, each.fingerprint): each for each in self.held}.values())

    @cached_property
    def _own_digests(self) -> frozenset[str]:
        return frozenset(key.public.digest for key in self.keys if key.public and key.public.digest)

    @cached_property
    def _by_subject(self) -> Mapping[bytes, list[Held]]:
        found: dict[bytes, list[Held]] = {}
        for held in self._different:
            for subject in _names(held, issuer=False):
                found.setdefault(subject, []).append(held)
        return found

    @property
    def revocation_unnamed(self) -> bool:
        """Whether the host's certificates of gateways, of which there are some, all leave out where to ask for their
        revocation; the peers' are made like them.
        """
        gateways = [
            each.parts
            for each in self._different
            if not each.parts.authority and not each.parts.self_issued
        ]
        named = any(each.crl_urls or each.ocsp_urls for each in gateways)
        return bool(gateways) and not named

    def _is_own(self, held: Held) -> bool:
        """Whether the host has its private key."""
        public = held.found.public
        return public is not None and public.digest in self._own_digests

    def _accepted(self, held: Held) -> Iterator[Finding]:
        report = lint(held.found.certificate, self.dialects)
        for dialect in report.dialects:
            remarks = [each for each in report.findings(dialect) if each.rule not in _SAID_HERE]
            for remark in remarks:
                if remark.severity == "fail":
                    yield _refused(held, dialect, remark)
            doubts = [each for each in remarks if each.severity == "warn"]
            # A root is not made anew for what would be better.
            if doubts and not (held.role is Role.TRUST and held.parts.self_issued):
                yield _doubtful(held, dialect, doubts)

    def _issued(self, held: Held, own: bool) -> Iterator[Finding]:
        parts = held.parts
        if parts.self_issued:
            if not parts.authority and held.role is not Role.TRUST:
                yield Finding(
                    SELF_SIGNED, held.place, f"{held.name} has signed itself.", held.fingerprint
                )
            elif own and self._is_authority_in_name_only(held):
                yield _may_sign(held)
            return
        issuers: Sequence[Held] = ()
        for name in _names(held, issuer=True):
            issuers = self._by_subject.get(name, ())
        if not issuers:
            if own and not parts.authority:
                evidence = f"No certificate of the issuer of {held.name} is here."
                yield Finding(ISSUER_MISSING, held.place, evidence, held.fingerprint)
            return
        if not any(_has_signed(each, held) for each in issuers[:_MAX_ISSUERS]):
            evidence = (
                f"{issuers[0].place} has the name of the issuer of {held.name}, but another key."
            )
            yield Finding(ISSUER_MISMATCH, held.place, evidence, held.fingerprint)

    def _is_authority_in_name_only(self, held: Held) -> bool:
        """Whether it is a gateway's that has signed itself, and no more: as a rule `openssl req -x509` lets such a one
        sign others.
        """
        parts = held.parts
        if not (held.role is Role.CERTIFICATE and parts.authority and parts.self_issued):
            return False
        if id(held) not in self._signers:
            self._signers[id(held)] = self._signs(held)
        return not self._signers[id(held)]

    @cached_property
    def _signers(self) -> dict[int, bool]:
        return {}

    def _signs(self, held: Held) -> bool:
        """Whether it has signed one of the others. As many of one name as nobody has may be taken for its own."""
        named = [each for name in _names(held, issuer=False) for each in self._issued_by(name)]
        verified = 0
        for each in named:
            if each.found.public == held.found.public:
                continue
            if verified == _MAX_ISSUERS:
                return True  # so it says itself
            verified += 1
            if _has_signed(held, each):
                return True
        return len(named) == _MAX_NAMED

    def _issued_by(self, name: bytes) -> Sequence[Held]:
        """Those with the name of an issuer, those of others before those that have signed themselves."""
        return self._by_issuer.get(name, ())[:_MAX_NAMED]

    @cached_property
    def _by_issuer(self) -> Mapping[bytes, Sequence[Held]]:
        found: dict[bytes, list[Held]] = {}
        for held in sorted(self._different, key=lambda each: each.parts.self_issued):
            for name in _names(held, issuer=True):
                found.setdefault(name, []).append(held)
        return found

    def _keys(self) -> Iterator[Finding]:
        certified: dict[str, list[Held]] = {}
        stems: dict[str, list[Held]] = {}
        for held in self._different:
            if held.found.public is not None:
                certified.setdefault(held.found.public.digest, []).append(held)
            if held.role is not Role.DATABASE:
                stems.setdefault(_stem(held.place.path), []).append(held)
        for key in self.keys:
            if key.public is None or not key.public.digest:
                continue
            there = certified.get(key.public.digest, [])
            for held in there[:_MAX_ISSUERS]:
                if held.parts.authority and not self._is_authority_in_name_only(held):
                    evidence = f"It is the key of the authority {held.name} ({held.place})."
                    yield Finding(AUTHORITY_KEY, key.place, evidence, key.public.fingerprint)
            near = stems.get(_stem(key.place.path), [])
            if not there and near:
                evidence = f"The certificate that is named alike, {near[0].place}, has another key."
                yield Finding(KEY_MISMATCH, key.place, evidence, key.public.fingerprint)


def _may_sign(held: Held) -> Finding:
    return Finding(
        SELF_SIGNED,
        held.place,
        f"{held.name} has signed itself, and may sign others (CA:TRUE): who trusts it lets in all that its key signs.",
        held.fingerprint,
        "Have the key certified by an authority; or make the certificate anew without that right"
        " (`openssl req -x509 -addext basicConstraints=critical,CA:FALSE`).",
        Severity.MEDIUM,
    )


def _stem(path: str) -> str:
    """What the names of a key and its certificate have in common: gw1Key.pem, gw1Cert.pem, gw1.crt are gw1."""
    return _STEM.sub("", posixpath.basename(path)).lower() or path


def _names(held: Held, *, issuer: bool) -> Iterator[bytes]:
    certificate = held.found.certificate
    try:
        yield (certificate.issuer if issuer else certificate.subject).public_bytes()
    except MALFORMED:
        return


def _has_signed(issuer: Held, held: Held) -> bool:
    """Whether the signature fits; what cannot be verified here may."""
    try:
        held.found.certificate.verify_directly_issued_by(issuer.found.certificate)
    except InvalidSignature:
        return False
    except MALFORMED:
        return True
    return True


def _validity(held: Held, own: bool, policy: Policy, now: datetime) -> Iterator[Finding]:
    matters = own or held.role is Role.TRUST
    severity = None if matters else Severity.LOW
    parts = held.parts
    if parts.not_after < now:
        evidence = f"{held.name} was valid until {_day(parts.not_after)}."
        yield Finding(EXPIRED, held.place, evidence, held.fingerprint, severity=severity)
    elif parts.not_after < now + timedelta(days=policy.expiring_days):
        evidence = f"{held.name} is valid until {_day(parts.not_after)}."
        yield Finding(EXPIRING, held.place, evidence, held.fingerprint)
    if parts.not_before > now:
        evidence = f"{held.name} is valid from {_day(parts.not_before)}."
        yield Finding(NOT_YET_VALID, held.place, evidence, held.fingerprint)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def _signature(held: Held) -> Iterator[Finding]:
    # Nobody verifies the signature by which a root has signed itself.
    if held.parts.signature_hash in _BROKEN and not held.parts.self_issued:
        used = held.parts.signature_hash.upper().replace("SHA1", "SHA-1")
        severity = None if used == "SHA-1" else Severity.HIGH
        yield Finding(
            WEAK_SIGNATURE,
            held.place,
            f"{held.name} is signed with {used}.",
            held.fingerprint,
            severity=severity,
        )


def _refused(held: Held, dialect: LintDialect, remark: Remark) -> Finding:
    return Finding(
        REFUSED,
        held.place,
        f"{dialect}: {held.name}: {remark.message} ({remark.rule})",
        f"{held.fingerprint} {dialect} {remark.rule}",
        fix=remark.fix,
    )


def _doubtful(held: Held, dialect: LintDialect, remarks: list[Remark]) -> Finding:
    said = " ".join(remark.message for remark in remarks[:3])
    more = f" And {len(remarks) - 3} more." if len(remarks) > 3 else ""
    return Finding(
        DOUBTFUL,
        held.place,
        f"{dialect}: {held.name}: {said}{more}",
        f"{held.fingerprint} {dialect}",
        fix=remarks[0].fix if len(remarks) == 1 else "",
    )
