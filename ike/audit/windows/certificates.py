"""Rules about certificates of the machine, their keys' files, and PFX files. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from ike.audit.values import Finding, Policy, Severity
from ike.audit.windows import rules, sids
from ike.audit.windows.values import Certificate, Collected, KeyFile, PfxFile
from ike.secrets.values import Place
from pki.x509.keys import MIN_RSA_BITS

_SERVER: Final = "1.3.6.1.5.5.7.3.1"
_CLIENT: Final = "1.3.6.1.5.5.7.3.2"
_ANY: Final = "2.5.29.37.0"
_IKE_INTERMEDIATE: Final = "1.3.6.1.5.5.8.2.2"
_IKE: Final = (_IKE_INTERMEDIATE, "1.3.6.1.5.5.8.2.1", "1.3.6.1.5.5.7.3.17")
_BROKEN: Final = frozenset({"md2", "md4", "md5", "sha1"})
_ODD: Final = 65537


def judge(collected: Collected, policy: Policy, now: datetime) -> Iterator[Finding]:
    """What is wrong with certificates, keys and PFX files."""
    held = [each for each in collected.certificates if each.private_key]
    ours = [each for each in held if _serves_ike(each)]
    for certificate in ours:
        yield from _certificate(certificate, ours, policy, now)
    for certificate in held:
        if certificate.facts.authority:
            yield from _key(certificate)
    yield from _usage(collected, ours, now)
    named: dict[str, list[Certificate]] = {}
    for certificate in held:
        if certificate.key_name:
            named.setdefault(certificate.key_name.lower(), []).append(certificate)
    for file in collected.key_files:
        yield from _key_file(file, named.get(file.name.lower(), []))
    for pfx in collected.pfx_files:
        yield from _pfx(pfx)


def _serves_ike(certificate: Certificate) -> bool:
    """Whether Windows may take it to prove to a peer who it is: it takes any that fits the rule's authority."""
    usages = certificate.facts.extended_key_usage
    fits = usages is None or not usages.isdisjoint((_SERVER, _CLIENT, _ANY, *_IKE))
    return not certificate.facts.authority and fits


def _is_made_for_ike(certificate: Certificate) -> bool:
    return certificate.facts.has_usage(*_IKE)


def _certificate(
    certificate: Certificate, ours: Sequence[Certificate], policy: Policy, now: datetime
) -> Iterator[Finding]:
    place, facts, name = Place(certificate.path, 0), certificate.facts, _name(certificate)
    yield from _key(certificate)
    renewed = any(_renews(each, certificate) for each in ours)
    if facts.not_after < now:
        yield Finding(
            rules.CERTIFICATE_EXPIRED,
            place,
            f"{name}: expired on {facts.not_after:%Y-%m-%d}"
            + (", and there is a newer one" if renewed else ""),
            severity=Severity.INFO if renewed else None,
        )
    elif facts.not_after - now < timedelta(days=policy.expiring_days) and not renewed:
        yield Finding(
            rules.CERTIFICATE_EXPIRING, place, f"{name}: expires on {facts.not_after:%Y-%m-%d}"
        )
    if facts.signature_hash in _BROKEN and not facts.self_issued:
        yield Finding(
            rules.CERTIFICATE_SHA1, place, f"{name}: signed with {facts.signature_hash.upper()}"
        )


def _key(certificate: Certificate) -> Iterator[Finding]:
    """What is wrong with the key: that of an authority matters no less, whatever the authority is for."""
    place, name = Place(certificate.path, 0), _name(certificate)
    if certificate.exportable:
        yield Finding(
            rules.KEY_EXPORTABLE,
            place,
            f"{name}: the key can be exported",
            severity=None if _is_made_for_ike(certificate) else Severity.LOW,
        )
    weakness = _weakness(certificate)
    if weakness:
        yield Finding(rules.CERTIFICATE_WEAK, place, f"{name}: {weakness}")


def _name(certificate: Certificate) -> str:
    return certificate.subject or "without a subject"


def _renews(newer: Certificate, older: Certificate) -> bool:
    return newer.subject == older.subject and newer.facts.not_after > older.facts.not_after


def _weakness(certificate: Certificate) -> str:
    facts = certificate.facts
    if 0 < facts.rsa_bits < MIN_RSA_BITS:
        return f"RSA of {facts.rsa_bits} bits"
    if facts.rsa_exponent and (facts.rsa_exponent < _ODD or facts.rsa_exponent % 2 == 0):
        return f"RSA with the public exponent {facts.rsa_exponent}"
    if facts.algorithm.startswith("dsa"):
        return "a DSA key"
    return ""


def _usage(collected: Collected, ours: Sequence[Certificate], now: datetime) -> Iterator[Finding]:
    """RRAS takes the one for IKE intermediate, or any for server authentication."""
    if not any(not each.name for each in collected.vpn):
        return
    valid = [each for each in ours if each.facts.not_before <= now < each.facts.not_after]
    marked = [each for each in valid if each.facts.has_usage(_IKE_INTERMEDIATE)]
    for certificate in marked:
        if not certificate.facts.has_usage(_SERVER):
            evidence = f"{certificate.subject}: clients refuse it without server authentication"
            yield Finding(rules.CERTIFICATE_USAGE, Place(certificate.path, 0), evidence)
    servers = [each for each in valid if each.facts.has_usage(_SERVER)]
    if not marked and len(servers) > 1:
        evidence = f"{len(servers)} certificates are for server authentication, and none for IKE"
        yield Finding(rules.CERTIFICATE_USAGE, Place("VpnServer", 0), evidence)


def _key_file(file: KeyFile, named_by: Sequence[Certificate]) -> Iterator[Finding]:
    if file.access is None:
        return
    place = Place(file.path, 0)
    matters = [each for each in named_by if _serves_ike(each) or each.facts.authority]
    whose = "no certificate here names it"
    if named_by:
        whose = f"the key of {_name((matters or named_by)[0])}"
        whose += "" if matters else ", which is not for IPsec"
    may = _may(sids.readers(file.access), sids.writers(file.access))
    if may:
        yield Finding(
            rules.KEY_OPEN,
            place,
            f"{may}; {whose}",
            severity=None if matters else Severity.MEDIUM,
        )
    if matters and not sids.is_trusted(file.access.owner) and not sids.crowd(file.access.owner):
        yield Finding(rules.KEY_OWNER, place, f"it belongs to {file.access.owner}; {whose}")


def _pfx(pfx: PfxFile) -> Iterator[Finding]:
    place = Place(pfx.path, 0)
    if pfx.access is not None:
        may = _may(sids.readers(pfx.access), sids.writers(pfx.access))
        if may:
            yield Finding(rules.PFX_OPEN, place, f"{may}; written on {pfx.changed:%Y-%m-%d}")
            return
    yield Finding(rules.PFX_LEFT, place, f"{pfx.octets} octets, written on {pfx.changed:%Y-%m-%d}")


def _may(readers: Iterable[str], writers: Iterable[str]) -> str:
    said = []
    if readers := list(readers):
        said.append(f"{', '.join(readers)} can read it")
    if writers := list(writers):
        said.append(f"{', '.join(writers)} can change it")
    return "; ".join(said)
