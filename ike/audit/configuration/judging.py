"""From connections in force to findings. Pure."""

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ike.audit.configuration import fixes, rules
from ike.audit.configuration.baselines import BASELINES, RFC, Baseline
from ike.audit.configuration.proposals import Proposal, Protocol
from ike.audit.configuration.transforms import Kind, Transform
from ike.audit.configuration.values import Child, Offer, Round, Tunnel, Writer
from ike.audit.values import Finding, Policy, Severity
from ike.secrets.values import Place

_FAMILIES = {
    "DES_CBC": "des",
    "3DES_CBC": "3des",
    **dict.fromkeys(("BLOWFISH_CBC", "CAST_CBC"), "obsolete-cipher"),
    **dict.fromkeys(("HMAC_MD5_96", "HMAC_MD5_128", "PRF_HMAC_MD5"), "md5"),
    **dict.fromkeys(("HMAC_SHA1_96", "HMAC_SHA1_160", "PRF_HMAC_SHA1"), "sha1"),
    **dict.fromkeys(
        ("MODP_NULL", "MODP_768", "MODP_1024", "MODP_1024_160", "ECP_192", "NTRU_112"), "weak-group"
    ),
    "MODP_1536": "modp1536",
    **dict.fromkeys(("MODP_2048_224", "MODP_2048_256"), "doubtful-group"),
    "HMAC_SHA2_256_96": "truncated-hash",
}
_NO_IPSEC = ("pass", "drop")
_UNENCRYPTED = ("NULL", "NULL_AES_GMAC")
# Addresses without a length, `0.0.0.0` and `::`, are known by what they are.
_ANYONE = frozenset(
    {"", "%any", "%any4", "%any6", "%group", "%opportunisticgroup", "anonymous", "*"}
)
# NetworkManager's are those of clients, which nobody asks.
_CLIENTS = frozenset({Writer.NM_STRONGSWAN, Writer.NM_LIBRESWAN, Writer.NM_L2TP})
_REFUSING = frozenset({Writer.SWANCTL, Writer.IPSEC, *_CLIENTS})
_MANY = 4  # algorithms that are named in one sentence


@dataclass(frozen=True)
class Surroundings:
    """What else on the host decides how bad something is, or how it is mended.

    `answers_aggressive`: charon is told to answer Aggressive Mode with PSKs, which it refuses by itself.
    `revocation_unnamed`: the host has certificates, and none says where its revocation can be asked for.
    """

    answers_aggressive: bool = False
    revocation_unnamed: bool = False


def judge(
    tunnels: Iterable[Tunnel], policy: Policy, around: Surroundings = Surroundings()
) -> Iterator[Finding]:
    """What is wrong with these connections by the policy's baseline, which alone is cited then."""
    baseline = BASELINES.get(policy.baseline, RFC)
    for finding in _judge(tunnels, policy, baseline, around):
        if finding.rule.id in rules.OF_BASELINE:
            yield replace(finding, references=baseline.sources(finding.rule.references))
        else:
            yield finding


def _judge(
    tunnels: Iterable[Tunnel], policy: Policy, baseline: Baseline, around: Surroundings
) -> Iterator[Finding]:
    for tunnel in tunnels:
        yield from _clear(tunnel)
        if tunnel.children and all(each.mode in _NO_IPSEC for each in tunnel.children):
            continue  # a policy in a connection's clothes: nothing is ever negotiated
        yield from _exchange(tunnel, around)
        yield from _offer(tunnel, tunnel.ike, baseline)
        yield from _ike_lifetime(tunnel, baseline)
        yield from _authentication(tunnel, policy)
        if tunnel.writer is Writer.SWANCTL:
            yield from _revocation(tunnel, around)
        yield from _shared(tunnel)
        for child in tunnel.children:
            if child.mode not in _NO_IPSEC:
                yield from _child(tunnel, child, baseline)


