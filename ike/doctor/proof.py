"""Can each end prove who it is: pre-shared keys, certificates, trust, revocation. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from ike.audit.certificates import Held
from ike.audit.configuration.values import Tunnel
from ike.audit.values import Role
from ike.doctor import matching
from ike.doctor.policy import GIVE_PEER, OK, UNKNOWN, WRONG
from ike.doctor.values import Case, Check, Host, Verdict
from ike.events.event import SaEvent
from ike.secrets import identities
from ike.secrets.identities import Identity
from pki.x509.lint import lint
from pki.x509.malformed import MALFORMED
from pki.x509.profile import Dialect

_HIDDEN: Final = frozenset({"x509.expired", "x509.not_yet_valid"})  # checks of their own
# Whether it is refused depends on what the other end is in the exchange.
_NOW_AND_THEN: Final = frozenset({"windows.server_auth_missing", "apple.server_auth_missing"})
_TRUSTED: Final = frozenset({Role.TRUST, Role.DATABASE})
_DEEPEST: Final = 8


@dataclass(frozen=True)
class End:
    """One end that proves itself by a certificate, and who verifies it; `other` is None where nothing is known of it.
    `held` is the certificate that it would show, `with_key` whether its private key is there.
    """

    who: str
    host: Host
    tunnel: Tunnel
    held: Held | None
    with_key: bool
    other: Host | None
    other_tunnel: Tunnel | None


def ends(case: Case) -> tuple[End, ...]:
    """Those ends that prove themselves by a certificate, as far as their files are known."""
    found = []
    if case.tunnel is not None and _by_certificate(case.tunnel):
        held, with_key = _shown(case.here, case.tunnel)
        found.append(
            End("this end", case.here, case.tunnel, held, with_key, case.peer, case.peer_tunnel)
        )
    if case.peer is not None and case.peer_tunnel is not None and _by_certificate(case.peer_tunnel):
        held, with_key = _shown(case.peer, case.peer_tunnel)
        found.append(
            End("the peer", case.peer, case.peer_tunnel, held, with_key, case.here, case.tunnel)
        )
    return tuple(found)


def _by_certificate(tunnel: Tunnel) -> bool:
    return any(each.auth == "pubkey" for each in tunnel.local)


def _shown(host: Host, tunnel: Tunnel) -> tuple[Held | None, bool]:
    """The certificate that an end would show: one of its identity before others, one with its key before others."""
    asked = matching.own_identity(tunnel)
    candidates = [
        each for each in host.held if not each.parts.authority and each.role is not Role.TRUST
    ]

    def worth(held: Held) -> tuple[bool, bool, datetime]:
        return _has_key(host, held), _names(held, asked), held.parts.not_after

    best = max(candidates, key=worth, default=None)
    if best is None or (not _has_key(host, best) and not _names(best, asked)):
        return None, False
    return best, _has_key(host, best)


def _has_key(host: Host, held: Held) -> bool:
    return held.found.public is not None and held.found.public.digest in host.keys


def _names(held: Held, asked: Identity) -> bool:
    return asked.kind == "any" or any(identities.equal(asked, each) for each in _proven(held))


def _proven(held: Held) -> Iterator[Identity]:
    """The identities that a certificate proves: its subject, and its alternative names."""
    certificate = held.found.certificate
    try:
        parts = [each.rfc4514_string() for each in certificate.subject.rdns]
        yield identities.strongswan(", ".join(parts))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except MALFORMED:
        return
    except x509.ExtensionNotFound:
        return
    for name in names:
        if isinstance(name, x509.DNSName):
            yield Identity("dns", name.value.lower())
        elif isinstance(name, x509.RFC822Name):
            yield Identity("email", name.value.lower())
        elif isinstance(name, x509.IPAddress):
            yield Identity("ip", str(name.value))


# ---------------------------------------------------------------- pre-shared keys


def secret(case: Case) -> Check | None:
    """Whether both ends have the same pre-shared key, by fingerprints."""
    tunnel = case.tunnel
    if tunnel is None or not tunnel.psk:
        return None
    name = "secret"
    mine = (case.here.secrets or {}).get(tunnel.name)
    if mine is None:
        if case.daemon is not None and case.daemon.secrets:
            said = "No key for it stands in the files; the daemon has keys of its own."
            return Check(name, UNKNOWN, said, "Compare the keys where they come from.")
        said = f"No pre-shared key here answers for {tunnel.name}."
        return Check(name, WRONG, said, "Write the key for both identities, and load it.")
    if case.daemon is not None and case.daemon.is_without_secrets:
        said = "A key stands in the files, and the daemon has none: it has not read them since."
        return Check(name, WRONG, said, "Have it read them: ipsec rereadsecrets")
    return _with_peer(case, name, mine)


def _with_peer(case: Case, name: str, mine: str) -> Check:
    peer = case.peer_tunnel
    if case.peer is None or peer is None:
        return Check(name, UNKNOWN, "A key is here; the peer's is not known.", GIVE_PEER)
    theirs = (case.peer.secrets or {}).get(peer.name)
    if theirs is None:
        said = f"No pre-shared key of the peer answers for {peer.name}."
        step = "Write the key on the peer too, for both identities, and load it."
        return Check(name, _lacking(case.peer), said, step)
    return _compared(name, mine, theirs)


def _compared(name: str, mine: str, theirs: str) -> Check:
    if mine != theirs:
        said = f"The ends have different keys: fingerprints {mine} here, {theirs} at the peer."
        step = (
            "Write the same pre-shared key on both ends, and load it: swanctl --load-creds, or"
            " ipsec rereadsecrets"
        )
        return Check(name, WRONG, said, step)
    return Check(name, OK, f"Both ends have the same key (fingerprint {mine} in this run).")


# ---------------------------------------------------------------- certificates


def certificate_key(case: Case) -> Check | None:
    """Whether each end has a certificate and its private key."""
    there = ends(case)
    for end in there:
        if end.held is None:
            said = f"{end.who.capitalize()} has no certificate for {end.tunnel.name}."
            step = "Install the certificate and its private key."
            return Check("certificate_key", _lacking(end.host), said, step)
        if not end.with_key:
            said = f"{end.who.capitalize()} has no private key that fits {called(end.held)}."
            step = "Install the key that the certificate was issued for, or have a new one issued."
            if end.host.sealed:
                said += " It may be one that only its passphrase or token opens."
                pluto = end.host.dialect == "libreswan"
                tool = "ipsec whack --listcerts" if pluto else "swanctl --list-certs"
                step = f"Look whether the daemon has it: {tool}"
                return Check("certificate_key", UNKNOWN, said, step)
            return Check("certificate_key", _lacking(end.host), said, step)
    shown = [each.held for each in there if each.held is not None]
    return Check("certificate_key", OK, _told(shown, "has its private key")) if shown else None


def _lacking(host: Host) -> Verdict:
    """What it means that something is not among the files."""
    return WRONG if host.whole else UNKNOWN


def certificate_valid(case: Case) -> Check | None:
    """Whether the certificates and those above them are valid now."""
    judged = [held for end in ends(case) for held in chain(case, end)]
    for held in judged:
        if held.parts.not_after < case.now:
            said = f"{called(held)} was valid until {_day(held.parts.not_after)}; it is {_day(case.now)} here."
            step = f"Renew the certificate at {held.place.path}, and load it."
            if case.unkept:
                said += " Nothing keeps the clock of this host right."
                step = f"Look first whether the clock is right: timedatectl. {step}"
            return Check("certificate_valid", WRONG, said, step)
    if not judged:
        return None
    first = min(judged, key=lambda held: held.parts.not_after)
    said = f"All are valid; the first to end is {first.name}, on {_day(first.parts.not_after)}."
    return Check("certificate_valid", OK, said)


def certificate_identity(case: Case) -> Check | None:
    """Whether the certificates name the identities that are configured."""
    there = [end for end in ends(case) if end.held is not None]
    for end in there:
        asked = matching.own_identity(end.tunnel)
        if end.held is not None and not _names(end.held, asked):
            proven = ", ".join(map(str, _proven(end.held))) or "nothing"
            said = f"{end.who.capitalize()} says that it is {asked}, and {called(end.held)} proves {proven}."
            step = f"Have a certificate issued with {asked} in its subjectAltName, or write an identity that is in it."
            return Check("certificate_identity", WRONG, said, step)
    if not there:
        return None
    return Check("certificate_identity", OK, "The identities are in the certificates.")


def trust(case: Case) -> Check | None:
    """Whether each end trusts the root that the other's certificate comes from, and the daemon has it loaded."""
    there = [end for end in ends(case) if end.held is not None]
    verified = False
    for end in there:
        if end.other is None:
            continue
        verified = True
        anchor = _anchor(case, end)
        verifier = "the peer" if end.who == "this end" else "this end"
        if anchor is None:
            said = (
                f"{verifier.capitalize()} has no CA certificate that {called(end.held)} comes from"
                f" (issuer {_issuer(end.held)})."
            )
            step = f"Install the CA certificate {_issuer(end.held)} on {verifier}, and load it."
            return Check("trust", _lacking(end.other), said, step)
        if root := _rootless(case, end, anchor):
            said = (
                f"{verifier.capitalize()} has the CA certificate {called(anchor)} and not the root"
                f" above it, {root}: charon trusts no chain that does not end with a root."
            )
            step = (
                f"Install the CA certificate {root} on {verifier} beside it, and load it:"
                " swanctl --load-creds"
            )
            return Check("trust", _lacking(end.other), said, step)
        if verifier == "this end" and _is_unloaded(case, anchor):
            said = f"The daemon has not loaded the CA certificate {called(anchor)}."
            pluto = case.here.dialect == "libreswan"
            step = "ipsec restart" if pluto else "swanctl --load-creds"
            return Check("trust", WRONG, said, f"Load it: {step}")
    if not there:
        return None
    if not verified:
        return Check("trust", UNKNOWN, "Whether the peer trusts our CA is not known.", GIVE_PEER)
    return Check("trust", OK, "Each end has the CA that the other's certificate comes from.")


