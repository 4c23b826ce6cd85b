"""The report before: only what is new counts, and what is gone is told."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ike.audit.earlier import EarlierInvalid, compare, read
from ike.audit.forms import json as form
from ike.audit.values import Audit, Severity
from ike.secrets.values import Place, Problem
from tests.ike.audit.forms.audits import IN_GROUP, NOW, OPEN, WEAK, audit, clean, finding, odd

ONE = finding(OPEN, "/etc/ipsec.secrets")
TWO = finding(IN_GROUP, "/etc/\udcff\n.pem")
THREE = finding(WEAK, "/etc/ipsec.secrets", 3, subject="@quay")


def after(folder: Path, before: Audit, now: Audit) -> Audit:
    path = folder / "before.json"
    path.write_text(form.write(before))
    return compare(now, read(path))


def test_only_what_is_new_counts(tmp_path: Path) -> None:
    done = after(tmp_path, clean(findings=(ONE, TWO)), clean(findings=(TWO, THREE)))
    assert done.findings == (THREE,)
    assert done.known == (TWO,)
    assert done.earlier == NOW
    [gone] = done.gone
    assert (gone.id, gone.rule, gone.place) == (ONE.id, OPEN.id, ONE.place)
    assert done.remarks == ()


def test_a_line_that_moved_is_not_new(tmp_path: Path) -> None:
    moved = replace(THREE, place=Place("/etc/ipsec.secrets", 30))
    done = after(tmp_path, clean(findings=(THREE,)), clean(findings=(moved,)))
    assert (done.findings, done.known, done.gone) == ((), (moved,), ())


def test_what_was_known_stays_known(tmp_path: Path) -> None:
    first = clean(findings=(ONE,))
    second = after(tmp_path, first, clean(findings=(ONE, TWO)))
    third = after(tmp_path, second, clean(findings=(ONE, TWO, THREE)))
    assert (third.findings, third.known) == ((THREE,), (ONE, TWO))


def test_what_has_become_worse_is_new(tmp_path: Path) -> None:
    slight = replace(ONE, severity=Severity.LOW)
    assert after(tmp_path, clean(findings=(slight,)), clean(findings=(ONE,))).findings == (ONE,)
    assert after(tmp_path, clean(findings=(ONE,)), clean(findings=(slight,))).known == (slight,)


def test_what_was_accepted_and_is_no_longer_is_new(tmp_path: Path) -> None:
    done = after(tmp_path, clean(suppressed=(ONE,)), clean(findings=(ONE,)))
    assert done.findings == (ONE,)
    done = after(tmp_path, clean(findings=(ONE,)), clean(suppressed=(ONE,)))
    assert (done.gone, done.suppressed) == ((), (ONE,))


def test_what_could_not_be_read_is_not_gone(tmp_path: Path) -> None:
    unread = clean(problems=(Problem(TWO.place, "Permission denied"),))
    assert [each.rule for each in after(tmp_path, clean(findings=(ONE, TWO)), unread).gone] == [
        OPEN.id
    ]


def test_another_host_and_another_baseline_are_told(tmp_path: Path) -> None:
    other = clean(host="gw2")
    done = after(tmp_path, replace(other, policy=replace(other.policy, baseline="bsi")), clean())
    assert "another host: gw2" in done.remarks[0]
    assert "another baseline: bsi" in done.remarks[1]


def test_a_report_of_odd_names_reads_back(tmp_path: Path) -> None:
    done = after(tmp_path, replace(odd(), known=(), gone=()), odd())
    assert (done.findings, done.gone) == ((), ())


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"version": None},
        {"findings": 3},
        {"findings": [{"id": "x"}]},
        {
            "findings": [
                {
                    **dict.fromkeys(("id", "rule", "path", "title"), "x"),
                    "severity": "low",
                    "line": float("inf"),
                }
            ]
        },
        {"findings": [3]},
        {"known_findings": {"a": 1}},
        {"started": "yesterday"},
        {"policy": []},
        {"host": None},
    ],
)
def test_what_is_no_report_is_told(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "x"
    path.write_text(json.dumps({**json.loads(form.write(audit())), **change}))
    with pytest.raises(EarlierInvalid):
        read(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b"\xff", b"[" * 100_000, b'{"version": 1}'])
def test_what_is_no_json_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(EarlierInvalid):
        read(path)
