"""The fleet over HTTP: gateways, their agents' requests, tunnels, and revocations that reach them."""

import base64
import hashlib
import http.client
import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pki import authorities
from pki.actors import Role
from tests.api.serving import Client, Reply, Serving
from tests.api.site import ClientCertificate, Site, new_csr
from tests.fixtures.desk import drain

_numbers = itertools.count(1)


class Fleet:
    """An operator, and gateways that talk for themselves."""

    def __init__(self, serving: Serving) -> None:
        self.serving = serving
        self.site: Site = serving.site
        self.operator = serving.client(Role.OPERATOR)
        self.clients: list[Client] = [self.operator]

    def name(self) -> str:
        return f"gw{next(_numbers)}.example"

    def add(self, **more: Any) -> str:
        name = self.name()
        wanted = {"name": name, "identities": [f"dns:{name}"], **more}
        reply = self.operator.post("/v1/gateways", wanted)
        assert reply.status == 201, reply
        return name

    def gateway(self) -> "Gateway":
        name = self.add()
        return Gateway(self, name, self.site.client_certificate(name))

    def tunnel(self, left: str, right: str | dict[str, Any], **more: Any) -> str:
        name = f"t{next(_numbers)}"
        end = {"gateway": right} if isinstance(right, str) else {"peer": right}
        body = {"name": name, "left": {"gateway": left}, "right": end, **more}
        reply = self.operator.post("/v1/tunnels", body)
        assert reply.status == 201, reply
        return name

    def work(self) -> None:
        """What the scheduler does within a second or two."""
        drain(self.site.desk, self.site.clock())


class Gateway:
    """A gateway with its certificate."""

    def __init__(self, fleet: Fleet, name: str, certificate: ClientCertificate) -> None:
        self.name = name
        self.certificate = certificate
        self.client: Client = fleet.serving.client(certificate)
        fleet.clients.append(self.client)
        self.fingerprint = certificate.issued.fingerprint
        self.serial = certificate.issued.serial

    def state(self, *, etag: str | None = None, wait: int | None = None) -> Reply:
        path = "/v1/gateways/self/state" + (f"?wait={wait}" if wait is not None else "")
        return self.client.get(path, headers={} if etag is None else {"If-None-Match": etag})

    def applied(self, version: int, **more: Any) -> Reply:
        body = {
            "version": version,
            "agent_version": "0.1.0",
            "daemon": {"kind": "strongswan", "version": "5.9.14", "incarnation": "1:2"},
            **more,
        }
        return self.client.post("/v1/gateways/self/applied", body)

    def sas(self, *sas: dict[str, Any], at: datetime | None = None) -> Reply:
        moment = (at or datetime.now(UTC)).isoformat()
        return self.client.post("/v1/gateways/self/sas", {"at": moment, "sas": list(sas)})


def sa(peer: "Gateway | str", **more: Any) -> dict[str, Any]:
    """An SA as an agent reports it."""
    name = peer if isinstance(peer, str) else peer.name
    return {
        "id": str(next(_numbers)),
        "connection": "any",
        "state": "ESTABLISHED",
        "remote_address": "192.0.2.9",
        "remote_id": name,
        "established": True,
        "remote_certificate": None if isinstance(peer, str) else peer.fingerprint,
        **more,
    }


@pytest.fixture
def fleet(serving: Serving) -> Iterator[Fleet]:
    made = Fleet(serving)
    yield made
    for client in made.clients:
        client.connection.close()


