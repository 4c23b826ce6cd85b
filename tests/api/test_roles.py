"""Every route and every role (DESIGN §4.3). The table is the specification: it is written by hand, not made from
code.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from api.app import Wiring, routes
from api.meters import Meters
from pki.actors import Role
from tests.api.serving import Client, Serving
from tests.api.site import Site, new_csr

COLUMNS = ("nobody", "admin", "operator", "approver", "auditor", "enroller", "gateway")
# y: may call it; -: 403 role_not_permitted (for nobody: 401)
TABLE = """
                                              nobody admin operator approver auditor enroller gateway
    POST /v1/certificates                       -      y       y        -       -       y        -
    GET  /v1/certificates                       -      y       y        y       y       -        y
    GET  /v1/certificates/{serial}              -      y       y        y       y       -        y
    POST /v1/certificates/{serial}/revoke       -      y       y        -       -       -        -
    POST /v1/certificates/revoke                -      y       y        -       -       -        -
    GET  /v1/certificates/{serial}/reach        -      y       y        y       y       -        -
    POST /v1/certificates/{serial}/hold         -      y       y        -       -       -        -
    POST /v1/certificates/{serial}/release      -      y       y        -       -       -        -
    POST /v1/certificates/{serial}/renew        -      y       y        -       -       -        y
    POST /v1/authorities                        -      y       -        -       -       -        -
    GET  /v1/authorities                        -      y       y        y       y       y        y
    GET  /v1/authorities/{name}                 -      y       y        y       y       y        y
    GET  /v1/authorities/{name}/crl             -      y       y        y       y       y        y
    POST /v1/authorities/{name}/rollover        -      y       -        -       -       -        -
    GET  /v1/rollovers                          -      y       y        y       y       y        y
    GET  /v1/rollovers/{id}                     -      y       y        y       y       y        y
    POST /v1/rollovers/{id}                     -      y       -        -       -       -        -
    POST /v1/authorities/{name}/cross-certificates - y       -        -       -       -        -
    GET  /v1/authorities/{name}/cross-certificates - y       y        y       y       y        y
    GET  /v1/trust                              y      y       y        y       y       y        y
    POST /v1/gateways                           -      y       y        -       -       -        -
    GET  /v1/gateways                           -      y       y        y       y       -        -
    GET  /v1/gateways/{name}                    -      y       y        y       y       -        -
    DELETE /v1/gateways/{name}                  -      y       y        -       -       -        -
    POST /v1/gateways/{name}/enrollment         -      y       y        -       -       -        -
    POST /v1/gateways/{name}/commands           -      y       y        -       -       -        -
    GET  /v1/gateways/self/state                -      -       -        -       -       -        y
    POST /v1/gateways/self/applied              -      -       -        -       -       -        y
    POST /v1/gateways/self/sas                  -      -       -        -       -       -        y
    POST /v1/tunnels                            -      y       y        -       -       -        -
    GET  /v1/tunnels                            -      y       y        y       y       -        -
    GET  /v1/tunnels/{name}                     -      y       y        y       y       -        -
    DELETE /v1/tunnels/{name}                   -      y       y        -       -       -        -
    POST /v1/tunnels/{name}/secrets             -      y       y        -       -       -        -
    GET  /v1/tunnels/{name}/secrets             -      y       y        y       y       -        -
    PATCH /v1/tunnels/{name}/secrets/{kind}     -      y       y        -       -       -        -
    DELETE /v1/tunnels/{name}/secrets/{kind}    -      y       y        -       -       -        -
    POST /v1/tunnels/{name}/rotate              -      y       y        -       -       -        -
    POST /v1/tunnels/{name}/handover            -      y       y        -       -       -        -
    GET  /v1/rotations                          -      y       y        y       y       -        -
    GET  /v1/rotations/{id}                     -      y       y        y       y       -        -
    POST /v1/rotations/{id}/confirm             -      y       y        -       -       -        -
    POST /v1/rotations/{id}/cancel              -      y       y        -       -       -        -
    POST /v1/gateways/self/findings             -      -       -        -       -       -        y
    GET  /v1/findings                           -      y       y        y       y       -        -
    GET  /v1/findings/{id}                      -      y       y        y       y       -        -
    POST /v1/findings/accept                    -      y       y        -       -       -        -
    POST /v1/findings/{id}/accept               -      y       y        -       -       -        -
    POST /v1/findings/{id}/reopen               -      y       y        -       -       -        -
    POST /v1/gateways/self/sa-events            -      -       -        -       -       -        y
    GET  /v1/sa-events                          -      y       y        -       y       -        -
    GET  /v1/alerts                             -      y       y        y       y       -        -
    GET  /v1/alerts/{id}                        -      y       y        y       y       -        -
    POST /v1/alerts/{id}/silence                -      y       y        -       -       -        -
    POST /v1/alerts/{id}/unsilence              -      y       y        -       -       -        -
    GET  /v1/gateways/{name}/audit              -      y       y        y       y       -        -
    GET  /v1/reports/inventory                  -      y       y        y       y       -        -
    GET  /v1/reports/expiring                   -      y       y        y       y       -        -
    GET  /v1/reports/revocations                -      y       y        y       y       -        -
    GET  /v1/reports/psk-age                    -      y       y        y       y       -        -
    GET  /v1/reports/audit                      -      y       y        y       y       -        -
    GET  /v1/reports/compliance                 -      y       y        y       y       -        -
    GET  /v1/reports/sa-health                  -      y       y        -       y       -        -
    POST /v1/handovers/claim                    y      y       y        y       y       y        y
    GET  /v1/gateways/self/secrets/{id}         -      -       -        -       -       -        y
    GET  /v1/sas                                -      y       y        -       y       -        -
    POST /v1/profiles                           -      y       -        -       -       -        -
    GET  /v1/profiles                           -      y       y        y       y       -        -
    GET  /v1/profiles/{name}                    -      y       y        y       y       -        -
    GET  /v1/enroll-endpoints                   -      y       y        y       y       -        -
    POST /v1/tokens                             -      y       y        -       -       -        -
    GET  /v1/tokens                             -      y       y        -       y       -        -
    POST /v1/tokens/{id}/revoke                 -      y       y        -       -       -        -
    GET  /v1/sessions                           -      y       -        -       -       -        -
    DELETE /v1/sessions                         -      y       -        -       -       -        -
    DELETE /v1/sessions/{id}                    -      y       -        -       -       -        -
    GET  /v1/approvals                          -      y       y        y       y       -        -
    GET  /v1/approvals/{id}                     -      y       y        y       y       -        -
    POST /v1/approvals/{id}                     -      -       -        y       -       -        -
    POST /v1/approvals/{id}/withdraw            -      y       y        -       -       -        -
    GET  /v1/audit-events                       -      y       -        y       y       -        -
    GET  /v1/audit-log/head                     -      y       -        y       y       -        -
    GET  /v1/audit-log/proof                    -      y       -        y       y       -        -
    GET  /v1/audit-log/entries                  -      y       -        y       y       -        -
    GET  /v1/overview                           -      y       y        y       y       -        -
    GET  /v1/fleet-map                          -      y       y        y       y       -        -
    GET  /v1/jobs                               -      y       y        y       y       -        -
    GET  /v1/jobs/dead-letters                  -      y       y        y       y       -        -
    POST /v1/jobs/dead-letters/{id}/retry       -      y       y        -       -       -        -
    GET  /v1/whoami                             -      y       y        y       y       y        y
    GET  /metrics                               -      y       y        y       y       -        -
    GET  /healthz                               y      y       y        y       y       y        y
    GET  /readyz                                y      y       y        y       y       y        y
    GET  /v1/openapi.json                       y      y       y        y       y       y        y
    GET  /docs                                  y      y       y        y       y       y        y
    GET  /docs/alerts/{kind}                    y      y       y        y       y       y        y
