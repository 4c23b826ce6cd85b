"""From connections in force to findings. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ike.audit.configuration import fixes, peers, rules
from ike.audit.configuration.baselines import BASELINES, RFC, Baseline
from ike.audit.configuration.proposals import Proposal, Protocol
from ike.audit.configuration.transforms import Kind, Transform
from ike.audit.configuration.values import Child, Offer, Tunnel, Writer
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
_LOADED = frozenset({Writer.SWANCTL, Writer.OPNSENSE})  # with swanctl
_SHA256 = "HMAC_SHA2_256_128"
_UNENCRYPTED = ("NULL", "NULL_AES_GMAC")
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
        if not _negotiates_nothing(tunnel):
            yield from _tunnel(tunnel, policy, baseline, around)
        elif _is_answered(tunnel):
            for finding in _tunnel(tunnel, policy, baseline, around):
                yield replace(finding, fix=fixes.unanswered(tunnel))


def _tunnel(
    tunnel: Tunnel, policy: Policy, baseline: Baseline, around: Surroundings
) -> Iterator[Finding]:
    yield from _exchange(tunnel, around)
    yield from _offer(tunnel, tunnel.ike, baseline)
    yield from _ike_lifetime(tunnel, baseline)
    yield from peers.judge(tunnel, policy, unnamed=around.revocation_unnamed)
    for child in tunnel.children:
        if not child.is_shunt:
            yield from _child(tunnel, child, baseline)


def _negotiates_nothing(tunnel: Tunnel) -> bool:
    """Whether it is a policy in a connection's clothes."""
    return bool(tunnel.children) and all(each.is_shunt for each in tunnel.children)


def _is_answered(tunnel: Tunnel) -> bool:
    """Whether charon makes an IKE SA by it for all that: it does for what is loaded with swanctl, wherever a peer's
    address fits.
    """
    ends = (tunnel.local_addrs, tunnel.remote_addrs)
    within = any(all(map(peers.is_within_host, addresses)) for addresses in ends if addresses)
    return tunnel.writer in _LOADED and not within


def _clear(tunnel: Tunnel) -> Iterator[Finding]:
    for setting in tunnel.clear:
        instead = {"type": "tunnel", "negotiationshunt": "hold"}.get(setting, "drop")
        said = f"`{setting}` of {tunnel.named()} lets traffic go in the clear."
        fix = f"Set `{setting}={instead}` in {fixes.where(tunnel)}."
        subject = f"{tunnel.subject()} {setting}"
        yield Finding(rules.CLEAR_TEXT, tunnel.at(setting), said, subject, fix)


# ---------------------------------------------------------------- versions and modes


def _exchange(tunnel: Tunnel, around: Surroundings) -> Iterator[Finding]:
    if 1 not in tunnel.versions:
        return
    name = tunnel.subject()
    if tunnel.aggressive:
        yield _aggressive(tunnel, around)
    place = tunnel.at("version" if tunnel.writer is Writer.SWANCTL else "keyexchange")
    if tunnel.writer is Writer.LIBRESWAN:
        place = tunnel.places.get("keyexchange", tunnel.at("ikev2"))
    if 2 in tunnel.versions:
        said = f"{tunnel.named()} takes IKEv1 as well as IKEv2."
        yield Finding(rules.IKEV1_TAKEN, place, said, name, fixes.ikev2(tunnel))
    else:
        said = f"{tunnel.named()} is made with IKEv1."
        yield Finding(rules.IKEV1, place, said, name, fixes.ikev2(tunnel))


def _aggressive(tunnel: Tunnel, around: Surroundings) -> Finding:
    name, place, fix = tunnel.subject(), tunnel.at("aggressive"), fixes.main_mode(tunnel)
    if not tunnel.psk:
        said = f"{tunnel.named()} uses Aggressive Mode."
        return Finding(rules.AGGRESSIVE, place, said, name, fix)
    mode = "Aggressive Mode with a pre-shared key"
    severity = None
    if tunnel.writer not in _REFUSING:
        said = f"{tunnel.named()} answers and initiates {mode}."
    elif around.answers_aggressive and tunnel.writer not in _CLIENTS:
        said = f"{tunnel.named()} answers {mode}: charon is told to."
    elif 2 in tunnel.versions:
        severity = Severity.LOW
        said = f"{tunnel.named()} is set to {mode}; charon neither answers that by itself nor initiates it here."
    else:
        severity = Severity.HIGH
        said = f"{tunnel.named()} initiates {mode}: the peer's answer gives the hash away."
    return Finding(rules.AGGRESSIVE_PSK, place, said, name, fix, severity)


# ---------------------------------------------------------------- algorithms