def test_a_gateway_is_registered_and_found(fleet: Fleet) -> None:
    name = fleet.add(daemon="strongswan")
    shown = fleet.operator.get(f"/v1/gateways/{name}").json
    assert (shown["status"], shown["version"], shown["profile"]) == ("new", 1, "gateway")
    assert (shown["authority"], shown["daemon"]) == ("issuing", "strongswan")
    assert shown["certificate"] is None
    found = fleet.operator.get(f"/v1/gateways?q={name}&status=new").json["items"]
    assert [each["name"] for each in found] == [name]
    assert fleet.operator.get(f"/v1/gateways?q={name}&status=ok").json["items"] == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "self", "identities": ["dns:a.example"]}, "gateway_refused"),
        ({"name": "a/b", "identities": ["dns:a.example"]}, "body_invalid"),
        ({"name": "a\nb", "identities": ["dns:a.example"]}, "body_invalid"),
        ({"name": "n1", "identities": []}, "body_invalid"),
        ({"name": "n1", "identities": ["gw"]}, "invalid_name"),
        ({"name": "n1", "identities": ["dns:*.example"]}, "invalid_name"),
        ({"name": "n1", "identities": ["dns:a.example", "dns:A.example"]}, "identities_refused"),
        ({"name": "n1", "identities": ["dns:a.example"], "profile": "user"}, "gateway_refused"),
        ({"name": "n1", "identities": ["dns:a.example"], "profile": "nope"}, "profile_not_found"),
        (
            {"name": "n1", "identities": ["dns:a.example"], "authority": "root"},
            "root_issues_authorities_only",
        ),
        ({"name": "n1", "identities": ["dns:a.example"], "daemon": "racoon"}, "body_invalid"),
        ({"name": "n1", "identities": ["dns:a.example"], "more": 1}, "body_invalid"),
    ],
)
def test_a_gateway_that_cannot_be(fleet: Fleet, body: dict[str, Any], code: str) -> None:
    assert fleet.operator.post("/v1/gateways", body).code == code


def test_neither_name_nor_identity_belongs_to_two(fleet: Fleet) -> None:
    name = fleet.add()
    for body in (
        {"name": name, "identities": ["dns:other.example"]},
        {"name": "other-name", "identities": [f"dns:{name}"]},
    ):
        reply = fleet.operator.post("/v1/gateways", body)
        assert (reply.status, reply.code) == (409, "gateway_exists")


def test_an_enrollment_is_one_line_for_one_certificate(fleet: Fleet) -> None:
    name = fleet.add()
    made = fleet.operator.post(f"/v1/gateways/{name}/enrollment", {"hours": 1})
    assert made.status == 201
    line = made.json["enrollment"]
    assert line.startswith("iwe1_")
    assert line.isascii()
    assert line.replace("-", "_").isidentifier()
    padded = line.removeprefix("iwe1_") + "=" * (-len(line.removeprefix("iwe1_")) % 4)
    content = json.loads(base64.urlsafe_b64decode(padded))
    assert content["n"] == name
    assert content["t"] == made.json["token"]
    assert content["u"] == fleet.site.desk.rules.service_url
    with fleet.serving.client() as anybody:
        roots = anybody.get("/v1/trust").json["roots"]
    pins = [
        hashlib.sha256(
            x509.load_pem_x509_certificate(root.encode()).public_bytes(Encoding.DER)
        ).hexdigest()
        for root in roots
    ]
    assert content["p"] in pins
    with fleet.serving.client(made.json["token"]) as agent:
        other = {"csr": new_csr("other.example"), "profile": "gateway"}
        assert agent.post("/v1/certificates", other).code == "outside_scope"
        wanted = {"csr": new_csr(name), "profile": "gateway", "gateway": name}
        assert agent.post("/v1/certificates", wanted).status == 201
        assert agent.post("/v1/certificates", wanted).code == "token_refused"


