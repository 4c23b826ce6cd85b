"""Every message of the reports has a translation, every translation is of a message, their places are the same."""

import re
from pathlib import Path

import pytest
from babel.messages.extract import extract
from babel.messages.pofile import read_po

from api.reporting import words
from api.reporting.words import LANGUAGES, LOCALE
from fleet.reporting.controls import FRAMEWORKS, framework

API = LOCALE.parent
OTHERS = [each for each in LANGUAGES if each != "en"]


def messages() -> set[str]:
    """What the templates and the code of reports say."""
    found: set[str] = set()
    templates = [
        "report",
        "report_base",
        "report_parts",
        "report_sheet",
        "report_controls",
        "sa_health",
    ]
    sources = [
        ("jinja2.ext:babel_extract", API / "templates" / f"{name}.html") for name in templates
    ]
    sources += [("python", path) for path in sorted((API / "reporting").glob("*.py"))]
    for method, path in sources:
        with path.open("rb") as file:
            for _, message, _, _ in extract(
                method, file, keywords={"_": None, "N_": None, "say": None}
            ):
                assert isinstance(message, str)
                found.add(message)
    return found


def translations(language: str) -> dict[str, str]:
    """What the catalogue has."""
    with (LOCALE / language / "reports.po").open("rb") as file:
        catalogue = read_po(file, locale=language)
    assert not catalogue.obsolete
    return {str(each.id): str(each.string) for each in catalogue if each.id}


def places(text: str) -> set[str]:
    return set(re.findall(r"%\(\w+\)s|`[^`]+`", text))


@pytest.mark.parametrize("language", OTHERS)
def test_every_message_is_translated_and_every_translation_used(language: str) -> None:
    there = translations(language)
    assert sorted(messages() - there.keys()) == []
    assert sorted(there.keys() - messages()) == []
    assert [each for each, text in there.items() if not text] == []
    assert [each for each, text in there.items() if places(each) != places(text)] == []


def test_words_are_put_in_their_places() -> None:
    say = words.words("zh")
    assert "{}" not in say("as of %(moment)s", moment="{}x%s")[:-5]
    assert "x%s" in say("as of %(moment)s", moment="x%s")
    assert say("no such message") == "no such message"
    assert words.words("en")("None.") == "None."


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_frameworks_are_in_every_language_and_say_what_they_do_not_show(name: str) -> None:
    found = framework(name)
    numbers = [each.id for each in found.controls]
    assert len(numbers) == len(set(numbers))
    for language in OTHERS:
        assert found.about(language)
        for each in found.controls:
            title, gap = each.told(language)
            assert re.search(r"[\u4e00-\u9fff]", title)
            assert re.search(r"[\u4e00-\u9fff]", gap)
    for each in found.controls:
        assert each.gap
        assert each.gap.startswith("Not covered") == (not each.evidence)


def test_the_catalogue_is_a_file_of_the_package() -> None:
    assert (Path(words.__file__).parent.parent / "locale" / "zh" / "reports.po").is_file()
