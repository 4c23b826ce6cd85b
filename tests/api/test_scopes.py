"""Every route and a credential that is tied to one gateway: it is shown, and changes, what is of that gateway alone.

Who may call a route at all stands in the table of roles. Whatever belongs to others has `alien` in its name here, so
that an answer which tells of any of it is found out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from api.app import Wiring, routes
from api.meters import Meters
from fleet import revoking
from fleet.monitoring import shown as monitoring
from fleet.monitoring.shown import AlertQuery
from fleet.reports import SaReport
from fleet.rotation import shown as rotation
from fleet.rotation import slots
from fleet.rotation.slots import SlotRequest
from fleet.tunnels import Peer
from pki import tokens
from pki.actors import Role, Scope
from pki.desk import Desk
from pki.tokens import TokenRequest
from store.rotation_tables import rotations
from tests.api import test_roles as roles
from tests.api.serving import Client, Reply, Serving
from tests.api.site import ROLES_WITH_TOKENS, Site, new_csr
from tests.fixtures.desk import ADMIN, NOW, OPERATOR, drain
from tests.fleet.auditing import all_of, audited, found
from tests.fleet.crew import Member, connect, enlist, sa
from tests.fleet.monitoring import after, event, failures, sent

OWN, FRIEND, ALIEN = "own.example", "friend.example", "alien.example"
# own: what is of the gateway is answered, what is of another refused; cut: a list of what is of the gateway, refused
# where another's is asked for by name; all: it tells of, or changes, what is of no single gateway, and is refused;
# free: nobody's secret, answered as to anybody of the role; agent: for agents alone.
TABLE = """
    own   POST /v1/certificates
    cut   GET  /v1/certificates
    own   GET  /v1/certificates/{serial}
    own   POST /v1/certificates/{serial}/revoke
    own   GET  /v1/certificates/{serial}/reach
    own   POST /v1/certificates/revoke
    own   POST /v1/certificates/{serial}/hold
    own   POST /v1/certificates/{serial}/release
    own   POST /v1/certificates/{serial}/renew
    all   POST /v1/authorities
    free  GET  /v1/authorities
    free  GET  /v1/authorities/{name}
    free  GET  /v1/authorities/{name}/crl
    all   POST /v1/authorities/{name}/rollover
    free  GET  /v1/rollovers
    free  GET  /v1/rollovers/{id}
    all   POST /v1/rollovers/{id}
    all   POST /v1/authorities/{name}/cross-certificates
    free  GET  /v1/authorities/{name}/cross-certificates
    free  GET  /v1/trust
    own   POST /v1/gateways
    cut   GET  /v1/gateways
    own   GET  /v1/gateways/{name}
    own   DELETE /v1/gateways/{name}
    own   POST /v1/gateways/{name}/enrollment
    own   POST /v1/gateways/{name}/commands
    agent GET  /v1/gateways/self/state
    agent POST /v1/gateways/self/applied
    agent POST /v1/gateways/self/sas
    own   POST /v1/tunnels
    cut   GET  /v1/tunnels
    own   GET  /v1/tunnels/{name}
    own   DELETE /v1/tunnels/{name}
    own   POST /v1/tunnels/{name}/secrets
    own   GET  /v1/tunnels/{name}/secrets
    own   PATCH /v1/tunnels/{name}/secrets/{kind}
    own   DELETE /v1/tunnels/{name}/secrets/{kind}
    own   POST /v1/tunnels/{name}/rotate
    own   POST /v1/tunnels/{name}/handover
    cut   GET  /v1/rotations
    own   GET  /v1/rotations/{id}
    own   POST /v1/rotations/{id}/confirm
    own   POST /v1/rotations/{id}/cancel
    agent POST /v1/gateways/self/findings
    cut   GET  /v1/findings
    own   GET  /v1/findings/{id}
    own   POST /v1/findings/accept
    own   POST /v1/findings/{id}/accept
    own   POST /v1/findings/{id}/reopen
    agent POST /v1/gateways/self/sa-events
    cut   GET  /v1/sa-events
    cut   GET  /v1/alerts
    own   GET  /v1/alerts/{id}
    own   POST /v1/alerts/{id}/silence
    own   POST /v1/alerts/{id}/unsilence
    own   GET  /v1/gateways/{name}/audit
    all   GET  /v1/reports/inventory
    all   GET  /v1/reports/expiring
    all   GET  /v1/reports/revocations
    all   GET  /v1/reports/psk-age
    all   GET  /v1/reports/audit
    all   GET  /v1/reports/compliance
    cut   GET  /v1/reports/sa-health
    free  POST /v1/handovers/claim
    agent GET  /v1/gateways/self/secrets/{id}
    cut   GET  /v1/sas
    all   POST /v1/profiles
    free  GET  /v1/profiles
    free  GET  /v1/profiles/{name}
    free  GET  /v1/enroll-endpoints
    own   POST /v1/tokens
    cut   GET  /v1/tokens
    own   POST /v1/tokens/{id}/revoke
    all   GET  /v1/sessions
    all   DELETE /v1/sessions
    all   DELETE /v1/sessions/{id}
    all   GET  /v1/audit-events
    all   GET  /v1/audit-log/head
    all   GET  /v1/audit-log/proof
    all   GET  /v1/audit-log/entries
    all   GET  /v1/approvals
    all   GET  /v1/approvals/{id}
    all   POST /v1/approvals/{id}
    all   POST /v1/approvals/{id}/withdraw
    cut   GET  /v1/overview
    cut   GET  /v1/fleet-map
    all   GET  /v1/jobs
    all   GET  /v1/jobs/dead-letters
    all   POST /v1/jobs/dead-letters/{id}/retry
    free  GET  /v1/whoami
    cut   GET  /metrics
    free  GET  /healthz
    free  GET  /readyz
    free  GET  /v1/openapi.json
    free  GET  /docs
    free  GET  /docs/alerts/{kind}