def test_an_agent_learns_from_its_token_what_to_ask_for(fleet: Fleet) -> None:
    with fleet.serving.client(Role.ADMIN) as admin:
        wanted = {"name": "branch", "kind": "issuing", "parent": "root", "subject": "CN=Branch"}
        assert admin.post("/v1/authorities", wanted).status in {201, 409}
    name = fleet.add(authority="branch")
    token = fleet.operator.post(f"/v1/gateways/{name}/enrollment", {}).json["token"]
    with fleet.serving.client(token) as agent:
        told = agent.get("/v1/whoami").json
        assert (told["gateway"], told["names"]) == (name, [f"dns:{name}"])
        assert (told["profiles"], told["authorities"]) == (["gateway"], ["branch"])
        asked = {
            "csr": new_csr(name),
            "profile": told["profiles"][0],
            "authority": told["authorities"][0],
            "gateway": name,
        }
        made = agent.post("/v1/certificates", asked)
        assert (made.status, made.json["authority"]) == (201, "branch")


def test_a_new_enrollment_ends_the_one_before(fleet: Fleet) -> None:
    name = fleet.add()
    first, second = (
        fleet.operator.post(f"/v1/gateways/{name}/enrollment", {}).json["token"] for _ in range(2)
    )
    wanted = {"csr": new_csr(name), "profile": "gateway"}
    with fleet.serving.client(first) as agent:
        assert agent.post("/v1/certificates", wanted).code == "token_refused"
    assert fleet.operator.send("DELETE", f"/v1/gateways/{name}").status == 204
    with fleet.serving.client(second) as agent:
        assert agent.post("/v1/certificates", wanted).code == "token_refused"


def test_the_state_has_all_that_a_gateway_needs(fleet: Fleet) -> None:
    mine = fleet.gateway()
    fleet.work()
    reply = mine.state()
    assert reply.status == 200
    state = reply.json
    assert (state["gateway"], state["version"], state["profile"]) == (mine.name, 1, "gateway")
    known = {
        name: authorities.pem(authorities.load(fleet.site.desk, name).certificate)
        for name in ("root", "issuing")
    }
    assert sorted(state["authorities"]) == sorted(known.values())
    assert state["certificate"]["fingerprint"] == mine.fingerprint
    assert state["certificate"]["certificate"] == mine.certificate.issued.pem
    assert state["certificate"]["chain"] == [known["issuing"], known["root"]]
    assert {each["authority"] for each in state["crls"]} == {"root", "issuing"}
    assert (state["connections"], state["secrets"], state["commands"]) == ([], [], [])
    assert state["renew"] is False
    for crl in state["crls"]:
        fetched = mine.client.get(f"/v1/authorities/{crl['authority']}/crl")
        assert fetched.headers["content-type"] == "application/pkix-crl"
        assert hashlib.sha256(fetched.body).hexdigest() == crl["sha256"]
        assert len(fetched.body) == crl["size"]
        again = mine.client.get(
            f"/v1/authorities/{crl['authority']}/crl",
            headers={"If-None-Match": fetched.headers["etag"]},
        )
        assert (again.status, again.body) == (304, b"")
    same = mine.state(etag=reply.headers["etag"])
    assert (same.status, same.body, same.headers["etag"]) == (304, b"", reply.headers["etag"])


def test_a_gateway_acts_for_itself_alone(fleet: Fleet) -> None:
    mine, other = fleet.gateway(), fleet.gateway()
    assert mine.client.get(f"/v1/gateways/{other.name}").code == "role_not_permitted"
    stranger = fleet.site.client_certificate("unregistered.example")
    with fleet.serving.client(stranger) as client:
        assert client.get("/v1/gateways/self/state").code == "gateway_not_found"
        wanted = {"csr": new_csr(other.name), "profile": "gateway"}
        assert client.post("/v1/certificates", wanted).code == "role_not_permitted"
        renewal = client.post(f"/v1/certificates/{other.serial}/renew", {})
        assert renewal.code == "outside_scope"
    fleet.operator.post(f"/v1/gateways/{other.name}/commands", {"kind": "renew"})
    [command] = other.state().json["commands"]
    done = {"id": command["id"], "outcome": "done", "at": datetime.now(UTC).isoformat()}
    assert mine.applied(1, commands=[done]).status == 204
    assert [each["id"] for each in other.state().json["commands"]] == [command["id"]]


