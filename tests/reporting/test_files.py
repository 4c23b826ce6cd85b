"""Reports in every form: the same bytes for the same records, harmless, bounded, and honest where there is nothing."""

import csv
import io
import json
import re
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import weasyprint

from api.reporting import files, kinds
from api.reporting import paper as papers
from api.reporting.kinds import KINDS
from api.reporting.values import Asked, PdfBusy, PdfMissing, PeriodUnwanted, ReportTooLarge
from fleet.reporting import inventory, listing
from fleet.reporting.periods import BadPeriod
from pki.desk import Desk
from tests.fixtures.desk import NOW
from tests.fixtures.needs import needs_program
from tests.fleet.crew import enlist
from tests.pki.acts import issue
from tests.reporting.scene import AUDITOR, PERIODS, THEN, Fleet, every, made, spoil

FORMATS = ("json", "csv", "html", "pdf")
# What names may hold, and what must never come out of it.
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    '=HYPERLINK("http://evil.example")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\t=1+1",
    "a\x1b]0;owned\x07\x1b[31mred",
    "a\x9b2Jb",
    "user\u202egnp.exe\u2066x",
    "line\u2028break\x85and\x00nul".replace("\x00", "\x01"),
    "x\u200b\ufeffy",
    "{{ 7*7 }}{% raw %}%(moment)s %s",
    "w" * 300,
    "漢字" * 80,
)
_UNSEEN = set("\x00\x01\x07\x1b\x85\x9b\u200b\u2028\u202e\u2066\ufeff")


class _Page(HTMLParser):
    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.given: set[str] = set()
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.given |= {name for name, _ in attrs}


needs_poppler = needs_program("pdftotext", "poppler-utils")


def words_of(pdf: bytes, directory: Path) -> str:
    """The text of a PDF, by another program."""
    file = directory / "report.pdf"
    file.write_bytes(pdf)
    return subprocess.run(
        ["pdftotext", "-layout", str(file), "-"], check=True, capture_output=True, timeout=60
    ).stdout.decode()


