"""How a finding is mended, in another language: the audit says it in English, with a gateway's values in it."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

#: Sentences, and parts of them, with places for values. Of those that fit, the first counts.
PATTERNS: Final = (
    "`{0}`, then make its keys and secrets anew: whoever could read it may have.",
    "Look whether anything needs it; if not, `{0}`.",
    "Move the keys to a folder of their own, mode 0700; this one is the system's.",
    "Change it in {0}, {1}: this file is overwritten. It is to come to this: {2}",
    "Take out `ah_proposals`. {0}",
    "Take out `ah`. {0}",
    "Set `phase2=esp`, with `esp` in the place of `ah` or `phase2alg`. {0}",
    "Choose ESP as protocol. {0}",
    "{0} allows nothing that {1} has. {2}",
    "Set {0} in {1} and the like on the peer, load it, and let the tunnel be made anew.",
    (
        "Set {0} in {1} and the like on the peer, load it, and let the tunnel be made anew. ML-KEM needs "
        "strongSwan 6.0 or later on both ends."
    ),
    (
        "Set {0} in {1} and the like on the peer, load it, and let the tunnel be made anew. ML-KEM-1024 came to "
        "Libreswan in 2026: where `ipsec algparse` does not take it, use a PPK (RFC 8784) until it does."
    ),
    "Write `{0}` in {1} and the like on the peer.",
    "Let the proposals in {0} come to `{1}`, and the peer's too; then commit.",
    "Let the proposals in {0} come to `{1}`, and the peer's too; then apply the changes.",
    "Take out `{0}` in {1}, and on the peer.",
    "Set `phase2=esp`, with `esp` in the place of `ah` or `phase2alg` in {0}, and on the peer.",
    "Choose ESP as protocol in {0}, and on the peer.",
    (
        "Set `{0}` in {1} once a CRL or OCSP answer is reachable for the peers' certificates: without one the "
        "tunnel does not come up."
    ),
    (
        "Set `{0}` in {1} once a CRL or OCSP answer is reachable for the peers' certificates: without one the "
        "tunnel does not come up. The certificates on this host name no CRL and no OCSP server: first have them "
        "issued with one, or see that CRLs are fetched and put into the daemon's folder or database."
    ),
    "L2TP has IKEv1 with most gateways: use another VPN: in {0}, and on the peer.",
    "racoon has IKEv1 only: move the tunnel to strongSwan or Libreswan: in {0}, and on the peer.",
    "Keep IKEv2, which is all that the plugin has: in {0}, and on the peer.",
    "Set `ikev2=yes` (`keyexchange=ikev2` from release 5 on): in {0}, and on the peer.",
    "Set `ikev2=insist` among the connection's VPN data: in {0}, and on the peer.",
    "Choose IKEv2 as version: in {0}, and on the peer.",
    "Choose V2 as key exchange version: in {0}, and on the peer.",
    "Choose IKEv2 as Key Exchange version: in {0}, and on the peer.",
    "Write `exchange_mode main;` alone, and move the tunnel to a daemon that has IKEv2: in {0}, and on the peer.",
    "Choose IKEv2 as version, or at least leave Aggressive off: in {0}, and on the peer.",
    "Choose V2 as key exchange version, or at least Main as negotiation mode: in {0}, and on the peer.",
    "Choose IKEv2 as Key Exchange version, or at least Main as Negotiation mode: in {0}, and on the peer.",
    "Set `{0}`, or at least `{1}`: in {2}, and on the peer.",
    "Set `{0}`: in {1}, and on the peer.",
    "Set `{0}` in {1}, and on the peer; then commit.",
    "Choose {0} as PFS key group in {1}, and on the peer; then apply the changes.",
    "Set `{0}` in {1}, and on the peer.",
    "Set `auth = pubkey` in the local and remote sections of {0}, with a certificate on both ends.",
    "Set `leftauth=pubkey` and `rightauth=pubkey` in {0}, with a certificate on both ends.",
    "Set `authby=rsa-sha2` or `authby=ecdsa`, and `leftcert`, in {0}, with a certificate on both ends.",
    "Set `authby=rsasig`, and `leftcert`, in {0}, with a certificate on both ends.",
    "Write `authentication_method rsasig;` in {0}, with a certificate on both ends.",
    "Set `authentication mode x509` for the peers of {0}, with a certificate on both ends.",
    "Choose Public Key for local and remote authentication of {0}, with a certificate on both ends.",
    "Choose Mutual RSA as authentication method of {0}, with a certificate on both ends.",
    "Choose Mutual Certificate as Authentication Method of {0}, with a certificate on both ends.",
    "Choose to be authenticated by certificate in {0}, with a certificate on both ends.",
    (
        "Leave `sha1` out of `auth`, `rsa-2048-sha256` or better, in the remote section of {0}, and the like on "
        "the peer."
    ),
    "Leave `sha1` out of `rightauth`, `rsa-2048-sha256` or better, in {0}, and the like on the peer.",
    "Set `authby=rsa-sha2` or `authby=ecdsa` in {0}, and the like on the peer.",
    "Let the peer sign with SHA-256 or better in {0}, and the like on the peer.",
    (
        "Use certificates (`auth = eap-tls` or `pubkey`), or EAP-MSCHAPv2 with a gateway's certificate that is "
        "checked: in the remote section of {0}."
    ),
    (
        "Use certificates (`rightauth=eap-tls` or `pubkey`), or EAP-MSCHAPv2 with a gateway's certificate that is"
        " checked: in {0}."
    ),
    (
        "Use certificates (`authentication client-mode x509`), or `client-mode eap-mschapv2` with a gateway's "
        "certificate that is checked: for the connection of {0}."
    ),
    "Use certificates or EAP-MSCHAPv2 with a gateway's certificate that is checked: in {0}.",
    (
        "Set `id` in the remote section of {0} to the peer's identity, or `cacerts` to the authority of those who"
        " may come in."
    ),
    "Set `rightid` in {0} to the peer's identity, or `rightca` to the authority of those who may come in.",
    (
        "Set `rightid` in {0} to the peer's identity (`%fromcert` is whatever its certificate says), or `rightca`"
        " to the authority of those who may come in (`%same`: that of this end)."
    ),
    (
        "Set `authentication remote-id` to the peer's identity, or `authentication x509 ca-certificate` to the "
        "authority of those who may come in, for the peers of {0}."
    ),
    "Set Id of the remote authentication to the peer's identity: of {0}.",
    "Set the peer identifier, or My Certificate Authority to that of those who may come in: of {0}.",
    "Set the Peer identifier, or Peer Certificate Authority to that of those who may come in: of {0}.",
    "Name the peer's identity in {0}.",
    "Set `remote_addrs = 127.0.0.1` in {0}: its children negotiate nothing, and then charon answers nobody by it.",
    (
        "Set Remote addresses to `127.0.0.1` in {0}: its children negotiate nothing, and then charon answers "
        "nobody by it."
    ),
    "Put a `!` at the end of `{0}` in {1}.",
    "Set `{0}` and `{1}` in {2}.",
    "Set `{0}`, leave Disable Rekey off, in {1}.",
    "Set `{0}` in {1}.",
    "`{0}` and `{1}`",
    "child {0} of connection {1} on the page {2}",
    "connection {0} on the page {1}",
    "phase 2 {0} of {1} on the page {2}",
    "phase 1 of {0} on the page {1}",
    "the IKE group of {0}",
    "the ESP group of {0}",
    "the remote section of {0}",
    "below `vpn ipsec`",
    "with `{0}`",
    "with `{0}` or `{1}`",
    "on the page {0}",
    "VPN: IPsec: Connections (or Tunnel Settings)",
)
# What is longer is no sentence of ours.
_LONGEST: Final = 1500
# Around a value, which then was no word in Latin letters.
_GAP: Final = re.compile(r"(?<=[\u4e00-\u9fff]) (?=[\u4e00-\u9fff])")
_PLACE: Final = re.compile(r"(`?)\{\d\}(`?)")


def mended(say: Callable[[str], str], fix: str) -> str:
    """The sentence by `say`, which gives a text in a language; as it is where it is not known."""
    # A value may be called as something that is said elsewhere.
    told = say(fix) if fix.endswith(".") else fix
    if told != fix or len(fix) > _LONGEST:
        return told
    for pattern, known in _compiled():
        found = pattern.fullmatch(fix)
        if found is not None:
            there = say(known)
            if there == known:
                return fix
            return _GAP.sub("", there.format(*_values(say, known, found)))
    return fix


def _values(say: Callable[[str], str], known: str, found: re.Match[str]) -> list[str]:
    """By their numbers, which need not be their order. A value may be a sentence, or a part of one."""
    numbers = [int(each) for each in re.findall(r"{(\d)}", known)]
    told = dict(zip(numbers, (mended(say, each) for each in found.groups()), strict=True))
    return [told[number] for number in sorted(told)]


@lru_cache(maxsize=1)
def _compiled() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(_expression(known)), known) for known in PATTERNS)


def _expression(known: str) -> str:
    """What stands in backticks holds none."""
    parts, last = [], 0
    for place in _PLACE.finditer(known):
        quoted = place[1] and place[2]
        parts += [
            re.escape(known[last : place.start()]),
            f"{place[1]}({'[^`]+?' if quoted else '.+?'}){place[2]}",
        ]
        last = place.end()
    return "".join([*parts, re.escape(known[last:])])
