"""What ASA and FTD mean by their messages, after `Group = …, IP = …,` or `Local:… Remote:…`.

By sentence where many messages share a number or several numbers a sentence (713902 to 713906 hold any), by number
where the sentence does not tell. Numbers: the Cisco Secure Firewall ASA Series Syslog Messages guide.
"""

from collections.abc import Mapping
from typing import Final

from ike.events.dialects.wording import Phrase, Table

#: What an IKEv2 negotiation was aborted for (750003; NEG_ABORT of IOS), and the same words in debugs.
ERRORS: Final = (
    Phrase("…failed to receive the auth msg before the timer expired", ("ike_timeout",)),
    Phrase("…maximum number of retransmissions reached", ("giving_up",)),
    Phrase("…maximum retransmission", ("giving_up",)),
    Phrase("…ke payload contained the wrong dh group", ("invalid_ke",)),
    Phrase("…invalid ke", ("invalid_ke",)),
    Phrase("…invalid_ke", ("invalid_ke",)),
    Phrase("…no ipsec policy found for received ts", ("ts_unacceptable",)),
    Phrase("…ts unacceptable", ("ts_unacceptable",)),
    Phrase("…ts_unacceptable", ("ts_unacceptable",)),
    Phrase("…unacceptable ts", ("ts_unacceptable",)),
    Phrase("…no proposal chosen", ("proposal_mismatch",)),
    Phrase("…no_proposal_chosen", ("proposal_mismatch",)),
    Phrase("…failed to find a matching policy", ("proposal_mismatch",)),
    Phrase("…failed to verify the proposed policies", ("proposal_mismatch",)),
    Phrase("…certificate is revoked", ("cert_revoked",)),
    Phrase("…certificate has been revoked", ("cert_revoked",)),
    Phrase("…certificate has expired", ("cert_invalid",), "expired"),
    Phrase("…failed to authenticate the ike sa", ("auth_failed",)),
    Phrase("…authentication failed", ("auth_failed",)),
    Phrase("…authentication failure", ("auth_failed",)),
    Phrase("…authentication_failed", ("auth_failed",)),
    Phrase("…authentication data failed", ("auth_failed",), "psk"),
    Phrase("…auth verification failed", ("auth_failed",)),
    Phrase("…verify auth failed", ("auth_failed",)),
    Phrase("…failed to verify psk", ("auth_failed",), "psk"),
    Phrase("…eap exchange failed", ("auth_failed",), "eap"),
    Phrase("…cookie challenge", ("cookie",)),
    Phrase("…auth exchange failed", ("auth_failed",)),
)

#: Only where nothing else states the cause.
ABORTS: Final = Table(
    (*ERRORS, Phrase("…failed to locate an item in the database", ("unknown_peer",)))
)

