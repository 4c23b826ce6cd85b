"""[[reports]]: several tables of one name, each wrong thing told with its place."""

from pathlib import Path
from typing import get_args

import pytest

from api.reporting.kinds import KINDS
from api.reporting.values import FORMATS
from api.reporting.words import LANGUAGES
from core.schedules import ReportSchedule
from ikewarden.settings_reports import ReportSettings
from tests.program.test_settings import load, the_problem

ONE = '[[reports]]\nname = "ends"\nkind = "expiring"\nevery = "weekly"\nfolder = "out"\n'
MAIL = '[notices]\nmail_host = "mail.example"\nmail_from = "i@example.com"\nmail_to = ["ops@example.com"]\n'


def test_there_may_be_none_and_several(tmp_path: Path) -> None:
    assert load(tmp_path).reports == ()
    two = '[[reports]]\nname = "b"\nkind = "audit"\nevery = "daily"\nmail_to = ["a@example.com"]\nformat = "csv"\n'
    found = load(tmp_path, MAIL + ONE + two).reports
    assert [each.schedule for each in found] == [
        ReportSchedule("ends", "expiring", "weekly", folder=tmp_path / "out"),
        ReportSchedule("b", "audit", "daily", "csv", mail_to=("a@example.com",)),
    ]


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        (ONE.replace("weekly", "hourly"), "[[reports]] number 1: every", '"daily"'),
        (ONE + "fromat = 'pdf'\n", "[[reports]] number 1: fromat", "did you mean format?"),
        (ONE.replace('kind = "expiring"\n', ""), "[[reports]] number 1: kind", "is missing"),
        (ONE.replace('folder = "out"\n', ""), "[[reports]] number 1", "needs a folder"),
        (ONE + ONE, "the whole", "two [[reports]] are called ends"),
        (ONE + 'mail_to = ["a@example.com"]\n', "the whole", "names no mail_host"),
        (ONE + ONE.replace("ends", "x y"), "[[reports]] number 2: name", "must be"),
        ("reports = 1\n", "reports", "must be"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    tmp_path: Path, text: str, key: str, words: str
) -> None:
    found = the_problem(tmp_path, text)
    assert (found.key, words in found.message) == (key, True), found


def test_the_settings_know_what_can_be_made() -> None:
    fields = ReportSettings.model_fields
    assert set(get_args(fields["kind"].annotation)) == KINDS.keys()
    assert get_args(fields["format"].annotation) == FORMATS
    assert get_args(fields["language"].annotation) == LANGUAGES
