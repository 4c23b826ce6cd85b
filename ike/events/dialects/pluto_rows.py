"""What pluto says: Openswan 2.6, Libreswan 3.0 to 5.3, for IKEv1 and IKEv2.

`number` of a row says what `#n` in the prefix is: "ike", "child", "new" (the SA that replaces another),
"any" (its state, or an earlier line, tells), "via" (the child of a notice that names the IKE SA).
A row of no kind only tells that `#n` is a Child SA.
"""

from typing import Final

from ike.events.dialects.pluto_refusals import (
    AUTHENTICATION,
    CERTIFICATES,
    IDENTITY,
    KEYS,
    NO,
    STRANGERS,
)
from ike.events.dialects.rows import row, table

#: States of an IKE SA, and of a Child SA, that is up; older and newer names.
_UP: Final = (
    r"(?:STATE_)?(?:MAIN_R3|MAIN_I4|AGGR_R2|AGGR_I2|(?:V2_)?PARENT_R2|(?:V2_)?PARENT_I3|XAUTH_\w+|MODE_CFG_\w+"
    r"|IKESA_DEL|(?:V2_)?IKE_SA_DELETE|(?:V2_)?ZOMBIE|(?:V2_)?ESTABLISHED_IKE_SA|established (?:IKE|ISAKMP|parent) SA"
    r"|(?:ISAKMP|IKE) SA established)\b"
)
_CHILD_UP: Final = (
    r"(?:STATE_)?(?:QUICK_R2|QUICK_I2|V2_IPSEC_[IR]|CHILDSA_DEL|(?:V2_)?ESTABLISHED_CHILD_SA"
    r"|established (?:Child|IPsec) SA|IPsec SA established)\b"
)
_SA: Final = r"(?:state|SA|IKE SA|ISAKMP SA|IPsec SA|Child SA)"


#: Lines that only list proposals, payloads and the like: no notice is looked for in them.
IDLE: Final = frozenset(
    (
        b"proposal accepting added adding loaded loading received_vid ignored initiate our them us the me we"
        b" forgetting listening transition negotiated local switched natting nat-traversal impair peer"
        b" connection reviving terminating omitting computed enabling dead interface"
    ).split()
)

