"""What charon's sentences mean: one table, from 4.x to 6.x, IKEv1 and IKEv2 (the kinds are those of `event.py`).

A pattern is a regular expression over a whole message; what stands in angle brackets is filled in below. The part
before `~` decides, the rest gives fields and may be missing where a line was cut off or goes on below.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

# An identity may hold anything, and the remote one is the peer's choice: so of two, the local one ends at its first
# end, and the remote one at the last end of the line. A masked SPI is no SPI.
_FILLED: Final = {
    "<ike>": r"(?:'(?P<quoted>[^']+)'|(?P<connection>.+?)\[(?P<ike_id>\d+)\])",
    "<ike_up>": r"(?:'(?P<quoted>[^']+)'|(?P<connection>.+?)(?:\[(?:(?P<ike_id>\d+)|[^\]]*)\])?)",
    "<child>": r"(?P<child>.+?)\{(?P<child_id>\d+)\}",
    "<new>": r".+?\{(?P<new_child_id>\d+)\}",
    "<peer>": r"\[?(?P<peer>[^\s\[\]].*?)\]?",
    "<caller>": r"\[?(?P<peer>[^\s'\"\[\]]+(?: [^\s'\"\[\]]+){0,2})\]?",
    "<in>": r"(?:0x)?(?:(?P<spi_in>[0-9a-fA-F]{8})|\S+?)_i",
    "<out>": r"(?:0x)?(?:(?P<spi_out>[0-9a-fA-F]{8})|\S+?)_o",
    "<in_spi>": r"(?:0x)?(?:(?P<spi_in>[0-9a-fA-F]{8})\b|\S+)",
    "<out_spi>": r"(?:0x)?(?:(?P<spi_out>[0-9a-fA-F]{8})\b|\S+)",
    "<bytes_in>": r"(?: \((?P<bytes_in>\d+) bytes\))?",
    "<bytes_out>": r"(?: \((?P<bytes_out>\d+) bytes\))?",
    "<ends>": r"\[?[^\[\]]*\]?\[.*?\](?:\.\.\.|…)\[?(?P<peer>[^\[\]]*)\]?\[(?P<identity>.*?)\]?",
    "<ids>": r"'.*?'(?:\[[^\]]*\])? - '(?P<identity>.*)'(?:\[(?P<peer>[^\[\]]*)\])?",
    "<id>": r"'(?P<identity>.*)'",
    "<dn>": r"\"(?P<subject>.*)\"",
    "<s>": r"(?P<seconds>\d+) ?s(?:econds)?",
    "<fit>": r"(?:un|in)acceptable",
    "<mode>": r"(?:(?:Main|Aggressive) Mode )?",
    "<group>": r"(?:DH group|key exchange method)",
    "<error>": r"(?:error notify|notify error)",
}

_BLANK: Final = re.compile("(?<!P)(?:" + "|".join(_FILLED) + ")")
#: What a sentence can show, in the order in which `Sentence.read` gives it.
SHOWN: Final = (
    "connection",
    "quoted",
    "ike_id",
    "child",
    "child_id",
    "new_child_id",
    "spi_in",
    "spi_out",
    "seq",
    "peer",
    "identity",
    "algorithms",
    "bytes_in",
    "bytes_out",
    "seconds",
)
Values = tuple[str | None, ...]


class Sentence:
    """A pattern, and what it shows: cheaper than a dictionary of its groups, for there are many lines."""

    __slots__ = ("_match", "_pick", "pattern")

    def __init__(self, pattern: str) -> None:
        compiled = re.compile(pattern)
        self.pattern = pattern
        self._match = compiled.match
        # Of None and the groups; 0 is thus what it does not show.
        self._pick: Callable[[Values], Values] = itemgetter(
            *(compiled.groupindex.get(name, 0) for name in SHOWN)
        )

    def read(self, message: str) -> Values | None:
        """The values of `SHOWN`, None for each that is not there; None if the message is no such sentence."""
        found = self._match(message)
        return self._pick((None, *found.groups())) if found else None


@dataclass(frozen=True, slots=True)
class Rule:
    """A sentence and the event or remark that it is.

    `timer`: the daemon's own clock or an operator makes it speak, so the packet that its thread saw last tells nothing
    of the peer. `group`: that of charon, where a message of NET or ENC is meant. `reason` and `phase`: what the
    sentence implies. `literal` stands at its beginning. `opening`: what decides, where more gives fields.
    """

    kind: str
    opening: Sentence | None
    whole: Sentence
    literal: str
    timer: bool
    group: str
    reason: str | None
    phase: str | None


def _rule(
    kind: str,
    pattern: str,
    *,
    timer: bool = False,
    group: str = "",
    reason: str | None = None,
    phase: str | None = None,
) -> Rule:
    stated = re.match(r"[^\\<(\[{.?*|~$]*", pattern)
    literal = stated[0] if stated else ""
    if pattern[len(literal) : len(literal) + 1] == "?":
        literal = literal[:-1]
    pattern = _BLANK.sub(lambda found: _FILLED[found[0]], pattern)
    opening, _, tail = pattern.partition("~")
    whole = Sentence(f"{opening}{tail}\\s*$" if tail else opening)
    return Rule(
        kind, Sentence(opening) if tail else None, whole, literal, timer, group, reason, phase
    )


_SPIS: Final = "with SPIs <in><bytes_in> <out><bytes_out>"

RULES: Final[Sequence[Rule]] = (
    # IKE SAs
    _rule("ike_initiate", r"initiating <mode>IKE_SA <ike>~ to <peer>", timer=True),
    _rule("ike_initiate", r"reinitiating IKE_SA <ike>", timer=True),
    _rule("ike_respond", r"<caller> is initiating an? <mode>IKE_SA$"),
    _rule("ike_respond", r"<caller> is initiating <mode>IKE_SA <ike>$"),
    _rule("ike_established", r"IKE_SA <ike_up> established~ between <ends>"),
    _rule("ike_rekeyed", r"IKE_SA <ike_up> rekeyed~ between <ends>"),
    _rule("ike_reauth", r"reauthenticating (?:actively )?IKE_SA due to address change", timer=True),
    _rule("ike_reauth", r"reauthenticating IKE_SA <ike>", timer=True),
    _rule("ike_reauth", r"received AUTH_LIFETIME of \d+s, starting reauthentication"),
    _rule("ike_reauth", r"peer seems to not support CHILD_SA rekeying, starting reauthentication"),
    _rule("ike_deleted", r"deleting IKE_SA <ike>~ between <ends>", timer=True),
    _rule(
        "ike_deleted",
        r"deleting IKE_SA after (?:\d+ seconds of CHILD_SA inactivity|RADIUS)",
        timer=True,
    ),
    _rule("ike_deleted", r"deleting unestablished IKE_SA", timer=True),
    _rule(
        "ike_deleted",
        r"deleting duplicate IKE_SA for~ peer <id> due to uniqueness policy.*",
        reason="duplicate",
    ),
    _rule(
        "ike_deleted",
        r"destroying duplicate IKE_SA for~ peer <id>, received INITIAL_CONTACT",
        reason="duplicate",
    ),
    _rule(
        "ike_deleted",
        r"got a response on a duplicate IKE_SA for~ <id>, deleting new IKE_SA",
        reason="duplicate",
    ),
    _rule("ike_deleted", r"destroying IKE_SA in state \S+ without notification", timer=True),
    _rule("ike_deleted", r"destroying IKE_SA after failed XAuth authentication"),
    _rule("ike_deleted", r"IKE_SA deleted"),
    _rule("ike_deleted", r"IKE_SA rekey collision lost, deleting redundant IKE_SA <ike>"),
    _rule("ike_deleted", r"received DELETE for IKE_SA <ike>"),
    _rule("ike_deleted", r"sending DELETE for IKE_SA <ike>"),
    _rule("ike_deleted", r"closing IKE_SA due CHILD_SA setup failure"),
    _rule("ike_deleted", r"COOKIE2 mismatch, closing IKE_SA"),
    _rule("ike_timeout", r"deleting half open IKE_SA (?:with <peer> )?after timeout", timer=True),
    _rule("ike_timeout", r"deleting half open IKE_SA <ike>~ with <peer> after timeout", timer=True),
    _rule("ike_timeout", r"establishing IKE_SA failed, peer not responding", timer=True),
    _rule(
        "ike_timeout", r"peer did not initiate expected exchange, reestablishing IKE_SA", timer=True
    ),
    # Child SAs. "inbound CHILD_SA … established" is half of one.
    _rule("child_established", rf"CHILD_SA <child> established~ {_SPIS} and TS ?.*"),
    _rule(
        "child_established",
        rf"outbound CHILD_SA <child> established~ {_SPIS} and TS ?.*",
        reason="rekey",
    ),
    _rule("child_rekeyed", rf"rekeyed CHILD_SA <child>~ with SPIs \S+ \S+ with <new> {_SPIS}"),
    _rule("child_rekeyed", r"CHILD_SA <child> state change: \w+ => REKEYED"),
    _rule("child_rekeyed", r"detected rekeying of CHILD_SA <child>"),
    _rule(
        "child_rekeyed", r"creating rekey job for (?:ESP |AH )?CHILD_SA", timer=True, phase="start"
    ),
    _rule("child_rekeyed", r"queueing CHILD_REKEY task", timer=True, phase="start"),
    _rule("child_rekey_failed", r"CHILD_SA rekeying failed, trying again"),
    _rule("child_rekey_failed", r"peer didn't find the CHILD_SA we tried to rekey"),
    _rule(
        "child_rekey_failed",
        r"unable to rekey, (?:\S+ )?(?:CHILD_SA .*not found|we are deleting the CHILD_SA)",
    ),
    _rule(
        "child_closed", rf"closing (?:expired )?CHILD_SA <child>~ {_SPIS} and TS ?.*", timer=True
    ),
    _rule("child_closed", r"closing CHILD_SA <child> we tried to rekey because~ .*"),
    _rule("child_closed", r"CHILD_SA (?:(?P<child>\S.*?)\{(?P<child_id>\d+)\} )?closed"),
    _rule(
        "child_closed",
        r"CHILD_SA rekey(?:/delete)? collision(?: won| lost)?, deleting (?:old|redundant) child~ <child>",
    ),
    _rule("child_closed", r"deleting CHILD_SA after \d+ seconds of inactivity", timer=True),
    _rule("child_closed", r"creating delete job for (?:ESP |AH )?CHILD_SA", timer=True),
    _rule("child_closed", r"sending DELETE for (?:ESP|AH) CHILD_SA~ with SPI <in_spi>"),
    _rule(
        "child_closed", r"received DELETE for (?:unknown )?(?:ESP|AH) CHILD_SA~ with SPI <out_spi>"
    ),
    # Authentication
    _rule("auth_failed", r"received AUTHENTICATION_FAILED", reason="refused"),
    _rule("auth_failed", r"received AUTH_FAILED", reason="refused"),
    _rule("auth_failed", r"tried \d+ shared keys? for~ <ids>, but MAC mismatched", reason="psk"),
    _rule("auth_failed", r"no shared key found for~ <ids>", reason="psk"),
    _rule("auth_failed", r"no shared key found for~ \S+ - <peer>", reason="psk"),
    _rule("auth_failed", r"could not decrypt payloads", group="ENC", reason="psk"),
    _rule("auth_failed", r"no trusted (?:\S+ )?public key found for~ <id>", reason="key"),
    _rule("auth_failed", r"no (?:\S+ )?private key found for", reason="own_key"),
    _rule(
        "auth_failed", r"authentication of '.*?' \(myself\) (?:with .*)?failed$", reason="own_key"
    ),
    _rule("auth_failed", r"authentication of <id> with .* failed$", reason="key"),
    _rule("auth_failed", r"EAP method \S+ failed~ for peer (?P<identity>.*)", reason="eap"),
    _rule(
        "auth_failed",
        r"EAP vendor specific method \S+ failed~ for peer (?P<identity>.*)",
        reason="eap",
    ),
    _rule("auth_failed", r"received EAP_FAILURE, EAP authentication failed", reason="eap"),
    _rule("auth_failed", r"verification of AUTH payload with(?:out)? EAP MSK failed", reason="eap"),
    _rule("auth_failed", r"no EAP key found for hosts~ <ids>", reason="eap"),
    _rule("auth_failed", r"loading EAP_\S+ method failed", reason="eap"),
    _rule("auth_failed", r"initiating EAP_\S+ method failed", reason="eap"),
    _rule("auth_failed", r"EAP-MD5 verification failed", reason="eap"),
    _rule("auth_failed", r"EAP-GTC password verification failed", reason="eap"),
    _rule("auth_failed", r"EAP-MS-CHAPv2 (?:verification failed|failed with error)", reason="eap"),
    *(
        _rule("auth_failed", rf"EAP_{method} method failed", reason="eap")
        for method in ("MSCHAPV2", "TLS", "TTLS", "PEAP", "MD5", "GTC", "SIM", "AKA", "IDENTITY")
    ),
    _rule("auth_failed", r"authorization hook forbids IKE_SA", reason="refused"),
    _rule("auth_failed", r"final authorization hook forbids IKE_SA", reason="refused"),
    _rule("auth_failed", r"RADIUS authentication of <id> failed$", reason="eap"),
    _rule("auth_failed", r"XAuth authentication of <id> failed$", reason="eap"),
    _rule("auth_failed", r"XAuth authentication of '.*' \(myself\) failed$", reason="eap"),
    _rule("auth_failed", r"XAuth pam_authenticate for <id> failed", reason="eap"),
    _rule("auth_failed", r"Aggressive Mode PSK disabled for security reasons", reason="mode"),
    _rule("auth_failed", r"found \d+ matching configs?, but none allows", reason="mode"),
    _rule("auth_failed", r"peer requested EAP, config <fit>", reason="mode"),
    _rule(
        "auth_failed",
        r"constraint check failed: .*?identity '.*?'(?: \(\S+\))? required~(?:, not matched by <id>.*)?",
        reason="identity",
    ),
    _rule(
        "auth_failed",
        r"constraint check failed: (?:EAP identity|XAuth identity|group membership|\S+ authentication)",
        reason="identity",
    ),
    # Certificates
    _rule("cert_invalid", r"no issuer certificate found for", reason="issuer"),
    _rule("cert_invalid", r"subject certificate invalid", reason="expired"),
    _rule("cert_invalid", r"issuer certificate invalid", reason="expired"),
    _rule("cert_invalid", r"peer certificate invalid", reason="expired"),
    _rule("cert_invalid", r"self-signed certificate \".*\" is not trusted", reason="issuer"),
    _rule("cert_invalid", r"path length of \d+ violates constraint", reason="constraint"),
    _rule(
        "cert_invalid",
        r"certificate '.*' (?:does not match permitted|matches excluded) name constraint",
        reason="constraint",
    ),
    _rule(
        "cert_invalid",
        r"subject of certificate '.*' (?:matches excluded|does not match any permitted) name constraint",
        reason="constraint",
    ),
    _rule(
        "cert_invalid",
        r"subject alternative name '.*' of certificate '.*' (?:matches excluded|does not match any permitted) name",
        reason="constraint",
    ),
    _rule("cert_invalid", r"intermediate CA '.*' does not inherit", reason="constraint"),
    _rule("cert_invalid", r"rejecting certificate without", reason="constraint"),
    _rule(
        "cert_invalid",
        r"constraint check failed: peer not authenticated (?:by CA|with peer cert)",
        reason="issuer",
    ),
    _rule(
        "cert_invalid",
        r"constraint check failed: .* requires at least .*, but no check done",
        reason="revocation",
    ),
    _rule(
        "cert_invalid",
        r"constraint check failed: .* is .*, but requires at least",
        reason="revocation",
    ),
    _rule("cert_invalid", r"constraint requires (?:cert policy|public key)", reason="constraint"),
    _rule("cert_revoked", r"certificate was revoked on"),
    _rule("crl_fetch_failed", r"crl fetching failed", reason="crl"),
    _rule("crl_fetch_failed", r"crl fetched successfully but parsing failed", reason="crl"),
    _rule("crl_fetch_failed", r"crl fetch from '.*' recently failed", reason="crl"),
    _rule("crl_fetch_failed", r"ocsp request to .* failed", reason="ocsp"),
    # Proposals, groups, networks
    _rule("proposal_mismatch", r"received proposals? <fit>"),
    _rule("proposal_mismatch", r"no acceptable proposal found"),
    _rule("proposal_mismatch", r"no proposal found"),
    _rule("proposal_mismatch", r"no matching proposal found(?!, trying alternative)"),
    _rule("proposal_mismatch", r"received NO_PROPOSAL_CHOSEN"),
    _rule("invalid_ke", r"peer didn't accept <group> \S+, it requested"),
    _rule("invalid_ke", r"DH group \S+ <fit>, requesting"),
    _rule("invalid_ke", r"key exchange method \S+ <fit>, requesting"),
    _rule("invalid_ke", r"already retried with <group> \S+, ignore requested"),
    _rule("invalid_ke", r"received INVALID_KE_PAYLOAD"),
    _rule("ts_unacceptable", r"received TS_UNACCEPTABLE"),
    _rule("ts_unacceptable", r"received INVALID_ID_INFORMATION"),
    _rule("ts_unacceptable", r"traffic selectors .* <fit>"),
    _rule("ts_unacceptable", r"no acceptable traffic selectors found"),
    _rule("ts_unacceptable", r"no matching CHILD_SA config found"),
    _rule("unknown_peer", r"no matching peer config found"),
    _rule("unknown_peer", r"no (?:alternative|peer) config found"),
    _rule("unknown_peer", r"no IKE config found for~ \S+?(?:\.\.\.|…)<peer>, sending \S+"),
    # Retransmissions, dead peers, floods
    _rule("retransmit", r"retransmit (?P<seq>\d+) of request~ with message ID \d+", timer=True),
    _rule(
        "retransmit", r"sending retransmit (?P<seq>\d+) of~ \S+ message ID \d+, seq \d+", timer=True
    ),
    _rule(
        "retransmit",
        r"received retransmit of .*, (?:retransmitting response|resending last request)",
    ),
    _rule("giving_up", r"giving up after \d+ retransmits", timer=True),
    _rule("dpd_timeout", r"DPD check timed out", timer=True),
    _rule(
        "half_open_limit",
        r"ignoring IKE_SA setup from <peer>, (?:per-IP half-open|half-open|half open|peer too aggressive)",
        group="NET",
    ),
    _rule("cookie", r"sending COOKIE notify~ to <peer>", group="NET"),
    _rule("cookie", r"received COOKIE notify$"),
    _rule("cookie", r"parsed IKE_SA_INIT response \d+ \[ .*N\(COOKIE\)", group="ENC"),
    _rule("cookie", r"generating IKE_SA_INIT request \d+ \[ N\(COOKIE\)", timer=True, group="ENC"),
    # The sentence above is one of details, so this is often the only line.
    _rule("cookie", r"generating IKE_SA_INIT response \d+ \[ N\(COOKIE\) \]", group="ENC"),
    # Remarks, for the rules of detection
    _rule("algorithms", r"selected proposal: (?P<algorithms>.*)"),
    _rule("rekey_scheduled", r"scheduling rekeying in <s>", timer=True),
    _rule("rekey_scheduled", r"scheduling reauthentication in <s>", timer=True, reason="reauth"),
    _rule("collision", r"detected rekey collision for CHILD_SA <child>"),
    _rule("collision", r"detected \S+ collision with"),
    _rule("duplicate_replaced", r"schedule delete of duplicate IKE_SA for~ peer <id> due to.*"),
    _rule("address_changed", r"NAT mappings of CHILD_SA", timer=True),
    _rule("address_changed", r"sending address list update using MOBIKE", timer=True),
    _rule("daemon_started", r"Starting (?:IKE charon daemon|charon-\S+ IKE daemon)"),
    _rule("daemon_stopped", r"signal of type SIG(?:INT|TERM) received\. Shutting down"),
    _rule("daemon_stopped", r"SIGTERM received, shutting down"),
    _rule("configured", r"added vici connection: (?P<connection>.*)"),
    _rule("configured", r"updated vici connection: (?P<connection>.*)"),
    _rule("configured", r"replaced vici connection: (?P<connection>.*)"),
    _rule("configured", r"removed vici connection: (?P<connection>.*)"),
    _rule("configured", r"added configuration '(?P<connection>.*)'"),
    _rule("configured", r"deleted connection '(?P<connection>.*)'"),
)