def _offer(tunnel: Tunnel, offer: Offer, baseline: Baseline, child: str = "") -> Iterator[Finding]:
    subject = tunnel.subject(child)
    fix = fixes.proposals(tunnel, baseline, offer.protocol, child)
    if offer.protocol is Protocol.IKE:
        yield from _quantum(tunnel, offer, baseline)
    if offer.is_default:
        bad = [each for _, each, _ in _objections(offer.proposals, baseline)]
        if bad:
            said = (
                f"{tunnel.named(child)} has no {offer.protocol} proposals of its own; those of"
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
            f"{offer.protocol} proposals of {tunnel.named(child)} hold {names}: it {found[0][1]}."
        )
        rule = rules.PROPOSAL[offer.protocol, family]
        severity = Severity.MEDIUM if family == "sha1" and baseline is not RFC else None
        yield Finding(rule, offer.place, said, subject, fix, severity)
    if offer.added:
        bad = [each for _, each, _ in _objections(offer.added, baseline)]
        if bad:
            said = (
                f"Behind the {offer.protocol} proposals of {tunnel.named(child)} come those of"
                f" {_release(tunnel)}, which hold {_listed(bad)}."
            )
            mend = f"Put a `!` at the end of `{offer.protocol.lower()}`"
            subject = f"{subject} {offer.protocol}"
            yield Finding(
                rules.NOT_STRICT, offer.place, said, subject, f"{mend} in {fixes.where(tunnel)}."
            )


def _quantum(tunnel: Tunnel, offer: Offer, baseline: Baseline) -> Iterator[Finding]:
    wanted = baseline.required
    if wanted and not all(
        any(each.name == wanted for each in one.of(Kind.EXCHANGE)) for one in offer.proposals
    ):
        said = f"Not every IKE proposal of {tunnel.named()} has a key exchange by {wanted}."
        fix = fixes.proposals(tunnel, baseline, Protocol.IKE)
        yield Finding(rules.NO_ML_KEM, offer.place, said, tunnel.subject(), fix)


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
    name = tunnel.subject()
    fix = fixes.lifetime(tunnel, baseline.ike_life, is_off=not times)
    if not times:
        place = _first(tunnel, "rekey_time", "reauth_time", "rekey")
        said = f"The IKE SA of {tunnel.named()} is neither rekeyed nor authenticated anew."
        yield Finding(rules.NO_IKE_LIFE, place, said, name, fix)
    elif min(times) > baseline.ike_life:
        place = _first(tunnel, "rekey_time", "reauth_time", "ikelifetime", "lifetime")
        said = (
            f"The IKE SA of {tunnel.named()} lives for {_span(min(times))};"
            f" {_limit(baseline)} has {_span(baseline.ike_life)}."
        )
        yield Finding(rules.IKE_LIFE, place, said, name, fix)


def _child_lifetime(tunnel: Tunnel, child: Child, baseline: Baseline) -> Iterator[Finding]:
    times = [each for each in (child.rekey, child.life) if each]
    subject = tunnel.subject(child.name)
    named = tunnel.named(child.name)
    fix = fixes.lifetime(tunnel, baseline.child_life, child.name, is_off=not times)
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
    subject = tunnel.subject(child.name)
    named = tunnel.named(child.name)
    for offer in child.offers:
        yield from _offer(tunnel, offer, baseline, child.name)
        yield from _protection(tunnel, child, offer, baseline)
    ah = [offer for offer in child.offers if offer.protocol is Protocol.AH]
    if ah and len(ah) == len(child.offers):
        fix = fixes.proposals(tunnel, baseline, Protocol.AH, child.name)
        said = f"{named} is protected by AH alone."
        yield Finding(rules.AH_ONLY, ah[0].place, said, subject, fix)
    elif ah:
        said = f"{named} proposes and takes AH beside ESP."
        fix = fixes.without_ah(tunnel, child.name)
        yield Finding(rules.AH_TAKEN, ah[0].place, said, subject, fix)
    yield from _truncated(tunnel, child)
    yield from _pfs(tunnel, child, baseline)
    yield from _child_lifetime(tunnel, child, baseline)


def _truncated(tunnel: Tunnel, child: Child) -> Iterator[Finding]:
    """SHA-256 that a setting of its own cuts short, which the proposals do not show."""
    every = [each for offer in child.offers for one in offer.proposals for each in one.transforms]
    if child.truncated and any(each.name == _SHA256 for each in every):
        rule = rules.PROPOSAL[Protocol.ESP, "truncated-hash"]
        said = f"`{child.truncated}` of {tunnel.named(child.name)} cuts SHA-256 to 96 bits."
        fix = fixes.whole_hash(tunnel, child.truncated, child.name)
        place = child.at(child.truncated)
        yield Finding(rule, place, said, tunnel.subject(child.name), fix)


def _protection(
    tunnel: Tunnel, child: Child, offer: Offer, baseline: Baseline
) -> Iterator[Finding]:
    if offer.protocol is not Protocol.ESP:
        return
    subject = tunnel.subject(child.name)
    named = tunnel.named(child.name)
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
        said = f"{tunnel.named(child.name)} may be rekeyed without a new key exchange."
        severity = Severity.MEDIUM if baseline.wants_pfs else None
        fix = fixes.pfs(tunnel, baseline, child)
        subject = tunnel.subject(child.name)
        yield Finding(rules.NO_PFS, place, said, subject, fix, severity)
