"""Every text of the console in Chinese, and no translation of what is not said any more."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from babel.messages.pofile import read_po
from hypothesis import given
from hypothesis import strategies as st
from jinja2.ext import babel_extract

from api.console.language import choose, load
from api.fixes import PATTERNS
from api.problems import REPORT, TITLES, WENT_WRONG
from core.errors import meaning
from docs.generate import error_classes
from fleet.monitoring import values
from ike.audit import rules
from ike.audit.values import Area, Rule
from ike.detection import advice
from ike.detection.alert import EVIDENCE, KINDS

CONSOLE = Path(__file__).resolve().parents[2] / "api" / "console"
TEMPLATES = sorted((CONSOLE / "templates").rglob("*.html"))
MODULES = sorted(CONSOLE.rglob("*.py"))
CATALOGUES = sorted((CONSOLE / "locale" / "zh").glob("*.po"))
# Functions whose first argument, or each keyword argument, is a text.
_FIRST = {"say", "text"}
_STATE = re.compile(r"""\bstate\(\s*"[a-z]+",\s*"([^"]+)"\s*\)""")
_SAID = re.compile(r"""\(?"([^"]+)"\)?\s*\|\s*say""")


def texts_of_template(path: Path) -> Iterator[str]:
    """What stands in `_("…")`, in `state("tone", "…")` and before `|say`."""
    with path.open("rb") as stream:
        options = {"trim_blocks": "1", "extensions": "jinja2.ext.do"}
        for _, _, found, _ in babel_extract(stream, ("_", "say"), [], options):
            message = found[0] if isinstance(found, tuple) else found
            if isinstance(message, str):
                yield message
    content = path.read_text("utf-8")
    yield from _STATE.findall(content)
    yield from _SAID.findall(content)


def texts_of_module(path: Path) -> Iterator[str]:
    """What stands in `say("…")`, `text("…")`, `wrong(name, "…")`, `tell(code="…")` and `menu="…"`."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        called = (
            node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        )
        given = list(node.args[:1]) if called in _FIRST else []
        if called == "wrong":
            given += node.args[1:2]
        if called == "tell":
            given += [each.value for each in node.keywords]
        given += [each.value for each in node.keywords if each.arg == "menu"]
        for value in given:
            if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value:
                yield value.value


def said() -> set[str]:
    """Every text that the console says."""
    found = set(TITLES.values()) | advice.sentences() | set(values.LIMITED_ADVICE)
    found |= {WENT_WRONG, REPORT}
    found |= rules.sentences() | set(map(str, Area)) | set(PATTERNS)
    found |= {*KINDS, values.LIMITED} | EVIDENCE | values.EVIDENCE
    for kind in error_classes():
        found |= {meaning(kind), kind.next_step} - {""}
    for path in TEMPLATES:
        found |= set(texts_of_template(path))
    for path in MODULES:
        found |= set(texts_of_module(path))
    return found


def translated() -> Counter[str]:
    """How often each text is translated."""
    found: Counter[str] = Counter()
    for path in CATALOGUES:
        with path.open("rb") as stream:
            found.update(
                str(each.id) for each in read_po(stream, locale="zh") if each.id and each.string
            )
    return found


def test_every_text_is_in_chinese() -> None:
    assert sorted(said() - set(translated())) == []


def test_what_every_code_of_an_error_means_is_in_chinese() -> None:
    with (CONSOLE / "locale" / "zh" / "errors.po").open("rb") as stream:
        codes = {each.context: each for each in read_po(stream, locale="zh") if each.context}
    for kind in error_classes():
        found = codes.pop(kind.code, None)
        assert found is not None, kind.code
        # Where the meaning is another one by now, so is the Chinese.
        assert (found.id, bool(found.string)) == (meaning(kind), True), kind.code
        assert load("zh").codes[kind.code] == found.string
        if kind.next_step:
            assert load("zh").say(kind.next_step) != kind.next_step, kind.code
    assert sorted(codes) == []


def test_commands_and_names_in_an_error_are_the_same_in_chinese() -> None:
    with (CONSOLE / "locale" / "zh" / "errors.po").open("rb") as stream:
        for each in read_po(stream, locale="zh"):
            quoted = [sorted(re.findall(r"`[^`]+`", str(text))) for text in (each.id, each.string)]
            assert each.id == "" or quoted[0] == quoted[1], each.id


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.id)
def test_a_rule_keeps_its_commands_in_chinese(rule: Rule) -> None:
    for sentence in (rule.title, rule.why, rule.fix):
        said_ = load("zh").say(sentence)
        assert re.search(r"[\u4e00-\u9fff]", said_) or sentence.startswith("Set-")
        assert sorted(re.findall("`[^`]+`", said_)) == sorted(re.findall("`[^`]+`", sentence))


def test_no_translation_is_left_over_or_said_twice_in_different_words() -> None:
    assert sorted(set(translated()) - said()) == []
    chinese: dict[str, str] = {}
    for path in CATALOGUES:
        with path.open("rb") as stream:
            for each in read_po(stream, locale="zh"):
                if each.id:
                    before = chinese.setdefault(str(each.id), str(each.string))
                    assert before == each.string, (path.name, each.id)


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.name)
def test_a_translation_has_the_same_places_for_values(path: Path) -> None:
    with path.open("rb") as stream:
        for each in read_po(stream, locale="zh"):
            places = [sorted(re.findall(r"{\w+}", str(text))) for text in (each.id, each.string)]
            assert places[0] == places[1], each.id


@given(st.text(max_size=60))
def test_any_accept_language_gives_a_language(header: str) -> None:
    assert choose(None, header).code in {"en", "zh"}


@pytest.mark.parametrize(
    ("chosen", "accepted", "code"),
    [
        ("zh", "en", "zh"),
        ("xx", "zh-TW", "zh"),
        (None, "zh-Hans-CN;q=0.9,en;q=0.8", "zh"),
        (None, "de-DE,de", "en"),
        (None, None, "en"),
    ],
)
def test_what_somebody_chose_goes_first(
    chosen: str | None, accepted: str | None, code: str
) -> None:
    assert choose(chosen, accepted).code == code


def test_times_are_said_in_both_languages() -> None:
    now = datetime(2027, 1, 2, 3, 4, tzinfo=UTC)
    assert load("en").ago(now - timedelta(hours=3), now) == "3 hours ago"
    assert load("zh").ago(now + timedelta(days=2), now) == "2天后"
    assert load("zh").moment(now) == "2027-01-02 03:04Z"
    assert load("zh").moment(None) == "从未"


@pytest.mark.parametrize(
    ("length", "english", "chinese"),
    [
        (timedelta(days=7305), "7,305 days (about 20 years)", "7,305天（约20年）"),  # noqa: RUF001
        (timedelta(days=90), "90 days", "90天"),
        (timedelta(days=1, minutes=30), "1 day, 30 minutes", "1天30分钟"),
        (timedelta(seconds=1), "1 second", "1秒钟"),
        (timedelta(0), "0 seconds", "0秒钟"),
    ],
)
def test_a_length_of_time_is_said_exactly(length: timedelta, english: str, chinese: str) -> None:
    assert (load("en").length(length), load("zh").length(length)) == (english, chinese)
