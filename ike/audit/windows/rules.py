"""What can be wrong on a Windows gateway."""

from typing import Final

from ike.audit.values import Area, Rule, Severity


def _rule(id_: str, severity: Severity, title: str, why: str, fix: str, *references: str) -> Rule:
    return Rule(f"windows-{id_}", Area.WINDOWS, severity, title, why, fix, references)


_ACL: Final = "Microsoft: default permissions of the MachineKeys folders"
_AUTH: Final = "Microsoft: New-NetIPsecAuthProposal"

KEY_OPEN: Final = _rule(
    "key-open",
    Severity.CRITICAL,
    "A private key of the machine can be read or changed by ordinary users",
    "Whoever is logged on copies the key file, and with the machine's DPAPI key, which a backup or any later way to "
    "the system account gives, is this gateway.",
    "Let only the system and administrators at it: icacls FILE /inheritance:r /grant:r *S-1-5-18:F *S-1-5-32-544:F. "
    "Then make a new key: this one may have been copied.",
    _ACL,
)
KEY_OWNER: Final = _rule(
    "key-owner",
    Severity.MEDIUM,
    "The file of a private key belongs to a user",
    "An owner may give himself every right to a file, whatever its ACL says.",
    "Hand it to the administrators: icacls FILE /setowner *S-1-5-32-544.",
    _ACL,
)
KEY_EXPORTABLE: Final = _rule(
    "key-exportable",
    Severity.MEDIUM,
    "The private key of an IPsec certificate can be exported",
    "Whoever is administrator for a minute takes the key along as a file, and needs this machine no more.",
    "Enroll again with a key that is not exportable (Exportable=FALSE in the request; Import-PfxCertificate without "
    "-Exportable), best in a TPM.",
    "NIST SP 800-57 part 1 rev. 5 §6.2.2",
)
PFX_OPEN: Final = _rule(
    "pfx-open",
    Severity.CRITICAL,
    "A PFX file, which holds a private key, can be read by ordinary users",
    "Its password is all that protects the key then, and it can be guessed at leisure.",
    "Delete the file where the key is in the store already; else let only administrators at it. Make a new key.",
    "NIST SP 800-57 part 1 rev. 5 §6.2.2",
)
PFX_LEFT: Final = _rule(
    "pfx-left",
    Severity.LOW,
    "A PFX file, which holds a private key, was left on the disk",
    "It goes into every backup, and its key is as safe as the weakest of these and its password.",
    "Delete it when the key is in the store; keep what must be kept off this machine.",
    "NIST SP 800-57 part 1 rev. 5 §8.3.4",
)
CIPHER_DES: Final = _rule(
    "cipher-des",
    Severity.HIGH,
    "DES is proposed",
    "A key of 56 bits is found within a day by trying all of them.",
    "Propose AES alone: New-NetIPsecMainModeCryptoProposal -Encryption AES256, or AESGCM256 in quick mode.",
    "RFC 8247 §2.1",
    "RFC 8221 §5",
)
CIPHER_3DES: Final = _rule(
    "cipher-3des",
    Severity.MEDIUM,
    "3DES is proposed",
    "Its blocks of 64 bits repeat themselves within hours of traffic, and tell of it (Sweet32).",
    "Propose AES alone: New-NetIPsecMainModeCryptoProposal -Encryption AES256, or AESGCM256 in quick mode.",
    "RFC 8221 §5",
    "NIST SP 800-131A rev. 2 §2",
)
CIPHER_NONE: Final = _rule(
    "cipher-none",
    Severity.HIGH,
    "Traffic may go without encryption",
    "Whoever is on the way reads it: ESP without a cipher and AH protect from changes alone.",
    "Take the proposal out of the set, or give it a cipher: -Encapsulation ESP -Encryption AESGCM256.",
    "RFC 8221 §5",
)
HASH_MD5: Final = _rule(
    "hash-md5",
    Severity.MEDIUM,
    "MD5 is proposed",
    "It is broken as a hash, and no standard lets it protect IKE or ESP any more.",
    "Propose SHA256 or SHA384.",
    "RFC 8247 §2.2 and §2.3",
    "RFC 8221 §6",
)
HASH_SHA1: Final = _rule(
    "hash-sha1",
    Severity.LOW,
    "SHA-1 is proposed",
    "In HMAC it still holds; it is on its way out everywhere, and who allows it is asked for it first.",
    "Propose SHA256 or SHA384.",
    "RFC 8247 §2.2 and §2.3",
    "RFC 8221 §6",
)
HASH_NONE: Final = _rule(
    "hash-none",
    Severity.HIGH,
    "Traffic may go without protection from changes",
    "Encrypted packets that nobody authenticates can be changed on the way, and so be made to tell what is in them.",
    "Give the proposal an integrity algorithm, or use AES-GCM for both.",
    "RFC 8221 §4",
)
GROUP_WEAK: Final = _rule(
    "group-weak",
    Severity.HIGH,
    "A key exchange group is proposed that is too small",
    "Groups 1 and 2 (768 and 1024 bits) can be broken by those who record traffic; of 24 it is not known that it has "
    "no trap door.",
    "Propose DH20 (P-384), DH19 (P-256) or DH14: New-NetIPsecMainModeCryptoProposal -KeyExchange DH20.",
    "RFC 8247 §2.4",
    "NIST SP 800-77r1 §7.2.4.2",
)
PFS_NONE: Final = _rule(
    "pfs-none",
    Severity.LOW,
    "Keys of the traffic are made without a key exchange of their own",
    "Who comes by the keys of one IKE SA reads all traffic under it, also what he recorded before.",
    "Set -PerfectForwardSecrecyGroup DH20 on the quick mode set.",
    "NIST SP 800-77r1 §7.2.6",
)
DEFAULTS: Final = _rule(
    "defaults",
    Severity.MEDIUM,
    "The built-in proposals of Windows are used, which are weak",
    "They are for peers of twenty years ago: SHA-1 and group 2 (1024 bits), and 3DES as a second choice or, with the "
    "VPN server, even the one that is taken.",
    "Set your own: New-NetIPsecMainModeCryptoSet -Default …; for the VPN server Set-VpnServerConfiguration "
    "-CustomPolicy -EncryptionMethod AES256 -IntegrityCheckMethod SHA384 -DHGroup ECP384 … each.",
    "RFC 8247 §2.4",
    "Microsoft: Set-VpnServerConfiguration",
)
PSK: Final = _rule(
    "psk",
    Severity.MEDIUM,
    "Machines prove themselves by a pre-shared key",
    "Windows keeps it in the registry and in group policies as plain text; whoever reads it there is any of the "
    "machines that share it.",
    "Use certificates: New-NetIPsecAuthProposal -Machine -Cert -Authority … -AuthorityType Root.",
    _AUTH,
    "NIST SP 800-77r1 §3.3.4",
)
PSK_SHORT: Final = _rule(
    "psk-short",
    Severity.HIGH,
    "A pre-shared key is too short to be strong, whatever it is made of",
    "Whoever answers a gateway once can try keys offline, billions a second.",
    "Make a new one at random, of 32 characters and more, on both ends; or use certificates.",
    "RFC 7296 §2.15",
    "NIST SP 800-77r1 §3.3.4",
)
PSK_REUSED: Final = _rule(
    "psk-reused",
    Severity.HIGH,
    "The same pre-shared key stands in several authentication sets",
    "Each of those who know it can pass for the others, and one who loses it loses it for all.",
    "Make a key of its own for each peer.",
    "NIST SP 800-77r1 §3.3.4",
)
AUTH_NONE: Final = _rule(
    "auth-none",
    Severity.HIGH,
    "Peers need not prove who they are",
    "Anybody sets up an SA, also one who stands in the middle of the one that was wanted.",
    "Take the anonymous proposal out of the phase 1 authentication set.",
    _AUTH,
)
IKEV1: Final = _rule(
    "ikev1",
    Severity.LOW,
    "A rule uses IKEv1",
    "It is no longer maintained as a standard, and gets none of what was learned since.",
    "Set-NetIPsecRule -KeyModule IKEv2, on both ends; certificates are needed for that.",
    "RFC 9395 §3",
)
CLEAR: Final = _rule(
    "clear-text",
    Severity.MEDIUM,
    "A tunnel rule asks for IPsec and does not insist on it",
    "Whoever keeps IKE from getting through gets the traffic in clear text.",
    "Set-NetIPsecRule -InboundSecurity Require -OutboundSecurity Require.",
    "RFC 4301 §4.4.1",
)
CERTIFICATE_EXPIRED: Final = _rule(
    "certificate-expired",
    Severity.MEDIUM,
    "A certificate for IPsec has expired",
    "Peers refuse it; people who must get work done then switch checks off.",
    "Renew it; delete it where another one is in use: Remove-Item Cert:\\LocalMachine\\My\\… -DeleteKey.",
    "RFC 5280 §4.1.2.5",
)
CERTIFICATE_EXPIRING: Final = _rule(
    "certificate-expiring",
    Severity.LOW,
    "A certificate for IPsec expires soon, and there is no newer one",
    "From then on peers refuse it, and the tunnels end.",
    "Renew it now: Update-IkewardenCertificate, or the auto-enrollment of the domain.",
    "RFC 5280 §4.1.2.5",
)
CERTIFICATE_SHA1: Final = _rule(
    "certificate-sha1",
    Severity.MEDIUM,
    "A certificate for IPsec was signed with SHA-1 or worse",
    "Two certificates with one such signature can be made, and have been.",
    "Issue it again from an authority that signs with SHA-256 or better.",
    "RFC 8247 §3.2",
    "NIST SP 800-131A rev. 2 §3",
)
CERTIFICATE_WEAK: Final = _rule(
    "certificate-weak-key",
    Severity.HIGH,
    "The key of a certificate for IPsec is weak",
    "Whoever computes the private key from the certificate is this gateway.",
    "Enroll again with RSA of 3072 bits, or P-256.",
    "NIST SP 800-131A rev. 2 §3",
)
CERTIFICATE_USAGE: Final = _rule(
    "certificate-usage",
    Severity.LOW,
    "The VPN server cannot tell which certificate is its own for IKEv2",
    "Without the usage `IP security IKE intermediate` any certificate for server authentication may be taken, also one "
    "that clients refuse.",
    "Issue one with the usages server authentication and IP security IKE intermediate (profile windows-gateway).",
    "RFC 4945 §5.1.3.12",
    "Microsoft: IKEv2 certificates of RRAS",
)

RULES: Final[tuple[Rule, ...]] = (
    KEY_OPEN,
    KEY_OWNER,
    KEY_EXPORTABLE,
    PFX_OPEN,
    PFX_LEFT,
    CIPHER_DES,
    CIPHER_3DES,
    CIPHER_NONE,
    HASH_MD5,
    HASH_SHA1,
    HASH_NONE,
    GROUP_WEAK,
    PFS_NONE,
    DEFAULTS,
    PSK,
    PSK_SHORT,
    PSK_REUSED,
    AUTH_NONE,
    IKEV1,
    CLEAR,
    CERTIFICATE_EXPIRED,
    CERTIFICATE_EXPIRING,
    CERTIFICATE_SHA1,
    CERTIFICATE_WEAK,
    CERTIFICATE_USAGE,
)