_INITIATING: Final = [
    row(
        "ike_rekeyed",
        r"initiating rekey to replace IKE SA #(?P<old_ike_id>\d+)",
        "ike",
        phase="start",
    ),
    row(
        "child_rekeyed",
        r"initiating rekey to replace (?:Child|IPsec) SA #(?P<child_id>\d+)(?: using (?:IKE SA )?#(?P<ike_id>\d+))?",
        "new",
        phase="start",
    ),
    row(
        "child_rekeyed",
        r"initiating Quick Mode .*?to replace #(?P<child_id>\d+)(?: \{using isakmp#(?P<ike_id>\d+))?",
        "new",
        phase="start",
    ),
    row("", r"initiating (?:Quick Mode|Child SA)", "child"),
    row(
        "child_closed",
        r"initiating delete of established (?:Child|IPsec) SA(?: using IKE SA #(?P<ike_id>\d+))?",
        "child",
    ),
    row("ike_reauth", r"initiating reauthentication (?:of|to replace) (?:IKE|ISAKMP) SA", "ike"),
    row(
        "ike_initiate",
        r"initiating (?:IKEv[12] |v[12] )?(?:(?:Main|Aggressive) Mode|parent SA|IKE SA|IKEv2|IKE_SA_INIT|connection)"
        r"(?!.*which received)(?: connection)?(?:,? #(?P<ike_id>\d+), connection \"(?P<connection>[^\"]+)\")?"
        r"(?: #\d+)?(?: to replace.*| to (?P<peer>\S+).*)?",
        "ike",
    ),
]
_RESPONDING: Final = [
    row("unknown_peer", r"responding to .*notification \w+, no suitable connection found", "ike"),
    row("", r"responding to Quick Mode", "child"),
    row(
        "ike_respond",
        r"responding to Aggressive Mode,? state #(?P<ike_id>\d+),? connection \"(?P<connection>[^\"]+)\""
        r".*? from (?P<peer>\S+)",
        "ike",
    ),
    row(
        "ike_respond",
        r"responding to (?:IKEv[12] )?(?:Main|Aggressive|Base) Mode"
        r"(?:.*? from (?:unknown peer )?(?!unknown\b|on\b)(?P<peer><[^>]*>|\S+))?",
        "ike",
    ),
    row(
        "cookie",
        r"responding to .*? from (?P<peer>\S+) with .*notification (?:v2N_)?COOKIE\b",
        "ike",
    ),
    row("cookie", r"responding to .*notification (?:v2N_)?COOKIE\b", "ike"),
    row(
        "",  # the parser reads the notice
        r"responding to .*? from (?P<peer>\S+) with (?:un)?encrypted notification",
        "any",
    ),
]
_ESTABLISHED: Final = [
    row(
        "ike_established",
        r"(?:initiator |responder )?established IKE SA;?(?: authenticated peer)?(?:.*? and (?:peer )?"
        + IDENTITY
        + r")?"
        r"(?:.*?certificate '(?P<identity_2>[^']*)')?",
        "ike",
    ),
    row(
        "ike_rekeyed",
        r"(?:initiator|responder) rekeyed IKE SA #(?P<old_ike_id>\d+)",
        "ike",
    ),
    row(
        "child_established",
        r"(?:initiator |responder )?established (?:Child|IPsec|CHILD) SA(?: using (?:IKE SA )?#(?P<ike_id>\d+))?",
        "child",
    ),
    row(
        "child_rekeyed",
        r"(?:initiator|responder) rekeyed (?:Child|IPsec) SA #(?P<child_id>\d+)"
        r"(?: using (?:IKE SA )?#(?P<ike_id>\d+))?",
        "new",
    ),
    row(
        "invalid_ke",
        r"initiator guessed wrong keying material group",
        "ike",
    ),
]
#: IKEv1 and Libreswan before 4.6: the message is the new state's story.
_STORIES: Final = [
    row(
        "child_closed",
        r"sent INFORMATIONAL request to delete established Child SA(?: using IKE SA #(?P<ike_id>\d+))?",
        "child",
    ),
    row("ike_deleted", r"sent INFORMATIONAL request to delete IKE SA", "ike"),
    row("", r"sent Quick Mode reply, inbound", "child"),
    row("", r"sent CREATE_CHILD_SA request (?:for new|to rekey) (?:IPsec|Child) SA", "child"),
    row(
        "ike_respond",
        r"sent IKE_SA_INIT (?:reply|response)(?: to (?P<peer>\S+))?(?: \{(?P<algorithms>[^}]*)\})?",
        "ike",
    ),
    row(
        "ike_respond",
        r"processed IKE_SA_INIT request from (?P<peer>\S+)(?: \{(?P<algorithms>[^}]*)\})?",
        "ike",
    ),
    row("ike_respond", r"received v2I1, sent v2R1(?: \{(?P<algorithms>[^}]*)\})?", "ike"),
    row(
        "ike_established child_established", r"(?:.*, )?PARENT SA established.*\{(?:ESP|AH)", "ike"
    ),
    row(
        "ike_established",
        r"(?:.*, |Established )?(?:ISAKMP|IKE|PARENT) SA (?:is )?established(?! but)(?:.*\{(?P<algorithms>[^}]*)\})?",
        "ike",
    ),
    row("child_established", r"(?:.*, )?(?:IPsec|CHILD|Child) SA established", "child"),
]
_RECEIVED: Final = [
    row(
        "child_closed",
        r"received Delete SA\(0x(?P<spi_out>[0-9a-f]+)\) payload: (?:self-)?deleting IPsec State #(?P<child_id>\d+)",
        "ike",
    ),
    row(
        "child_closed",
        r"received Delete SA payload: (?:deleting|replace|already replacing|expire) (?:IPsec|Child) "
        r"(?:State|SA) #(?P<child_id>\d+)",
        "ike",
    ),
    row(
        "ike_deleted",
        r"received Delete SA payload: (?:self-)?deleting (?:ISAKMP|IKE) (?:State|SA) #(?P<ike_id>\d+)",
        "ike",
    ),
    row("child_closed", r"received Delete SA payload via #(?P<ike_id>\d+)", "via"),
    row(
        "child_closed",
        r"received hard EXPIRE for inbound SPI (?:0x)?(?P<spi_in>[0-9a-f]+)",
        "child",
        reason="expired",
    ),
    row(
        "child_closed",
        r"received hard EXPIRE for outbound SPI (?:0x)?(?P<spi_out>[0-9a-f]+)",
        "child",
        reason="expired",
    ),
    row("", r"received soft EXPIRE", "child"),
    row(
        "retransmit",
        r"received duplicate .*retransmitting response",
        "any",
    ),
    row("cookie", r"received anti-DDOS COOKIE", "ike"),
    row("cookie", r"received (?:unauthenticated )?(?:v2N_)?COOKIE\b", "ike"),
    row(
        "invalid_ke",
        r"received unauthenticated (?:v2N_)?INVALID_KE",
        "ike",
    ),
    row("auth_failed", r"received Hash Payload does not match", "ike", reason="psk"),
    row("ike_established", r"received .*, PARENT SA established(?!.*\{(?:ESP|AH))", "ike"),
]
_DELETING: Final = [
    row(
        "child_closed",
        r"deleting (?:other )?"
        + _SA
        + r"(?: #(?P<child_id>\d+))?(?: connection)? \("
        + _CHILD_UP
        + r"(?:.*? using (?:IKE|ISAKMP) SA (?:\"[^\"]*\" )?#(?P<ike_id>\d+))?",
        "child",
    ),
    row(
        "child_closed",
        r"deleting established (?:Child|IPsec) SA(?: #(?P<child_id>\d+))?(?: using IKE SA #(?P<ike_id>\d+))?",
        "child",
    ),
    row("ike_deleted", r"deleting (?:IKE|ISAKMP) SA \(" + _UP, "ike"),
    row(
        "ike_deleted",
        r"deleting (?:other )?" + _SA + r"(?: #(?P<ike_id>\d+))?(?: connection)? \(" + _UP,
        "any",
    ),
    row("ike_timeout", r"deleting incomplete state after", "ike"),
]
_ENDED: Final = [
    row("ike_established", r"IKE SA established(?! but)(?: \{(?P<algorithms>[^}]*)\})?", "ike"),
    row(
        "ike_deleted", r"(?:ISAKMP|IKE|IKEv2|Parent|Parent IKE) SA expired", "ike", reason="expired"
    ),
    row("child_closed", r"(?:IPsec|Child) SA expired", "child", reason="expired"),
    row("child_established", r"(?:IPsec|Child) SA established", "child"),
    row(
        "child_rekey_failed",
        r"(?:IKE SA #(?P<ike_id>\d+) no longer viable for rekey of|Child SA to rekey #\d+ vanished)",
        "child",
    ),
]
_SILENCE: Final = [
    row("retransmit", r"retransmission; will wait", "any"),
    row("retransmit", r"retransmitting .*(?:request|ike|child)\b.*; will wait", "any"),
    row(
        "retransmit",
        r"retransmit(?:ting)? in response to duplicate(?! .*limit)",
        "any",
    ),
    row("giving_up", r"[\d.]+ second timeout exceeded after", "any"),
    row("giving_up", r"max number of retransmissions", "any"),
    row("dpd_timeout", r"DPD: .*declaring peer dead", "any"),
    row(
        "dpd_timeout",
        r"DPD action - (?:clearing|restarting|putting|terminating|hold)",
        "any",
    ),
    row(
        "dpd_timeout",
        r"(?:IKEv2 )?liveness:? (?:action:? )?(?:- )?(?:clearing|restarting|putting|terminating"
        r"|.*?peer (?P<peer>\S+) has not responded|.*has not responded)",
        "any",
    ),
    row(
        "ike_timeout",
        r"pending .*? with (?P<peer>\S+) \"(?P<connection>[^\"]+)\" took too long",
        "ike",
    ),
    row("half_open_limit", r"pluto is overloaded with half-open", "ike"),
    row("cookie", r"pluto is overloaded and demanding cookies", "ike"),
    row("cookie", r"DOS mode (?:is )?on[;,]", "ike"),
]
_OTHER: Final = [
    row(
        "child_closed",
        r"Delete SA payload: .*?SA(?: with SPI |\()(?:0x)?(?P<spi_in>[0-9a-f]+)\)? is our own SPI",
        "ike",
    ),
    row(
        "ike_deleted",
        r"Initial Contact received, deleting old state #(?P<ike_id>\d+)",
        "ike",
        reason="initial_contact",
    ),
    row("ike_reauth", r"initiate reauthentication of IKE SA", "ike"),
    row(
        "ts_unacceptable",
        r"cannot respond to IPsec SA request because no connection is known"
        r"(?: for .*?\.\.\.(?:[^\s=\[<]*?---)?(?P<peer>[^\s=\[<]+))?",
        "ike",
    ),
    row("ts_unacceptable", r".*returned doesn't match my proposal", "any"),
    row("ts_unacceptable", r"peer proposal was rejected in a virtual connection policy", "any"),
    row(
        "ts_unacceptable child_rekey_failed",
        r"rekey: received Traffic Selectors",
        "child",
    ),
    row(
        "ike_rekeyed",
        r"rekeyed #(?P<old_ike_id>\d+) (?:STATE_)?(?:V2_)?(?:REKEY_IKE|PARENT|ESTABLISHED_IKE)",
        "ike",
    ),
    row(
        "child_rekeyed",
        r"rekeyed #(?P<child_id>\d+) (?:STATE_)?(?:V2_)?(?:REKEY_CHILD|IPSEC|ESTABLISHED_CHILD)",
        "new",
    ),
    row("invalid_ke", r"Discarding unauthenticated INVALID_KE", "ike"),
    row("invalid_ke", r"ignoring received INVALID_KE", "ike"),
    row(
        "proposal_mismatch",
        r"policy for .* requires \w+ but .*(?:not|none) in Proposal",
        "any",
    ),
    row(
        "child_rekey_failed",
        r"CREATE_CHILD_SA no such IPsec SA to rekey",
        "any",
    ),
]

