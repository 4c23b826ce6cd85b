"""What racoon says (ipsec-tools and its descendants), which RouterOS says too, and what RouterOS says of IKEv2.

Two addresses in one message stand local end first, but for those of an IPsec SA: groups `local` and `peer`, or
`source` and `target` where the direction is to be found out. The number of a row is not used.
"""

from typing import Final

from ike.events.dialects.rows import row, table

_END: Final = r"(?:<[^<>\s]+>|[^\s\[<>=,]+?)"  # an address, a masked one, or a placeholder
#: What shows pages has eaten the arrow now and then.
_PAIR: Final = (
    rf"(?P<local>{_END})(?:\[\w+\]\s*(?:-|<=>|&lt;=&gt;|)|\s*(?:-|<=>))\s*"
    rf"(?P<peer>{_END})(?:\[\w+\]|(?=\s|$))"
)
_SA: Final = (
    rf"(?:(?:ESP|AH)(?:/\w+)? )?(?P<source>{_END})(?:\[\w+\])?\s*(?:->|-&gt;|=>)\s*"
    rf"(?P<target>{_END})(?:\[\w+\]|(?=[\s.]*(?:spi|$)))"
    r"(?:\s*spi=(?:\d+\(0x(?P<spi>[0-9a-f]+)\)|0x(?P<spi_2>[0-9a-f]+)))?"
)