def test_managed_tunnels_come_as_connections_of_both_ends(fleet: Fleet) -> None:
    left, right = fleet.gateway(), fleet.gateway()
    definition = {
        "left_addresses": ["192.0.2.1"],
        "right_addresses": ["192.0.2.2"],
        "children": [
            {
                "name": "net",
                "left_networks": ["10.1.0.0/16"],
                "right_networks": ["10.2.0.0/16"],
                "start_action": "start",
            }
        ],
    }
    name = fleet.tunnel(left.name, right.name, managed=True, definition=definition)
    [mine] = left.state().json["connections"]
    [its] = right.state().json["connections"]
    assert mine["name"] == its["name"] == name
    assert (mine["local_addresses"], mine["remote_addresses"]) == (["192.0.2.1"], ["192.0.2.2"])
    assert (its["local_addresses"], its["remote_addresses"]) == (["192.0.2.2"], ["192.0.2.1"])
    assert mine["local_id"] == its["remote_id"] == f"dns:{left.name}"
    assert mine["children"][0]["local_ts"] == its["children"][0]["remote_ts"] == ["10.1.0.0/16"]
    assert (mine["children"][0]["start_action"], its["children"][0]["start_action"]) == (
        "start",
        "none",
    )
    issuing = authorities.load(fleet.site.desk, "issuing").certificate
    assert (
        mine["remote_authority"] == hashlib.sha256(issuing.public_bytes(Encoding.DER)).hexdigest()
    )
    shown = fleet.operator.get(f"/v1/tunnels/{name}").json
    assert shown["left"]["gateway"] == left.name
    assert shown["definition"]["children"][0]["name"] == "net"
    assert fleet.operator.send("DELETE", f"/v1/gateways/{left.name}").code == "gateway_in_use"
    assert fleet.operator.send("DELETE", f"/v1/tunnels/{name}").status == 204
    assert left.state().json["connections"] == []
    assert fleet.operator.get(f"/v1/tunnels/{name}").code == "tunnel_not_found"


def test_which_tunnels_die_on_a_date(fleet: Fleet) -> None:
    left, right = fleet.gateway(), fleet.gateway()
    name = fleet.tunnel(left.name, right.name)
    ends = min(left.certificate.issued.not_after, right.certificate.issued.not_after)
    after, before = ends + timedelta(seconds=1), ends - timedelta(days=1)
    for moment, dies in ((after, [name]), (before, [])):
        text = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        found = fleet.operator.get(f"/v1/tunnels?gateway={left.name}&expires_before={text}").json
        assert [each["name"] for each in found["items"]] == dies
    found = fleet.operator.get(f"/v1/tunnels/{name}").json
    assert datetime.fromisoformat(found["ends_at"]) == ends
    path = f"/v1/certificates/{right.serial}/revoke"
    assert fleet.operator.post(path, {"reason": "superseded"}).status == 200
    assert fleet.operator.get(f"/v1/tunnels/{name}").json["ends_at"] is None


def test_a_gateway_without_a_certificate_is_not_ok(fleet: Fleet) -> None:
    mine = fleet.gateway()
    assert mine.state().status == 200
    path = f"/v1/certificates/{mine.serial}/revoke"
    assert fleet.operator.post(path, {"reason": "keyCompromise"}).status == 200
    assert fleet.operator.get(f"/v1/gateways/{mine.name}").json["status"] == "no_certificate"
    for status, found in (("no_certificate", [mine.name]), ("ok", []), ("behind", []), ("new", [])):
        items = fleet.operator.get(f"/v1/gateways?q={mine.name}&status={status}").json["items"]
        assert [each["name"] for each in items] == found


