"""Rules about IPsec rules, the sets they use, and the VPN server. Pure."""

import math
from collections.abc import Iterable, Iterator
from typing import Final

from ike.audit.values import Finding, Policy, Severity
from ike.audit.windows import proposals, rules
from ike.audit.windows.proposals import Fault
from ike.audit.windows.values import AuthSet, Collected, CryptoSet, IpsecRule, SetKind, TunnelPolicy
from ike.secrets.values import Place

# The sets that are used where none is named ([MS-FASP] calls them the default sets), by the end of their name.
_DEFAULT: Final = "{e5a5d32a-4bce-4e4d-b07f-4ab1ba7e5fe%d}"
_DEFAULT_MAIN: Final = _DEFAULT % 1
_DEFAULT_QUICK: Final = _DEFAULT % 2
_DEFAULT_AUTH: Final = _DEFAULT % 3
_UNNAMED: Final = frozenset({"", "default", "none"})
_PSK: Final = frozenset({"presharedkey", "psk", "pskonly", "2"})
_ANONYMOUS: Final = frozenset({"anonymous", "65001"})
_IKEV1: Final = frozenset({"ikev1", "1"})
_TUNNEL: Final = frozenset({"tunnel", "2"})
_WEAKER: Final = frozenset({"request", "1", "none", "never", "0"})
_CHARACTERS: Final = 95  # that can be typed


def judge(collected: Collected, policy: Policy) -> Iterator[Finding]:
    """What is wrong with the configuration."""
    on = [each for each in collected.rules if each.enabled]
    used = _used(collected, on)
    for crypto_set in collected.crypto_sets:
        yield from _crypto_set(crypto_set, _key(crypto_set.name) in used)
    yield from _defaults(collected, on)
    for auth_set in collected.auth_sets:
        yield from _auth_set(auth_set, policy, _key(auth_set.name) in used)
    yield from _reused(collected.auth_sets)
    for rule in on:
        yield from _rule(rule)
    for tunnel in collected.vpn:
        yield from _tunnel(tunnel, policy)


def _key(name: str) -> str:
    """A set's name without what some cmdlets put before it: `MSFT|FW|MMCryptoSet|{…}`."""
    return name.rpartition("|")[2].strip().lower()


def _used(collected: Collected, on: Iterable[IpsecRule]) -> set[str]:
    """The names of the sets that rules in force use."""
    used = set()
    for rule in on:
        used.add(_DEFAULT_MAIN)  # where no main mode rule says otherwise
        quick, auth = _key(rule.quick_mode_set), _key(rule.phase1_auth_set)
        used.add(_DEFAULT_QUICK if quick in _UNNAMED else quick)
        used.add(_DEFAULT_AUTH if auth in _UNNAMED else auth)
    for main in collected.main_mode_rules:
        if main.enabled:
            crypto, auth = _key(main.main_mode_set), _key(main.phase1_auth_set)
            used.add(_DEFAULT_MAIN if crypto in _UNNAMED else crypto)
            used.add(_DEFAULT_AUTH if auth in _UNNAMED else auth)
    return used


def _crypto_set(crypto_set: CryptoSet, is_used: bool) -> Iterator[Finding]:
    is_main = crypto_set.kind is SetKind.MAIN_MODE
    judged = proposals.of_main_mode if is_main else proposals.of_quick_mode
    faults = [fault for each in crypto_set.proposals for fault in judged(each)]
    pfs = None if is_main else proposals.of_pfs(crypto_set.pfs)
    faults += [pfs] if pfs else []
    place = Place(f"{crypto_set.kind}\\{crypto_set.name}", 0)
    yield from _found(faults, place, crypto_set.display_name, is_used)


def _found(
    faults: Iterable[Fault], place: Place, name: str, is_used: bool = True
) -> Iterator[Finding]:
    """One finding for each rule, with all that is wrong by it."""
    by_rule: dict[str, list[Fault]] = {}
    for fault in faults:
        by_rule.setdefault(fault[0].id, []).append(fault)
    for same in by_rule.values():
        rule = same[0][0]
        said = list(dict.fromkeys(words for _, words in same))
        more = f" and {len(said) - 3} more" if len(said) > 3 else ""
        evidence = f"{name}: {', '.join(said[:3])}{more}"
        if is_used:
            yield Finding(rule, place, evidence)
        else:
            severity = max(rule.severity, Severity.LOW, key=lambda each: each.rank)
            yield Finding(rule, place, f"{evidence}; no rule that is on uses it", severity=severity)


