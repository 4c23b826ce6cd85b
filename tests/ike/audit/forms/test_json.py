"""The report for programs, version 1."""

import base64
import json

from ike.audit.forms import json as form
from tests.ike.audit.forms.audits import OLD, OPEN, audit, clean, compared, finding


def test_the_shape_that_others_rely_on() -> None:
    told = json.loads(form.write(compared()))
    assert (told["version"], told["host"], told["root"]) == (1, "gw1.example.com", None)
    assert told["started"] == "2026-11-29T04:55:13.250Z"
    assert told["seconds"] == 0.421
    assert told["policy"] == {
        "baseline": "rfc",
        "groups": ["vpn"],
        "users": [],
        "encrypted_keys": False,
        "certificates_only": False,
        "expiring_days": 30,
        "psk_bits": 112,
        "published_keys": [],
    }
    first = told["findings"][0]
    assert first == {
        "id": audit().findings[0].id,
        "rule": "secrets-file-open-to-others",
        "area": "access",
        "severity": "critical",
        "path": "/etc/ipsec.secrets",
        "line": None,
        "subject": "",
        "title": OPEN.title,
        "evidence": "Mode 0644, owner root:root; it holds 4 secrets.",
        "why": OPEN.why,
        "fix": "chmod 0600 /etc/ipsec.secrets",
        "references": list(OPEN.references),
    }
    [accepted] = told["suppressed"]
    assert accepted["rule"] == OLD.id
    assert accepted["accepted"] == {
        "reason": "The peer moves in January.",
        "until": "2027-01-31",
        "by": "anna",
    }
    assert (told["known"], len(told["known_findings"]), len(told["gone"])) == (1, 1, 1)
    assert told["errors"][1] == {
        "path": "/etc/ipsec.secrets",
        "line": 17,
        "error": "not understood",
    }
    summary = {"critical": 1, "high": 202, "medium": 1, "low": 0, "info": 0}
    assert told["summary"] == summary | {"files": 812, "items": 231}


def test_a_root_is_told() -> None:
    assert form.document(clean(root="/mnt/image"))["root"] == "/mnt/image"


def test_a_name_that_is_no_utf8_keeps_its_octets() -> None:
    [told] = form.document(audit(findings=(finding(OPEN, "/etc/a\udcff\nb"),)))["findings"]
    assert told["path"] == "/etc/a\\xff\nb"
    assert base64.b64decode(told["path_base64"]) == b"/etc/a\xff\nb"