"""
_ROWS = [tuple(line.split()) for line in TABLE.strip().splitlines()]
# What is looked at comes before what is changed, and what is changed before it is gone.
ROWS = sorted(_ROWS, key=lambda row: (row[1] != "GET", row[1] == "DELETE"))
MAY = {(method, path): may for method, path, may in roles.ROWS}
# Lists that can be asked for by gateway.
BY_GATEWAY = {
    f"/v1/{name}"
    for name in ("certificates", "tunnels", "fleet-map", "findings", "sa-events", "alerts", "sas")
} | {"/v1/reports/sa-health"}  # fmt: skip
_SOON = (datetime.now(UTC) + timedelta(days=30)).isoformat()
_KNOWN = {"until": _SOON, "why": "a lab"}
_PEER = {"peer": {"name": "shop", "identities": ["dns:vpn.shop.example"]}}


def _tunnel(left: str, right: object) -> dict[str, object]:
    return {"name": "another", "left": {"gateway": left}, "right": right}


def _token(gateway: str | None) -> dict[str, object]:
    limits = {"role": "enroller", "profiles": ["gateway"], "uses": 1}
    return {"name": "x", "gateway": gateway, **limits}


# What is sent about the own gateway, and, each by itself, about others.
BODIES: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "POST /v1/certificates": (
        {"csr": new_csr(OWN), "profile": "gateway"},
        [
            {"csr": new_csr(ALIEN), "profile": "gateway", "gateway": ALIEN},
            {"csr": new_csr(ALIEN), "profile": "network-device"},
        ],
    ),
    "POST /v1/gateways": (
        {"name": OWN, "identities": ["dns:taken.example"]},
        [{"name": "alien3.example", "identities": ["dns:alien3.example"]}],
    ),
    "POST /v1/tunnels": (
        _tunnel(OWN, _PEER),
        [
            _tunnel(ALIEN, _PEER),
            _tunnel(OWN, {"gateway": FRIEND}),
            _tunnel(FRIEND, {"gateway": OWN}),
        ],
    ),
    "POST /v1/findings/accept": (
        {"rule": "psk-weak", "path": "/etc/ipsec.secrets", "gateway": OWN, **_KNOWN},
        [
            {"rule": "psk-weak", "path": "/etc/alien.secrets", "gateway": gateway, **_KNOWN}
            for gateway in (ALIEN, None)
        ],
    ),
    "POST /v1/tokens": (_token(OWN), [_token(ALIEN), _token(None)]),
}
# The same whoever it is about.
BODY: dict[str, dict[str, Any]] = {
    **roles.BODIES,
    "POST /v1/certificates/{serial}/revoke": {"reason": "superseded", "dry_run": True},
    "POST /v1/findings/{id}/accept": _KNOWN,
    "POST /v1/alerts/{id}/silence": _KNOWN,
}


@dataclass(frozen=True)
class Fleet:
    """What there is, by the path that leads to it: the own gateway's, and an alien's."""

    clients: dict[Role, Client]
    own: dict[str, str]
    alien: dict[str, str]

    def url(self, whose: dict[str, str], method: str, path: str) -> str:
        """The path with its parameters."""
        query = roles.QUERIES.get(f"{method} {path}")
        kind = path.removeprefix("/v1/").partition("/")[0]
        ended = f"{kind}/reach" if path.endswith("/reach") else kind
        thing = whose.get(ended, "issuing" if kind == "authorities" else "gateway")
        for name in ("{serial}", "{name}", "{id}"):
            path = path.replace(name, thing)
        path = path.replace("{kind}", "psk" if kind == "tunnels" else "dpd_flapping")
        return f"{path}?{query}" if query else path

    def send(self, role: Role, method: str, url: str, body: object) -> Reply:
        """Send a request as a role that is tied to the own gateway."""
        return self.clients[role].send(method, url, body if method in {"POST", "PATCH"} else None)


def _tied(site: Site, role: Role) -> str:
    profiles = ("gateway", "host") if role is Role.ENROLLER else None
    return site.token(role, scope=Scope(profiles=profiles, gateway=OWN))


def _alert(desk: Desk, gateway: str) -> str:
    [found] = monitoring.alerts(desk, OPERATOR, AlertQuery(gateway=gateway))
    return str(found.id)


def _rotation(desk: Desk, tunnel: str) -> int:
    [slot] = rotation.of_tunnel(desk, OPERATOR, tunnel)
    assert slot.rotation is not None
    return slot.rotation.id


def _enrollers(desk: Desk, gateway: str) -> str:
    scope = Scope(profiles=("gateway",), gateway=gateway)
    request = TokenRequest(f"of {gateway}", Role.ENROLLER, scope, uses=1)
    return tokens.create(desk, ADMIN, request, now=NOW).view.id


def _report(member: Member, *sas: SaReport) -> None:
    """Have a gateway report these SAs, with all that there is to be shown of them."""
    words = ("local_address", "local_id", "spi_initiator", "spi_responder", "algorithms")
    rest = {"version": 2, "established": True, "established_at": None, "initiator": True}
    whole = dict.fromkeys(words, "") | rest | {"children": []}
    member.sas(*(replace(each, document=whole | vars(each) | each.document) for each in sas))


def _revoked(member: Member) -> str:
    """A former certificate of a gateway, which is revoked; its peers are told."""
    old = member.leaf
    # An alien, whom no tunnel connects with it, has an SA under this one and under the next.
    alien = Member(member.desk, ALIEN, old)
    under = [
        sa(f"dns:{member.name}", under=leaf.fingerprint, connection="alien-any", number=str(number))
        for number, leaf in enumerate((old, member.renew()))
    ]
    _report(alien, sa(f"dns:{FRIEND}", connection="alien-friend", number="9"), *under)
    revoking.revoke(member.desk, ADMIN, old.serial, "superseded", now=NOW)
    drain(member.desk, NOW)
    return old.serial


def _seed(desk: Desk) -> dict[str, dict[str, str]]:
    """Things of three gateways; gives those of the own and of the alien one."""
    own, friend, alien = (enlist(desk, name) for name in (OWN, FRIEND, ALIEN))
    connect(desk, "own-bank", own, Peer("bank", ("dns:vpn.bank.example",)))
    connect(desk, "own-friend", own, friend)
    connect(desk, "alien-friend", friend, alien)
    for tunnel in ("own-bank", "own-friend", "alien-friend"):
        slots.create(desk, ADMIN, tunnel, SlotRequest(), now=NOW)
    # It stands in the way of the rotation of own-friend.
    first = _rotation(desk, "alien-friend")
    with desk.store.write() as connection:
        values = {"state": "promoted", "entered_at": NOW}
        connection.execute(update(rotations).where(rotations.c.id == first).values(**values))
    _report(own, sa(f"dns:{FRIEND}", connection="own-friend"))
    revoked = _revoked(own)
    things = {}
    for member, path, rotated in (
        (own, "/etc/ipsec.secrets", "own-friend"),
        (alien, "/etc/alien.secrets", "alien-friend"),
    ):
        audited(member, found(path=path))
        kind = member.name.partition(".")[0]
        events = [
            each._replace(connection=kind, name=kind)
            for each in (*failures(identity=f"CN={kind}"), event("ike_rekeyed", 20))
        ]
        sent(member, events, until=after(60))
        [finding] = all_of(desk, gateway=member.name)
        things[member.name] = {
            "certificates": member.leaf.serial,
            "certificates/reach": revoked if member is own else member.leaf.serial,
            "gateways": member.name,
            "tunnels": rotated if member is alien else "own-bank",
            "rotations": str(_rotation(desk, rotated)),
            "findings": str(finding.id),
            "alerts": _alert(desk, member.name),
            "tokens": _enrollers(desk, member.name),
        }
    return things


@pytest.fixture(scope="module")
def fleet(serving: Serving) -> Iterator[Fleet]:
    things, site = _seed(serving.site.desk), serving.site
    clients = {role: serving.client(_tied(site, role)) for role in ROLES_WITH_TOKENS}
    yield Fleet(clients, things[OWN], things[ALIEN])
    for client in clients.values():
        client.connection.close()


def test_the_table_is_complete(site: Site) -> None:
    wiring = Wiring(desk=site.desk, clock=site.clock, meters=Meters(), version="0")
    assert {(m, p) for _, m, p in ROWS} == {(r.method, r.path) for r in routes(wiring)}
    assert {kind for kind, _, _ in ROWS} == {"own", "cut", "all", "free", "agent"}
    assert {path for kind, _, path in ROWS if kind == "cut"} >= BY_GATEWAY


@pytest.mark.parametrize(
    ("kind", "method", "path"), ROWS, ids=[f"{method} {path}" for _, method, path in ROWS]
)
def test_a_tied_credential(fleet: Fleet, kind: str, method: str, path: str) -> None:
    route = f"{method} {path}"
    own, others = BODIES.get(route, (BODY.get(route, {}), [BODY.get(route, {})]))
    url = fleet.url(fleet.own, method, path)
    for role in fleet.clients:
        reply = fleet.send(role, method, url, own)
        if not MAY[method, path][str(role)]:
            assert (reply.status, reply.code) == (403, "role_not_permitted")
        elif kind == "all":
            assert (reply.status, reply.code) == (403, "outside_scope")
        else:
            assert reply.status not in {401, 403, 405, 422, 500}, reply
            assert b"alien" not in reply.body.lower(), reply
            if method == "GET" and kind in {"own", "cut"}:
                assert reply.status == 200, reply
                assert any(word in reply.body for word in (OWN.encode(), b"own-")), reply
            for asked, body in _about_others(fleet, kind, method, path, others):
                refused = fleet.send(role, method, asked, body)
                assert refused.code in {"outside_scope", "certificate_not_found"}, refused
    assert kind != "agent" or not any(MAY[method, path][str(role)] for role in fleet.clients)


def test_no_aliens_certificate_is_revoked_among_others(fleet: Fleet) -> None:
    both = [fleet.own["certificates"], fleet.alien["certificates"]]
    body = {"serials": both, "reason": "superseded"}
    for role in (Role.ADMIN, Role.OPERATOR):
        refused = fleet.send(role, "POST", "/v1/certificates/revoke", body)
        assert refused.code in {"outside_scope", "certificate_not_found"}, refused
        own = fleet.send(role, "GET", f"/v1/certificates/{both[0]}", None)
        assert own.json["status"] == "valid"


def _about_others(
    fleet: Fleet, kind: str, method: str, path: str, bodies: list[dict[str, Any]]
) -> list[tuple[str, dict[str, Any]]]:
    if kind == "cut":
        return [(f"{path}?gateway={ALIEN}", {})] if path in BY_GATEWAY else []
    url = fleet.url(fleet.alien, method, path)
    return [(url, body) for body in bodies] if kind == "own" else []