_PHASE_1: Final = [
    row("ike_initiate", rf"initiate new phase ?1(?: negotiation| \([^)]*\))?(?::\s*{_PAIR})?"),
    row("ike_respond", rf"respond new phase ?1(?: negotiation| \([^)]*\))?(?::\s*{_PAIR})?"),
    row("ike_timeout", rf"phase1 negotiation failed due to time up\.?(?:\s*{_PAIR})?"),
    row(
        "ike_timeout",
        rf"phase2 negotiation failed due to time up waiting for phase1\.?(?: \[[^\]]*\])?"
        rf"(?:\s*(?:ESP|AH) (?P<source>{_END})(?:\[\w+\])?\s*->\s*(?P<target>{_END})(?:\[\w+\]|(?=\s|$)))?",
    ),
    row("giving_up", r"phase2 negotiation failed due to time up"),
    row("ike_established", rf"ISAKMP-SA established:?(?:\s*{_PAIR})?"),
    row("ike_deleted", rf"ISAKMP-SA (?:deleted|expired):?(?:\s*{_PAIR})?"),
    row("ike_deleted", rf"purg(?:ing|ed) ISAKMP-SA(?:\s+(?!spi|proto){_PAIR})?"),
    row("child_established", rf"IPsec-SA established:\s*{_SA}"),
    row("child_established", r"IPsec-SA established:(?!\s*IPCOMP)"),
    row("child_closed", rf"IPsec-SA expired:\s*{_SA}", reason="expired"),
    row("child_closed", rf"IPsec-SA (?:killing|deleted|removed):\s*{_SA}"),
    row("child_closed", r"IPsec-SA (?:expired|deleted):(?!\s*IPCOMP)"),
    row(
        "child_closed",
        r"purged IPsec-SA(?: proto_id=(?:ESP|AH))? spi=(?:0x(?P<spi_out>[0-9a-f]+)|\d+)",
    ),
    row(
        "child_closed",
        r"purged IPsec-SA(?: proto_id=(?:ESP|AH))? sibling spi=(?:0x(?P<spi_in>[0-9a-f]+)|\d+)",
        reason="other_half",
    ),
    row("child_closed", r"purging spi=(?:0x|\d)"),
    row("giving_up", r"give up to get IPsec-SA due to time up"),
    row("", r"used (?:as isakmp port|for NAT-T)"),  # what stands before it is an address of ours
    row("dpd_timeout", r"DPD: remote .*seems to be dead"),
    row(
        "retransmit",
        rf"the packet is retransmitted by (?P<peer>{_END})(?:\[\w+\]|(?=\s|$))(?: \((?P<seq>\d+)\))?",
    ),
    row("retransmit", r"re[st]en[dt] phase ?[12] packet"),
    # The racoon of macOS and iOS.
    row("retransmit", r"IKE Packet: transmit success\. \(Phase ?[12] Retransmit\)"),
    row("retransmit", r"IKEv1 Dead-Peer-Detection: request retransmitted"),
    row("ike_initiate", r"IPSec Phase ?1 started \(Initiated by me"),
    row("ike_respond", r"IPSec Phase ?1 started \(Initiated by peer"),
    row("ike_established", r"IPSec Phase ?1 established"),
    row("child_established", r"IPSec Phase ?2 established"),
    row("ike_deleted", rf"IPSec disconnecting from server (?P<peer>{_END})\.?(?=\s|$)"),
]
# Up to the name of a notice: no message with a name or an identity in it, which a peer chose.
_OWN: Final = r"(?!login |ID (?:value |type )?mismatched)[^\"']*"
_REFUSALS: Final = [
    row("proposal_mismatch", r"no suitable proposal found"),
    row("proposal_mismatch", r"failed to get valid proposal"),
    row("proposal_mismatch", r"no proposal chosen"),
    row(
        "ts_unacceptable",
        r"(?:failed to get sainfo|no policy found|no policy for|no template matches|mismatched ID was returned)",
    ),
    row(
        "unknown_peer",
        r"(?:couldn't find configuration|no (?:remote )?configuration found|no matching peer)",
    ),
    row("unknown_peer", r"not acceptable (?:Identity Protection|Aggressive|Base) mode"),
    row("unknown_peer", r"exchange (?:Identity Protection|Aggressive|Base) not allowed in any"),
    row("unknown_peer", r"Expecting IP address type in main mode", reason="identity"),
    row(
        "unknown_peer",
        r"identity not found for (?:server|responder|initiator)?:? ?.*?\bpeer: "
        r"(?:(?:FQDN|ADDR4|ADDR6|DER|RFC822|KEY.?ID|DN|USER.?FQDN):\s*)?(?P<identity>.+?)\s*$",
        reason="identity",
    ),
    row("unknown_peer", r"identity not found", reason="identity"),
    row(
        "auth_failed",
        rf"couldn't find the pskey for (?P<peer>{_END})\.?(?=\s|$)",
        reason="psk",
    ),
    row(
        "auth_failed",
        r"(?:(?:the )?HASH(?:\(\d\)|_[IR])? mismatch|Invalid SIG"
        r"|couldn't find (?:the )?(?:proper )?pskey(?!.*try to get)"
        r"|.*possible cause: wrong password)",
        reason="psk",
    ),
    row(
        "auth_failed",
        r"(?:login failed for user|Xauth (?:authentication|exchange) failed)",
        reason="xauth",
    ),
    row(
        "auth_failed",
        r"(?:EAP (?:failed|authentication failed)|eap.*fail|.*radius.*(?:timeout|reject))",
        reason="eap",
    ),
    row(
        "auth_failed",
        r"(?:(?:digest |psk |signature )?auth(?:entication)? (?:failed|mismatch)|peer is not authorized)",
    ),
    row("auth_failed", r"IKEv1 Phase1 AUTH: failed"),
    row("auth_failed", r"ID mismatched with (?:certificate|ASN1) SubjectName", reason="identity"),
    row("invalid_ke", rf"{_OWN}\bINVALID.KE.PAYLOAD\b"),
    row("auth_failed", rf"{_OWN}\bAUTHENTICATION.FAILED\b"),
    row("proposal_mismatch", rf"{_OWN}\bNO.PROPOSAL.CHOSEN\b"),
    row("ts_unacceptable", rf"{_OWN}\b(?:TS.UNACCEPTABLE|INVALID.ID.INFORMATION)\b"),
    row("cookie", r"(?:send|sending|reply|got|adding) (?:notify: )?COOKIE\b"),
]
_CERTIFICATES: Final = [
    row(
        "cert_revoked",
        r"certificate revoked\(\d+\)|certificate (?:has been|is|was) revoked|.*\bpeer's certificate.* revoked",
        reason="revoked",
    ),
    row(
        "crl_fetch_failed",
        r"unable to get certificate CRL\(3\)|CRL has expired\(12\)"
        r"|.*(?:CRL|OCSP).*(?:fetch|download|request).*fail"
        r"|(?:failed|can't|unable) to (?:fetch|get|download) CRL",
    ),
    row("cert_invalid", r"[\w ',-]+\(\d+\) at depth: ?\d+ (?:SubjectName|cert)"),
    row(
        "cert_invalid",
        r"(?:the )?peer's certificate is not verified|(?:can't|unable to|failed to) verify peer's certificate"
        r"|peer's certificate (?:not|is not) (?:trusted|valid)|certificate has expired|self.signed certificate"
        r"|unable to get (?:local )?issuer certificate|peer's ID does not match certificate",
    ),
]
#: IKEv2 of RouterOS.
_IKE_2: Final = [
    row("ike_initiate", rf"new ike2 SA \(I\):(?: (?P<connection>(?!{_END}\[\d+\]-).+?))? {_PAIR}"),
    row("ike_respond", rf"new ike2 SA \(R\):(?: (?P<connection>(?!{_END}\[\d+\]-).+?))? {_PAIR}"),
    row("ike_initiate", r"new ike2 SA \(I\)"),
    row("ike_respond", r"new ike2 SA"),
    row("ike_deleted", rf"killing ike2 SA:(?: (?P<connection>(?!{_END}\[\d+\]-).+?))? {_PAIR}"),
    row("ike_deleted", r"killing ike2 SA"),
    row("ike_established", rf"peer authorized:(?: (?P<connection>(?!{_END}\[\d+\]-).+?))? {_PAIR}"),
    row("ike_established", r"peer authorized"),
    row("ike_rekeyed", r"ike2? (?:SA )?rekey(?:ed|.*(?:complete|finish|done))"),
    row("child_rekey_failed", r".*rekey.*(?:failed|expired before finishing)"),
    row("giving_up", r".*max retransmit|.*retransmit.*(?:failures|limit) reached"),
    row(
        "retransmit",
        r"(?:ike2 (?:init )?)?retransmit(?:ting|ted)?\b(?!.*(?:failures|limit) reached)",
    ),
    row(
        "ike_timeout",
        r"(?:child negotiation|ike2? (?:init|auth)(?:entication)?|initiator|responder).*time(?:d )?out",
    ),
    row("dpd_timeout", r"(?:DPD|dpd|peer).*(?:seems to be dead|is dead|not responding|dead peer)"),
    row("child_closed", rf"(?:killing|removing|deleting) IPsec-SA:?\s*(?:{_SA})?"),
    row("half_open_limit", r".*(?:half.open|too many).*(?:limit|exceed|ike2)"),
]

ROWS: Final = table(
    {
        "initiate respond used phase1 phase2 isakmp-sa purging purged ipsec-sa": _PHASE_1,
        "give the resend resent dpd ipsec ike ikev1": _PHASE_1,
        "no failed couldn't mismatched not exchange expecting identity hash invalid login xauth": _REFUSALS,
        "authentication ikev1 id notification fatal parsing send reply got notify": _REFUSALS,
        "sending adding eap radius digest psk signature error can't auth the fail": _REFUSALS,
        "unable certificate crl self self-signed peer's can't failed the ocsp": _CERTIFICATES,
        "new killing peer ike2 ike max retransmit retransmitting child rekey removing": _IKE_2,
        "deleting initiator responder": _IKE_2,
    }
)
