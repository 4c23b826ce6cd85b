"""What can be wrong with how a daemon is told to run, whatever its connections. Data."""

from typing import Final

from ike.audit.values import Area, Rule, Severity


def _rule(name: str, severity: Severity, title: str, why: str, fix: str, *references: str) -> Rule:
    return Rule(name, Area.CONFIGURATION, severity, title, why, fix, references)


CONTROL_BY_TCP: Final = _rule(
    "control-socket-by-tcp",
    Severity.CRITICAL,
    "charon takes orders by TCP",
    "No password is asked for: whoever reaches the port loads connections whose scripts run as root, and ends tunnels.",
    "Take the setting out, and use the socket of the file system, which root alone reaches.",
    "strongswan.conf(5) charon.plugins.vici.socket",
)
LOAD_TESTER: Final = _rule(
    "load-tester-enabled",
    Severity.HIGH,
    "The load tester of charon is enabled",
    "It brings a pre-shared key, a private key and an authority of its own, which are published with its source: peers"
    " prove themselves by them.",
    "Set `enable = no` in `charon.plugins.load-tester`, or do not load the plugin.",
    "strongswan.conf(5) charon.plugins.load-tester",
)
RADIUS_SECRET: Final = _rule(
    "radius-secret-weak",
    Severity.HIGH,
    "The secret of a RADIUS server can be guessed",
    "Who hears one answer of the server guesses it offline, then lets in whom they like and reads the users' keys.",
    "Make a new one of 32 random characters on both ends, and keep RADIUS in a network of its own or in a tunnel.",
    "RFC 2865 §3",
    "NIST SP 800-63B-4 §3.1.1",
)

RULES: Final[tuple[Rule, ...]] = (CONTROL_BY_TCP, LOAD_TESTER, RADIUS_SECRET)
