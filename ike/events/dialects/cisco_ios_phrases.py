"""What IOS and IOS XE mean: system messages by their mnemonic, and the lines of `debug crypto isakmp|ikev2|ipsec`."""

from collections.abc import Mapping
from typing import Final

from ike.events.dialects.cisco_asa_phrases import ERRORS
from ike.events.dialects.wording import Phrase, Table

#: System messages, `%FACILITY-severity-MNEMONIC`, by facility and mnemonic.
MESSAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "IKEV2/SA_UP": ("ike_established",),
    "IKEV2/SA_DOWN": ("ike_deleted",),
    "IKEV2/RECV_CONNECTION_REQUEST": ("ike_respond",),
    "CRYPTO/IKMP_AUTH_FAIL": ("auth_failed",),
    "CRYPTO/IKMP_CRYPT_FAILURE": ("auth_failed",),
    "CRYPTO/IKMP_INVAL_CERT": ("cert_invalid",),
    "CRYPTO/IKMP_SA_NOT_OFFERED": ("proposal_mismatch",),
    "CRYPTO/IKE_DENY_SA_REQ": ("half_open_limit",),
    "CRYPTO/ISAKMP_MANUAL_DELETE": ("ike_deleted",),
    "CRYPTO/EZVPN_CONNECTION_UP": ("ike_established",),
    "CRYPTO/EZVPN_CONNECTION_DOWN": ("ike_deleted",),
    "FLEXVPN/FLEXVPN_CONNECTION_UP": ("ike_established",),
    "FLEXVPN/FLEXVPN_CONNECTION_DOWN": ("ike_deleted",),
    "PKI/CERTIFICATE_REVOKED": ("cert_revoked",),
    "PKI/CERTIFICATE_INVALID": ("cert_invalid",),
    "PKI/CERTIFICATE_INVALID_EXPIRED": ("cert_invalid",),
    "PKI/CERTIFICATE_INVALID_NOT_YET_VALID": ("cert_invalid",),
    "PKI/CERTIFICATE_INVALID_UNAUTHORIZED": ("cert_invalid",),
    "PKI/CRL_FETCH_FAIL": ("crl_fetch_failed",),
    "PKI/CRL_INSERT_FAIL": ("crl_fetch_failed",),
    "PKI/CRL_LDAP_QUERY_FAIL": ("crl_fetch_failed",),
    "PKI/CRL_HTTP_FETCH_FAIL": ("crl_fetch_failed",),
    "PKI/OCSP_FAIL": ("crl_fetch_failed",),
}

#: Any other message of these facilities, by its sentence.
SENTENCES: Final = Table(
    (
        Phrase("crypto tunnel is up", ("child_established",)),
        Phrase("crypto tunnel is down", ("child_closed",)),
        Phrase("crypto tunnel v2 is up", ("child_established",)),
        Phrase("crypto tunnel v2 is down", ("child_closed",)),
        Phrase("received request to rekey an ipsec tunnel", ("child_rekeyed",), phase="start"),
        # What an IOS says of most negotiations of IKEv1 that fail: the policies differ; and, of a message that it
        # cannot make out after it was decrypted, the pre-shared keys.
        Phrase("processing of main mode failed with peer", ("proposal_mismatch",)),
        Phrase("processing of aggressive mode failed with peer", ("proposal_mismatch",)),
        Phrase("processing of quick mode failed with peer", ("proposal_mismatch",)),
        Phrase("…failed its sanity check or is malformed", ("auth_failed",)),
        *ERRORS,
        Phrase("…failed to locate an item in the database", ("unknown_peer",)),
    )
)