def _subject(tunnel: Tunnel, child: str = "") -> str:
    if child and tunnel.writer is Writer.RACOON:
        return f"sainfo {child}"
    return f"{tunnel.name}/{child}" if child else tunnel.name


def _named(tunnel: Tunnel, child: str = "") -> str:
    return f'"{_subject(tunnel, child)}"'


# ---------------------------------------------------------------- versions and modes


def _exchange(tunnel: Tunnel, around: Surroundings) -> Iterator[Finding]:
    if 1 not in tunnel.versions:
        return
    name = _subject(tunnel)
    if tunnel.aggressive:
        yield _aggressive(tunnel, around)
    place = tunnel.at("version" if tunnel.writer is Writer.SWANCTL else "keyexchange")
    if tunnel.writer is Writer.LIBRESWAN:
        place = tunnel.places.get("keyexchange", tunnel.at("ikev2"))
    if 2 in tunnel.versions:
        said = f"{_named(tunnel)} takes IKEv1 as well as IKEv2."
        yield Finding(rules.IKEV1_TAKEN, place, said, name, fixes.ikev2(tunnel))
    else:
        said = f"{_named(tunnel)} is made with IKEv1."
        yield Finding(rules.IKEV1, place, said, name, fixes.ikev2(tunnel))


def _aggressive(tunnel: Tunnel, around: Surroundings) -> Finding:
    name, place, fix = _subject(tunnel), tunnel.at("aggressive"), fixes.main_mode(tunnel)
    if not tunnel.psk:
        said = f"{_named(tunnel)} uses Aggressive Mode."
        return Finding(rules.AGGRESSIVE, place, said, name, fix)
    mode = "Aggressive Mode with a pre-shared key"
    severity = None
    if tunnel.writer not in _REFUSING:
        said = f"{_named(tunnel)} answers and initiates {mode}."
    elif around.answers_aggressive and tunnel.writer not in _CLIENTS:
        said = f"{_named(tunnel)} answers {mode}: charon is told to."
    elif 2 in tunnel.versions:
        severity = Severity.LOW
        said = f"{_named(tunnel)} is set to {mode}; charon neither answers that by itself nor initiates it here."
    else:
        severity = Severity.HIGH
        said = f"{_named(tunnel)} initiates {mode}: the peer's answer gives the hash away."
    return Finding(rules.AGGRESSIVE_PSK, place, said, name, fix, severity)


# ---------------------------------------------------------------- algorithms


def _offer(tunnel: Tunnel, offer: Offer, baseline: Baseline, child: str = "") -> Iterator[Finding]:
    subject = _subject(tunnel, child)
    fix = fixes.proposals(tunnel, baseline, offer.protocol, child)
    if offer.protocol is Protocol.IKE:
        yield from _quantum(tunnel, offer, baseline)
    if offer.is_default:
        bad = [each for _, each, _ in _objections(offer.proposals, baseline)]
        if bad:
            said = (
                f"{_named(tunnel, child)} has no {offer.protocol} proposals of its own; those of"
                f" {_release(tunnel)} hold {_listed(bad)}, against {baseline.text}."
            )
            yield Finding(rules.DEFAULTS, offer.place, said, f"{subject} {offer.protocol}", fix)
        return
    by_family: dict[str, list[tuple[Transform, str]]] = {}
    for family, transform, objection in _objections(offer.proposals, baseline):
        by_family.setdefault(family, []).append((transform, objection))
    for family, found in by_family.items():
        names = _listed([each for each, _ in found])
        said = (
            f"{offer.protocol} proposals of {_named(tunnel, child)} hold {names}: it {found[0][1]}."
        )
        rule = rules.PROPOSAL[offer.protocol, family]
        severity = Severity.MEDIUM if family == "sha1" and baseline is not RFC else None
        yield Finding(rule, offer.place, said, subject, fix, severity)
    if offer.added:
        bad = [each for _, each, _ in _objections(offer.added, baseline)]
        if bad:
            said = (
                f"Behind the {offer.protocol} proposals of {_named(tunnel, child)} come those of"
                f" {_release(tunnel)}, which hold {_listed(bad)}."
            )
            mend = f"Put a `!` at the end of `{'ike' if offer.protocol is Protocol.IKE else 'esp'}`"
            subject = f"{subject} {offer.protocol}"
            yield Finding(
                rules.NOT_STRICT, offer.place, said, subject, f"{mend} in {fixes.where(tunnel)}."
            )