#: Messages of IKEv1 (713…, 715…) and of `debug crypto isakmp` of an ASA.
IKEV1: Final = Table(
    (
        Phrase("phase 1 completed", ("ike_established",)),
        Phrase("phase 2 completed", ("child_established",)),
        Phrase("security negotiation complete", ("child_established",)),
        Phrase("ike initiator: new phase 1", ("ike_initiate",)),
        Phrase("ike initiator: rekeying phase 1", ("ike_rekeyed",), phase="start"),
        Phrase("ike initiator: rekeying phase 2", ("child_rekeyed",), phase="start"),
        Phrase("session is being torn down", ("ike_deleted",)),
        Phrase("connection terminated for peer", ("child_closed",)),
        Phrase("terminating tunnel to hardware client", ("ike_deleted",)),
        Phrase("ike lost contact with remote peer", ("dpd_timeout", "ike_deleted")),
        Phrase("ike session establishment timed out", ("ike_timeout",)),
        Phrase("timed out on initial contact", ("ike_timeout",)),
        Phrase("ike received delete for rekeyed sa", ("ike_deleted",)),
        Phrase("ike received delete for rekeyed centry", ("child_closed",)),
        Phrase("sending ike delete with reason", ("ike_deleted",)),
        Phrase("received ike delete with reason", ("ike_deleted",)),
        Phrase("sending ipsec delete with reason", ("child_closed",)),
        Phrase("received ipsec delete with reason", ("child_closed",)),
        Phrase("ike deleting sa: remote proxy", ("child_closed",)),
        Phrase("attempting to establish a phase2 tunnel on", ("ike_deleted",)),
        # What the peer tells us.
        Phrase("received non-routine notify message: no proposal chosen", ("proposal_mismatch",)),
        Phrase("received non-routine notify message: invalid id info", ("ts_unacceptable",)),
        Phrase("received non-routine notify message: authentication failed", ("auth_failed",)),
        Phrase("received non-routine notify message: invalid hash", ("auth_failed",)),
        Phrase("received an un-encrypted no_proposal_chosen", ("proposal_mismatch",)),
        Phrase("received an un-encrypted authentication_failed", ("auth_failed",)),
        Phrase("received an un-encrypted auth_failed", ("auth_failed",)),
        Phrase("received an un-encrypted invalid_id_info", ("ts_unacceptable",)),
        # What we refuse.
        Phrase("all ipsec sa proposals found unacceptable", ("proposal_mismatch",)),
        Phrase("all sa proposals found unacceptable", ("proposal_mismatch",)),
        Phrase("ike remote peer did not negotiate", ("proposal_mismatch",)),
        Phrase("phase 1 failure: mismatched attribute", ("proposal_mismatch",)),
        Phrase("phase 1 failure:  mismatched attribute", ("proposal_mismatch",)),
        Phrase("phase 2 failure: mismatched attribute", ("proposal_mismatch",)),
        Phrase("phase 2 failure:  mismatched attribute", ("proposal_mismatch",)),
        Phrase("xauth required but selected proposal", ("proposal_mismatch",)),
        Phrase("rejecting ipsec tunnel: no matching crypto map", ("ts_unacceptable",)),
        Phrase("invalid source proxy address", ("ts_unacceptable",)),
        Phrase("received invalid local proxy range", ("ts_unacceptable",)),
        Phrase("received invalid remote proxy range", ("ts_unacceptable",)),
        Phrase("can't find a valid tunnel group", ("unknown_peer",)),
        Phrase(
            "received isakmp aggressive mode message 1 with unknown tunnel group", ("unknown_peer",)
        ),
        Phrase("sending spoofed isakmp aggressive mode message 2", ("unknown_peer",)),
        Phrase("tunnel rejected: ike peer does not match", ("unknown_peer",)),
        Phrase("tunnel rejected: originate-only", ("unknown_peer",)),
        Phrase("tunnel rejected: user", ("auth_failed",)),
        Phrase("tunnel rejected: client type", ("auth_failed",)),
        Phrase(
            "…had problems decrypting packet, probably due to mismatched", ("auth_failed",), "psk"
        ),
        Phrase("client ike auth mode differs", ("auth_failed",)),
        Phrase("headend security gateway has failed our user", ("auth_failed",), "eap"),
        Phrase("remote peer has failed user authentication", ("auth_failed",), "eap"),
        Phrase("user authorization failed", ("auth_failed",), "eap"),
        Phrase("meta-data received authentication failure", ("auth_failed",)),
        Phrase("authentication failed", ("auth_failed",)),
        Phrase("unable to process the received peer certificate", ("cert_invalid",)),
        Phrase("unsupported certificate encoding", ("cert_invalid",)),
        Phrase("peer certificate authentication failed", ("cert_invalid",)),
        Phrase("maximum concurrent ike negotiations exceeded", ("half_open_limit",)),
        Phrase("dropping new negotiation - ikev1 in-negotiation", ("half_open_limit",)),
        # A response, or a request, again.
        Phrase("duplicate phase 1 packet detected.  retransmitting", ("retransmit",)),
        Phrase("duplicate phase 2 packet detected.  retransmitting", ("retransmit",)),
        Phrase("duplicate first packet detected.  retransmitting", ("retransmit",)),
        Phrase("duplicate phase 1 packet detected. retransmitting", ("retransmit",)),
        Phrase("duplicate phase 2 packet detected. retransmitting", ("retransmit",)),
        Phrase("duplicate first packet detected. retransmitting", ("retransmit",)),
        Phrase("ike_decode resending message", ("retransmit",)),
    )
)