#: `ISAKMP:(1001):…` and `IPSEC(…):…`.
ISAKMP: Final = Table(
    (
        Phrase("beginning main mode exchange", ("ike_initiate",)),
        Phrase("beginning aggressive mode exchange", ("ike_initiate",)),
        Phrase("retransmission skipped"),
        Phrase("retransmitting", ("retransmit",)),
        Phrase("deleting sa reason", ("ike_deleted",)),
        Phrase("received initial contact, deleting sa", ("ike_deleted", "duplicate_replaced")),
        Phrase("…not responding!", ("dpd_timeout",)),
        Phrase("phase 1 sa policy not acceptable", ("proposal_mismatch",)),
        Phrase("phase 2 sa policy not acceptable", ("proposal_mismatch",)),
        Phrase("phase 2 sa not acceptable", ("proposal_mismatch",)),
        Phrase("no offers accepted", ("proposal_mismatch",)),
        Phrase("ipsec policy invalidated proposal with error 32", ("ts_unacceptable",)),
        Phrase("ipsec policy invalidated proposal with error 8", ("ts_unacceptable",)),
        Phrase("ipsec policy invalidated proposal", ("proposal_mismatch",)),
        Phrase("processing notify proposal_not_chosen", ("proposal_mismatch",)),
        Phrase("processing notify no_proposal_chosen", ("proposal_mismatch",)),
        Phrase("processing notify invalid_id_info", ("ts_unacceptable",)),
        Phrase("processing notify authentication_failed", ("auth_failed",)),
        Phrase("sending notify proposal_not_chosen", ("proposal_mismatch",)),
        Phrase("sending notify no_proposal_chosen", ("proposal_mismatch",)),
        Phrase("sending notify invalid_id_info", ("ts_unacceptable",)),
        Phrase("sending notify authentication_failed", ("auth_failed",)),
        Phrase("no pre-shared key with", ("auth_failed",), "psk"),
        Phrase("no preshared key with", ("auth_failed",), "psk"),
        Phrase("…hash payload verification failed", ("auth_failed",)),
        Phrase("…hash verification failed", ("auth_failed",)),
        Phrase("signature invalid", ("auth_failed",)),
        Phrase("…unable to verify signature", ("auth_failed",)),
        Phrase("…map_db_find_best did not find matching map", ("ts_unacceptable",)),
        Phrase("…proxy identities not supported", ("ts_unacceptable",)),
        Phrase("…no ipsec cryptomap exists", ("ts_unacceptable",)),
        Phrase("…transform proposal not supported", ("proposal_mismatch",)),
        Phrase("enqueued key_mgr_delete_sas for ipsec sa", ("child_closed",)),
        Phrase("create_sa): sa created", ("child_established",)),
        Phrase("delete_sa): deleting sa", ("child_closed",)),
        Phrase("key_engine_delete_sas): delete sa with spi", ("child_closed",)),
    )
)

#: `IKEv2:(SESSION ID = 7,SA ID = 1):…`, and `IKEv2-PROTO-4: (7): …` of an ASA.
IKEV2: Final = Table(
    (
        Phrase("…curstate: idle event: ev_init_sa", ("ike_initiate",)),
        Phrase("…curstate: idle event: ev_recv_init", ("ike_respond",)),
        Phrase("sm trace"),
        Phrase("verify sa init message", ("ike_respond",)),
        Phrase("generating ike_sa_init message", ("ike_initiate",)),
        Phrase("…sa created; inserting sa into database", ("ike_established",)),
        Phrase("session with ike id pair", ("ike_established",)),
        Phrase("…creation of ipsec sa into ipsec database passed", ("child_established",)),
        Phrase("sending delete info message for ipsec sa", ("child_closed",)),
        Phrase("processing delete info message for ipsec sa", ("child_closed",)),
        Phrase("sending delete info message for ikev2 sa", ("ike_deleted",)),
        Phrase("processing delete info message for ikev2 sa", ("ike_deleted",)),
        Phrase("deleting sa", ("ike_deleted",)),
        Phrase("retransmitting", ("retransmit",)),
        Phrase("sending invalid ke", ("invalid_ke",)),
        Phrase("processing invalid ke", ("invalid_ke",)),
        Phrase("received invalid ke", ("invalid_ke",)),
        Phrase("beginning ike sa rekey", ("ike_rekeyed",), phase="start"),
        Phrase("beginning child sa rekey", ("child_rekeyed",), phase="start"),
        Phrase("…ikev2 profile not found", ("unknown_peer",)),
        Phrase("…profile could not be found by peer certificate", ("unknown_peer",)),
        *ERRORS,
    )
)

#: Lists of payloads under `Payload contents:`.
PAYLOADS: Final = Table(
    (
        Phrase("…notify(no_proposal_chosen)", ("proposal_mismatch",)),
        Phrase("…notify(authentication_failed)", ("auth_failed",)),
        Phrase("…notify(ts_unacceptable)", ("ts_unacceptable",)),
        Phrase("…notify(invalid_ke_payload)", ("invalid_ke",)),
        Phrase("…notify(cookie)", ("cookie",)),
    )
)