def _quantum(tunnel: Tunnel, offer: Offer, baseline: Baseline) -> Iterator[Finding]:
    wanted = baseline.required
    if wanted and not all(
        any(each.name == wanted for each in one.of(Kind.EXCHANGE)) for one in offer.proposals
    ):
        said = f"Not every IKE proposal of {_named(tunnel)} has a key exchange by {wanted}."
        fix = fixes.proposals(tunnel, baseline, Protocol.IKE)
        yield Finding(rules.NO_ML_KEM, offer.place, said, _subject(tunnel), fix)


def _objections(
    proposals: Iterable[Proposal], baseline: Baseline
) -> list[tuple[str, Transform, str]]:
    found: dict[Transform, tuple[str, Transform, str]] = {}
    for proposal in proposals:
        for transform in proposal.transforms:
            if transform.kind is Kind.ENCRYPTION and transform.name in _UNENCRYPTED:
                continue  # told by a rule of its own
            objection = baseline.objection(transform, proposal.protocol)
            if objection:
                family = _FAMILIES.get(transform.name, "outside-baseline")
                found.setdefault(transform, (family, transform, objection))
    return list(found.values())


def _listed(transforms: Iterable[Transform]) -> str:
    names = list(dict.fromkeys(map(str, transforms)))
    more = f" and {len(names) - _MANY} more" if len(names) > _MANY else ""
    return ", ".join(names[:_MANY]) + more


def _release(tunnel: Tunnel) -> str:
    pluto = tunnel.writer in (Writer.LIBRESWAN, Writer.NM_LIBRESWAN)
    return "Libreswan 4" if pluto else "strongSwan 5.9"


# ---------------------------------------------------------------- lifetimes


def _ike_lifetime(tunnel: Tunnel, baseline: Baseline) -> Iterator[Finding]:
    times = [each for each in (tunnel.rekey, tunnel.reauth) if each]
    name = _subject(tunnel)
    fix = fixes.lifetime(tunnel, baseline.ike_life)
    if not times:
        place = _first(tunnel, "rekey_time", "reauth_time", "rekey")
        said = f"The IKE SA of {_named(tunnel)} is neither rekeyed nor authenticated anew."
        yield Finding(rules.NO_IKE_LIFE, place, said, name, fix)
    elif min(times) > baseline.ike_life:
        place = _first(tunnel, "rekey_time", "reauth_time", "ikelifetime", "lifetime")
        said = (
            f"The IKE SA of {_named(tunnel)} lives for {_span(min(times))};"
            f" {_limit(baseline)} has {_span(baseline.ike_life)}."
        )
        yield Finding(rules.IKE_LIFE, place, said, name, fix)


def _child_lifetime(tunnel: Tunnel, child: Child, baseline: Baseline) -> Iterator[Finding]:
    times = [each for each in (child.rekey, child.life) if each]
    subject = _subject(tunnel, child.name)
    named = _named(tunnel, child.name)
    fix = fixes.lifetime(tunnel, baseline.child_life, child.name)
    if not times:
        place = _first(child, "rekey_time", "life_time", "rekey")
        said = f"The keys of {named} are not replaced by age."
        yield Finding(rules.NO_CHILD_LIFE, place, said, subject, fix)
    elif min(times) > baseline.child_life:
        place = _first(child, "rekey_time", "life_time", "lifetime")
        said = (
            f"The keys of {named} live for {_span(min(times))};"
            f" {_limit(baseline)} has {_span(baseline.child_life)}."
        )
        yield Finding(rules.CHILD_LIFE, place, said, subject, fix)


