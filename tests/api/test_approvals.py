"""The two-person rule over REST: refused, decided on by another person, sent again."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from pki.actors import Role
from pki.desk import ApprovalRules
from pki.guarded import Guarded
from tests.api.serving import Client, Reply, Serving, serve
from tests.api.site import Site, new_csr

BRANCH = {
    "name": "branch",
    "kind": "issuing",
    "parent": "root",
    "subject": "CN=Branch Issuing CA",
}
HEADER = "Ikewarden-Approval"


@pytest.fixture(scope="module")
def serving(site: Site) -> Iterator[Serving]:
    """A listener of an installation under the rule, whose people have their tokens already."""
    rules = ApprovalRules(frozenset(Guarded), valid=timedelta(hours=8), mass_revocation=2)
    site.desk = replace(site.desk, rules=replace(site.desk.rules, approvals=rules))
    with serve(site) as running:
        yield running


def asked(reply: Reply) -> int:
    assert (reply.status, reply.code) == (403, "approval_required"), reply
    number = reply.json["details"]["approval"]
    assert f"Ikewarden-Approval: {number}" in reply.json["next_step"]
    return int(number)


def approve(serving: Serving, number: int) -> None:
    with serving.client(Role.APPROVER) as approver:
        body = {"decision": "approve", "reason": "planned"}
        reply = approver.post(f"/v1/approvals/{number}", body)
        assert (reply.status, reply.json["state"]) == (200, "approved"), reply


def again(
    client: Client, path: str, body: object, number: int | str, method: str = "POST"
) -> Reply:
    return client.send(method, path, body, headers={HEADER: str(number)})


def test_a_ca_takes_two(serving: Serving) -> None:
    with serving.client(Role.ADMIN) as admin, serving.client(Role.APPROVER) as approver:
        number = asked(admin.post("/v1/authorities", BRANCH))
        found = approver.get(f"/v1/approvals/{number}").json
        assert (found["state"], found["act"]) == ("pending", "authority.create")
        # Also what was left out.
        assert found["parameters"]["algorithm"] == "ec-p256"
        assert found["parameters"]["lifetime"] == "3650 days, 0:00:00"
        listed = approver.get("/v1/approvals?state=pending&act=authority.create").json["items"]
        assert number in [each["id"] for each in listed]
        reply = again(admin, "/v1/authorities", BRANCH, number)
        assert (reply.status, reply.code) == (409, "approval_not_usable")
        reply = admin.post(f"/v1/approvals/{number}", {"decision": "approve", "reason": "me"})
        assert (reply.status, reply.code) == (403, "role_not_permitted")
        approve(serving, number)
        reply = again(admin, "/v1/authorities", {**BRANCH, "days": 3649}, number)
        assert (reply.status, reply.code) == (403, "approval_mismatch")
        assert set(reply.json["details"]["differences"]) == {"lifetime"}
        reply = again(admin, "/v1/authorities", BRANCH, number)
        assert (reply.status, reply.json["name"]) == (201, "branch")
        assert approver.get(f"/v1/approvals/{number}").json["state"] == "used"
        metrics = admin.get("/metrics").body.decode()
        assert 'ikewarden_approvals{state="pending"}' in metrics
        assert "ikewarden_approvals_oldest_seconds" in metrics


def test_a_header_that_names_no_approval(serving: Serving) -> None:
    with serving.client(Role.ADMIN) as admin:
        for text in ("x", "-1", "0", "1, 2", "9" * 30, "\uff11"):
            reply = admin.send(
                "GET", "/v1/whoami", headers={HEADER: text.encode().decode("latin-1")}
            )
            assert (reply.status, reply.code) == (400, "malformed_request"), text
        reply = again(admin, "/v1/authorities", {**BRANCH, "name": "x", "subject": "CN=x"}, 999999)
        assert (reply.status, reply.code) == (404, "approval_not_found")


def test_an_idempotency_key_belongs_to_one_of_the_two_requests(serving: Serving) -> None:
    with serving.client(Role.ADMIN) as admin:
        body = {"name": "frank", "role": "operator"}
        key = {"Idempotency-Key": "frank-1"}
        number = asked(admin.post("/v1/tokens", body, headers=key))
        approve(serving, number)
        reply = admin.post("/v1/tokens", body, headers={**key, HEADER: str(number)})
        assert (reply.status, reply.code) == (422, "idempotency_key_reused")
        key = {"Idempotency-Key": "frank-2", HEADER: str(number)}
        assert admin.post("/v1/tokens", body, headers=key).status == 201
        # Sent once more it is no second use.
        reply = admin.post("/v1/tokens", body, headers=key)
        assert (reply.status, reply.code) == (409, "idempotency_secret_not_replayable")


def test_many_certificates_take_two(serving: Serving) -> None:
    site = serving.site
    with serving.client(site.token(Role.AUDITOR)) as nobody:
        assert nobody.post("/v1/certificates/revoke", {"serials": ["77"]}).status in {403, 422}
    made = [_issued(serving, f"gw{number}.example") for number in range(4)]
    with serving.client(Role.OPERATOR) as operator:
        body = {"serials": made, "reason": "keyCompromise"}
        number = asked(operator.post("/v1/certificates/revoke", body))
        approve(serving, number)
        reply = again(operator, "/v1/certificates/revoke", body, number)
        assert reply.status == 200, reply
        assert {each["serial"] for each in reply.json["items"]} == set(made)
        assert {each["status"] for each in reply.json["items"]} == {"revoked"}


def test_a_gateway_with_many_certificates_goes_at_once_or_not(serving: Serving) -> None:
    name = "many.example"
    with serving.client(Role.OPERATOR) as operator:
        wanted = {"name": name, "identities": [f"dns:{name}"]}
        assert operator.post("/v1/gateways", wanted).status == 201
        serials = [_issued(serving, name) for _ in range(3)]
        path = f"/v1/gateways/{name}?revoke=superseded"
        number = asked(operator.send("DELETE", path))
        status = [operator.get(f"/v1/certificates/{each}").json["status"] for each in serials]
        assert status == ["valid"] * 3
        approve(serving, number)
        assert again(operator, path, None, number, "DELETE").status == 204
        status = [operator.get(f"/v1/certificates/{each}").json["status"] for each in serials]
        assert status == ["revoked"] * 3


def test_hold_of_an_authority_takes_two(serving: Serving) -> None:
    with serving.client(Role.ADMIN) as admin:
        serial = admin.get("/v1/authorities/issuing").json["serial"]
        for verb, body in (("hold", {}), ("revoke", {"reason": "superseded"})):
            asked(admin.post(f"/v1/certificates/{serial}/{verb}", body))
        assert admin.get(f"/v1/certificates/{serial}").json["status"] == "valid"


def test_withdrawn_and_refused(serving: Serving) -> None:
    with serving.client(Role.ADMIN) as admin, serving.client(Role.APPROVER) as approver:
        body = {"name": "greta", "role": "admin"}
        number = asked(admin.post("/v1/tokens", body))
        assert admin.post(f"/v1/approvals/{number}/withdraw").json["state"] == "withdrawn"
        second = asked(admin.post("/v1/tokens", body))
        assert second != number
        for wrong in ({"decision": "maybe", "reason": "x"}, {"decision": "approve"}, {}):
            assert approver.post(f"/v1/approvals/{second}", wrong).status == 422
        reply = approver.post(f"/v1/approvals/{second}", {"decision": "refuse", "reason": "no"})
        assert (reply.json["state"], reply.json["decided_by"]) == ("refused", "a approver")
        reply = approver.post(f"/v1/approvals/{second}", {"decision": "approve", "reason": "yes"})
        assert (reply.status, reply.code) == (409, "approval_decided")
        assert approver.post(f"/v1/approvals/{second}/withdraw").status == 403


def test_the_document_tells_which_routes_may_need_one(serving: Serving) -> None:
    with serving.client(Role.ADMIN) as admin:
        document = json.loads(admin.get("/v1/openapi.json").body)
    found = {
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if HEADER in [each["name"] for each in operation["parameters"]]
    }
    assert found == {
        "POST /v1/authorities",
        "POST /v1/authorities/{name}/cross-certificates",
        "POST /v1/authorities/{name}/rollover",
        "POST /v1/rollovers/{id}",
        "POST /v1/tokens",
        "POST /v1/certificates/revoke",
        "POST /v1/certificates/{serial}/revoke",
        "POST /v1/certificates/{serial}/hold",
        "POST /v1/certificates/{serial}/release",
        "DELETE /v1/gateways/{name}",
    }


def _issued(serving: Serving, name: str) -> str:
    with serving.client(Role.OPERATOR) as operator:
        reply = operator.post("/v1/certificates", {"csr": new_csr(name), "profile": "gateway"})
        assert reply.status == 201, reply
        return str(reply.json["serial"])
