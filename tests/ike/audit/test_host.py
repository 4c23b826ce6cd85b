"""The audit of a host as a whole: rules that make sense, and no secret in what is said."""

import re
import time
from datetime import UTC, datetime

from ike.audit import host, rules
from ike.audit.ground import Ground
from ike.audit.values import Area, Policy
from tests.ike.audit.conftest import KEY, Files

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def test_rules_have_ids_of_their_own_and_say_what_to_do() -> None:
    ids = [rule.id for rule in rules.RULES]
    assert len(ids) == len(set(ids))
    for rule in rules.RULES:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.id)
        assert isinstance(rule.area, Area)
        assert not rule.title[0].islower() or rule.title.startswith("charon ")
        assert not rule.title.endswith(".")
        assert rule.why.endswith(".")
        assert rule.fix.endswith(".")
        assert all(rule.references)


def test_findings_are_sorted_and_each_is_told_once(files: Files) -> None:
    files.put("/etc/ipsec.secrets", ': PSK "canary-5d1f"\n', 0o666)
    files.put("/etc/ipsec.secrets.bak", ': PSK "canary-77aa"\n', 0o644)
    files.put(
        "/etc/strongswan.conf",
        "charon {\n  plugins {\n eap-radius {\n secret = canary-99 }\n}\n}\n",
        0o644,
    )
    files.put("/etc/swanctl/private/a.key", KEY, 0o644)
    files.folder("/etc/swanctl", 0o777)
    seen = files.seen()
    found = rules.judged(seen, Policy(), NOW)
    assert [each.weight.rank for each in found] == sorted(each.weight.rank for each in found)
    assert len({each.id for each in found}) == len(found)
    assert {each.rule.id for each in found} >= {
        "secrets-file-open-to-others",
        "copy-of-secrets-open",
        "key-file-open-to-others",
        "folder-writable-by-others",
    }
    assert "canary" not in repr((found, seen.problems))
    assert seen.items >= 4
    assert seen.files > seen.items


def test_this_host_is_looked_at_in_no_time() -> None:
    before = time.monotonic()
    seen = host.look(Ground(), host.Wanted(), NOW)
    rules.judged(seen, Policy(), NOW)
    assert time.monotonic() - before < 60  # far less; other tests may have the processor


def test_a_database_of_keys_is_no_file_that_cannot_be_read(files: Files) -> None:
    files.folder("/var/lib/ipsec/nss", 0o700)
    for name in ("cert9.db", "key4.db"):
        files.put(f"/var/lib/ipsec/nss/{name}", "")
    files.put("/etc/ipsec.conf", "config setup\n", 0o644)
    told = [problem.place.path for problem in files.seen().problems]
    assert "/var/lib/ipsec/nss" not in told


def test_a_folder_that_is_no_host(files: Files) -> None:
    seen = host.look(Ground(files.root / "nowhere"), host.Wanted(), NOW)
    assert rules.judged(seen, Policy(), NOW) == []
