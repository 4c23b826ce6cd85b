"""Findings that are lived with: for a reason, until a day, and no longer."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from ike.audit.accepted import AcceptedInvalid, Entry, Sorted, read, sort
from ike.audit.values import Acceptance
from tests.ike.audit.forms.audits import IN_GROUP, NOW, OPEN, WEAK, finding

KEY = finding(IN_GROUP, "/etc/swanctl/private/a.pem")
PEER = finding(WEAK, "/etc/ipsec.secrets", 3, subject="@quay")
FOUND = (finding(OPEN, "/etc/ipsec.secrets"), KEY, PEER)


def written(folder: Path, text: str) -> tuple[Entry, ...]:
    path = folder / "accepted.toml"
    path.write_text(text, "utf-8")
    return read(path)


def sorted_(folder: Path, text: str, now: datetime = NOW) -> Sorted:
    return sort(FOUND, written(folder, text), now)


def test_by_id(tmp_path: Path) -> None:
    done = sorted_(
        tmp_path,
        f"[[accepted]]\nid = '{PEER.id}'\nreason = 'moves'\nuntil = 2027-01-31\nby = 'anna'\n",
    )
    assert done.findings == FOUND[:2]
    assert done.suppressed == (PEER,)
    assert done.accepted == {PEER.id: Acceptance("moves", date(2027, 1, 31), "anna")}
    assert done.remarks == ()


def test_by_rule_and_pattern(tmp_path: Path) -> None:
    text = (
        "[[accepted]]\nrule = 'key-file-in-group'\npath = '/etc/*.pem'\nreason = 'x'\n"
        "until = '2027-01-31'\n"
    )
    assert sorted_(tmp_path, text).suppressed == (KEY,)
    assert sorted_(tmp_path, text.replace("*.pem", "*.key")).suppressed == ()
    assert sorted_(tmp_path, text.replace("key-file-in-group", "psk-weak")).suppressed == ()


def test_a_name_with_brackets_is_itself() -> None:
    odd = finding(IN_GROUP, "/etc/[a].pem")
    entry = Entry(1, rule=IN_GROUP.id, path="/etc/[a].pem", reason="x", until=date(2027, 1, 1))
    assert sort((odd,), (entry,), NOW).suppressed == (odd,)


def test_the_last_day_counts_and_the_next_does_not(tmp_path: Path) -> None:
    text = f"[[accepted]]\nid = '{PEER.id}'\nreason = 'x'\nuntil = 2026-11-30\n"
    last = datetime(2026, 11, 30, 23, 59, tzinfo=UTC)
    assert sorted_(tmp_path, text, last).suppressed == (PEER,)
    over = sorted_(tmp_path, text, datetime(2026, 12, 1, tzinfo=UTC))
    assert over.findings == FOUND
    [told] = over.remarks
    assert "ended on 2026-11-30" in told


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("until = 2027-01-31", "it has no reason"),
        ("reason = '  '\nuntil = 2027-01-31", "it has no reason"),
        ("reason = 'x'", "it has no end"),
    ],
)
def test_without_a_reason_or_an_end_it_does_not_count(
    tmp_path: Path, entry: str, said: str
) -> None:
    done = sorted_(tmp_path, f"[[accepted]]\nid = '{PEER.id}'\n{entry}\n")
    assert done.findings == FOUND
    assert said in done.remarks[0]


def test_entries_without_effect_are_told() -> None:
    entries = (
        Entry(1, id="0" * 16, reason="x", until=date(2027, 1, 1)),
        Entry(2, rule="psk-week", path="*", reason="x", until=date(2027, 1, 1)),
    )
    done = sort(FOUND, entries, NOW, rules={"psk-weak"})
    assert "there is no such rule" in done.remarks[0]
    assert "covers nothing any more" in done.remarks[1]
    assert not sort(FOUND, entries[:1], NOW, whole=False).remarks


def test_of_two_that_cover_a_finding_both_are_of_use() -> None:
    day = date(2027, 1, 1)
    entries = (
        Entry(1, id=KEY.id, reason="first", until=day),
        Entry(2, rule=KEY.rule.id, path="*", reason="second", until=day),
    )
    done = sort(FOUND, entries, NOW)
    assert (done.accepted[KEY.id].reason, done.remarks) == ("first", ())


@pytest.mark.parametrize(
    "text",
    [
        "accepted = 3",
        "accepted = [3]",
        "[accepted]\nid = 'x'",
        "[[suppressed]]\nid = 'x'",
        "[[accepted]]\nreason = 'x'",
        "[[accepted]]\nid = 'x'\nrule = 'y'\npath = 'z'",
        "[[accepted]]\nrule = 'y'",
        "[[accepted]]\npath = 'z'",
        "[[accepted]]\nid = 3",
        "[[accepted]]\nid = 'x'\nuntil = 3",
        "[[accepted]]\nid = 'x'\nuntil = 'tomorrow'",
        "[[accepted]]\nid = 'x'\nuntil = 2027-01-31T00:00:00Z",
        "[[accepted]]\nid = 'x'\nexpires = 2027-01-31",
        "no toml",
        "a = " + "[" * 5000,
        "a = " + "9" * 5000,
    ],
)
def test_a_mistake_in_the_file_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(AcceptedInvalid):
        written(tmp_path, text)


def test_a_file_that_is_no_text_or_without_end(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(AcceptedInvalid, match="UTF-8"):
        read(path)
    with pytest.raises(AcceptedInvalid, match="4 MiB"):
        read(Path("/dev/zero"))