def revoked(case: Case) -> Check | None:
    """Whether a CRL at hand has one of the certificates."""
    there = [end for end in ends(case) if end.held is not None]
    lists = crls(case)
    seen = False
    for end in there:
        for held in chain(case, end):
            for crl in lists:
                if crl.issuer != held.found.certificate.issuer:
                    continue
                seen = True
                entry = crl.get_revoked_certificate_by_serial_number(
                    held.found.certificate.serial_number
                )
                if entry is not None:
                    said = f"{called(held)} was revoked on {_day(entry.revocation_date_utc)}, by a CRL at hand."
                    step = f"Have a new certificate issued for {end.who}; find out first why the old one was revoked."
                    return Check("revoked", WRONG, said, step)
    if not there:
        return None
    if not seen:
        return Check(
            "revoked", UNKNOWN, "No CRL of these issuers is at hand.", "Fetch the CRL of the CA."
        )
    return Check("revoked", OK, "No CRL at hand has one of the certificates.")


def revocation_source(case: Case) -> Check | None:
    """Whether an end that insists on a word about revocation can get one."""
    name = "revocation_source"
    strict = [end for end in ends(case) if _is_strict(end.other_tunnel)]
    asks = case.tunnel is not None and _is_strict(case.tunnel)
    if not strict and not asks:
        return None
    if case.failure is not None and case.log is not None:
        if asks and _is_unfetched(case.log.ours):
            said = (
                f"This end insists on a word about revocation ({_strict_place(case.tunnel)}), and"
                " its log says that the CRL or OCSP answer could not be got."
            )
            step = (
                "Make the CRL of the peer's CA reachable from here: its URL is in the log and in"
                " the peer's certificate; or put the CRL into x509crl."
            )
            return Check(name, WRONG, said, step)
        if any(end.who == "this end" for end in strict) and _is_unfetched(case.log.theirs):
            said = (
                f"The peer insists on a word about revocation ({_strict_place(case.peer_tunnel)}),"
                " and its log says that the CRL or OCSP answer could not be got."
            )
            step = (
                "Make the CRL of this end's CA reachable from the peer: its URL is in the peer's"
                " log and in this end's certificate; or put the CRL into x509crl there."
            )
            return Check(name, WRONG, said, step)
    for end in strict:
        if end.held is None or end.held.parts.crl_urls or end.held.parts.ocsp_urls:
            continue
        if not any(
            crl.issuer == end.held.found.certificate.issuer
            and crl.next_update_utc is not None
            and crl.next_update_utc > case.now
            for crl in crls(case)
        ):
            said = f"{called(end.held)} names nowhere to ask for its revocation, and the other end insists on it."
            step = "Put a valid CRL of the CA into x509crl there, or issue certificates with a CRL URL."
            return Check(name, WRONG, said, step)
    said = "Revocation is insisted on; whether the CRL can be fetched was not tried."
    return Check(name, UNKNOWN, said, "Fetch the CRL by the URL in the certificate.")