"""
_SOON = (datetime.now(UTC) + timedelta(days=30)).isoformat()
BODIES: dict[str, dict[str, object]] = {
    "POST /v1/certificates": {"csr": new_csr("gw.example"), "profile": "gateway"},
    "POST /v1/certificates/{serial}/revoke": {"reason": "superseded"},
    "POST /v1/certificates/revoke": {"serials": ["77"], "reason": "superseded"},
    "POST /v1/approvals/{id}": {"decision": "approve", "reason": "a lab"},
    "POST /v1/authorities": {"name": "root", "kind": "root", "subject": "CN=Another"},
    "POST /v1/authorities/{name}/rollover": {"successor": "root"},
    "POST /v1/rollovers/{id}": {"to": "published"},
    "POST /v1/authorities/{name}/cross-certificates": {"issuer": "nope"},
    "POST /v1/profiles": {
        "name": "gateway",
        "description": "taken",
        "lifetime": "1d",
        "max_lifetime": "1d",
        "key_usage": ["digitalSignature"],
        "key_algorithms": ["ec-p256"],
        "names": ["dns"],
        "names_required": ["dns"],
    },
    "POST /v1/gateways": {"name": "gw.example", "identities": ["dns:taken.example"]},
    "POST /v1/gateways/{name}/commands": {"kind": "renew"},
    "POST /v1/gateways/self/applied": {
        "version": 1,
        "agent_version": "0",
        "daemon": {"kind": "files", "version": "", "incarnation": ""},
    },
    "POST /v1/gateways/self/sas": {"at": "2026-01-01T00:00:00Z", "sas": []},
    "POST /v1/tunnels": {
        "name": "t",
        "left": {"gateway": "nope.example"},
        "right": {"peer": {"name": "p", "identities": ["dns:p.example"]}},
    },
    "POST /v1/gateways/self/findings": {
        "version": 1,
        "started": "2026-01-01T00:00:00Z",
        "findings": [],
    },
    "POST /v1/findings/accept": {
        "rule": "none",
        "path": "/none",
        "gateway": None,
        "until": _SOON,
        "why": "a lab",
    },
    "POST /v1/findings/{id}/accept": {"until": _SOON, "why": "a lab"},
    "POST /v1/gateways/self/sa-events": {"stream": "a", "first": 0, "events": []},
    "POST /v1/alerts/{id}/silence": {"until": _SOON, "why": "a lab"},
    "POST /v1/handovers/claim": {"token": "nobody-s"},
    "POST /v1/tokens": {"name": "x", "role": "enroller", "profiles": ["gateway"], "uses": 1},
}
QUERIES = {"GET /v1/audit-log/proof": "event=1", "DELETE /v1/sessions": "person=nobody"}
PARAMETERS = {
    "{serial}": "7f0123456789abcdef",
    "{name}": "issuing",
    "{id}": "0123456789abcdef",
    "{kind}": "psk",
}


def _rows() -> list[tuple[str, str, dict[str, bool]]]:
    header, *lines = [line.split() for line in TABLE.strip().splitlines()]
    assert tuple(header) == COLUMNS
    rows = []
    for method, path, *cells in lines:
        assert set(cells) <= {"y", "-"}
        rows.append((method, path, dict(zip(COLUMNS, (c == "y" for c in cells), strict=True))))
    return rows


ROWS = _rows()


@pytest.fixture(scope="module")
def clients(serving: Serving) -> Iterator[dict[str, Client]]:
    """A client for each column."""
    made = {"nobody": serving.client()}
    made |= {str(role): serving.client(role) for role in serving.site.tokens}
    made["gateway"] = serving.client(serving.site.client_certificate("gw.example"))
    yield made
    for client in made.values():
        client.connection.close()


def test_the_table_is_complete(site: Site) -> None:
    wiring = Wiring(desk=site.desk, clock=site.clock, meters=Meters(), version="0")
    assert {(m, p) for m, p, _ in ROWS} == {(r.method, r.path) for r in routes(wiring)}
    # The scheduler is no caller: nobody can have its role by token or certificate.
    assert {*COLUMNS, "scheduler"} == {"nobody", *map(str, Role)}


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize(("method", "path", "may"), ROWS, ids=[f"{m} {p}" for m, p, _ in ROWS])
def test_who_may_call_what(
    clients: dict[str, Client], method: str, path: str, may: dict[str, bool], column: str
) -> None:
    url = path
    for name, value in PARAMETERS.items():
        url = url.replace(name, value)
    if query := QUERIES.get(f"{method} {path}"):
        url += f"?{query}"
    body = BODIES.get(f"{method} {path}", {}) if method in {"POST", "PATCH"} else None
    reply = clients[column].send(method, url, body)
    if may[column]:
        assert reply.status not in {401, 403, 405, 422, 500}, reply
    elif column == "nobody":
        assert (reply.status, reply.code) == (401, "credentials_missing")
    else:
        assert (reply.status, reply.code) == (403, "role_not_permitted")
