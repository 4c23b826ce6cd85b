"""Idempotency-Key over the wire: sent twice, done once."""

import threading
import time
from datetime import timedelta

import pytest

from pki.actors import Role
from pki.idempotency import TAKEN_OVER_AFTER
from tests.api.serving import Reply, Serving
from tests.api.site import new_csr


def _body(name: str) -> dict[str, object]:
    return {"csr": new_csr(name), "profile": "gateway"}


def _key(value: str) -> dict[str, str]:
    return {"Idempotency-Key": value}


def test_the_same_request_is_answered_as_before(serving: Serving) -> None:
    body = _body("once.example")
    with serving.client(Role.OPERATOR) as client:
        first = client.post("/v1/certificates", body, headers=_key("issue-1"))
        again = client.post("/v1/certificates", body, headers=_key('"issue-1"'))
        found = client.get("/v1/certificates?gateway=once.example").json["items"]
    assert first.status == again.status == 201
    assert first.body == again.body
    assert first.headers["location"] == again.headers["location"]
    assert again.headers["content-type"] == "application/json"
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert len(found) == 1


def test_without_the_header_it_is_done_twice(serving: Serving) -> None:
    body = _body("twice.example")
    with serving.client(Role.OPERATOR) as client:
        assert client.post("/v1/certificates", body).status == 201
        assert client.post("/v1/certificates", body).status == 201
        assert len(client.get("/v1/certificates?gateway=twice.example").json["items"]) == 2


def test_another_request_with_the_same_key(serving: Serving) -> None:
    with serving.client(Role.OPERATOR) as client:
        client.post("/v1/certificates", _body("a.example"), headers=_key("reused"))
        reply = client.post("/v1/certificates", _body("b.example"), headers=_key("reused"))
        assert (reply.status, reply.code) == (422, "idempotency_key_reused")
        token = {"name": "x", "role": "enroller", "profiles": ["gateway"], "uses": 1}
        reply = client.post("/v1/tokens", token, headers=_key("reused"))
        assert reply.code == "idempotency_key_reused"


def test_somebody_else_s_key_is_another_key(serving: Serving) -> None:
    body = _body("shared.example")
    with serving.client(Role.OPERATOR) as one, serving.client(Role.ADMIN) as two:
        first = one.post("/v1/certificates", body, headers=_key("shared"))
        other = two.post("/v1/certificates", body, headers=_key("shared"))
    assert first.json["serial"] != other.json["serial"]
    assert "idempotency-replayed" not in other.headers


def test_a_refusal_is_repeated_too(serving: Serving) -> None:
    lost = "a-key-in-the-place-of-a-name"
    body = _body("refused.example") | {"profile": lost}
    with serving.client(Role.OPERATOR) as client:
        first = client.post("/v1/certificates", body, headers=_key("refused"))
        again = client.post("/v1/certificates", body, headers=_key("refused"))
    assert (first.status, first.code) == (again.status, again.code) == (404, "profile_not_found")
    assert again.headers["idempotency-replayed"] == "true"
    assert (lost in first.body.decode(), lost in again.body.decode()) == (True, False)
    assert first.json["next_step"] == again.json["next_step"]


def test_a_failure_of_ours_may_be_tried_again(serving: Serving) -> None:
    body = _body("later.example")
    with serving.client(Role.OPERATOR) as client:
        serving.site.keys.fail()
        try:
            assert client.post("/v1/certificates", body, headers=_key("later")).status == 503
        finally:
            serving.site.keys.heal()
        reply = client.post("/v1/certificates", body, headers=_key("later"))
    assert reply.status == 201
    assert "idempotency-replayed" not in reply.headers


def test_a_secret_is_not_told_twice(serving: Serving) -> None:
    body = {"name": "secret", "role": "enroller", "profiles": ["gateway"], "uses": 1}
    with serving.client(Role.OPERATOR) as client:
        first = client.post("/v1/tokens", body, headers=_key("secret"))
        again = client.post("/v1/tokens", body, headers=_key("secret"))
        assert first.status == 201
        assert (again.status, again.code) == (409, "idempotency_secret_not_replayable")
        assert first.json["token"].encode() not in again.body
        names = [item["name"] for item in client.get("/v1/tokens?limit=500").json["items"]]
        assert names.count("secret") == 1