def _is_strict(tunnel: Tunnel | None) -> bool:
    return tunnel is not None and any(each.revocation == "strict" for each in tunnel.remote)


def _is_unfetched(failures: Iterable[SaEvent]) -> bool:
    return any(each.kind == "crl_fetch_failed" for each in failures)


def _strict_place(tunnel: Tunnel | None) -> str:
    remote = tunnel.remote if tunnel is not None else ()
    return ", ".join(str(each.revocation_place) for each in remote if each.revocation_place)


def accepted(case: Case) -> Check | None:
    """Whether the daemon of the other end takes a certificate that is made like this."""
    name, there = "accepted", [end for end in ends(case) if end.held is not None]
    doubts: list[Check] = []
    for end in there:
        dialect = _verifier(case, end)
        if dialect is None or end.held is None:
            step = "Say what the peer is, as --peer-kind windows, or give its files."
            doubts.append(Check(name, UNKNOWN, "What daemon the peer has is not known.", step))
            continue
        for remark in lint(end.held.found.certificate, (dialect,)).findings(dialect):
            said = f"{dialect}: {called(end.held)}: {remark.message} ({remark.rule})"
            if remark.severity == "fail" and remark.rule not in _HIDDEN:
                return Check(name, WRONG, said, remark.fix)
            if remark.rule in _NOW_AND_THEN:
                verdict = WRONG if _is_proof_refused(case) else UNKNOWN
                doubts.append(Check(name, verdict, said, remark.fix))
    if not there:
        return None
    doubts.sort(key=lambda each: each.verdict is not WRONG)
    return doubts[0] if doubts else Check(name, OK, "The daemons take certificates like these.")


