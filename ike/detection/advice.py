"""What an operator reads: the likely cause of each kind of alert, and the next step. One sentence each."""

from typing import Final

#: By kind and variant; the variant "" is for all others.
_ADVICE: Final[dict[tuple[str, str], tuple[str, str]]] = {
    ("rekey_too_fast", ""): (
        "SAs are replaced earlier than any lifetime of this connection allows: a script, a faulty "
        "peer or somebody who can trigger rekeys.",
        "See which end starts the rekeys, and compare the lifetimes and the version of the daemon "
        "on that end.",
    ),
    ("rekey_too_fast", "storm"): (
        "SAs are replaced again and again within seconds, which no configured lifetime explains.",
        "Stop what triggers the rekeys on the end that starts them, and set its lifetimes to "
        "those of this end.",
    ),
    ("rekey_missed", ""): (
        "An SA has passed its lifetime and was not replaced, so traffic stops or flows under an "
        "old key.",
        "Rekey it by hand and read what the peer answers; look for a lost peer and for differing "
        "lifetimes.",
    ),
    ("rekey_missed", "refused"): (
        "The peer refuses to rekey again and again; a differing key exchange group (PFS) first "
        "shows at a rekey.",
        "Compare the ESP proposals and PFS groups of both ends before the SA expires.",
    ),
    ("sa_flapping", ""): (
        "SAs are set up and deleted again within seconds: both ends disagree on who keeps the SA, "
        "or an automatic restart fights a deletion.",
        "Look at who deletes; compare the uniqueness, close action and start action settings of "
        "both ends.",
    ),
    ("duplicate_sas", ""): (
        "Old SAs stay beside their successors: deletions are lost or the peer does not accept "
        "them.",
        "List the SAs on both ends, close the surplus ones, and check that one end only starts "
        "the connection.",
    ),
    ("rekey_collisions", ""): (
        "Both ends rekey at the same moment again and again: their timers are equal and have no "
        "jitter.",
        "Give one end a longer rekey time, or set rand_time (rekeyfuzz) above zero.",
    ),
    ("auth_failures", ""): (
        "One identity fails to authenticate repeatedly: the secret or certificate was changed on "
        "one end only, or the identity is wrong.",
        "Compare the fingerprints of the secret and the identities on both ends.",
    ),
    ("auth_failures", "slow"): (
        "One identity fails to authenticate all day, too seldom to be seen in minutes: a daemon tries with a secret or "
        "certificate that was changed on one end only, or somebody tries keys patiently.",
        "Compare the fingerprints of the secret and the identities on both ends; if the address is not that peer's, "
        "block it.",
    ),
    ("auth_failures", "elsewhere"): (
        "An identity that is up at another address fails at this one all day: a second device with an old secret, or "
        "somebody who tries keys patiently.",
        "Ask whose address it is; if it is nobody's, block it and replace a secret that could be guessed.",
    ),
    ("auth_failures", "everybody"): (
        "Many peers that succeeded before fail at once, and nobody succeeds: the AAA server is out of reach, or a "
        "secret or certificate was changed on this end.",
        "See whether this gateway reaches its RADIUS or directory server, and what was changed on it last.",
    ),
    ("auth_guessing", ""): (
        "One source tries secrets or identities in numbers that no configuration mistake explains.",
        "Block the source, and replace pre-shared keys that could be guessed.",
    ),
    ("auth_guessing", "slow"): (
        "One source tries identity after identity all day, as slowly as it takes to stay below limits of minutes.",
        "Block the source, and replace pre-shared keys that could be guessed.",
    ),
    ("auth_guessing", "many"): (
        "Secrets or identities are tried in numbers that no configuration mistake explains, from many "
        "sources, where the peers with these identities never were, or from one that the log does not show.",
        "Replace pre-shared keys that could be guessed, and allow UDP 500 and 4500 from known "
        "addresses only.",
    ),
    ("events_lost", ""): (
        "Events came faster than they could be told, or the service was away for too long: what is wrong may not "
        "be seen.",
        "Read the gateway's own log for that time (`ikewarden sa analyze`), and find out what writes so many lines.",
    ),
    ("half_open_flood", ""): (
        "Negotiations are opened and never finished: somebody floods the gateway, with forged "
        "addresses or from one source.",
        "Keep cookies on, limit UDP 500 and 4500 by source in front of the gateway, and block a "
        "single source.",
    ),
    ("downgrade", ""): (
        "The peers agreed on weaker algorithms than they did before: a changed policy, or "
        "somebody between them.",
        "Remove the weak proposals from both ends and find out who changed the policy.",
    ),
    ("downgrade", "configured"): (
        "The policy of this end was changed, and the peers agree on weaker algorithms since.",
        "See who changed the policy and why; take the weak proposals out again where it was no purpose.",
    ),
    ("weak_algorithm", ""): (
        "The SA uses an algorithm that RFC 8247 or RFC 8221 advises against.",
        "Take the weak algorithm out of the proposals of both ends and negotiate again.",
    ),
    ("proposal_mismatch", ""): (
        "Both ends have no common proposal, and the negotiation is tried again and again.",
        "Compare the IKE and ESP proposals of both ends and add a common strong one.",
    ),
    ("proposal_mismatch", "group"): (
        "Both ends keep asking each other for another key exchange group.",
        "Put the same key exchange group first on both ends.",
    ),
    ("proposal_mismatch", "selectors"): (
        "The ends do not agree on the networks of the tunnel.",
        "Compare the local and remote networks (traffic selectors) of both ends.",
    ),
    ("unknown_peers", ""): (
        "A peer without a matching configuration keeps asking: a scan, or an own device with a "
        "wrong address or identity.",
        "See whether the address, or the identity that it claims, is one of yours; if so, correct either, otherwise "
        "block it.",
    ),
    ("unknown_peers", "scan"): (
        "Many peers without a matching configuration ask: the gateway is being scanned.",
        "Allow UDP 500 and 4500 from known addresses only, where peers have fixed ones.",
    ),
    ("dpd_flapping", ""): (
        "The peer is lost and found again repeatedly: the path or the peer is unstable.",
        "Check the link, the provider and NAT timeouts between both ends, and the peer's load.",
    ),
    ("peer_unreachable", ""): (
        "The peer does not answer any more, and every try to reach it was given up: it is down, its link is, or "
        "something on the path drops UDP 500 and 4500.",
        "See whether the peer is up and reachable from this gateway, with ikewarden doctor or a ping.",
    ),
    ("retransmit_storm", ""): (
        "Requests need repeating again and again while the tunnel is up: packets are lost, or too "
        "large for the path.",
        "Measure loss and MTU on the path, and turn on IKE fragmentation.",
    ),
    ("certificate_rejected", ""): (
        "The certificate of the peer is not accepted: expired, from an unknown issuer, or against "
        "a constraint.",
        "Look at the certificate of the peer and at the authorities this end trusts.",
    ),
    ("certificate_rejected", "revoked"): (
        "A revoked certificate is still in use.",
        "If it was revoked on purpose, remove it from the peer; otherwise issue a new one.",
    ),
    ("certificate_rejected", "revocation"): (
        "The policy is strict, and nothing is known of the revocation of the peer's certificate: its CRL or OCSP "
        "service cannot be reached, or what it gave is out of date. Nothing speaks against the certificate itself.",
        "Make the CRL and OCSP addresses of the peer's authority reachable from the gateway, and see that what they "
        "give is current.",
    ),
    ("certificate_rejected", "expired"): (
        "The certificate of the peer, or of its authority, has expired.",
        "Renew it; if it is valid by its dates, the clock of this gateway is wrong.",
    ),
    ("certificate_rejected", "not_yet_valid"): (
        "By the clock of this gateway the certificate of the peer is not valid yet: most often that clock is behind.",
        "Compare the time of the gateway with a time server; if it is right, look when the certificate begins.",
    ),
    ("certificate_rejected", "issuer"): (
        "The certificate of the peer is from an authority that this end does not trust, or an intermediate lacks.",
        "Install the authority at this end, or the missing intermediate at the peer.",
    ),
    ("certificate_rejected", "untrusted"): (
        "The certificate of the peer is from an authority that this end does not trust, or an intermediate lacks.",
        "Install the authority at this end, or the missing intermediate at the peer.",
    ),
    ("revocation_unchecked", ""): (
        "Peers are let in although revocation data could not be fetched: a revoked certificate "
        "would pass.",
        "Make the CRL and OCSP addresses reachable from the gateway, or set a strict revocation "
        "policy.",
    ),
    ("identity_conflict", ""): (
        "Two hosts use one identity and throw each other out.",
        "Give each host its own identity and credentials; treat it as a stolen key until "
        "explained.",
    ),
    ("identity_conflict", "many"): (
        "One identity is up at many addresses at once, and never was before: its key or password is in use by others.",
        "Ask whose it is; until it is explained, revoke its certificate or change its secret, and cut its SAs.",
    ),
    ("sa_shared", ""): (
        "One SA appears under several connections: packets of one policy leave under the keys of "
        "another.",
        "Compare the policies and request ids of the connections, and give each its own.",
    ),
    ("rotation_failed", ""): (
        "Authentication fails since our own rotation: one end does not have the new secret.",
        "Roll the rotation back, and check that both gateways confirmed the new version.",
    ),
    ("clock", ""): (
        "The clock of the gateway jumped or is wrong, so lifetimes and certificate dates cannot "
        "be trusted.",
        "Check the time service of the gateway.",
    ),
    ("clock", "certificates"): (
        "Certificates of several peers are out of date at once, or one is not yet valid again and again: the "
        "clock of this gateway is probably wrong.",
        "Compare the time of the gateway with a time server.",
    ),
}


def advice(kind: str, variant: str = "") -> tuple[str, str]:
    """(cause, next step) for a kind of alert; `variant` picks a more telling one where there is one."""
    return _ADVICE.get((kind, variant)) or _ADVICE[(kind, "")]


def sentences() -> frozenset[str]:
    """All that may be said, for whoever says it in another language."""
    return frozenset(sentence for pair in _ADVICE.values() for sentence in pair)
