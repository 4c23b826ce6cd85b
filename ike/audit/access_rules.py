"""The rules about who gets at the files that matter."""

from dataclasses import dataclass
from typing import Final

from ike.audit.values import Area, Role, Rule, Severity


@dataclass(frozen=True)
class _Kind:
    """How files of a role are called in rules."""

    id: str
    a: str
    loss: str
    references: tuple[str, ...] = ()


_CIS: Final = ("NIST SP 800-53 rev. 5 AC-6",)
_STORED: Final = ("NIST SP 800-57 part 1 rev. 5 §6.2.2",)
_SECRETS: Final = {
    Role.SECRETS: _Kind(
        "secrets-file",
        "a file of pre-shared keys or passwords",
        "Whoever knows a pre-shared key can pose as either end of its tunnels, and read what goes through them.",
        _STORED,  # ComplianceAsCode has a rule, and lets everyone read the file
    ),
    Role.KEY: _Kind(
        "key-file",
        "a private key",
        "Whoever has the private key can pose as this gateway until its certificate is revoked.",
        _STORED,
    ),
    Role.PASSWORD: _Kind(
        "password-file",
        "the password of a key database or token",
        "It opens the private keys that are kept with it.",
        _STORED,
    ),
    Role.DATABASE: _Kind(
        "key-database",
        "a database of private keys",
        "The private keys in it can be copied; most such databases have no password.",
        _STORED,
    ),
    Role.OWN: _Kind(
        "ikewarden-file",
        "a file of ikewarden's own keys or credentials",
        "Who has it acts as this agent or server, or gets at the keys that it keeps.",
        _CIS,
    ),
}
_WRITTEN: Final = {
    Role.CONFIGURATION: _Kind(
        "configuration",
        "a daemon's configuration",
        "Whoever writes it decides whom the daemon trusts, and may name a script that it runs as root.",
        ("ComplianceAsCode file_permissions_etc_ipsec_conf", "NIST SP 800-53 rev. 5 CM-5"),
    ),
    Role.TRUST: _Kind(
        "trusted-certificate",
        "a certificate that the daemon trusts",
        "Whoever replaces it becomes an authority: every peer that they invent is let in.",
        _STORED,
    ),
    Role.CERTIFICATE: _Kind(
        "certificate",
        "a certificate",
        "A peer's certificate that is replaced lets another peer in; one's own, and tunnels fail.",
        _STORED,
    ),
    Role.REVOCATION: _Kind(
        "revocation-list",
        "a revocation list",
        "An older list in its place makes revoked certificates good again.",
        ("RFC 5280 §6.3",),
    ),
    Role.DATABASE: _Kind(
        "trust-database",
        "a database of trusted certificates or modules",
        "Whoever writes it adds an authority that the daemon trusts, or a module that it loads.",
        _STORED,
    ),
    Role.PROGRAM: _Kind(
        "program",
        "a program or script that a daemon runs",
        "It runs as root the next time that the daemon starts or a tunnel comes up.",
        ("NIST SP 800-53 rev. 5 CM-5",),
    ),
}
LESS: Final = frozenset({Role.CERTIFICATE, Role.REVOCATION})


def _rule(rule_id: str, severity: Severity, title: str, why: str, *rest: str) -> Rule:
    fix, *references = rest
    return Rule(rule_id, Area.ACCESS, severity, title, why, fix, tuple(references))