def _is_proof_refused(case: Case) -> bool:
    """Whether an end was refused for its proof: then what is minded now and then probably was."""
    return case.failure is not None and case.failure.kind in ("auth_failed", "cert_invalid")


def _verifier(case: Case, end: End) -> Dialect | None:
    if end.who == "the peer":
        return case.here.dialect
    return case.peer_kind or (case.peer.dialect if case.peer is not None else None)


# ---------------------------------------------------------------- chains


def chain(case: Case, end: End) -> tuple[Held, ...]:
    """The certificate and those above it that are at hand, at either end."""
    if end.held is None:
        return ()
    links = [end.held]
    authorities = list(_authorities(case))
    while len(links) < _DEEPEST and not links[-1].parts.self_issued:
        above = next((each for each in authorities if _has_signed(each, links[-1])), None)
        if above is None:
            break
        links.append(above)
    return tuple(links)


def _authorities(case: Case) -> Iterator[Held]:
    for host in (case.here, case.peer):
        if host is not None:
            yield from (each for each in host.held if each.parts.authority)


def _anchor(case: Case, end: End) -> Held | None:
    """What the verifying end trusts the certificate by: a CA certificate above it, a root before others, or the
    certificate itself.
    """
    held = end.other.held if end.other is not None else ()
    trusted = {each.fingerprint: each for each in held if each.role in _TRUSTED}
    above = [trusted[each.fingerprint] for each in _above(case, end) if each.fingerprint in trusted]
    above.sort(key=lambda each: not each.parts.self_issued)
    shown = end.held.fingerprint if end.held is not None else ""
    itself = (each for each in held if each.fingerprint == shown)
    return next(iter(above), None) or next(itself, None)


def _above(case: Case, end: End) -> list[Held]:
    """All CA certificates at hand that it comes from, on any way: a CA may have several, of several roots."""
    found, authorities = [end.held] if end.held is not None else [], list(_authorities(case))
    known = {each.fingerprint for each in found}
    for link in found:  # grows on the way
        for each in authorities:
            if each.fingerprint not in known and _has_signed(each, link):
                known.add(each.fingerprint)
                found.append(each)
    return found[1:]


def _rootless(case: Case, end: End, anchor: Held) -> str:
    """The name of the root that the verifying end lacks; empty where it has one, or needs none.

    charon takes nothing but a self-signed certificate for the end of a chain; to NSS any trusted CA is one.
    """
    is_root = anchor.parts.self_issued or not anchor.parts.authority
    if is_root or end.other is None or end.other.dialect != "strongswan":
        return ""
    above = _above(case, end)
    root = next((each for each in above if each.parts.self_issued), None)
    return _subject(root) if root is not None else _issuer(above[-1])


def _is_unloaded(case: Case, anchor: Held) -> bool:
    daemon = case.daemon
    if daemon is None or daemon.failure or not anchor.parts.authority:
        return False
    certificate = anchor.found.certificate
    if daemon.is_pluto:
        return certificate.serial_number not in daemon.serials
    return certificate.public_bytes(Encoding.DER) not in daemon.authorities


def _has_signed(issuer: Held, held: Held) -> bool:
    try:
        held.found.certificate.verify_directly_issued_by(issuer.found.certificate)
    except InvalidSignature:
        return False
    except MALFORMED:
        return False
    return True


def crls(case: Case) -> tuple[x509.CertificateRevocationList, ...]:
    """All that are at hand, at either end and in the daemon."""
    peer = case.peer.crls if case.peer is not None else ()
    loaded = case.daemon.crls if case.daemon is not None else ()
    return (*case.here.crls, *peer, *loaded)


# ---------------------------------------------------------------- words


def called(held: Held | None) -> str:
    """A certificate by name and place."""
    return f"{held.name} ({held.place})" if held is not None else "the certificate"


def _subject(held: Held) -> str:
    try:
        return held.found.certificate.subject.rfc4514_string()
    except MALFORMED:
        return "of a strange name"


def _issuer(held: Held | None) -> str:
    try:
        return held.found.certificate.issuer.rfc4514_string() if held is not None else ""
    except MALFORMED:
        return "of a strange name"


def _told(held: Iterable[Held], what: str) -> str:
    return "; ".join(f"{called(each)} {what}" for each in held) + "."


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
