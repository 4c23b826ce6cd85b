"""Shared secrets over REST: what goes in shows up nowhere but where it is meant to."""

import base64
import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select

from pki.actors import Role
from store.columns import metadata
from tests.api.serving import Client, Serving
from tests.api.site import ClientCertificate

CANARY = b"Canary-9d2e71c4-4Hq!mZ7wXt2#LpVk"


def text(value: bytes) -> str:
    return base64.b64encode(value).decode()


@pytest.fixture(scope="module")
def members(serving: Serving) -> dict[str, ClientCertificate]:
    """Two gateways with a tunnel between them, and one to an outside peer."""
    operator = serving.client(Role.OPERATOR)
    made = {}
    for name in ("left.example", "right.example"):
        body = {"name": name, "identities": [f"dns:{name}"]}
        assert operator.post("/v1/gateways", body).status == 201
        made[name] = serving.site.client_certificate(name)
    left = {"gateway": "left.example"}
    peer = {"peer": {"name": "bank", "identities": ["dns:vpn.bank.example"]}}
    ends: tuple[tuple[str, Any], ...] = (("inner", {"gateway": "right.example"}), ("outer", peer))
    for name, right in ends:
        wanted = {"name": name, "left": left, "right": right}
        assert operator.post("/v1/tunnels", wanted).status == 201
    operator.connection.close()
    return made


Connect = Callable[..., Client]