def _first(what: Tunnel | Child, *settings: str) -> Place:
    return next((what.places[name] for name in settings if name in what.places), what.place)


def _limit(baseline: Baseline) -> str:
    return baseline.references["lifetime"]


def _span(seconds: int) -> str:
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size and not seconds % size:
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{seconds} seconds"


# ---------------------------------------------------------------- children


def _child(tunnel: Tunnel, child: Child, baseline: Baseline) -> Iterator[Finding]:
    subject = _subject(tunnel, child.name)
    named = _named(tunnel, child.name)
    for offer in child.offers:
        yield from _offer(tunnel, offer, baseline, child.name)
        yield from _protection(tunnel, child, offer, baseline)
    if all(offer.protocol is Protocol.AH for offer in child.offers):
        place = child.offers[0].place
        fix = fixes.proposals(tunnel, baseline, Protocol.ESP, child.name)
        yield Finding(rules.AH_ONLY, place, f"{named} is protected by AH alone.", subject, fix)
    yield from _pfs(tunnel, child, baseline)
    yield from _child_lifetime(tunnel, child, baseline)


def _protection(
    tunnel: Tunnel, child: Child, offer: Offer, baseline: Baseline
) -> Iterator[Finding]:
    if offer.protocol is not Protocol.ESP:
        return
    subject = _subject(tunnel, child.name)
    named = _named(tunnel, child.name)
    fix = fixes.proposals(tunnel, baseline, Protocol.ESP, child.name)
    ciphers = [each for one in offer.proposals for each in one.of(Kind.ENCRYPTION)]
    bare = [each for each in ciphers if each.name in _UNENCRYPTED]
    if bare:
        said = f"ESP proposals of {named} hold {_listed(bare)}, which encrypts nothing."
        yield Finding(rules.NULL_ENCRYPTION, offer.place, said, subject, fix)
    for one in offer.proposals:
        if not one.of(Kind.INTEGRITY) and not all(each.is_aead for each in one.of(Kind.ENCRYPTION)):
            said = f"An ESP proposal of {named} has encryption and no algorithm for integrity."
            yield Finding(rules.NO_INTEGRITY, offer.place, said, subject, fix)
            return


def _pfs(tunnel: Tunnel, child: Child, baseline: Baseline) -> Iterator[Finding]:
    if child.pfs is None:
        without = any(not one.has_exchange for offer in child.offers for one in offer.proposals)
        place = child.offers[0].place
    else:
        without, place = not child.pfs, child.at("pfs")
    if without:
        said = f"{_named(tunnel, child.name)} may be rekeyed without a new key exchange."
        severity = Severity.MEDIUM if baseline.wants_pfs else None
        fix = fixes.pfs(tunnel, baseline, child.name)
        subject = _subject(tunnel, child.name)
        yield Finding(rules.NO_PFS, place, said, subject, fix, severity)


# ---------------------------------------------------------------- who comes in


def _authentication(tunnel: Tunnel, policy: Policy) -> Iterator[Finding]:
    name = _subject(tunnel)
    psk = next((each for each in (*tunnel.remote, *tunnel.local) if each.auth == "psk"), None)
    if psk is not None and policy.certificates_only:
        said = f"{_named(tunnel)} proves itself by a pre-shared key."
        yield Finding(rules.PSK, psk.place, said, name)
    if psk is not None and _from_anywhere(tunnel) and psk in tunnel.remote:
        anyone = _is_anyone(psk)
        who = "any identity" if anyone else "one identity"
        said = f"{_named(tunnel)} takes a pre-shared key from any address, under {who}."
        severity = None if anyone else Severity.LOW
        yield Finding(rules.PSK_ANY, psk.place, said, name, severity=severity)
    for each in tunnel.remote:
        if each.auth == "null":
            said = f"The peer of {_named(tunnel)} need not prove who it is."
            yield Finding(rules.NO_AUTHENTICATION, each.place, said, name)
        if each.method.startswith("eap-md5"):
            said = f"Users of {_named(tunnel)} prove themselves by EAP-MD5."
            fix = f"{rules.EAP_MD5.fix[:-1]}: in the remote section of {fixes.where(tunnel)}."
            yield Finding(rules.EAP_MD5, each.place, said, name, fix)
        if each.auth == "pubkey" and "sha1" in each.method.replace(":", "-").split("-"):
            said = f"`auth` of the peer of {_named(tunnel)} takes SHA-1."
            fix = (
                f"{rules.SHA1_SIGNATURE.fix[:-1]}, in the remote section of {fixes.where(tunnel)}."
            )
            yield Finding(rules.SHA1_SIGNATURE, each.place, said, name, fix)
    yield from _any_certificate(tunnel)


