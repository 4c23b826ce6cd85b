"""The error tree as this door shows it."""

import importlib
import pkgutil
from collections import Counter

import pytest

import api
import core
import hsm
import pki
import store
from api.problems import STATUS, TITLES, problem, problem_headers, status_of
from api.reference import error_classes
from core.errors import (
    Conflict,
    IkewardenError,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    TooFast,
    TooLarge,
    Unavailable,
)


def _all_classes() -> list[type[IkewardenError]]:
    for package in (core, store, hsm, pki, api):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".migrations" not in module.name:
                importlib.import_module(module.name)
    # those of the tests themselves are nobody's to see
    return [kind for kind in error_classes() if kind.__module__.split(".")[0] != "tests"]


BY_BASE: tuple[tuple[type[IkewardenError], set[int]], ...] = (
    (NotAuthenticated, {401}),
    (NotPermitted, {403}),
    (NotFound, {404}),
    (Conflict, {409}),
    (TooLarge, {413, 431}),
    (TooFast, {429}),
    (Unavailable, {503}),
    (InvalidInput, {400, 405, 408, 415, 422}),
)
CLASSES = list(dict.fromkeys(_all_classes()))


def test_every_error_has_a_code_of_its_own() -> None:
    # One that has the code of the class above it is told as that.
    codes = Counter(kind.code for kind in CLASSES if "code" in vars(kind))
    assert [code for code, number in codes.items() if number > 1] == []
    for code in codes:
        assert code.replace("_", "").isalnum()
        assert code == code.lower()


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_and_a_title(kind: type[IkewardenError]) -> None:
    status = status_of(kind)
    assert status in TITLES
    expected = next((ours for base, ours in BY_BASE if issubclass(kind, base)), {500})
    assert status in expected


def test_the_table_names_no_class_twice_over() -> None:
    assert set(STATUS.values()) == set(TITLES)


def test_a_problem_has_the_members_of_rfc_9457_and_ours() -> None:
    error = InvalidInput(
        "It is not right.",
        next_step="Make it right.",
        details={"errors": [{"pointer": "/a", "detail": "no"}], "limit": 5},
    )
    assert problem(error, request_id="r1") == {
        "type": "urn:ikewarden:problem:invalid_input",
        "title": "Not acceptable as sent",
        "status": 422,
        "detail": "It is not right.",
        "code": "invalid_input",
        "next_step": "Make it right.",
        "request_id": "r1",
        "errors": [{"pointer": "/a", "detail": "no"}],
        "details": {"limit": 5},
    }


def test_an_error_of_ours_that_is_nobody_else_s_business_shows_its_code_only() -> None:
    class Inner(IkewardenError):
        code = "inner"

    shown = problem(
        Inner("/srv/keys/root is broken", next_step="look", details={"path": "/srv"}),
        request_id="r1",
    )
    assert shown["code"] == "inner"
    assert shown["status"] == 500
    assert "/srv" not in str(shown)
    del Inner


def test_headers_of_problems() -> None:
    assert dict(problem_headers(NotAuthenticated("x")))["WWW-Authenticate"] == (
        'Bearer realm="ikewarden"'
    )
    assert dict(problem_headers(NotAuthenticated("x"), token_given=True))["WWW-Authenticate"] == (
        'Bearer realm="ikewarden", error="invalid_token"'
    )
    assert int(dict(problem_headers(Unavailable("x")))["Retry-After"]) > 0
    waiting = Conflict("x", details={"retry_after": 7})
    assert dict(problem_headers(waiting))["Retry-After"] == "7"
    assert "Retry-After" not in dict(problem_headers(Conflict("x")))
