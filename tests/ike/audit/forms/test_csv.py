"""CSV, as a spreadsheet opens it."""

import csv
import io

from ike.audit.forms import csv as form
from tests.ike.audit.forms.audits import OPEN, audit, compared, finding, odd


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_a_line_for_each() -> None:
    told = rows(form.write(compared()))
    states = [row["state"] for row in told]
    assert [states.count(each) for each in ("open", "accepted", "known", "unread")] == [
        204,
        1,
        1,
        2,
    ]
    assert told[0]["path"] == "/etc/ipsec.secrets"
    assert told[0]["line"] == ""
    assert told[0]["why"] == OPEN.why
    assert {row["why"] == "" for row in told if row["state"] == "unread"} == {True}
    assert (told[204]["reason"], told[204]["until"]) == ("The peer moves in January.", "2027-01-31")
    assert form.write(audit()).count("\r\n") == 208


def test_no_cell_is_a_formula() -> None:
    paths = ["=1+1", "+1", "-1", "@A1", "\t=1", "  =1", "\r=1", "＝1", "|cmd"]  # noqa: RUF001
    text = form.write(audit(findings=tuple(finding(OPEN, path, subject=path) for path in paths)))
    for row in [*rows(text), *rows(form.write(odd()))]:
        for cell in row.values():
            assert not cell.lstrip().startswith(tuple("=+-@\t\r＝|"))  # noqa: RUF001
            assert "\n" not in cell
    assert '"\'=1+1"' in text
