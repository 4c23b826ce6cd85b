"""What can be wrong with a configuration. Data; `ike.audit.configuration.judging` finds it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ike.audit.configuration import daemon_rules
from ike.audit.configuration.proposals import Protocol
from ike.audit.values import Area, Rule, Severity

_ALGORITHMS: Final = (
    *(
        "RFC 8247 §2",
        "RFC 8221 §5 and §6",
        "NIST SP 800-77r1 Table 1",
        "BSI TR-02102-3 §3",
    ),
    "RFC 9206 §5",
    "draft-guthrie-cnsa2-ipsec-profile-04",
)
_MEND: Final = (
    "Configure proposals that hold only what both ends need, AES-GCM with a group of 2048 bits or a"
    " 256-bit curve at least, on both ends; then load the connection and let it be made anew."
)


def _rule(
    name: str,
    severity: Severity,
    title: str,
    why: str,
    fix: str = _MEND,
    references: tuple[str, ...] = _ALGORITHMS,
) -> Rule:
    return Rule(name, Area.CONFIGURATION, severity, title, why, fix, references)


_FAMILIES: Final[Mapping[str, tuple[Severity, str, str]]] = MappingProxyType(
    {
        "des": (
            Severity.HIGH,
            "single DES",
            "A key of 56 bits is found in hours: all traffic can be read.",
        ),
        "obsolete-cipher": (
            Severity.MEDIUM,
            "a cipher that was withdrawn",
            "Nobody looks after these ciphers any longer, and some have blocks of 64 bits: after some gigabytes under"
            " one key, plain text leaks.",
        ),
        "3des": (
            Severity.MEDIUM,
            "3DES",
            "Its blocks have 64 bits: after some gigabytes under one key, plain text leaks (Sweet32).",
        ),
        "md5": (
            Severity.MEDIUM,
            "MD5",
            "MD5 is broken. An attacker in the middle makes both ends take it if both offer it.",
        ),
        "sha1": (
            Severity.LOW,
            "SHA-1",
            "SHA-1 is broken for signatures, and every standard takes it off its lists for the rest too.",
        ),
        "weak-group": (
            Severity.HIGH,
            "a Diffie-Hellman group that can be broken",
            "Logarithms in groups of 1024 bits and less are in reach of an attacker with means, who then reads recorded"
            " traffic and knows every key made in it (Logjam).",
        ),
        "modp1536": (
            Severity.MEDIUM,
            "the Diffie-Hellman group of 1536 bits",
            "It has less than 112 bits of strength: recorded traffic will be read within its lifetime.",
        ),
        "doubtful-group": (
            Severity.MEDIUM,
            "a Diffie-Hellman group of RFC 5114",
            "Nobody knows how these primes were found, and small subgroups leak keys where they are not checked.",
        ),
        "truncated-hash": (
            Severity.LOW,
            "SHA-256 truncated to 96 bits",
            "It is there for peers with a fault of fifteen years ago, and is weaker than what the standard has.",
        ),
        "outside-baseline": (
            Severity.MEDIUM,
            "an algorithm that the baseline does not have",
            "Whoever must follow the baseline does not with this connection, as soon as the peer asks for it.",
        ),
    }
)


def _proposal_rules() -> dict[tuple[Protocol, str], Rule]:
    found: dict[tuple[Protocol, str], Rule] = {}
    for start, text in (("ike", "IKE"), ("esp", "ESP or AH")):
        for family, (severity, what, why) in _FAMILIES.items():
            rule = _rule(
                f"{start}-proposal-{family}", severity, f"{text} proposals hold {what}", why
            )
            for protocol in (Protocol.IKE,) if start == "ike" else (Protocol.ESP, Protocol.AH):
                found[protocol, family] = rule
    return found


PROPOSAL: Final = MappingProxyType(_proposal_rules())

NULL_ENCRYPTION: Final = _rule(
    "esp-null-encryption",
    Severity.HIGH,
    "Traffic may go through the tunnel unencrypted",
    "The packets are authenticated, and everybody on the way reads them.",
    "Take `null` (and `aes…gmac`) out of the proposals, unless the traffic is meant to be readable.",
    ("RFC 8221 §5", "NIST SP 800-77r1 §4.5"),
)
NO_INTEGRITY: Final = _rule(
    "esp-without-integrity",
    Severity.HIGH,
    "ESP encrypts without protecting integrity",
    "Whoever can change packets on the way learns what is in them: encryption alone was broken in practice.",
    references=("RFC 8221 §4",),
)
AH_ONLY: Final = _rule(
    "ah-only",
    Severity.MEDIUM,
    "The tunnel uses AH, which encrypts nothing",
    "Everybody on the way reads the packets; AH is obsolete, and does not pass NAT.",
    "Use ESP: `esp_proposals` in swanctl.conf, `esp` in ipsec.conf (Libreswan: with `phase2=esp`), instead of what"
    " stands for AH.",
    ("RFC 4301 §3.2", "NIST SP 800-77r1 §4.5"),
)
AH_TAKEN: Final = _rule(
    "ah-taken",
    Severity.HIGH,
    "Traffic may go through the tunnel with AH, which encrypts nothing",
    "The peer chooses AH, and everybody on the way reads packets that were meant to be encrypted.",
    "Take `ah_proposals` out, on both ends.",
    ("RFC 8221 §4", "RFC 4301 §3.2", "NIST SP 800-77r1 §4.5"),
)
NO_PFS: Final = _rule(
    "no-pfs",
    Severity.LOW,
    "Rekeying makes keys without a new key exchange",
    "Whoever learns the keys of the IKE SA reads all that went through the tunnel while it lived.",
    "Put a Diffie-Hellman group into each ESP proposal, on both ends (Libreswan: `pfs=yes`).",
    ("RFC 7296 §1.3", "NIST SP 800-77r1 §7.2.6", "BSI TR-02102-3 §2.1.5"),
)
NO_ML_KEM: Final = _rule(
    "no-post-quantum-exchange",
    Severity.MEDIUM,
    "A key exchange that withstands quantum computers may be left out",
    "What is recorded today is read when there is such a computer.",
    "Add ML-KEM as an additional key exchange on both ends (strongSwan 6.0: `ke1_mlkem1024`), or use a PPK (RFC 8784)"
    " until both have it.",
    ("draft-guthrie-cnsa2-ipsec-profile-04 §3", "RFC 9370 §1"),
)
DEFAULTS: Final = _rule(
    "default-proposals",
    Severity.LOW,
    "No proposals are configured, and the daemon's own are weaker than the baseline",
    "What is negotiated changes with the daemon's release and plugins, and holds what is there for old peers.",
)
NOT_STRICT: Final = _rule(
    "proposals-not-strict",
    Severity.LOW,
    "The daemon's own proposals are taken beside those that are configured",
    "Without a `!` at the end of the setting charon puts its defaults behind it, and takes them from the peer.",
    "Put a `!` at the end of `ike` and `esp`.",
)
IKEV1: Final = _rule(
    "ikev1",
    Severity.MEDIUM,
    "The connection is made with IKEv1",
    "IKEv1 is historic: its PSKs can be guessed offline in Aggressive Mode, it has no AEAD, and nobody mends it.",
    "Set `version = 2` (swanctl.conf), `keyexchange=ikev2` (strongSwan) or `ikev2=insist` (Libreswan), on both ends.",
    ("RFC 9395 §3", "NIST SP 800-77r1 §3.11", "BSI TR-02102-3"),
)
IKEV1_TAKEN: Final = _rule(
    "ikev1-taken",
    Severity.LOW,
    "IKEv1 is taken beside IKEv2",
    "An attacker who initiates chooses the older one, with its weaker proposals and messages.",
    "Set `version = 2` (swanctl.conf), `keyexchange=ikev2` (strongSwan) or `ikev2=insist` (Libreswan).",
    ("RFC 9395 §3", "NIST SP 800-77r1 §3.11"),
)
AGGRESSIVE: Final = _rule(
    "aggressive-mode",
    Severity.HIGH,
    "IKEv1 Aggressive Mode is used",
    "Identities are sent in the clear, and the responder gives a hash to whoever asks.",
    "Use IKEv2, or Main Mode (`aggressive = no`).",
    ("RFC 9395 §3", "NIST SP 800-77r1 §7.2.6"),
)
AGGRESSIVE_PSK: Final = _rule(
    "aggressive-mode-psk",
    Severity.CRITICAL,
    "IKEv1 Aggressive Mode with a pre-shared key",
    "The answer to the first packet holds a hash of the PSK: whoever may ask for it, or listens where it passes,"
    " guesses the PSK offline with as many machines as there are.",
    "Use IKEv2; until then Main Mode, and a PSK made anew of 32 random bytes: the old one may be known.",
    ("RFC 9395 §3", "NIST SP 800-77r1 §7.2.6", "CVE-2002-1623"),
)
IKE_LIFE: Final = _rule(
    "ike-lifetime-long",
    Severity.MEDIUM,
    "The IKE SA lives longer than the baseline lets it",
    "The longer keys live, the more is lost with them; a certificate that was revoked stays good for as long.",
    "Shorten `rekey_time` or `reauth_time` (swanctl.conf), `ikelifetime` (ipsec.conf).",
    ("RFC 7296 §2.8", "NIST SP 800-77r1 Table 1", "BSI TR-02102-3"),
)
CHILD_LIFE: Final = _rule(
    "child-lifetime-long",
    Severity.MEDIUM,
    "Keys of the tunnel's traffic live longer than the baseline lets them",
    "The longer a key is used, the more traffic is lost with it.",
    "Shorten `rekey_time` of the child (swanctl.conf), `lifetime` or `salifetime` (ipsec.conf).",
    ("RFC 7296 §2.8", "NIST SP 800-77r1 Table 1", "BSI TR-02102-3"),
)
NO_IKE_LIFE: Final = _rule(
    "ike-lifetime-unlimited",
    Severity.MEDIUM,
    "The IKE SA is never replaced",
    "Its keys stay until somebody ends it: whoever gets them reads all that they protected.",
    "Set `rekey_time = 4h` (swanctl.conf), `rekey=yes` (ipsec.conf).",
    ("RFC 7296 §2.8", "NIST SP 800-77r1 Table 1"),
)
NO_CHILD_LIFE: Final = _rule(
    "child-lifetime-unlimited",
    Severity.MEDIUM,
    "Keys of the tunnel's traffic are never replaced by age",
    "They stay for as long as the tunnel stands, and all of its traffic is lost with them.",
    "Set `rekey_time = 1h` in the child (swanctl.conf), `rekey=yes` and a lifetime (ipsec.conf).",
    ("RFC 7296 §2.8", "NIST SP 800-77r1 Table 1"),
)
LOGGED_KEYS: Final = _rule(
    "log-holds-keys",
    Severity.HIGH,
    "The daemon writes keys into its log",
    "Keys of tunnels and PSKs stand in log files and journals, are sent to collectors and kept for years.",
    "Lower the levels (charon: at most 2; pluto: no `private`), reload, and delete the logs that"
    " were written meanwhile; keys and PSKs of that time are to be made anew.",
    ("CWE-532",),
)
LOGGED_RAW: Final = _rule(
    "log-holds-packets",
    Severity.LOW,
    "The daemon dumps messages into its log",
    "Level 3 writes packets as they are: identities, certificates and configuration of all peers stand in the log.",
    "Lower the levels to 1 or 2 when the fault is found.",
    ("CWE-532",),
)
REVOCATION: Final = _rule(
    "revocation-not-required",
    Severity.LOW,
    "A peer is let in when nobody can say whether its certificate is revoked",
    "Whoever stole a key keeps the CRL and OCSP servers from answering, and comes in with it.",
    "Set `revocation = strict` in the remote section (swanctl.conf), `strictcrlpolicy=yes` (strongSwan's ipsec.conf)"
    " or `crl-strict=yes` (Libreswan) once a CRL or OCSP answer is reachable for the peers' certificates: without one"
    " the tunnel does not come up.",
    ("RFC 5280 §6.1.3", "RFC 5280 §6.3"),
)
REVOCATION_IF_URI: Final = _rule(
    "revocation-only-with-uri",
    Severity.INFO,
    "Revocation is asked for only where a certificate says where",
    "A CA whose certificates name no CRL and no OCSP server is believed without a question.",
    "Set it to strict once a CRL or OCSP answer is reachable for the certificates of every CA.",
    ("RFC 5280 §6.3",),
)
PSK: Final = _rule(
    "psk-instead-of-certificate",
    Severity.HIGH,
    "The connection proves itself by a pre-shared key, where certificates are wanted",
    "A PSK cannot be revoked, is the same on both ends, and whoever copies it is both of them.",
    "Use certificates on both ends: `auth = pubkey` (swanctl.conf), `leftauth=pubkey` and `rightauth=pubkey`"
    " (strongSwan's ipsec.conf), `authby=rsa-sha2` or `ecdsa` (Libreswan).",
    ("NIST SP 800-77r1 §3.3.4", "BSI TR-02102-3 §3.2.5"),
)
PSK_ANY: Final = _rule(
    "any-peer-by-psk",
    Severity.HIGH,
    "Anybody on the net may try a pre-shared key, under any identity",
    "Everyone who knows the one key can be everyone else, and one who left keeps it.",
    "Name the peer's addresses and identity, or give each peer a certificate.",
    ("RFC 7296 §2.15", "NIST SP 800-77r1 §3.3.4"),
)
SHARED: Final = _rule(
    "one-policy-for-everyone",
    Severity.MEDIUM,
    "One policy lets everyone reach everything",
    "Any peer that gets in may send to all networks, and claim all addresses behind itself.",
    "Name the networks of each end in the traffic selectors, and give each peer its own connection.",
    ("RFC 7296 §2.9", "RFC 4301 §4.4.1"),
)
ANY_CERTIFICATE: Final = _rule(
    "any-certificate-taken",
    Severity.LOW,
    "A peer is let in with any certificate of any authority that is trusted here",
    "Whoever has one, as every other peer and user, passes for this peer.",
    "Set the peer's identity (`id` of swanctl.conf's remote section, `rightid` of ipsec.conf), or the authority of"
    " those who may come in (`cacerts`, `rightca`).",
    ("strongSwan swanctl.conf, connections.<conn>.remote<suffix>.id", "RFC 4945 §3.1"),
)
EAP_MD5: Final = _rule(
    "eap-md5",
    Severity.MEDIUM,
    "Users prove themselves by EAP-MD5",
    "Whoever passes for the gateway once, or has a record of the exchange in the clear, guesses the password offline:"
    " the method proves nothing of the gateway.",
    "Use certificates (`auth = eap-tls` or `pubkey`), or EAP-MSCHAPv2 with a gateway's certificate that is checked.",
    ("RFC 3748 §5.4", "RFC 7296 §2.16"),
)
SHA1_SIGNATURE: Final = _rule(
    "signature-sha1-taken",
    Severity.MEDIUM,
    "Signatures with SHA-1 are taken as a peer's proof",
    "Collisions can be calculated: who may have one thing signed has the signature of another.",
    "Leave `sha1` out of `auth` (swanctl.conf) or `rightauth` (strongSwan's ipsec.conf): `rsa-2048-sha256` or better."
    " Libreswan: `authby=rsa-sha2` or `authby=ecdsa`.",
    ("RFC 8247 §3.2", "NIST SP 800-131A rev. 2 §9"),
)
CLEAR_TEXT: Final = _rule(
    "clear-text-let-through",
    Severity.MEDIUM,
    "Traffic of a tunnel goes in the clear while the tunnel does not stand",
    "Whoever keeps IKE from getting through gets the traffic in clear text.",
    "Set `failureshunt=drop` and `negotiationshunt=hold`, and `type=tunnel`.",
    ("RFC 4301 §4.4.1",),
)
NO_AUTHENTICATION: Final = _rule(
    "peer-not-authenticated",
    Severity.HIGH,
    "A peer need not prove who it is",
    "An attacker in the middle is taken for anybody; the tunnel keeps out only those who merely listen.",
    "Use certificates, unless the connection is meant to be opportunistic.",
    ("RFC 7619 §2", "NIST SP 800-77r1 §3.3.5"),
)
AGGRESSIVE_PSK_ALLOWED: Final = _rule(
    "aggressive-mode-psk-allowed",
    Severity.HIGH,
    "charon answers Aggressive Mode with pre-shared keys",
    "The responder gives a hash of the PSK to whoever asks; charon refuses that unless it is told not to.",
    "Take `i_dont_care_about_security_and_use_aggressive_mode_psk` out of strongswan.conf.",
    ("RFC 9395 §3",),
)
UNENCRYPTED_MAIN_MODE: Final = _rule(
    "unencrypted-main-mode-taken",
    Severity.MEDIUM,
    "charon takes messages of Main Mode that should be encrypted and are not",
    "Identities and hashes go over the net in the clear, and a check that IKEv1 counts on is off.",
    "Take `accept_unencrypted_mainmode_messages` out of strongswan.conf, and mend the peer.",
    ("RFC 2409 §5", "RFC 9395 §3"),
)
VENDOR_ID: Final = _rule(
    "vendor-id-sent",
    Severity.INFO,
    "charon tells everyone its vendor",
    "Who looks for a fault of one implementation finds it sooner.",
    "Take `send_vendor_id` out of strongswan.conf, unless a feature needs it.",
    ("RFC 7296 §3.12",),
)
NO_CRYPTO_POLICY: Final = _rule(
    "crypto-policy-not-included",
    Severity.LOW,
    "Libreswan does not follow the system's crypto policy",
    "The system's administrator takes algorithms out of use in one place, and the tunnels keep them.",
    "Put `include /etc/crypto-policies/back-ends/libreswan.config` into /etc/ipsec.conf.",
    ("ComplianceAsCode configure_libreswan_crypto_policy", "STIG RHEL-09-671020"),
)

# What the chosen baseline decides: it alone is cited.
OF_BASELINE: Final = frozenset(
    each.id
    for each in (
        *PROPOSAL.values(),
        *(NO_PFS, NO_ML_KEM, DEFAULTS, NOT_STRICT),
        *(IKE_LIFE, CHILD_LIFE, NO_IKE_LIFE, NO_CHILD_LIFE),
    )
)

RULES: Final[tuple[Rule, ...]] = (
    *dict.fromkeys(PROPOSAL.values()),
    *(NULL_ENCRYPTION, NO_INTEGRITY, AH_ONLY, AH_TAKEN),
    *(NO_PFS, NO_ML_KEM, DEFAULTS, NOT_STRICT),
    *(IKEV1, IKEV1_TAKEN, AGGRESSIVE, AGGRESSIVE_PSK),
    *(IKE_LIFE, CHILD_LIFE, NO_IKE_LIFE, NO_CHILD_LIFE),
    *(LOGGED_KEYS, LOGGED_RAW, REVOCATION, REVOCATION_IF_URI),
    *(PSK, PSK_ANY, SHARED, NO_AUTHENTICATION),
    *(ANY_CERTIFICATE, EAP_MD5, SHA1_SIGNATURE, CLEAR_TEXT),
    *daemon_rules.RULES,
    *(AGGRESSIVE_PSK_ALLOWED, UNENCRYPTED_MAIN_MODE, VENDOR_ID, NO_CRYPTO_POLICY),
)