def _revocation(tunnel: Tunnel, around: Surroundings) -> Iterator[Finding]:
    for each in tunnel.remote:
        if each.auth == "pubkey" and each.revocation != "strict":
            if_uri = each.revocation == "ifuri"
            rule = rules.REVOCATION_IF_URI if if_uri else rules.REVOCATION
            set_to = "does not ask for it" if each.revocation_place else "is not set"
            set_to = "is ifuri" if if_uri else set_to
            said = f"`revocation` of the peer of {_named(tunnel)} {set_to}."
            place = each.revocation_place or each.place
            where = f"the remote section of {fixes.where(tunnel)}"
            fix = fixes.strict("revocation = strict", where, unnamed=around.revocation_unnamed)
            yield Finding(rule, place, said, _subject(tunnel), fix)
            return


def _any_certificate(tunnel: Tunnel) -> Iterator[Finding]:
    # Whoever has an identity or another proof to give as well is not let in by the certificate alone.
    open_ = [
        each.auth == "pubkey" and not each.pinned and _is_anyone(each) for each in tunnel.remote
    ]
    if open_ and all(open_):
        # Of one gateway for many users it is what is meant, as long as the authority is theirs alone.
        severity = Severity.INFO if _from_anywhere(tunnel) else None
        said = f"The peer of {_named(tunnel)} has no `id`, and no `cacerts` narrow down its certificate."
        place = tunnel.remote[0].place
        yield Finding(rules.ANY_CERTIFICATE, place, said, _subject(tunnel), severity=severity)


def _clear(tunnel: Tunnel) -> Iterator[Finding]:
    for setting in tunnel.clear:
        instead = {"type": "tunnel", "negotiationshunt": "hold"}.get(setting, "drop")
        said = f"`{setting}` of {_named(tunnel)} lets traffic go in the clear."
        fix = f"Set `{setting}={instead}` in {fixes.where(tunnel)}."
        subject = f"{_subject(tunnel)} {setting}"
        yield Finding(rules.CLEAR_TEXT, tunnel.at(setting), said, subject, fix)


def _from_anywhere(tunnel: Tunnel) -> bool:
    return any(address.lower() in _ANYONE or _is_all(address) for address in tunnel.remote_addrs)


def _is_anyone(one: Round) -> bool:
    return one.identity.lower() in _ANYONE or one.identity.lstrip("*@").startswith(".")


def _shared(tunnel: Tunnel) -> Iterator[Finding]:
    if not _from_anywhere(tunnel) or not all(map(_is_anyone, tunnel.remote)):
        return
    for child in tunnel.children:
        if any(map(_is_all, child.local)) and any(map(_is_all, child.remote)):
            subject = _subject(tunnel, child.name)
            said = (
                f"{_named(tunnel, child.name)} is for peers of any address and identity, and lets them reach and be"
                " every address."
            )
            place = _first(child, "remote_ts", "rightsubnet", "local_ts", "leftsubnet")
            yield Finding(rules.SHARED, place, said, subject)


def _is_all(text: str) -> bool:
    """Whether a traffic selector or address is all there is."""
    try:
        network = ipaddress.ip_network(text.partition("[")[0], strict=False)
    except ValueError:
        return False
    return network.prefixlen == 0 or network.network_address.is_unspecified
