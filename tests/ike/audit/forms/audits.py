"""Audits made by hand, for what writes them."""

from datetime import UTC, date, datetime
from typing import Any, Final

from ike.audit.values import Acceptance, Area, Audit, Finding, Gone, Policy, Rule, Severity
from ike.secrets.values import Place, Problem

NOW: Final = datetime(2026, 11, 29, 4, 55, 13, 250_000, tzinfo=UTC)

OPEN: Final = Rule(
    id="secrets-file-open-to-others",
    area=Area.ACCESS,
    severity=Severity.CRITICAL,
    title="Everybody on this host can read a file of secrets",
    why="Any account, and any service that is broken into, reads the pre-shared keys and passes for either end of the"
    " tunnels.",
    fix="Give the file to root with mode 0600.",
    references=("ComplianceAsCode file_permissions_etc_ipsec_secrets", "NIST SP 800-77r1 §5.3"),
)
IN_GROUP: Final = Rule(
    id="key-file-in-group",
    area=Area.ACCESS,
    severity=Severity.HIGH,
    title="A group can read a private key",
    why="Whoever is in the group can copy the key, and with it be this gateway anywhere.",
    fix="chmod 0600 the key, or name the group in the policy.",
)
WEAK: Final = Rule(
    id="psk-weak",
    area=Area.SECRETS,
    severity=Severity.HIGH,
    title="A pre-shared key can be guessed",
    why="One recorded handshake of IKEv1's aggressive mode, or one active try, is enough to guess it offline.",
    fix="Let `ikewarden tunnel rotate` make one, or take 32 octets of a generator.",
    references=("NIST SP 800-77r1 §3.2.3", "RFC 8247 §2"),
)
TRIPLE: Final = Rule(
    id="ike-proposal-3des",
    area=Area.CONFIGURATION,
    severity=Severity.MEDIUM,
    title="3DES is offered for IKE",
    why="A block of 64 bits leaks after some gigabytes (Sweet32).",
    fix="Take 3des out of the proposals.",
    references=("RFC 8247 §2.1",),
)
OLD: Final = Rule(
    id="psk-old",
    area=Area.SECRETS,
    severity=Severity.LOW,
    title="A pre-shared key is older than a year",
    why="Whoever has left since then may still know it.",
    fix="Rotate it.",
)
RULES: Final = (OPEN, IN_GROUP, WEAK, TRIPLE, OLD)


def finding(rule: Rule, path: str, line: int = 0, evidence: str = "", **more: Any) -> Finding:
    """A finding, with a sentence of its own if none is given."""
    return Finding(rule, Place(path, line), evidence or "So it was seen.", **more)


def folder(count: int = 200) -> tuple[Finding, ...]:
    """One broken folder."""
    return tuple(
        finding(
            IN_GROUP,
            f"/etc/swanctl/private/gw{number:03}.pem",
            evidence="Mode 0640, group vpn: anna, ben and 2 more.",
            fix=f"chmod 0600 /etc/swanctl/private/gw{number:03}.pem",
        )
        for number in range(count)
    )


def audit(**more: Any) -> Audit:
    """An audit of a gateway with something of everything, or what is given."""
    findings = (
        finding(
            OPEN,
            "/etc/ipsec.secrets",
            evidence="Mode 0644, owner root:root; it holds 4 secrets.",
            fix="chmod 0600 /etc/ipsec.secrets",
        ),
        *folder(),
        finding(
            WEAK, "/etc/ipsec.secrets", 3, "About 46 bits: it is made of words.", subject="@quay"
        ),
        finding(
            WEAK, "/etc/ipsec.secrets", 4, "About 28 bits: a sample value.", subject="@branch7"
        ),
        finding(
            TRIPLE,
            "/etc/swanctl/conf.d/oslo.conf",
            12,
            "Connection oslo offers 3des-sha1-modp1024 first.",
            subject="oslo",
        ),
    )
    old = finding(OLD, "/etc/ipsec.secrets", 9, "It is 812 days old.", subject="@lyon")
    given: dict[str, Any] = {
        "host": "gw1.example.com",
        "root": "",
        "started": NOW,
        "seconds": 0.4213,
        "policy": Policy(groups=frozenset({"vpn"})),
        "findings": findings,
        "suppressed": (old,),
        "accepted": {old.id: Acceptance("The peer moves in January.", date(2027, 1, 31), "anna")},
        "problems": (
            Problem(Place("/etc/ipsec.d/lost.secrets", 0), "No such file or directory"),
            Problem(Place("/etc/ipsec.secrets", 17), "not understood"),
        ),
        "remarks": ("Accepted entry 2 (psk-old at /x) does not count: it has no reason.",),
        "files": 812,
        "items": 231,
    }
    return Audit(**{**given, **more})


def compared() -> Audit:
    """An audit beside the one before."""
    known = finding(TRIPLE, "/etc/swanctl/conf.d/bergen.conf", 3, subject="bergen")
    gone = Gone("00ff" * 4, WEAK.id, Severity.HIGH, Place("/etc/ipsec.secrets", 5), WEAK.title)
    return audit(known=(known,), gone=(gone,), earlier=datetime(2026, 11, 1, tzinfo=UTC))


def clean(**more: Any) -> Audit:
    """Nothing was found."""
    nothing = {"findings": (), "suppressed": (), "accepted": {}, "problems": (), "remarks": ()}
    return audit(**{**nothing, **more})


ODD_NAMES: Final = (
    "/etc/a\nCRITICAL  forged line",
    "/etc/\x1b]0;title\x07\x1b[31mred\x1b[0m",
    "/etc/\udcff\udcfe not utf-8",
    "/etc/<script>alert(1)</script><img src=x onerror=alert(1)>",
    "/etc/]]><!--",
    '/etc/" onmouseover="alert(1)',
    "/etc/'; drop table",
    "=cmd|' /C calc'!A0",
    "/etc/\u202etxt.exe",
    "/etc/a b#c?d%41:e",
    "/etc/[click](https://evil.example/)",
    "/etc/\ufffe\uffff",
    "/etc/{title}${jndi:x}{{7*7}}",
    "/etc/\ud800half",
    "/etc/" + "long" * 60,
    "C:\\ProgramData\\Microsoft\\Crypto\\Keys\\a b",
    "Cert:\\LocalMachine\\My\\AB12",
    "@SUM(1)",
    "/",
    "",
)


def odd() -> Audit:
    """Whatever may write a name, did: as path, evidence, subject, fix, problem and remark."""
    return audit(
        host="gw\x1b[31m<b>\udcff",
        findings=tuple(
            finding(
                WEAK, name, number, f"Connection {name} is weak.", subject=name, fix=f"rm {name}"
            )
            for number, name in enumerate(ODD_NAMES)
        ),
        suppressed=tuple(finding(OLD, name) for name in ODD_NAMES),
        accepted={},
        known=tuple(finding(TRIPLE, name) for name in ODD_NAMES),
        problems=tuple(Problem(Place(name, 1), f"{name} is odd") for name in ODD_NAMES),
        gone=tuple(
            Gone(str(number), "psk-weak", Severity.LOW, Place(name, 0), name)
            for number, name in enumerate(ODD_NAMES)
        ),
        earlier=NOW,
        remarks=ODD_NAMES,
    )