def lines(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_same_records_make_the_same_bytes(fleet: Fleet, language: Any) -> None:
    later = THEN + timedelta(days=30)
    for kind, form in every(*FORMATS):
        asked: dict[str, Any] = {"format": form, "language": language, "at": THEN}
        first = fleet.made(kind, **asked)
        assert fleet.made(kind, now=later, **asked) == first, (kind, form)
    # A period that is over needs no moment.
    for kind in PERIODS:
        asked = {
            "format": "pdf",
            "language": language,
            "period": f"{NOW - timedelta(days=20):%Y-%m-%d}",
        }
        assert fleet.made(kind, **asked) == fleet.made(kind, now=later, **asked)


def test_files_are_called_by_kind_and_period(fleet: Fleet) -> None:
    assert (
        fleet.made("expiring", period="2026-Q3", format="csv").filename
        == "ikewarden-expiring-2026-Q3.csv"
    )
    assert fleet.made("revocations", period="2026-01-01..2026-02-01").filename == (
        "ikewarden-revocations-2026-01-01_2026-02-01.json"
    )
    assert fleet.made("audit", format="html").filename == f"ikewarden-audit-{THEN:%Y-%m-%d}.html"


def test_whatever_names_hold_nothing_comes_of_it(fleet: Fleet) -> None:
    for text in HOSTILE:
        spoil(fleet.desk, text)
        for kind in KINDS:
            _harmless(fleet, kind, text)


def _harmless(fleet: Fleet, kind: str, text: str) -> None:
    told = json.loads(fleet.made(kind, format="json").content)
    assert told["made_at"]
    page = fleet.made(kind, format="html", language="zh").content
    read = _Page(page)
    assert not {"script", "img", "link", "iframe", "form", "object"} & set(read.tags), kind
    assert not {"src", "href", "onerror", "style"} & read.given, kind
    assert not _UNSEEN & set(page.decode()), kind
    assert "{{" not in text or "{{ 7*7 }}" in page.decode(), kind
    table = fleet.made(kind, format="csv").content.decode()
    assert not _UNSEEN & set(table), kind
    for row in lines(table.encode()):
        assert not [each for each in row.values() if each.lstrip()[:1] in set("=+@|%")], kind
        assert not [each for each in row.values() if re.match(r"\s*-\D", each)], kind


@needs_poppler
def test_whatever_names_hold_stays_on_the_paper(fleet: Fleet, tmp_path: Path) -> None:
    spoil(fleet.desk, HOSTILE[0] + HOSTILE[7] + HOSTILE[11][:120] + HOSTILE[12][:40])
    for kind in KINDS:
        content = fleet.made(kind, format="pdf", language="zh").content
        words = words_of(content, tmp_path)
        assert not (_UNSEEN - {"\x0c"}) & set(words), kind
        assert b"/JavaScript" not in content
        assert b"/URI" not in content
        _fits(tmp_path / "report.pdf")


def _fits(file: Path) -> None:
    """No word stands outside of the margins of an A4 page."""
    told = subprocess.run(
        ["pdftotext", "-bbox", str(file), "-"], check=True, capture_output=True, timeout=60
    ).stdout.decode()
    [(width, height)] = set(re.findall(r'<page width="([\d.]+)" height="([\d.]+)"', told))
    assert (round(float(width)), round(float(height))) == (842, 595)  # A4, in points
    for each in re.finditer(r'xMin="([\d.-]+)" yMin="[\d.-]+" xMax="([\d.-]+)"', told):
        assert float(each[1]) >= 30, each
        assert float(each[2]) <= 842 - 30, each


@needs_poppler
def test_pages_have_numbers_and_a_running_header(fleet: Fleet, tmp_path: Path) -> None:
    words = words_of(fleet.made("compliance", format="pdf").content, tmp_path)
    pages = words.rstrip("\x0c").split("\x0c")
    assert len(pages) > 2
    for number, page in enumerate(pages, 1):
        assert re.search(rf"\b{number} ?/ ?{len(pages)}\b", page)
    assert all("Compliance" in page.lstrip().splitlines()[0] for page in pages)
    chinese = words_of(fleet.made("compliance", format="pdf", language="zh").content, tmp_path)
    assert "双人规则" in chinese
    told = subprocess.run(
        ["pdfinfo", str(tmp_path / "report.pdf")], check=True, capture_output=True, timeout=60
    ).stdout.decode()
    assert re.search(r"Tagged: +yes", told)
    fonts = subprocess.run(
        ["pdffonts", str(tmp_path / "report.pdf")], check=True, capture_output=True, timeout=60
    ).stdout.decode()
    assert "CJK" in fonts
    assert {line.split()[-5] for line in fonts.splitlines()[2:]} == {"yes"}  # all embedded


def test_names_of_a_certificate_stand_one_after_the_other(fleet: Fleet) -> None:
    issue(fleet.desk, ("dns:two.example", "ip:192.0.2.77"))
    for kind, column in (("expiring", "names"), ("inventory", "name")):
        told = {each[column] for each in lines(fleet.made(kind, format="csv").content)}
        assert "dns:two.example, ip:192.0.2.77" in told, kind


def test_making_a_pdf_leaves_nothing_in_the_log(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    fleet.made("inventory", format="pdf")
    assert [each.name for each in caplog.records if "weasyprint" in each.name] == []


def states(content: bytes) -> set[str]:
    """What is said of controls that are not about authorities, which are there from the beginning."""
    found = json.loads(content)["frameworks"]
    controls = [each for frame in found for each in frame["controls"]]
    return {each["state"] for each in controls if "authorities" not in each["evidence"]}


def test_nought_is_no_evidence(empty_desk: Desk) -> None:
    told = states(made(empty_desk, "compliance", format="json").content)
    assert "nothing yet" in told
    assert "evidence" not in told
    page = made(empty_desk, "compliance", format="html", language="zh").content.decode()
    assert "尚无记录" in page


def test_where_something_has_happened_there_is_evidence(fleet: Fleet) -> None:
    told = states(fleet.made("compliance", format="json").content)
    assert "nothing yet" not in told


def test_an_empty_fleet_says_so(empty_desk: Desk) -> None:
    nothing = {"inventory", "expiring", "revocations", "psk-age", "sa-health"}
    for kind in KINDS:
        for language, words in (
            ("en", "There is nothing to report."),
            ("zh", "没有可报告的内容。"),
        ):
            page = made(empty_desk, kind, format="html", language=language).content.decode()
            assert (words in page) == (kind in nothing), kind
        assert len(lines(made(empty_desk, kind, format="csv").content)) == (
            45 if kind == "compliance" else 0
        )
        assert json.loads(made(empty_desk, kind).content)
        assert made(empty_desk, kind, format="pdf").content.startswith(b"%PDF")
    assert (
        "There are no gateways." in made(empty_desk, "compliance", format="html").content.decode()
    )


@needs_poppler
def test_of_a_huge_fleet_a_part_is_told_and_the_table_has_all(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        enlist(desk, f"g{number}.example")
    page = made(desk, "inventory", format="html", rows=5).content.decode()
    assert "And 7 more: a report as CSV has them all." in page
    told = json.loads(made(desk, "inventory", rows=5).content)["gateways"]
    assert (told["total"], len(told["items"]), told["more"]) == (12, 5, 7)
    assert json.loads(made(desk, "expiring", rows=0).content)["certificates"] == []
    whole = made(desk, "inventory", format="csv").content
    monkeypatch.setattr(listing, "PART", 3)
    asked = Asked("inventory", format="csv")
    assert b"".join(files.parts(desk, AUDITOR, asked, now=THEN)) == whole
    found, cursor = [], None
    while True:
        part = files.part(desk, AUDITOR, asked, cursor, now=THEN)
        assert len(lines(part.content)) <= 3
        found += lines(part.content)
        cursor = part.cursor
        if cursor is None:
            break
    assert found == lines(whole)
    assert {each["what"] for each in found} == {*inventory.WHATS} - {"tunnel", "secret"}
    monkeypatch.setattr(kinds, "PAPER", 4)
    paper = words_of(made(desk, "inventory", format="pdf", rows=5000).content, tmp_path)
    assert "And 8 more: a report as CSV has them all." in paper
    monkeypatch.setattr(files, "_MOST_BYTES", 500)
    with pytest.raises(ReportTooLarge):
        made(desk, "inventory", format="csv", signed=True)


def test_what_makes_no_report_is_refused(fleet: Fleet) -> None:
    for kind in ("inventory", "psk-age", "audit"):
        with pytest.raises(PeriodUnwanted):
            fleet.made(kind, period="2026-Q3")
    for period in (
        "",
        "2026-Q5",
        "2026-13",
        "last-0d",
        "2026-02..2026-01",
        "x" * 90,
        "9999",
        "0001",
        "2026-01-01T00:00..2026-02-01",
        "2026-02-01..2026-01-01",
        "last-9999d..",
        "..",
        "2026-W54",
    ):
        if not period:
            continue
        with pytest.raises(BadPeriod):
            fleet.made("expiring", period=period)
    with pytest.raises(BadPeriod):
        fleet.made("psk-age", at=NOW.replace(year=1))


def test_two_are_set_on_paper_at_once_and_nobody_waits_for_them(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, go_on = threading.Barrier(3), threading.Event()
    real = weasyprint.HTML.write_pdf

    def held(*given: Any, **named: Any) -> Any:
        inside.wait(60)
        go_on.wait(60)
        return real(*given, **named)

    monkeypatch.setattr(weasyprint.HTML, "write_pdf", held)
    with ThreadPoolExecutor(2) as others:
        made = [others.submit(papers.pdf, b"<p>one</p>") for _ in range(2)]
        inside.wait(60)
        try:
            with pytest.raises(PdfBusy) as refused:
                fleet.made("inventory", format="pdf")
            assert refused.value.details["retry_after"]
            assert fleet.made("inventory", format="html").content
        finally:
            go_on.set()
        assert [each.result()[:4] for each in made] == [b"%PDF"] * 2
    monkeypatch.undo()
    assert papers.pdf(b"<p>one</p>")[:4] == b"%PDF"


def test_without_weasyprint_it_is_said_what_to_install(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise OSError("cannot load library 'libpango-1.0-0'")

    # As it is where the extra is not installed.
    monkeypatch.setitem(__import__("sys").modules, "weasyprint", None)
    with pytest.raises(PdfMissing) as refused:
        fleet.made("audit", format="pdf")
    assert "pip install '.[server,pdf]'" in refused.value.next_step
    assert fleet.made("audit", format="html").content
    with pytest.raises(PdfMissing):
        papers.check()