#: Messages of IKEv2 (750…, 751…), after `Local:… Remote:… Username:…`.
IKEV2: Final = Table(
    (
        Phrase("received a ike_init_sa request", ("ike_respond",)),
        Phrase("received an ike_init_sa request", ("ike_respond",)),
        Phrase("received request to rekey an ipsec tunnel", ("child_rekeyed",), phase="start"),
        Phrase("received request to establish an ipsec tunnel"),
        Phrase("sending cookie challenge", ("cookie",)),
        Phrase("sa up", ("ike_established",)),
        Phrase("sa down", ("ike_deleted",)),
        Phrase("ipsec rekey collision detected", ("child_closed", "collision")),
        Phrase("session aborted", ("ike_deleted", "duplicate_replaced")),
        Phrase("deleting ipsec sa", ("child_closed",)),
        Phrase("tunnel rejected: selected ikev2 encryption", ("proposal_mismatch",)),
        Phrase("tunnel rejected: crypto map policy not found", ("ts_unacceptable",)),
        Phrase("tunnel rejected: ikev2 not enabled", ("unknown_peer",)),
        Phrase("unable to find tunnel group for peer", ("unknown_peer",)),
        Phrase("unable to determine self-authentication", ("unknown_peer",)),
        Phrase("no preshared key or trustpoint", ("auth_failed",)),
        Phrase("no pre-shared key or trustpoint", ("auth_failed",)),
        Phrase("no remote authentication method", ("auth_failed",)),
        Phrase("anyconnect client reconnect authentication failed", ("auth_failed",)),
        Phrase("certificate authentication failed", ("auth_failed",)),
        Phrase("failed user authentication", ("auth_failed",), "eap"),
        Phrase("terminating the vpn connection attempt", ("auth_failed",)),
        Phrase("sa request rejected", ("half_open_limit",)),
        Phrase("sa request rejected by cac", ("half_open_limit",)),
        Phrase("ikev2 sa (ispi", ("address_changed",)),
        *ERRORS,
    )
)

#: Messages about certificates (717…). They do not say whether IKE or TLS asked.
CERTIFICATES: Final = Table(
    (
        Phrase("…has been revoked", ("cert_revoked",)),
        Phrase("…is revoked", ("cert_revoked",)),
        Phrase("…revoked certificate", ("cert_revoked",)),
        Phrase("certificate validation failed", ("cert_invalid",)),
        Phrase("certificate chain failed validation", ("cert_invalid",)),
        Phrase("certificate data could not be verified", ("cert_invalid",)),
        Phrase("failed to find a suitable trustpoint", ("cert_invalid",)),
        Phrase("crl polling failed", ("crl_fetch_failed",)),
        Phrase("failed to refresh crl", ("crl_fetch_failed",)),
        Phrase("failed to retrieve crl", ("crl_fetch_failed",)),
        Phrase("ocsp status check failed", ("crl_fetch_failed",)),
        Phrase("ocsp status failed", ("crl_fetch_failed",)),
        Phrase("tunnel group search using certificate maps failed", ("unknown_peer",)),
    )
)

#: Messages whose number says it all.
NUMBERS: Final[Mapping[str, tuple[tuple[str, ...], str | None]]] = {
    "113019": (("ike_deleted",), None),
    "602303": (("child_established",), None),
    "602304": (("child_closed",), None),
    "702305": (("child_rekeyed",), "start"),
    "702307": (("child_rekeyed",), "start"),
    "752016": (("child_established",), None),
}
