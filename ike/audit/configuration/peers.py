"""Who comes in by a connection, and what proves that it is they. Pure."""

import ipaddress
from collections.abc import Iterator

from ike.audit.configuration import fixes, rules
from ike.audit.configuration.values import Round, Tunnel, Writer
from ike.audit.values import Finding, Policy, Severity

# Addresses without a length, `0.0.0.0` and `::`, are known by what they are. With %fromcert pluto takes whatever name
# the peer's own certificate has, unless it has that certificate already.
_ANYONE = frozenset(
    {
        *("", "%any", "%any4", "%any6", "%group", "%opportunisticgroup", "anonymous", "*"),
        *("%fromcert", "%none", "%null"),
    }
)
# What stands in the configuration for how the peer proves itself.
_SETTINGS = {Writer.IPSEC: "rightauth", Writer.LIBRESWAN: "authby"}


def judge(tunnel: Tunnel, policy: Policy, *, unnamed: bool) -> Iterator[Finding]:
    """What is wrong with whom the connection lets in. `unnamed`: see `fixes.strict`."""
    yield from _psk(tunnel, policy)
    for each in tunnel.remote:
        yield from _proof(tunnel, each)
    yield from _any_certificate(tunnel)
    if tunnel.writer is Writer.SWANCTL:
        yield from _revocation(tunnel, unnamed=unnamed)
    yield from _shared(tunnel)


def is_all(text: str) -> bool:
    """Whether a traffic selector or address is all there is."""
    try:
        network = ipaddress.ip_network(text.partition("[")[0], strict=False)
    except ValueError:
        return False
    return network.prefixlen == 0 or network.network_address.is_unspecified


def is_within_host(address: str) -> bool:
    """Whether an address is one that nobody else can send from or to."""
    try:
        return ipaddress.ip_network(address, strict=False).is_loopback
    except ValueError:
        return False


def _psk(tunnel: Tunnel, policy: Policy) -> Iterator[Finding]:
    name = tunnel.subject()
    psk = next((each for each in (*tunnel.remote, *tunnel.local) if each.auth == "psk"), None)
    if psk is not None and policy.certificates_only:
        said = f"{tunnel.named()} proves itself by a pre-shared key."
        yield Finding(rules.PSK, psk.place, said, name, fixes.certificates(tunnel))
    if psk is not None and _from_anywhere(tunnel) and psk in tunnel.remote:
        anyone = _is_anyone(psk)
        who = "any identity" if anyone else "one identity"
        said = f"{tunnel.named()} takes a pre-shared key from any address, under {who}."
        severity = None if anyone else Severity.LOW
        yield Finding(rules.PSK_ANY, psk.place, said, name, severity=severity)


def _proof(tunnel: Tunnel, one: Round) -> Iterator[Finding]:
    name = tunnel.subject()
    if one.auth == "null":
        said = f"The peer of {tunnel.named()} need not prove who it is."
        yield Finding(rules.NO_AUTHENTICATION, one.place, said, name)
    if one.method.startswith("eap-md5"):
        said = f"Users of {tunnel.named()} prove themselves by EAP-MD5."
        yield Finding(rules.EAP_MD5, one.place, said, name, fixes.eap(tunnel))
    # IKEv1 signs what its PRF makes, whatever hash is named here.
    names = one.method.replace(":", "-").replace(",", "-").split("-")
    if one.auth == "pubkey" and "sha1" in names and 2 in tunnel.versions:
        setting = _SETTINGS.get(tunnel.writer, "auth")
        said = f"`{setting}` of the peer of {tunnel.named()} takes SHA-1."
        yield Finding(rules.SHA1_SIGNATURE, one.place, said, name, fixes.signature(tunnel))


def _revocation(tunnel: Tunnel, *, unnamed: bool) -> Iterator[Finding]:
    for each in tunnel.remote:
        if each.auth == "pubkey" and each.revocation != "strict":
            if_uri = each.revocation == "ifuri"
            rule = rules.REVOCATION_IF_URI if if_uri else rules.REVOCATION
            set_to = "does not ask for it" if each.revocation_place else "is not set"
            set_to = "is ifuri" if if_uri else set_to
            said = f"`revocation` of the peer of {tunnel.named()} {set_to}."
            place = each.revocation_place or each.place
            where = f"the remote section of {fixes.where(tunnel)}"
            fix = fixes.strict("revocation = strict", where, unnamed=unnamed)
            yield Finding(rule, place, said, tunnel.subject(), fix)
            return


def _any_certificate(tunnel: Tunnel) -> Iterator[Finding]:
    # Whoever has an identity or another proof to give as well is not let in by the certificate alone.
    open_ = [
        each.auth == "pubkey" and not each.pinned and _is_anyone(each) for each in tunnel.remote
    ]
    if open_ and all(open_):
        # Of one gateway for many users it is what is meant, as long as the authority is theirs alone.
        severity = Severity.INFO if _from_anywhere(tunnel) else None
        said = f"{tunnel.named()} names neither the peer's identity nor the authority of its certificate."
        place, fix = tunnel.remote[0].place, fixes.certificate_of(tunnel)
        yield Finding(rules.ANY_CERTIFICATE, place, said, tunnel.subject(), fix, severity)


def _from_anywhere(tunnel: Tunnel) -> bool:
    return any(address.lower() in _ANYONE or is_all(address) for address in tunnel.remote_addrs)


def _is_anyone(one: Round) -> bool:
    return one.identity.lower() in _ANYONE or one.identity.lstrip("*@").startswith(".")


def _shared(tunnel: Tunnel) -> Iterator[Finding]:
    if not _from_anywhere(tunnel) or not all(map(_is_anyone, tunnel.remote)):
        return
    for child in tunnel.children:
        if child.is_shunt:
            continue
        if any(map(is_all, child.local)) and any(map(is_all, child.remote)):
            subject = tunnel.subject(child.name)
            said = (
                f"{tunnel.named(child.name)} is for peers of any address and identity, and lets them reach and be"
                " every address."
            )
            selectors = ("remote_ts", "rightsubnet", "local_ts", "leftsubnet")
            places = (child.places[name] for name in selectors if name in child.places)
            yield Finding(rules.SHARED, next(places, child.place), said, subject)