@pytest.fixture
def connect(serving: Serving) -> Iterator[Connect]:
    """Makes clients, which hang up at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda who=None: stack.enter_context(serving.client(who))


@pytest.fixture
def operator(connect: Connect, members: dict[str, ClientCertificate]) -> Client:
    return connect(Role.OPERATOR)


def test_a_value_shows_up_nowhere_but_where_it_is_fetched(
    serving: Serving,
    connect: Connect,
    operator: Client,
    members: dict[str, ClientCertificate],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    answers = []
    body = {"import": {"value": text(CANARY)}, "policy": {"interval_days": 30}}
    key = {"Idempotency-Key": "once"}
    made = operator.post("/v1/tunnels/outer/secrets", body, headers=key)
    assert made.status == 201, made.json
    again = operator.post("/v1/tunnels/outer/secrets", body, headers=key)
    assert (again.status, again.headers["idempotency-replayed"]) == (201, "true")
    bad = {"import": {"value": text(CANARY) + "!", "acept_weak": True}, "kind": "x"}
    refused = operator.post("/v1/tunnels/outer/secrets", bad)
    assert refused.status == 422
    other = {"import": {"value": text(CANARY)}}
    reused = operator.post("/v1/tunnels/inner/secrets", other)
    assert (reused.status, reused.code) == (422, "secret_weak")
    answers += [made, again, refused, reused]
    for path in ("/v1/tunnels/outer/secrets", "/v1/tunnels/outer", "/v1/tunnels", "/v1/rotations"):
        answers.append(operator.get(path))
        assert answers[-1].status == 200
    gateway = connect(members["left.example"])
    state = gateway.get("/v1/gateways/self/state")
    [slot] = [each for each in state.json["secrets"] if each["name"] == "outer.psk"]
    fetched = gateway.get(f"/v1/gateways/self/secrets/{slot['keys'][0]['id']}")
    assert base64.b64decode(fetched.json["value"]) == CANARY
    assert fetched.headers["cache-control"] == "no-store"
    assert fetched.json["fingerprint"] == slot["keys"][0]["fingerprint"]
    other_gateway = connect(members["right.example"])
    answers.append(other_gateway.get(f"/v1/gateways/self/secrets/{slot['keys'][0]['id']}"))
    assert answers[-1].code == "secret_value_not_found"
    answers.append(gateway.get("/v1/gateways/self/secrets/99999999999999999999"))
    assert answers[-1].status == 404

    link = operator.post(
        "/v1/tunnels/outer/handover", {"hours": 1}, headers={"Idempotency-Key": "k"}
    )
    assert link.status == 201
    token = link.json["token"]
    nobody = connect()
    claimed = nobody.post("/v1/handovers/claim", {"token": token}, headers=key)
    assert base64.b64decode(claimed.json["value"]) == CANARY
    spent = nobody.post("/v1/handovers/claim", {"token": token}, headers=key)
    assert (spent.status, spent.code) == (404, "handover_not_found")
    replay = operator.post(
        "/v1/tunnels/outer/handover", {"hours": 1}, headers={"Idempotency-Key": "k"}
    )
    assert replay.code == "idempotency_secret_not_replayable"
    admin = connect(Role.ADMIN)
    answers += [spent, replay, admin.get("/metrics"), admin.get("/v1/audit-events?limit=500")]
    shown = b"".join(each.body for each in answers) + caplog.text.encode()
    with serving.site.desk.store.read() as connection:
        for table in metadata.sorted_tables:
            for row in connection.execute(select(table)):
                shown += repr(tuple(row)).encode()
    for word in (CANARY, text(CANARY).encode(), CANARY.hex().encode(), token.encode()):
        assert word not in shown
    [event] = [e for e in answers[-1].json["items"] if e["action"] == "secret.claim"]
    assert event["detail"]["address"] == "127.0.0.1"


def test_a_secret_is_managed_and_rotated_over_rest(connect: Connect, operator: Client) -> None:
    policy = {
        "interval_days": 30,
        "windows": [{"days": ["sat", "sun"], "start": "22:00", "end": "04:00"}],
        "zone": "Europe/Berlin",
    }
    body = {"policy": policy, "import": {"value": text(b"7Hq!mZ7wXt2#LpVk-and-some-more")}}
    made = operator.post("/v1/tunnels/inner/secrets", body)
    assert made.status == 201, made.json
    assert made.json["policy"]["windows"] == policy["windows"]
    path = "/v1/tunnels/inner/secrets/psk"
    changed = operator.send("PATCH", path, {"frozen": True})
    assert (changed.status, changed.json["policy"]["frozen"]) == (200, True)
    assert changed.json["policy"]["interval_days"] == 30
    assert operator.send("PATCH", path, {"zone": "Nowhere/Atall"}).code == "policy_refused"
    assert operator.send("PATCH", path, {"every": 3}).status == 422
    plan = operator.post("/v1/tunnels/inner/rotate", {"plan": True})
    assert plan.status == 200
    assert plan.json["plans"][0]["steps"]
    assert plan.json["rotations"] == []
    begun = operator.post("/v1/tunnels/inner/rotate", {"reason": "an administrator left"})
    assert begun.status == 202, begun.json
    [rotation] = begun.json["rotations"]
    assert (rotation["state"], rotation["tunnel"]) == ("scheduled", "inner")
    again = operator.post("/v1/tunnels/inner/rotate", {})
    assert (again.status, again.code) == (409, "rotation_under_way")
    found = operator.get("/v1/rotations?state=running&tunnel=inner&limit=1").json
    assert [each["id"] for each in found["items"]] == [rotation["id"]]
    assert operator.get("/v1/rotations?state=odd").code == "query_malformed"
    alone = operator.get(f"/v1/rotations/{rotation['id']}").json
    assert alone.pop("waits_for").startswith("Waits for its turn")
    assert alone == {name: value for name, value in rotation.items() if name != "waits_for"}
    assert operator.post(f"/v1/rotations/{rotation['id']}/confirm").code == "nothing_to_confirm"
    metrics = connect(Role.ADMIN).get("/metrics").body.decode()
    assert 'ikewarden_rotations_running{state="scheduled"} 1.0' in metrics
    ended = operator.post(f"/v1/rotations/{rotation['id']}/cancel").json
    assert (ended["state"], ended["error_code"]) == ("cancelled", "rotation_cancelled")
    [summary] = operator.get("/v1/tunnels/inner").json["secrets"]
    assert (summary["version"], summary["frozen"], summary["state"]) == (1, True, None)
    assert operator.send("DELETE", path).status == 204
    assert operator.get("/v1/tunnels/inner/secrets").json == {"items": []}
    missing = operator.post("/v1/tunnels/inner/rotate", {})
    assert (missing.status, missing.code) == (404, "secret_not_found")


def test_an_agent_reports_shared_secrets(
    connect: Connect, operator: Client, members: dict[str, ClientCertificate]
) -> None:
    gateway = connect(members["right.example"])
    operator.post(
        "/v1/tunnels/inner/secrets", {"import": {"value": text(b"9Hq!mZ7wXt2#LpVk-and-some-more")}}
    )
    version = gateway.get("/v1/gateways/self/state").json["version"]
    report: dict[str, Any] = {
        "version": version,
        "agent_version": "0",
        "daemon": {"kind": "strongswan", "version": "6", "incarnation": "1"},
        "abilities": {"overlap": True, "ppk": True, "gapless": True, "beside": True},
        "secrets": [
            {
                "name": "inner.psk",
                "versions": [1],
                "held": [1],
                "foreign": [{"where": "/etc/ipsec.secrets:3", "same_as": 1, "shadows": False}],
                "authenticated": {
                    "version": 1,
                    "at": "2026-11-28T12:00:00Z",
                    "spi_initiator": "0123456789abcdef",
                    "spi_responder": "",
                },
            }
        ],
    }
    assert gateway.post("/v1/gateways/self/applied", report).status == 204
    [slot] = operator.get("/v1/tunnels/inner/secrets").json["items"]
    end = slot["ends"][1]
    assert (end["loaded"], end["overlap"], end["authenticated"]["version"]) == ([1], True, 1)
    shown = operator.get("/v1/gateways/right.example").json
    assert ("secret", "foreign") in {(each["kind"], each["problem"]) for each in shown["drift"]}
    for spoiled in (
        {"versions": [0]},
        {"versions": list(range(1, 30))},
        {"value": "x"},
        {"error": "x" * 2000},
    ):
        bad = {**report, "secrets": [{**report["secrets"][0], **spoiled}]}
        assert gateway.post("/v1/gateways/self/applied", bad).status == 422
    twice = {**report, "secrets": report["secrets"] * 2}
    refused = gateway.post("/v1/gateways/self/applied", twice)
    assert (refused.status, "reported once" in json.dumps(refused.json)) == (422, True)
    old = {name: report[name] for name in ("version", "agent_version", "daemon")}
    assert gateway.post("/v1/gateways/self/applied", old).status == 204
    assert json.dumps(operator.get("/v1/tunnels/inner/secrets").json["items"][0]["ends"])


def test_a_managed_tunnel_by_psk_over_rest(operator: Client) -> None:
    definition = {
        "left_addresses": ["192.0.2.1"],
        "right_addresses": ["192.0.2.2"],
        "children": [
            {"name": "net", "left_networks": ["10.1.0.0/16"], "right_networks": ["10.2.0.0/16"]}
        ],
        "authentication": "psk",
        "ppk": "preferred",
    }
    body = {
        "name": "by-psk",
        "left": {"gateway": "left.example"},
        "right": {"gateway": "right.example"},
        "managed": True,
        "definition": definition,
    }
    made = operator.post("/v1/tunnels", body)
    assert made.status == 201, made.json
    assert [each["kind"] for each in made.json["secrets"]] == ["psk", "ppk"]
    body |= {"name": "old", "definition": {**definition, "ike_version": 1}}
    assert operator.post("/v1/tunnels", body).code == "tunnel_refused"
    removed = operator.send("DELETE", "/v1/tunnels/by-psk/secrets/psk")
    assert (removed.status, removed.code) == (422, "secret_refused")
    assert operator.send("DELETE", "/v1/tunnels/by-psk").status == 204
