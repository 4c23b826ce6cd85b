"""What is wrong with a form or an address, in the words of people, in both languages; and errors in Chinese."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from pydantic import ValidationError

from api.console import mistakes
from api.console.language import load
from api.console.mending import shown
from api.console.page import Form, Page
from api.console.pages import PAGES
from api.console.sending import form
from api.decoding import query
from api.errors import QueryInvalid
from api.registry import Nothing, Sent
from core.errors import IkewardenError
from fleet.gateways import GatewayNotFound
from pki.actors import Role
from pki.approvals import ApprovalRequired
from tests.console.browser import Browser

Make = Callable[..., Browser]
# What browsers, and who types addresses, may send in the place of anything.
_STRANGE = ("x\x01y", "x" * 70_000, "-1", "9" * 40, "1.5", "2026-13-01", "2026-11-30T12:00")
_FAR = ("0001-01-01T00:00+14:00", "9999-12-31T23:59:59-14:00", "1969-12-31")


def models() -> dict[str, type[Sent]]:
    found: dict[str, type[Sent]] = {}
    for page in PAGES:
        for model in (page.form, page.query):
            if model is not None and model not in {Nothing, Form}:
                found[f"{page.method} {page.path} {model.__name__}"] = model
    return found


MODELS = models()


def strange(model: type[Sent]) -> Iterator[ValidationError]:
    everywhere = [{name: value for name in model.model_fields} for value in (*_STRANGE, *_FAR)]
    for given in [{}, {"unheard_of": "x"}, *everywhere]:
        for validate in (model.model_validate, model.model_validate_strings):
            try:
                validate(given)
            except ValidationError as error:
                yield error


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_every_mistake_is_said_in_words_of_ours_by_the_label_of_its_field(
    model: type[Sent],
) -> None:
    for name in model.model_fields:
        assert name in {*mistakes.LABELS, *mistakes.UNSEEN}, name
    for error in strange(model):
        for place in mistakes.places(error):
            told = mistakes.mistake(place)
            assert told.words != mistakes.OTHER, (error, told)
            for language in (load("en"), load("zh")):
                said = language.say(told.words).format(**told.values)
                assert "{" not in said
                assert "pattern" not in said
            assert language.say(told.words) != told.words


@pytest.mark.parametrize(
    ("code", "given", "said"),
    [
        ("missing", {}, "This must be filled in."),
        ("string_too_short", {"min_length": 1}, "This must be filled in."),
        ("string_too_short", {"min_length": 3}, "This is too short: at least 3 characters."),
        ("string_too_long", {"max_length": 40}, "This is too long: at most 40 characters."),
        ("greater_than_equal", {"ge": 0}, "This must be at least 0."),
        (
            "literal_error",
            {"expected": "'psk' or 'ppk'"},
            "This is none of what can be chosen here: psk, ppk.",
        ),
        ("a code that comes with another pydantic", {}, "This cannot be accepted as it is."),
    ],
)
def test_a_mistake_is_told_by_its_code(code: str, given: dict[str, object], said: str) -> None:
    words, values = mistakes.in_words(code, given)
    assert words.format(**values) == said


def test_the_sentences_over_mistakes_are_those_that_are_translated() -> None:
    with pytest.raises(QueryInvalid) as refused:
        query(Nothing, "x=1")
    assert refused.value.message == mistakes.QUERY


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "Expires from: This is no date, as 2026-11-30."),
        ("zh", "到期不早于：这不是日期；应如 2026-11-30。"),  # noqa: RUF001
    ],
)
def test_a_date_that_is_none_is_said_plainly(browser: Make, language: str, said: str) -> None:
    page = browser(Role.AUDITOR, language=language).get("/certificates?expires_after=tomorrow")
    assert page.status == 422
    assert said in page.text
    assert "isoformat" not in page.text


def test_a_name_that_nobody_knows_acts_in_no_page(browser: Make) -> None:
    page = browser(Role.AUDITOR).get("/certificates?%3Cb%3E%7Bx%7D=1")
    assert page.status == 422
    assert "<b>{x}" not in page.html
    assert "<b>{x}: This is not known here." in page.text


def test_an_error_is_in_chinese_with_its_own_sentence_behind(browser: Make) -> None:
    chinese = browser(Role.AUDITOR, language="zh").get("/gateways/nobody")
    english = browser(Role.AUDITOR).get("/gateways/nobody")
    assert chinese.status == english.status == 404
    means = load("zh").codes[GatewayNotFound.code]
    assert f"<strong>{means}</strong>" in chinese.html
    assert '<p class="quiet" lang="en">' in chinese.html
    assert load("zh").say(GatewayNotFound.next_step).partition("`")[0] in chinese.text
    assert means not in english.html
    assert 'lang="en">' not in english.html.partition('role="alert"')[2].partition("</div>")[0]


def test_a_next_step_with_values_is_marked_as_english() -> None:
    language = load("zh")
    error = ApprovalRequired("It waits as number 7.", next_step="Have 7 approved.")
    assert shown(error, "r").next_step == "Have 7 approved."
    assert language.refusal(error.code, error.message) == (
        language.codes["approval_required"],
        "It waits as number 7.",
    )


def test_what_is_told_of_an_error_of_the_server_is_in_chinese_too() -> None:
    told = shown(IkewardenError("a secret"), "r")
    language = load("zh")
    assert language.refusal(told.code, told.message) == ("本服务出现了问题。", "")
    assert language.say(told.next_step) != told.next_step


def test_a_form_names_its_fields(browser: Make) -> None:
    page = next(each for each in PAGES if each.path == "/sign-in" and each.form is not None)
    assert isinstance(page, Page)
    try:
        form(page, {"token": "x" * 301})
    except IkewardenError as error:
        (mistake,) = shown(error, "r").errors
    assert (mistake.label, mistake.words) == (
        "Token",
        "This is too long: at most {limit} characters.",
    )
    assert mistake.values == {"limit": 300}


def test_lengths_are_said_where_nothing_else_looks_like_one() -> None:
    assert load("en").length(timedelta(days=365)) == "365 days (about 1 year)"