_REMARKS: Final = [
    row(
        "algorithms",
        r"proposal \d+:(?P<algorithms>(?:IKE|ESP|AH)=\S+?)(?:\[[^\]]*\])?(?: SPI=\S+)? chosen",
        "any",
    ),
    row("daemon_started", r"Starting Pluto"),
    row("daemon_stopped", r"shutting down\s*$"),
    row("configured", r"added (?:IKEv\d )?connection"),
    row("address_changed", r"MOBIKE \w+: updating IPsec SA", "any"),
]

ROWS: Final = table(
    {
        "proposal starting shutting added mobike": _REMARKS,
        "initiating": _INITIATING,
        "responding": _RESPONDING,
        "initiator responder": _ESTABLISHED,
        "sent processed": _STORIES,
        "isakmp parent established": [*_STORIES, *_ESTABLISHED, *KEYS, *_ENDED],
        "received": [*_RECEIVED, *_STORIES],
        "deleting": _DELETING,
        "no": NO,
        "authentication": AUTHENTICATION,
        "nss x509 x.509 certificate certification missing crl fips error peer's fetch could ocsp": CERTIFICATES,
        "checking issuer": CERTIFICATES,
        "probable malformed auth psk signature can't policy xauth pam ike ipsec child ikev2 rsa ecdsa i2": [
            *_OTHER,
            *KEYS,
            *_ENDED,
            *_SILENCE,
        ],
        "peer": [*KEYS, *_ENDED, *STRANGERS, *_OTHER],
        "initial dropping we but isakmp_v2_ike_sa_init ike_sa_init": [*_OTHER, *STRANGERS],
        "retransmission retransmitting retransmit 0 max dpd liveness ikev2 pending pluto dos": _SILENCE,
        "our delete cannot rekey rekeyed discarding ignoring initiate create_child_sa": _OTHER,
    }
)