def test_sas_are_replaced_and_tell_their_certificates(fleet: Fleet) -> None:
    left, right = fleet.gateway(), fleet.gateway()
    name = fleet.tunnel(left.name, right.name)
    assert left.sas(sa(right), sa("nobody.example", connection="x")).status == 204
    items = fleet.operator.get(f"/v1/sas?gateway={left.name}").json["items"]
    assert [(each["tunnel"], each["remote_serial"]) for each in items] == [
        (name, right.serial),
        (None, None),
    ]
    for asked in (right.serial, right.fingerprint):
        found = fleet.operator.get(f"/v1/sas?certificate={asked}").json["items"]
        assert [each["gateway"] for each in found] == [left.name]
    for asked, connections in (
        ("connection=x", ["x"]),
        ("peer=nobody.example", ["x"]),
        ("peer=no", []),
    ):
        found = fleet.operator.get(f"/v1/sas?gateway={left.name}&{asked}").json["items"]
        assert [each["connection"] for each in found] == connections
    shown = fleet.operator.get(f"/v1/tunnels/{name}").json
    assert [each["remote_certificate"] for each in shown["live"]] == [right.fingerprint]
    told = {"rekey_seconds": 90, "nat_t": True, "secrets": [{"name": "hub-psk", "version": 3}]}
    child = {"name": "net", "state": "INSTALLED", "protocol": "AH", "mode": "transport"}
    assert left.sas(sa(right) | told | {"children": [child]}).status == 204
    [item] = fleet.operator.get(f"/v1/sas?gateway={left.name}").json["items"]
    assert {key: item[key] for key in told} == told
    assert (item["children"][0]["protocol"], item["children"][0]["mode"]) == ("AH", "transport")
    assert left.sas().status == 204
    assert fleet.operator.get(f"/v1/sas?gateway={left.name}").json["items"] == []


def test_drift_is_shown(fleet: Fleet) -> None:
    mine = fleet.gateway()
    state = mine.state().json
    old = "ab" * 32
    trusted = [
        hashlib.sha256(
            x509.load_pem_x509_certificate(each.encode()).public_bytes(Encoding.DER)
        ).hexdigest()
        for each in state["authorities"]
    ]
    inventory = {
        "certificates": [
            {"fingerprint": old, "subject": "CN=old", "authority": False, "has_key": True},
            *(
                {"fingerprint": each, "subject": "", "authority": True, "has_key": False}
                for each in trusted[:1]
            ),
        ],
        "crls": [],
    }
    assert mine.applied(state["version"], inventory=inventory, certificate=old).status == 204
    shown = fleet.operator.get(f"/v1/gateways/{mine.name}").json
    found = {(each["kind"], each["problem"], each["what"]) for each in shown["drift"]}
    assert ("certificate", "not_loaded", mine.fingerprint) in found
    assert ("certificate", "not_desired", old) in found
    assert ("authority", "not_loaded", trusted[1]) in found
    assert shown["status"] == "ok"
    listed = fleet.operator.get(f"/v1/gateways?q={mine.name}&drift=true").json["items"]
    assert [each["name"] for each in listed] == [mine.name]
    assert fleet.operator.get(f"/v1/gateways?q={mine.name}&drift=false").json["items"] == []