def _defaults(collected: Collected, on: Iterable[IpsecRule]) -> Iterator[Finding]:
    """The built-in set of main mode is used where rules are on, and neither a default nor a main mode rule is set."""
    has_default = any(
        each.kind is SetKind.MAIN_MODE and _key(each.name) == _DEFAULT_MAIN
        for each in collected.crypto_sets
    )
    names = [each.display_name for each in on]
    if names and not has_default and not any(each.enabled for each in collected.main_mode_rules):
        evidence = f"{len(names)} rules are on, and no main mode set is the default"
        yield Finding(rules.DEFAULTS, Place(str(SetKind.MAIN_MODE), 0), evidence)


def _auth_set(auth_set: AuthSet, policy: Policy, is_used: bool) -> Iterator[Finding]:
    place, name = Place(f"{SetKind.AUTH}\\{auth_set.name}", 0), auth_set.display_name
    methods = [each.method.lower() for each in auth_set.methods]
    faults: list[Fault] = []
    if any(each.psk for each in auth_set.methods) or not _PSK.isdisjoint(methods):
        faults.append((rules.PSK, "it has a proposal with a pre-shared key"))
    if not _ANONYMOUS.isdisjoint(methods):
        faults.append((rules.AUTH_NONE, "it has an anonymous proposal"))
    for each in auth_set.methods:
        if each.psk and each.psk.length * math.log2(_CHARACTERS) < policy.psk_bits:
            words = f"the key has {each.psk.length} characters: less than {policy.psk_bits} bits"
            faults.append((rules.PSK_SHORT, words))
    for finding in _found(faults, place, name, is_used):
        yield _as_policy(finding, policy) if is_used else finding


def _as_policy(finding: Finding, policy: Policy) -> Finding:
    if finding.rule is rules.PSK and policy.certificates_only:
        return Finding(finding.rule, finding.place, finding.evidence, severity=Severity.HIGH)
    return finding


def _reused(auth_sets: Iterable[AuthSet]) -> Iterator[Finding]:
    """One finding for each set that has a key of another."""
    holders: dict[str, dict[str, AuthSet]] = {}
    for auth_set in auth_sets:
        for each in auth_set.methods:
            if each.psk and each.psk.length:
                holders.setdefault(each.psk.fingerprint, {})[auth_set.name] = auth_set
    for same in holders.values():
        for name, auth_set in same.items():
            others = [each.display_name for key, each in same.items() if key != name]
            if others:
                more = f" and {len(others) - 3} more" if len(others) > 3 else ""
                evidence = f"{auth_set.display_name}: the key of {', '.join(others[:3])}{more} too"
                yield Finding(rules.PSK_REUSED, Place(f"{SetKind.AUTH}\\{name}", 0), evidence)


def _rule(rule: IpsecRule) -> Iterator[Finding]:
    place = Place(f"NetIPsecRule\\{rule.name}", 0)
    if rule.key_module.lower() in _IKEV1:
        yield Finding(rules.IKEV1, place, f"{rule.display_name}: IKEv1 alone")
    securities = (rule.inbound.lower(), rule.outbound.lower())
    if rule.mode.lower() in _TUNNEL and not _WEAKER.isdisjoint(securities):
        evidence = f"{rule.display_name}: inbound {rule.inbound}, outbound {rule.outbound}"
        yield Finding(rules.CLEAR, place, evidence)


def _tunnel(tunnel: TunnelPolicy, policy: Policy) -> Iterator[Finding]:
    place = Place(f"VpnS2SInterface\\{tunnel.name}" if tunnel.name else "VpnServer", 0)
    name = tunnel.name or "VPN server"
    faults: list[Fault] = []
    if not tunnel.custom:
        faults.append((rules.DEFAULTS, "no policy of its own"))
    else:
        faults += proposals.of_main_mode(tunnel.main)
        faults += proposals.of_quick_mode(tunnel.quick)
        pfs = proposals.of_pfs(tunnel.pfs)
        faults += [pfs] if pfs else []
    methods = {each.strip().lower() for each in tunnel.method.split(",")}
    if not _PSK.isdisjoint(methods):
        faults.append((rules.PSK, f"peers may prove themselves by {tunnel.method}"))
    for finding in _found(faults, place, name):
        yield _as_policy(finding, policy)
