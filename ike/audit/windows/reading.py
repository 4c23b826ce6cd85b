"""Reads the document that collect.ps1 writes. Strict: whoever wrote it may not be whom it names."""

import base64
import hashlib
import os
import stat
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from ike.audit.windows.errors import (
    CollectedInvalid,
    CollectedNotFound,
    CollectedTooLarge,
    CollectedVersion,
)
from ike.audit.windows.fields import Fields, document
from ike.audit.windows.values import (
    Access,
    AuthMethod,
    AuthSet,
    Certificate,
    Collected,
    CryptoSet,
    Entry,
    IpsecRule,
    KeyFile,
    MainModeRule,
    PfxFile,
    Proposal,
    SecretMark,
    SetKind,
    TunnelPolicy,
)
from ike.secrets.values import Place, Problem
from pki.x509.lint.facts import read_facts
from pki.x509.malformed import MALFORMED

FORMAT: Final = "ikewarden windows"
VERSION: Final = 1
MAX_OCTETS: Final = 32 * 2**20
_MAX_ITEMS: Final = 4000
_MAX_ENTRIES: Final = 1000
_MAX_DER: Final = 64 * 1024
_MAX_NUMBER: Final = 2**53
_MASK: Final = 2**32 - 1


def content_of(path: Path) -> bytes:
    """The octets of a document. Raises CollectedNotFound, CollectedInvalid."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise CollectedInvalid(
                    f"{path} is no regular file.", next_step=CollectedNotFound.next_step
                )
            content = file.read(MAX_OCTETS + 1)
    except OSError as error:
        raise CollectedNotFound(f"{path} cannot be read: {error.strerror}.") from None
    return content


def read(content: bytes) -> Collected:
    """What a document says. Raises CollectedInvalid, CollectedVersion, CollectedTooLarge."""
    if len(content) > MAX_OCTETS:
        raise CollectedTooLarge("The document is larger than 32 MiB.")
    fields = Fields(document(content))
    if fields.text("format", 64) != FORMAT:
        raise CollectedInvalid("The document was not written by the Windows collector.")
    if fields.number("version", _MAX_NUMBER) != VERSION:
        raise CollectedVersion(f"The document is not of version {VERSION}.")
    problems: list[Problem] = []
    with fields.whole():
        collected = Collected(
            host=fields.text("host", 255),
            system=fields.text("system", 255),
            collected=_moment(fields, "collected"),
            elevated=fields.flag("elevated"),
            certificates=tuple(_certificates(fields, problems)),
            key_files=tuple(_key_files(fields)),
            pfx_files=tuple(_pfx_files(fields)),
            rules=tuple(_rules(fields)),
            main_mode_rules=tuple(_main_mode_rules(fields)),
            crypto_sets=(*_main_mode_sets(fields), *_quick_mode_sets(fields)),
            auth_sets=tuple(_auth_sets(fields)),
            vpn=tuple(_vpn(fields)),
            problems=(*_errors(fields), *problems),  # those of certificates were found above
        )
    return collected


def _certificates(fields: Fields, problems: list[Problem]) -> Iterator[Certificate]:
    for each in fields.each("certificates", _MAX_ITEMS):
        if each.text("store", 64) != "My":
            raise CollectedInvalid("There is a certificate of another store.")
        thumbprint = each.text("thumbprint", 40).upper()
        der = _octets(each, "der")
        key = (each.flag("private_key"), each.flag_or_none("exportable"))
        names = (each.text("provider", 255), each.text("key_name", 255))
        place = Place(f"Cert:\\LocalMachine\\My\\{thumbprint}", 0)
        if hashlib.sha1(der, usedforsecurity=False).hexdigest().upper() != thumbprint:
            problems.append(Problem(place, "the thumbprint is not that of the certificate"))
            continue
        try:
            with warnings.catch_warnings(action="ignore"):  # of serial numbers below zero
                certificate = x509.load_der_x509_certificate(der)
                facts = read_facts(certificate)
        except MALFORMED:
            problems.append(Problem(place, "the certificate is malformed"))
            continue
        yield Certificate(thumbprint, facts, _subject(certificate), *key, *names)


def _subject(certificate: x509.Certificate) -> str:
    try:
        return certificate.subject.rfc4514_string()[:255]
    except MALFORMED:
        return ""


def _octets(fields: Fields, name: str) -> bytes:
    try:
        return base64.b64decode(fields.text(name, _MAX_DER), validate=True)
    except ValueError:
        raise CollectedInvalid("A certificate is not in base64.") from None


def _key_files(fields: Fields) -> Iterator[KeyFile]:
    for each in fields.each("key_files", _MAX_ITEMS):
        yield KeyFile(each.text("path"), each.text("name", 255), _access(each))


def _pfx_files(fields: Fields) -> Iterator[PfxFile]:
    for each in fields.each("pfx_files", _MAX_ITEMS):
        yield PfxFile(
            each.text("path"),
            each.number("octets", _MAX_NUMBER),
            _moment(each, "changed"),
            _access(each),
        )


def _access(fields: Fields) -> Access | None:
    with fields.one("access") as access:
        if access is None:
            return None
        entries = tuple(
            Entry(each.text("sid", 200), each.number("rights", _MASK), each.flag("allow"))
            for each in access.each("entries", _MAX_ENTRIES)
        )
        return Access(access.text("owner", 200), entries)


def _rules(fields: Fields) -> Iterator[IpsecRule]:
    for each in fields.each("rules", _MAX_ITEMS):
        yield IpsecRule(
            name=each.text("name"),
            display_name=each.text("display_name"),
            enabled=each.flag("enabled"),
            mode=each.text("mode"),
            key_module=each.text("key_module"),
            inbound=each.text("inbound"),
            outbound=each.text("outbound"),
            phase1_auth_set=each.text("phase1_auth_set"),
            quick_mode_set=each.text("quick_mode_set"),
            local_endpoint=each.text("local_endpoint"),
            remote_endpoint=each.text("remote_endpoint"),
        )


def _main_mode_rules(fields: Fields) -> Iterator[MainModeRule]:
    for each in fields.each("main_mode_rules", _MAX_ITEMS):
        yield MainModeRule(
            name=each.text("name"),
            display_name=each.text("display_name"),
            enabled=each.flag("enabled"),
            main_mode_set=each.text("main_mode_set"),
            phase1_auth_set=each.text("phase1_auth_set"),
        )


def _main_mode_sets(fields: Fields) -> Iterator[CryptoSet]:
    for each in fields.each("main_mode_sets", _MAX_ITEMS):
        proposals = tuple(
            Proposal(item.text("encryption"), item.text("hash"), item.text("group"))
            for item in each.each("proposals", _MAX_ENTRIES)
        )
        yield CryptoSet(SetKind.MAIN_MODE, each.text("name"), each.text("display_name"), proposals)


def _quick_mode_sets(fields: Fields) -> Iterator[CryptoSet]:
    for each in fields.each("quick_mode_sets", _MAX_ITEMS):
        proposals = tuple(
            Proposal(
                encryption=item.text("encryption"),
                hash=item.text("esp_hash"),
                encapsulation=item.text("encapsulation"),
                ah_hash=item.text("ah_hash"),
            )
            for item in each.each("proposals", _MAX_ENTRIES)
        )
        name, display_name, pfs = each.text("name"), each.text("display_name"), each.text("pfs")
        yield CryptoSet(SetKind.QUICK_MODE, name, display_name, proposals, pfs)


def _auth_sets(fields: Fields) -> Iterator[AuthSet]:
    for each in fields.each("auth_sets", _MAX_ITEMS):
        methods = tuple(
            AuthMethod(item.text("method"), _mark(item))
            for item in each.each("proposals", _MAX_ENTRIES)
        )
        yield AuthSet(each.text("name"), each.text("display_name"), methods)


def _mark(fields: Fields) -> SecretMark | None:
    with fields.one("psk") as mark:
        if mark is None:
            return None
        return SecretMark(mark.number("length", 2**20), mark.text("fingerprint", 12))


def _vpn(fields: Fields) -> Iterator[TunnelPolicy]:
    for each in fields.each("vpn", _MAX_ITEMS):
        yield TunnelPolicy(
            name=each.text("name"),
            method=each.text("method"),
            custom=each.flag("custom"),
            main=Proposal(each.text("encryption"), each.text("integrity"), each.text("group")),
            quick=Proposal(each.text("esp_encryption"), each.text("esp_integrity")),
            pfs=each.text("pfs"),
        )


def _errors(fields: Fields) -> Iterator[Problem]:
    for each in fields.each("errors", _MAX_ENTRIES):
        yield Problem(Place(each.text("part"), 0), f"not collected: {each.text('message', 255)}")


def _moment(fields: Fields, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(fields.text(name, 40))
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise CollectedInvalid(f"{name} is no time as RFC 3339 has it.")
