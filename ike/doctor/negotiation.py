"""What became of the negotiations: the SAs that are there, and what the last failed one said. Pure."""

from collections.abc import Mapping
from typing import Final

from ike.doctor.policy import OK, UNKNOWN, WRONG
from ike.doctor.values import Case, Check
from ike.events.event import SaEvent

_PEERS_LOG: Final = "The peer's log says why: give it with --log, or its files with --peer-root."
_ANOTHER_LOG: Final = (
    "The peer's log that was given has nothing of it: give the one of that time, or its files with"
    " --peer-root."
)
# By event and reason: what it means, and what to do where no other check has found the cause. Told of `own`, the end
# whose log it is, and of the `other` one.
_MEANINGS: Final[Mapping[tuple[str, str | None], tuple[str, str]]] = {
    ("cert_revoked", None): (
        "a certificate of {other} is revoked",
        "Have a new certificate issued for {other}; find out first why the old one was revoked.",
    ),
    ("cert_invalid", "revocation"): (
        "the certificate of {other} was refused, as nothing is known of its revocation",
        "Make the CRL or OCSP service of the CA of {other} reachable from {own}.",
    ),
    ("cert_invalid", "expired"): (
        "the certificate of {other} is not valid now",
        "Renew the certificate of {other}, and compare the clocks of both ends.",
    ),
    ("cert_invalid", "untrusted"): (
        "the certificate of {other} comes from a CA that is not trusted at {own}",
        "Install the CA certificate of the CA of {other} on {own}, and load it.",
    ),
    ("cert_invalid", "issuer"): (
        "the certificate of {other} comes from a CA, or a root above it, that {own} lacks",
        "Install the CA certificates of {other} on {own}, up to the root, and load them; the line of the log names the"
        " one that is missing.",
    ),
    ("cert_invalid", None): (
        "the certificate of {other} was refused",
        "Read the line of the log: it tells what is wrong with the certificate.",
    ),
    ("crl_fetch_failed", None): (
        "the CRL or OCSP answer could not be got",
        "Make the URL that the log names reachable from {own}.",
    ),
    ("ts_unacceptable", None): (
        "the ends do not agree on the networks",
        "Make this end's local networks the peer's remote ones, and the other way round.",
    ),
    ("proposal_mismatch", None): (
        "the ends have no proposal in common, or the peer has no connection for this address",
        "Compare the proposals and addresses of both ends: --peer FILE does it.",
    ),
    ("unknown_peer", None): (
        "no connection fits the address or the identities of the other end",
        "Compare the addresses and identities of both ends: --peer FILE does it.",
    ),
    ("auth_failed", "refused"): ("{other} refused the proof of {own}", _PEERS_LOG),
    ("auth_failed", "psk"): (
        "the ends have different pre-shared keys",
        "Write the same pre-shared key on both ends, and load it.",
    ),
    ("auth_failed", None): (
        "an end could not prove who it is",
        "Compare identities, keys and CA certificates of both ends: --peer-root DIR does it.",
    ),
    ("invalid_ke", None): (
        "{other} asked for another key exchange group",
        "Put the group that it asks for first in the proposals of {own}.",
    ),
    ("giving_up", None): (
        "the peer did not answer",
        "Look on the peer whether the packets arrive: tcpdump -n 'udp port 500 or udp port 4500'",
    ),
    ("ike_timeout", None): (
        "the other end did not go on",
        "Look at the other end's log, and whether answers arrive there: tcpdump -n udp port 500",
    ),
    ("retransmit", None): (
        "the peer has not answered yet",
        "Wait for the last retransmission, or look on the peer: tcpdump -n udp port 500",
    ),
}


def last(case: Case) -> Check:
    """What the last negotiation came to, by the log."""
    name, log = "negotiation", case.log
    if log is None:
        unit = "ipsec" if case.here.dialect == "libreswan" else "strongswan"
        step = f"Give the daemon's log with --log FILE: journalctl -u {unit} | ikewarden doctor --log -"
        return Check(name, UNKNOWN, "No log was given.", step)
    failure = case.failure
    if failure is not None:
        is_theirs = failure in log.theirs
        own, other = ("the peer", "this end") if is_theirs else ("this end", "the peer")
        meaning, step = (each.format(own=own, other=other) for each in _meaning(failure))
        if log.both and step == _PEERS_LOG:
            step = _ANOTHER_LOG
        where = f"line {failure.line}" + (" of the peer's log" if is_theirs else "")
        said = f"The last one failed: {meaning} ({failure.kind}, {where})."
        return Check(name, WRONG, said, step)
    if log.came_up or case.is_up:
        return Check(name, OK, "The last one went well.")
    if log.tried:
        return Check(
            name, UNKNOWN, "One began; how it ended is not in the log.", "Give the rest of the log."
        )
    said = "The log has no negotiation of this tunnel."
    return Check(name, UNKNOWN, said, "Let the tunnel be tried, and give the log again.")


def _meaning(failure: SaEvent) -> tuple[str, str]:
    found = _MEANINGS.get((failure.kind, failure.reason))
    return found or _MEANINGS[failure.kind, None]


def duplicate(case: Case) -> Check | None:
    """Whether two hosts with one identity throw each other out."""
    if case.log is None or case.log.duplicates is None:
        return None
    for identity, sources in case.log.duplicates.items():
        said = f"{identity} comes from {', '.join(sorted(sources))}: each new IKE SA throws the other out."
        step = (
            "Give each host an identity, and a certificate or key, of its own; if it is one host that moves,"
            " allow it several SAs (`unique = never`)."
        )
        return Check("duplicate", WRONG, said, step)
    return Check("duplicate", OK, "No identity comes from two addresses at once.")


def associations(case: Case) -> Check | None:
    """Whether the SAs are there on this side."""
    if case.daemon is None or case.daemon.failure:
        return None
    if case.tunnel is not None:
        tunnel, children = case.tunnel.name, [each.name for each in case.tunnel.children]
    elif case.unwritten is not None:
        tunnel, children = case.name, list(case.unwritten.children)
    else:
        return None
    name, sas = "associations", case.sas
    states = case.network.states if case.network is not None else None
    kernel = f" The kernel has {states} IPsec states with the peer." if states else ""
    if case.is_up:
        installed = sum(len(sa.children) for sa in sas)
        return Check(name, OK, f"Up: {len(sas)} IKE SA, {installed} Child SA.{kernel}")
    child = next(iter(children), "") or tunnel
    step = f"Try it and give the log: swanctl --initiate --child {child}"
    if case.daemon.is_pluto:
        step = f"Try it and give the log: ipsec auto --up {tunnel}"
    if sas:
        said = f"IKE SA {sas[0].state}, and no Child SA is installed.{kernel}"
        return Check(name, WRONG, said, step)
    return Check(name, WRONG, f"The daemon has no SA of {tunnel}.{kernel}", step)