@pytest.mark.parametrize(
    "bad", ["", " ", "a b", "x" * 201, 'half"', '"', "tab\there", '"back\\slash"', "caf\xe9"]
)
def test_a_malformed_key(serving: Serving, bad: str) -> None:
    with serving.client(Role.OPERATOR) as client:
        reply = client.post("/v1/certificates", _body("bad.example"), headers=_key(bad))
    assert (reply.status, reply.code) == (400, "malformed_request")


def test_on_a_get_it_means_nothing(serving: Serving) -> None:
    with serving.client(Role.OPERATOR) as client:
        assert client.get("/v1/whoami", headers=_key("a b")).status == 200


def test_two_at_once(serving: Serving) -> None:
    body = _body("race.example")
    replies: list[Reply] = []
    start = threading.Barrier(6)

    def ask() -> None:
        with serving.client(Role.OPERATOR) as client:
            client.get("/healthz")
            start.wait()
            replies.append(client.post("/v1/certificates", body, headers=_key("race")))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    statuses = [reply.status for reply in replies]
    assert set(statuses) <= {201, 409}
    assert len({reply.body for reply in replies if reply.status == 201}) == 1
    running = [reply for reply in replies if reply.status == 409]
    assert {reply.code for reply in running} <= {"idempotency_running"}
    assert all(int(reply.headers["retry-after"]) > 0 for reply in running)
    with serving.client(Role.OPERATOR) as client:
        assert len(client.get("/v1/certificates?gateway=race.example").json["items"]) == 1


def test_a_turn_whose_process_died_is_taken_over(serving: Serving) -> None:
    site, body, replies = serving.site, _body("crash.example"), list[Reply]()

    def ask() -> None:
        with serving.client(Role.OPERATOR) as client:
            replies.append(client.post("/v1/certificates", body, headers=_key("crash")))

    site.keys.hang()  # as good as dead, to everybody else
    first = threading.Thread(target=ask)
    first.start()
    try:
        site.keys.wait_until_hanging()
        with serving.client(Role.OPERATOR) as client:
            reply = client.post("/v1/certificates", body, headers=_key("crash"))
            assert (reply.status, reply.code) == (409, "idempotency_running")
            site.clock.ahead = TAKEN_OVER_AFTER + timedelta(seconds=1)
            second = threading.Thread(target=ask)
            second.start()
            site.keys.wait_until_hanging(2)
    finally:
        site.keys.heal()
        first.join(60)
        second.join(60)
        site.clock.ahead = timedelta(0)
    assert [reply.status for reply in replies] == [201, 201]
    with serving.client(Role.OPERATOR) as client:
        kept = client.post("/v1/certificates", body, headers=_key("crash"))
    assert kept.body in {reply.body for reply in replies}


def test_a_gateway_that_lost_the_answer_to_its_enrollment_asks_again(serving: Serving) -> None:
    body = _body("lost.example")
    token = serving.site.token(Role.ENROLLER, uses=1)
    with serving.client(token) as client:
        first = client.post("/v1/certificates", body, headers=_key("enroll"))
        assert first.status == 201
        assert client.get("/v1/whoami").code == "token_refused", "the token is used up"
        again = client.post("/v1/certificates", body, headers=_key("enroll"))
        assert (again.status, again.body) == (201, first.body)
        assert again.headers["idempotency-replayed"] == "true"
        other = client.post("/v1/certificates", _body("more.example"), headers=_key("more"))
        assert (other.status, other.code) == (401, "token_refused")
        swapped = client.post("/v1/certificates", _body("swap.example"), headers=_key("enroll"))
        assert (swapped.status, swapped.code) == (422, "idempotency_key_reused")


def test_revocation_sent_twice(serving: Serving) -> None:
    url = f"/v1/certificates/{serving.site.issue('gone.example').serial}/revoke"
    with serving.client(Role.OPERATOR) as client:
        first = client.post(url, {"reason": "superseded"}, headers=_key("gone"))
        time.sleep(0.01)
        again = client.post(url, {"reason": "superseded"}, headers=_key("gone"))
    assert (first.status, again.status) == (200, 200)
    assert first.body == again.body
