"""The HTTP client: what it trusts, sends twice, follows and believes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import IkewardenError
from ikewarden.client import (
    AnswerUnreadable,
    Client,
    ConnectionUnusable,
    Refused,
    Service,
    ServiceUnreachable,
    ServiceUntrusted,
)
from tests.cli.conftest import HANG_UP, TOKEN, Actor, Answer, acting, credential
from tests.fixtures.served import run

PROBLEM = {
    "type": "urn:ikewarden:problem:not_on_hold",
    "title": "Conflict",
    "status": 409,
    "detail": "The certificate is not on hold.",
    "code": "not_on_hold",
    "next_step": "Nothing is to be released.",
    "request_id": "r1",
}
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_get_carries_the_token_and_its_query(actor: Actor) -> None:
    actor.script = [Answer.of({"a": 1})]
    assert actor.client().get("/v1/x", {"q": "a b&c", "none": None, "n": 3}) == {"a": 1}
    [asked] = actor.asked
    assert (asked.method, asked.target) == ("GET", "/v1/x?q=a+b%26c&n=3")
    assert asked.headers["Authorization"] == f"Bearer {TOKEN}"
    assert "Idempotency-Key" not in asked.headers


@pytest.mark.parametrize(
    ("environ", "sent"),
    [
        ({"TRACEPARENT": PARENT}, PARENT),
        ({"TRACEPARENT": "00-nonsense"}, None),
        ({"TRACEPARENT": f"{PARENT}\r\nX-Evil: 1"}, None),
        ({}, None),
    ],
)
def test_a_command_belongs_under_the_trace_that_its_environment_names(
    actor: Actor, tmp_path: Path, environ: dict[str, str], sent: str | None
) -> None:
    actor.script = [Answer.of({"name": "x", "role": "auditor"})]
    run("whoami", *actor.options(tmp_path / "token"), environ=environ)
    [asked] = actor.asked
    assert asked.headers.get("traceparent") == sent
    assert "X-Evil" not in asked.headers


def test_a_post_has_a_fresh_key_each_time(actor: Actor) -> None:
    actor.script = [Answer.of({}, 201)]
    client = actor.client()
    client.post("/v1/x", {"name": "ü"})
    client.post("/v1/x", {"name": "ü"})
    first, second = actor.asked
    assert json.loads(first.body) == {"name": "ü"}
    assert first.headers["Content-Type"] == "application/json"
    assert first.headers["Idempotency-Key"] != second.headers["Idempotency-Key"]
    assert len(first.headers["Idempotency-Key"]) >= 32


@pytest.mark.parametrize("act", [lambda c: c.get("/v1/x"), lambda c: c.post("/v1/x")])
def test_a_lost_connection_is_tried_once_more_with_the_same_key(
    actor: Actor, act: Callable[[Client], Any]
) -> None:
    actor.script = [HANG_UP, Answer.of({"done": True})]
    assert act(actor.client()) == {"done": True}
    first, second = actor.asked
    assert first.headers.get("Idempotency-Key") == second.headers.get("Idempotency-Key")
    assert first.body == second.body


def test_a_truncated_answer_is_a_lost_connection(actor: Actor) -> None:
    short = Answer(200, b'{"done"', {"Content-Length": "100"})
    actor.script = [short, Answer.of({"done": True})]
    assert actor.client().post("/v1/x") == {"done": True}


def test_a_connection_lost_twice_is_given_up_with_the_outcome_open(actor: Actor) -> None:
    actor.script = [HANG_UP]
    with pytest.raises(ServiceUnreachable, match="was lost before the answer") as caught:
        actor.client().post("/v1/x")
    assert caught.value.maybe_done
    assert len(actor.asked) == 2


def test_a_service_that_is_not_there(tmp_path: Path) -> None:
    with acting(tmp_path / "gone") as actor:
        client = actor.client()
    with pytest.raises(ServiceUnreachable, match=r"Nothing answers at .*: connection refused") as e:
        client.post("/v1/x")
    assert not e.value.maybe_done


def test_a_host_without_an_address(actor: Actor) -> None:
    client = Client(Service("https://nowhere.invalid:8443", actor.ca_file))
    with pytest.raises(ServiceUnreachable, match=r"Nothing answers at https://nowhere\.invalid"):
        client.get("/v1/x")


def test_a_problem_is_an_error_with_all_its_members(actor: Actor) -> None:
    actor.script = [Answer.of(PROBLEM, 409)]
    with pytest.raises(Refused) as caught:
        actor.client().post("/v1/x")
    assert caught.value.message == PROBLEM["detail"]
    assert caught.value.next_step == PROBLEM["next_step"]
    assert caught.value.status == 409
    assert caught.value.problem == PROBLEM


@pytest.mark.parametrize(
    ("script", "sure"),
    [
        ([Answer.of(PROBLEM, 422)], True),
        ([Answer.of(PROBLEM, 403)], True),
        ([Answer.of(PROBLEM, 409)], False),
        ([Answer.of(PROBLEM, 503)], False),
        ([Answer.of(PROBLEM, 500)], False),
        ([HANG_UP, Answer.of(PROBLEM, 401)], False),
    ],
)
def test_only_a_first_refusal_says_that_nothing_was_done(
    actor: Actor, script: list[Answer], sure: bool
) -> None:
    actor.script = script
    with pytest.raises(Refused) as caught:
        actor.client().post("/v1/x")
    assert caught.value.surely_not_done is sure


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b""),
        Answer(200, b"<html>hello</html>"),
        Answer(200, b"[1, 2]"),
        Answer(502, b"<html>bad gateway</html>"),
        Answer(200, b"\xff\xfe{}"),
        Answer(200, b"[" * 100_000),
    ],
)
def test_what_is_not_the_api_is_named_so(actor: Actor, answer: Answer) -> None:
    actor.script = [answer]
    with pytest.raises(AnswerUnreadable, match="is not ikewarden's API"):
        actor.client().get("/v1/x")


def test_an_answer_without_end_is_refused(actor: Actor) -> None:
    actor.script = [Answer(200, b" " * (33 * 2**20))]
    with pytest.raises(AnswerUnreadable, match="too large"):
        actor.client().get("/v1/x")


def test_a_redirect_is_not_followed_with_our_token(actor: Actor) -> None:
    actor.script = [Answer(307, b"", {"Location": "https://localhost:1/steal"})]
    with pytest.raises(AnswerUnreadable):
        actor.client().get("/v1/x")
    assert len(actor.asked) == 1


def _page(numbers: range, after: str | None) -> Answer:
    return Answer.of({"items": [{"n": n} for n in numbers], "next_cursor": after})


def test_pages_are_followed_up_to_the_limit(actor: Actor) -> None:
    actor.script = [
        _page(range(500), "a"),
        _page(range(500, 1000), "b"),
        _page(range(1000, 1200), "c"),
    ]
    found = actor.client().listing("/v1/x", {"q": "z"}, limit=1200)
    assert [each["n"] for each in found.items] == list(range(1200))
    assert found.more
    assert [asked.target for asked in actor.asked] == [
        "/v1/x?q=z&limit=500",
        "/v1/x?q=z&limit=500&cursor=a",
        "/v1/x?q=z&limit=200&cursor=b",
    ]


def test_the_last_page_ends_a_list(actor: Actor) -> None:
    actor.script = [_page(range(3), "a"), _page(range(0), None)]
    found = actor.client().listing("/v1/x", limit=10)
    assert len(found.items) == 3
    assert not found.more


@pytest.mark.parametrize(
    "script",
    [
        [_page(range(1), "a")],  # the same cursor again and again
        [_page(range(0), "a")],
        [Answer.of({"items": "none"})],
        [Answer.of({"items": [1]})],
        [Answer.of({})],
    ],
)
def test_lists_that_are_none_are_refused(actor: Actor, script: list[Answer]) -> None:
    actor.script = script
    with pytest.raises(AnswerUnreadable):
        actor.client().listing("/v1/x", limit=1000)


def test_another_root_is_not_trusted_and_learns_no_token(actor: Actor, tmp_path: Path) -> None:
    other, _ = credential(tmp_path / "other")
    with pytest.raises(ServiceUntrusted, match="did not prove to be the service") as caught:
        actor.client(other).get("/v1/x")
    assert "CN=A service of a test" in caught.value.next_step
    assert str(other) in caught.value.next_step
    assert actor.asked == []


def test_another_name_is_not_trusted(tmp_path: Path) -> None:
    with acting(tmp_path / "x", names=("other.example",)) as actor:
        with pytest.raises(ServiceUntrusted, match="is for another name") as caught:
            actor.client().get("/v1/x")
        assert "[api] names" in caught.value.next_step
        assert actor.asked == []


def test_an_address_counts_as_a_name(tmp_path: Path) -> None:
    with acting(tmp_path / "x", names=("127.0.0.1",)) as actor:
        actor.url = actor.url.replace("localhost", "127.0.0.1")
        actor.script = [Answer.of({"a": 1})]
        assert actor.client().get("/v1/x") == {"a": 1}
        actor.url = actor.url.replace("127.0.0.1", "localhost")
        with pytest.raises(ServiceUntrusted, match="is for another name"):
            actor.client().get("/v1/x")


def test_a_certificate_that_has_ended_is_told_with_the_clock_in_mind(tmp_path: Path) -> None:
    with acting(tmp_path / "x", days=-1) as actor:
        with pytest.raises(
            ServiceUntrusted, match="is not valid now: certificate has expired"
        ) as e:
            actor.client().get("/v1/x")
        assert "clocks" in e.value.next_step


def test_a_port_without_tls(served: Any) -> None:
    url = served.validation_url.replace("http://", "https://")
    with pytest.raises(ServiceUntrusted, match="No TLS connection"):
        Client(Service(url, served.ca_file)).get("/v1/x")


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8443",
        "localhost:8443",
        "https://",
        "https://u:p@localhost:8443",
        "https://localhost:8443/?q",
        "https://[::1",
        "https://localhost:99999999",
        "ftp://x",
        "",
    ],
)
def test_urls_that_are_none_of_the_api(actor: Actor, url: str) -> None:
    with pytest.raises(ConnectionUnusable, match="URL"):
        Client(Service(url, actor.ca_file))


def test_a_url_may_have_a_path(actor: Actor) -> None:
    actor.script = [Answer.of({})]
    Client(Service(actor.url + "/behind/proxy/", actor.ca_file)).get("/v1/x")
    assert actor.asked[0].target == "/behind/proxy/v1/x"


def test_ca_files_that_are_none(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for path, words in (
        (tmp_path / "missing.pem", "There is no CA file"),
        (empty, "holds no PEM certificate"),
        (tmp_path, "cannot be used"),
    ):
        with pytest.raises(ConnectionUnusable, match=words) as caught:
            Client(Service("https://localhost:1", path))
        assert "--ca-file" in caught.value.next_step


def test_client_certificates_that_are_none(actor: Actor, tmp_path: Path) -> None:
    certificate, key = credential(tmp_path / "mine")
    _, stranger = credential(tmp_path / "other")
    for pair in ((certificate, stranger), (key, certificate), (tmp_path / "no", key)):
        service = Service(actor.url, actor.ca_file, None, *pair)
        with pytest.raises(ConnectionUnusable, match="client certificate"):
            Client(service)


def test_a_service_that_hangs_up_on_our_certificate_is_explained(
    actor: Actor, tmp_path: Path
) -> None:
    certificate, key = credential(tmp_path / "mine")
    actor.script = [HANG_UP]
    client = Client(Service(actor.url, actor.ca_file, None, certificate, key))
    with pytest.raises(ServiceUnreachable) as caught:
        client.get("/v1/x")
    assert f"may not know the authority of {certificate}" in caught.value.next_step


def test_no_error_shows_the_token(actor: Actor, tmp_path: Path) -> None:
    other, _ = credential(tmp_path / "other")
    for script, ca_file in (
        ([HANG_UP], None),
        ([Answer.of(PROBLEM, 500)], None),
        ([Answer(200, b"x")], None),
        ([HANG_UP], other),
    ):
        actor.script = script
        with pytest.raises(IkewardenError) as caught:
            actor.client(ca_file).get("/v1/x")
        assert TOKEN not in repr(caught.value) + caught.value.message + caught.value.next_step
