"""The rules about shared secrets. The checks are in `ike.audit.secrets`."""

from typing import Final

from ike.audit.values import Area, Rule, Severity

_NEW_PSK: Final = (
    "Make a new one of 32 random octets (`openssl rand -base64 32`) and change it at both ends;"
    " or use certificates."
)

SAMPLE_VALUE: Final = Rule(
    "secret-sample-value",
    Area.SECRETS,
    Severity.CRITICAL,
    "A secret is empty, a common word, a default, or taken from an example",
    "It is among the first that everybody tries; whoever has an answer of the gateway, or a copy of the file, tries"
    " millions of them offline.",
    _NEW_PSK,
    ("RFC 7296 §2.15", "NIST SP 800-77r1 §3.3.4"),
)
PSK_WEAK: Final = Rule(
    "psk-weak",
    Area.SECRETS,
    Severity.HIGH,
    "A pre-shared key can be guessed",
    "Whoever answers one negotiation in the peer's stead tries values offline, as fast as the hardware goes, and then"
    " is the peer.",
    _NEW_PSK,
    ("RFC 7296 §2.15", "NIST SP 800-77r1 §3.3.4"),
)
PSK_BELOW_STRENGTH: Final = Rule(
    "psk-below-strength",
    Area.SECRETS,
    Severity.MEDIUM,
    "A pre-shared key is not as hard to guess as the keys that are negotiated with it",
    "The tunnel is as strong as its weakest part, which then is this one.",
    _NEW_PSK,
    ("RFC 7296 §2.15", "NIST SP 800-77r1 §3.3.4", "BSI TR-02102-3"),
)
PPK_SHORT: Final = Rule(
    "ppk-short",
    Area.SECRETS,
    Severity.MEDIUM,
    "A post-quantum pre-shared key has less than 256 bits",
    "It is there against quantum computers, which halve its bits.",
    "Make a new one of 32 random octets and give it a new PPK_ID at both ends.",
    ("RFC 8784 §6",),
)
PSK_SHARED: Final = Rule(
    "psk-shared-by-peers",
    Area.SECRETS,
    Severity.HIGH,
    "Several peers have one pre-shared key",
    "Each of them can be each other, and the loss of one is the loss of all; it cannot be changed for one alone.",
    "Give each pair of peers a key of its own, owned by the peer's identity; for many peers use certificates.",
    ("NIST SP 800-77r1 §3.3.4", "RFC 7296 §2.15"),
)
PSK_REPEATED: Final = Rule(
    "psk-repeated",
    Area.SECRETS,
    Severity.LOW,
    "One pre-shared key stands in several places",
    "When it is changed in one, the old one goes on answering from the other.",
    "Keep one of the entries.",
    ("NIST SP 800-57 part 1 rev. 5 §8.3.4",),
)
SECRET_OF_SEVERAL_KINDS: Final = Rule(
    "secret-of-several-kinds",
    Area.SECRETS,
    Severity.MEDIUM,
    "One value is a pre-shared key and a password at once",
    "Whoever knows it for one use has the other: a person's password then opens the gateway's tunnels.",
    "Make a new value for each use.",
    ("NIST SP 800-57 part 1 rev. 5 §5.2",),
)
PSK_FOR_ANY_PEER: Final = Rule(
    "psk-for-any-peer",
    Area.SECRETS,
    Severity.HIGH,
    "Whoever knows a pre-shared key of one peer can pass for any other peer",
    "The daemon takes a secret from each peer where either end's identity is an owner, or none is named. The peer that"
    " knows it may say it is somebody else.",
    "Name the identity of the peer, and that alone, as the owner (Libreswan: both ends' identities).",
    (
        "RFC 7296 §2.15",
        "strongSwan swanctl.conf, secrets.ike<suffix>.id",
        "NIST SP 800-77r1 §3.3.4",
    ),
)
PSK_MISSING: Final = Rule(
    "psk-missing",
    Area.SECRETS,
    Severity.INFO,
    "No secret answers for a connection that needs one",
    "It cannot come up, unless another program gives the daemon its secret.",
    "Add the secret, or remove the connection.",
    ("RFC 7296 §2.15",),
)
PSK_AMBIGUOUS: Final = Rule(
    "psk-ambiguous",
    Area.SECRETS,
    Severity.LOW,
    "Several different secrets fit a connection equally well",
    "Their order in the files decides which one is used; all of them are accepted. An old one stays good.",
    "Remove those that are no longer used, and name the peer as the owner of each.",
    ("NIST SP 800-57 part 1 rev. 5 §8.3.4",),
)
USER_PASSWORD_WEAK: Final = Rule(
    "user-password-weak",
    Area.SECRETS,
    Severity.MEDIUM,
    "A user's password for EAP or XAuth can be guessed",
    "It can be tried against the gateway, and offline where the gateway's certificate is not checked.",
    "Make a random one of 16 characters and more, or use certificates for the users.",
    ("NIST SP 800-63B-4 §3.1.1", "RFC 7296 §2.16"),
)
PASSPHRASE_BESIDE_KEY: Final = Rule(
    "passphrase-beside-key",
    Area.SECRETS,
    Severity.INFO,
    "The passphrase of a private key stands in clear text on the same host",
    "It protects copies of the key's file alone: whoever reads the folder has both.",
    "Leave the configuration out of the backups that hold the key, or keep the key in a token.",
    ("NIST SP 800-57 part 1 rev. 5 §6.2.2",),
)
PASSPHRASE_WEAK: Final = Rule(
    "passphrase-weak",
    Area.SECRETS,
    Severity.LOW,
    "The passphrase of a private key can be guessed",
    "A copy of the key's file alone, from a backup for instance, is then as good as the key.",
    "Encrypt the key anew with a random passphrase.",
    ("NIST SP 800-63B-4 §3.1.1",),
)
TOKEN_PIN_WEAK: Final = Rule(
    "token-pin-weak",
    Area.SECRETS,
    Severity.LOW,
    "The PIN of a token is among the first that are tried",
    "A token takes a few tries before it locks itself; whoever has it in his hand, or may speak to it, needs no more.",
    "Give the token a random PIN of six digits and more.",
    ("NIST SP 800-63B-4 §3.1.1",),
)
RULES: Final[tuple[Rule, ...]] = (
    SAMPLE_VALUE,
    PSK_WEAK,
    PSK_BELOW_STRENGTH,
    PPK_SHORT,
    PSK_SHARED,
    PSK_REPEATED,
    SECRET_OF_SEVERAL_KINDS,
    PSK_FOR_ANY_PEER,
    PSK_MISSING,
    PSK_AMBIGUOUS,
    USER_PASSWORD_WEAK,
    PASSPHRASE_BESIDE_KEY,
    PASSPHRASE_WEAK,
    TOKEN_PIN_WEAK,
)