def test_a_revocation_reaches_the_peers(fleet: Fleet) -> None:
    mine, peer, other = fleet.gateway(), fleet.gateway(), fleet.gateway()
    name = fleet.tunnel(mine.name, peer.name)
    peer.sas(sa(mine))
    path = f"/v1/certificates/{mine.serial}"
    dry = fleet.operator.post(f"{path}/revoke", {"reason": "superseded", "dry_run": True}).json
    assert (dry["status"], dry["dry_run"], dry["tunnels"]) == ("valid", True, 1)
    assert dry["cut"][0]["gateway"] == peer.name
    assert dry["cut"][0]["tunnel"] == name
    assert [each["matched_by"] for each in dry["cut"][0]["sas"]] == ["certificate"]
    done = fleet.operator.post(f"{path}/revoke", {"reason": "keyCompromise"}).json
    assert (done["status"], done["tunnels"]) == ("revoked", 1)
    assert peer.state().json["commands"] == []
    fleet.work()
    state = peer.state().json
    [command] = state["commands"]
    assert command["kind"] == "cut"
    assert command["peer"] == {
        "fingerprint": mine.fingerprint,
        "serial": mine.serial,
        "identities": [f"dns:{mine.name}", f"dn:CN={mine.name}"],
        "good": [],
    }
    assert command["expires_at"] is None
    number = {each["authority"]: each["number"] for each in state["crls"]}["issuing"]
    assert command["crl"] == {"authority": "issuing", "number": number}
    assert other.state().json["commands"] == []
    reach = fleet.operator.get(f"{path}/reach").json
    assert [(each["gateway"], each["state"]) for each in reach["gateways"]] == [
        (peer.name, "pending")
    ]
    assert reach["gateways"][0]["told_at"] is not None
    assert (reach["crl_number"], reach["status"]) == (number, "revoked")
    assert mine.state().code == "client_certificate_revoked"
    cut = {
        "connection": "any",
        "remote_id": mine.name,
        "matched_by": "certificate",
        "ended": True,
        "error": "",
        "sa_id": "1",
    }
    report = {"id": command["id"], "at": datetime.now(UTC).isoformat(), "cuts": [cut]}
    failed = {**report, "outcome": "failed", "error": "the daemon is away"}
    assert peer.applied(state["version"], commands=[failed]).status == 204
    reach = fleet.operator.get(f"{path}/reach").json
    assert (reach["gateways"][0]["state"], reach["gateways"][0]["error"]) == (
        "pending",
        "the daemon is away",
    )
    for _ in range(2):
        ok = {**report, "outcome": "done"}
        assert peer.applied(state["version"], commands=[ok]).status == 204
    reach = fleet.operator.get(f"{path}/reach").json
    assert (reach["gateways"][0]["state"], reach["gateways"][0]["cuts"]) == ("confirmed", [cut])
    assert peer.state().json["commands"] == []


def test_more_tunnels_than_the_limit_must_be_confirmed(fleet: Fleet) -> None:
    hub = fleet.gateway()
    limit = fleet.site.desk.rules.cut_limit
    for number in range(limit + 1):
        fleet.tunnel(hub.name, {"name": f"p{number}", "identities": [f"dns:p{number}.example"]})
    path = f"/v1/certificates/{hub.serial}/revoke"
    refused = fleet.operator.post(path, {"reason": "superseded"})
    assert (refused.status, refused.code) == (409, "cut_needs_approval")
    assert refused.json["details"]["tunnels"] == limit + 1
    body = {"reason": "superseded", "cut_confirmed": limit}
    assert fleet.operator.post(path, body).code == "cut_needs_approval"
    shown = fleet.operator.get(f"/v1/certificates/{hub.serial}").json
    assert shown["status"] == "valid"
    body = {"reason": "superseded", "cut_confirmed": limit + 1}
    assert fleet.operator.post(path, body).json["status"] == "revoked"


def test_reports_are_checked(fleet: Fleet) -> None:
    mine = fleet.gateway()
    assert mine.applied(10**6).code == "report_refused"
    assert mine.applied(-1).code == "body_invalid"
    assert mine.applied(1, certificate="AB" * 32).code == "body_invalid"
    assert mine.applied(1, surprise=1).code == "body_invalid"
    assert mine.sas({"id": "1"}).code == "body_invalid"
    many = [sa("x.example", id=str(number)) for number in range(3000)]
    assert mine.sas(*many).status == 204
    huge = json.dumps({"at": "2026-01-01T00:00:00Z", "sas": [], "x": "x" * (5 << 20)}).encode()
    try:
        reply = mine.client.post("/v1/gateways/self/sas", raw=huge)
    except (http.client.HTTPException, OSError):
        return  # it hung up while we were still sending
    assert (reply.status, reply.code) == (413, "body_too_large")