_CLOSE: Final = (
    "Give the file mode 0600 (chmod 600), or 0640 with a group that the policy names; if others could read it, make"
    " its keys and secrets anew."
)
OPEN_TO_OTHERS: Final = {
    role: _rule(
        f"{kind.id}-open-to-others",
        Severity.CRITICAL,
        f"Everyone on the host may get at {kind.a}",
        kind.loss,
        _CLOSE,
        *kind.references,
    )
    for role, kind in _SECRETS.items()
}
OPEN_TO_GROUP: Final = {
    role: _rule(
        f"{kind.id}-open-to-group",
        Severity.HIGH,
        f"A group of users may get at {kind.a}",
        kind.loss,
        _CLOSE,
        *kind.references,
    )
    for role, kind in _SECRETS.items()
}
WRITABLE: Final = {
    role: _rule(
        f"{kind.id}-writable",
        Severity.MEDIUM if role in LESS else Severity.CRITICAL,
        f"Others than root may write {kind.a}",
        kind.loss,
        "Take the right to write from group and others (chmod go-w).",
        *kind.references,
    )
    for role, kind in _WRITTEN.items()
}
SECRET_OWNER: Final = _rule(
    "secret-owned-by-another",
    Severity.HIGH,
    "A key or file of secrets belongs to another user than root",
    "Its owner can read and replace it, and give it to others, whatever its mode.",
    "Make root its owner (chown root), or name the daemon's user in the policy.",
    "ComplianceAsCode file_owner_etc_ipsec_secrets",
)
WRITTEN_OWNER: Final = _rule(
    "configuration-owned-by-another",
    Severity.HIGH,
    "What decides whom the daemon trusts belongs to another user than root",
    "Its owner can rewrite it, whatever its mode.",
    "Make root its owner (chown root), or name the daemon's user in the policy.",
    "ComplianceAsCode file_owner_etc_ipsec_conf",
)
ACL: Final = _rule(
    "acl-grants-access",
    Severity.HIGH,
    "An access control list gives others a right that the mode does not show",
    "Whoever looks at the mode alone believes that the file is closed.",
    "Remove the list (setfacl -b), then set the mode.",
    "acl(5)",
)
HARD_LINK: Final = _rule(
    "secret-hard-linked",
    Severity.MEDIUM,
    "A key or file of secrets has a second name",
    "The folders before this name do not guard the other one, and what is deleted here lives on there.",
    "Find the other name (find / -xdev -samefile FILE), and remove the one that is not needed.",
    *_CIS,
)
FOLDER: Final = _rule(
    "key-folder-open",
    Severity.LOW,
    "Everyone may look into a folder of private keys",
    "Names of keys tell who the peers are, and a key that is written with a careless mode is open at once.",
    "Give the folder mode 0700 or 0750, as the daemons' own packages do.",
    "ComplianceAsCode directory_permissions_etc_ipsecd",
)
SOCKET_TO_OTHERS: Final = _rule(
    "control-socket-open-to-others",
    Severity.CRITICAL,
    "Everyone on the host may give the daemon orders",
    "Whoever reaches the control socket loads connections whose scripts run as root, and ends tunnels.",
    "Let only root reach the socket (mode 0770 or less), and have the daemon make it so.",
    "strongswan.conf(5) charon.plugins.vici.socket",
)
SOCKET_TO_GROUP: Final = _rule(
    "control-socket-open-to-group",
    Severity.HIGH,
    "A group of users may give the daemon orders",
    SOCKET_TO_OTHERS.why,
    "Give the socket to root's group, or name the group in the policy.",
    "strongswan.conf(5) charon.group",
)
CAPABILITIES: Final = _rule(
    "program-capabilities",
    Severity.LOW,
    "A program of the daemon gets rights from its file",
    "Everyone who may start it gets those rights with it; packages give the daemons none in this way.",
    "Remove them (setcap -r), and give the service what it needs (AmbientCapabilities=).",
    "capabilities(7)",
)
SETUID: Final = _rule(
    "program-setuid",
    Severity.HIGH,
    "A program of the daemon runs as another user than the one who starts it",
    "A flaw in how it reads its arguments or surroundings makes every user root.",
    "Take the bits away (chmod u-s,g-s).",
    "execve(2)",
)

RULES: Final[tuple[Rule, ...]] = (
    *OPEN_TO_OTHERS.values(),
    *OPEN_TO_GROUP.values(),
    *WRITABLE.values(),
    SECRET_OWNER,
    WRITTEN_OWNER,
    ACL,
    HARD_LINK,
    FOLDER,
    SOCKET_TO_OTHERS,
    SOCKET_TO_GROUP,
    CAPABILITIES,
    SETUID,
)
