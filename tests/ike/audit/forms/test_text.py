"""The report for people: 80 columns, the worst first, nothing told twice."""

from dataclasses import replace

from ike.audit.forms import text
from ike.audit.values import Severity
from tests.ike.audit.forms.audits import (
    IN_GROUP,
    OPEN,
    RULES,
    TRIPLE,
    audit,
    clean,
    compared,
    finding,
    folder,
)


def test_it_fits_in_80_columns_and_has_no_colours() -> None:
    for each in (audit(), compared(), clean()):
        told = text.write(each, everything=True)
        assert max(map(len, told.splitlines())) <= 80
        assert "\x1b" not in told
        assert not any(line != line.rstrip() for line in told.splitlines())


def test_the_worst_comes_first_and_the_sum_last() -> None:
    told = text.write(audit())
    words = [line.split()[0] for line in told.splitlines() if line[:1].isupper()]
    heads = [word.lower() for word in words if word.isupper()]
    assert heads == ["critical", "high", "high", "medium"]
    assert set(heads) <= set(Severity)
    *_, found, aside, unread, extent, last = told.splitlines()
    assert found == "204 findings on gw1.example.com: 1 critical, 202 high, 1 medium."
    assert aside == "Not counted: 1 accepted."
    assert unread == "2 files were not read, or not all of it."
    assert extent.startswith("812 files and folders looked at, 231 of them with keys")
    assert last == "configuration; baseline rfc; 0.4 s."


def test_one_broken_folder_is_one_thing() -> None:
    told = text.write(audit(findings=folder(), problems=(), remarks=()))
    assert told.count("gw0") == 3
    assert "and 197 more in /etc/swanctl/private (--all shows them)" in told
    assert told.count(IN_GROUP.why[:30]) == 1
    assert told.count("Mode 0640") == 1
    assert told.count("  Fix  ") == 1
    assert len(told.splitlines()) < 16


def test_all_of_it_where_it_is_wanted() -> None:
    told = text.write(audit(findings=folder(), problems=(), remarks=()), everything=True)
    assert told.count("    Fix  chmod 0600 /etc/swanctl/private/gw") == 200
    assert "--all" not in told


def test_never_all_but_one() -> None:
    told = text.write(audit(findings=folder(4)))
    assert told.count("/etc/swanctl/private/gw") == 8  # with what mends each
    assert "more" not in told.partition("Why")[0].replace("2 more", "")


def test_places_in_several_folders_and_in_one_file() -> None:
    spread = [finding(OPEN, f"/etc/{number}/ipsec.secrets") for number in range(9)]
    assert "and 6 more in 6 folders" in text.write(audit(findings=tuple(spread)))
    lines = [finding(TRIPLE, "/etc/swanctl/swanctl.conf", n, subject=str(n)) for n in range(9)]
    assert "and 6 more in /etc/swanctl/swanctl.conf" in text.write(audit(findings=tuple(lines)))


def test_a_finding_that_is_slighter_than_its_rule_stands_apart() -> None:
    slight = finding(OPEN, "/etc/b", severity=Severity.LOW)
    told = text.write(audit(findings=(finding(OPEN, "/etc/a"), slight)))
    assert "CRITICAL  Everybody" in told
    assert "LOW  Everybody" in told


def test_what_is_only_worth_knowing_takes_a_line() -> None:
    slight = tuple(finding(OPEN, f"/etc/{n}", severity=Severity.INFO) for n in range(9))
    told = text.write(audit(findings=slight))
    assert "Worth knowing (--all tells more):" in told
    assert "(secrets-file-open-to-others): /etc/0 and 8 other places" in " ".join(told.split())
    assert OPEN.why[:30] not in told
    assert OPEN.why[:30] in text.write(audit(findings=slight), everything=True)


def test_one_file_is_one() -> None:
    assert "1 file or folder looked at" in text.write(replace(clean(), files=1, items=1))


def test_nothing_wrong_is_said_and_what_was_looked_at() -> None:
    assert text.write(clean()).splitlines()[0] == "Nothing wrong was found on gw1.example.com."
    assert "812 files and folders looked at" in text.write(clean())
    unread = replace(clean(), problems=audit().problems)
    assert "in what could be read." in text.write(unread)
    nothing = " ".join(text.write(clean(items=0, files=0)).split())
    assert "No keys and no configuration of an IKE daemon were found on gw1.example.com" in nothing
    assert "--root" in nothing


def test_what_the_report_before_adds() -> None:
    told = text.write(compared())
    assert "204 new findings" in told
    assert "Not counted: 1 accepted, 1 known since 2026-11-01." in told
    assert "Gone since the report before:\n  /etc/ipsec.secrets:5  A pre-shared key" in told
    assert "Nothing new was found" in text.write(replace(compared(), findings=(), problems=()))


def test_the_list_of_rules() -> None:
    told = [line.text for line in text.rules(RULES)]
    assert "MEDIUM  ike-proposal-3des" in told
    assert len(told) == 2 * len(RULES)
