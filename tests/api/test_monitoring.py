"""SA events and alerts over REST: reported by gateways, searched and silenced by people, refused where wrong."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from core.escaping import escaped
from fleet.monitoring.values import MAX_EVENTS
from pki.actors import Role
from pki.desk import Desk
from tests.api.serving import Client, Serving

PATH = "/v1/gateways/self/sa-events"
PEER = "198.51.100.7"
HOSTILE = "\x1b[2J<script>alert(1)</script>\r\nCN=\x00=1+1 \u202e"


class Gateway:
    """A gateway with its numbering."""

    def __init__(self, serving: Serving, name: str) -> None:
        self.serving, self.name, self.next, self.sas = serving, name, 0, 0
        with serving.client(Role.OPERATOR) as operator:
            wanted = {"name": name, "identities": [f"dns:{name}"]}
            assert operator.post("/v1/gateways", wanted).status == 201
        self.client = serving.client(serving.site.client_certificate(name))

    def event(self, kind: str = "ike_established", **fields: Any) -> dict[str, Any]:
        at = fields.pop("since", None) or self._ago()
        after = timedelta(seconds=fields.pop("after", 0))
        return {
            "event": kind,
            "time": (at + after).isoformat(),
            "peer": PEER,
            "source": PEER,
            "connection": "branch",
            "name": "branch",
            "ike_id": 1,
            **fields,
        }

    def _ago(self) -> datetime:
        return self.serving.site.clock() - timedelta(minutes=10)

    def send(self, *events: dict[str, Any], **fields: Any) -> Any:
        until = (self.serving.site.clock() - timedelta(minutes=1)).isoformat()
        body = {"stream": "s1", "first": self.next, "until": until, "events": list(events)}
        reply = self.client.post(PATH, {**body, **fields})
        assert reply.status == 200, reply
        self.next = reply.json["next"]
        return reply.json

    def fail(self, identity: str = "CN=branch") -> Any:
        """Ten attempts, each with an IKE SA of its own, exactly a second apart: who guesses is told by that."""
        first, since = self.sas, self._ago()
        self.sas += 10
        return self.send(
            *(
                self.event(
                    "auth_failed",
                    since=since,
                    after=n,
                    ike_id=first + n,
                    identity=identity,
                    reason="psk",
                )
                for n in range(10)
            )
        )


@pytest.fixture(scope="module")
def gateway(serving: Serving) -> Iterator[Gateway]:
    made = Gateway(serving, "watched.example")
    yield made
    made.client.connection.close()


@pytest.fixture
def operator(serving: Serving) -> Iterator[Client]:
    with serving.client(Role.OPERATOR) as made:
        yield made


def test_events_from_report_to_search(gateway: Gateway, operator: Client) -> None:
    made = [gateway.event(after=n, child="net", child_id=n, spi_in="c0ffee") for n in range(5)]
    first = gateway.next
    assert gateway.send(*made) == {
        "stored": 5,
        "repeated": 0,
        "next": first + 5,
        "missing": [],
        "lost": 0,
    }
    assert gateway.send(*made, first=first)["repeated"] == 5
    assert gateway.send(*made, first=first + 9)["missing"] == [
        {"first": first + 5, "end": first + 9}
    ]
    assert gateway.send(first=first + 14, oldest=first + 14)["lost"] == 4
    path, seen = f"/v1/sa-events?gateway={gateway.name}&kind=ike_established&limit=3", []
    while path:
        page = operator.get(path)
        seen += page.json["items"]
        link = page.headers.get("link")
        path = link.partition(">")[0].lstrip("<") if link else ""
    assert len(seen) == 10
    assert [each["at"] for each in seen] == sorted((each["at"] for each in seen), reverse=True)
    assert (seen[0]["peer"], seen[0]["connection"]) == (PEER, "branch")
    assert seen[0]["detail"]["spi_in"] == "c0ffee"
    assert operator.get("/v1/sa-events?peer=203.0.113.1").json["items"] == []
    assert operator.get("/v1/sa-events?cursor=x").code == "cursor_invalid"
    metrics = operator.get("/metrics").body.decode()
    assert 'ikewarden_sa_events_total{kind="ike_established"} 10.0' in metrics


def test_an_alert_from_its_first_sign_to_silence(gateway: Gateway, operator: Client) -> None:
    gateway.fail()
    page = operator.get(f"/v1/alerts?state=open&gateway={gateway.name}&kind=auth_failures").json
    [alert] = page["items"]
    assert (alert["severity"], alert["gateway"], alert["end"]) == ("high", gateway.name, None)
    assert alert["lines"]
    assert alert["cause"]
    assert alert["next_step"]
    assert alert["page"].endswith("/docs/alerts/auth_failures")
    with gateway.serving.client() as anyone:
        page = anyone.get("/docs/alerts/auth_failures")
        assert page.headers["content-type"] == "text/plain; charset=utf-8"
        assert page.body.startswith(b"# Authentication of a peer keeps failing")
        for path in ("none", "README", "..%2FREADME", "%00"):
            assert anyone.get(f"/docs/alerts/{path}").status == 404
    whole = operator.get(f"/v1/alerts/{alert['id']}").json
    assert {each["event"] for each in whole["events"]} == {"auth_failed"}
    assert {each["number"] for each in whole["events"]} == set(alert["lines"])
    until = (gateway.serving.site.clock() + timedelta(days=1)).isoformat()
    silenced = operator.post(f"/v1/alerts/{alert['id']}/silence", {"until": until, "why": "known"})
    assert (silenced.status, silenced.json["silenced"]["why"]) == (200, "known")
    again = operator.post(f"/v1/alerts/{alert['id']}/unsilence")
    assert (again.status, again.json["silenced"]) == (200, None)
    assert operator.post(f"/v1/alerts/{alert['id']}/unsilence").code == "alert_not_silenced"
    metrics = operator.get("/metrics").body.decode()
    # The other one tells that events were lost, above.
    for kind in ("auth_failures", "events_lost"):
        assert f'ikewarden_sa_alerts_open{{kind="{kind}",severity="high"}} 1.0' in metrics
    with gateway.serving.client(Role.APPROVER) as approver:
        assert approver.get(f"/v1/alerts/{alert['id']}").json["events"] == []


def test_what_a_daemon_counted_is_no_event(gateway: Gateway, operator: Client) -> None:
    nobody = dict.fromkeys(("peer", "source", "connection", "name", "ike_id"))
    for number in (7, 5):
        gateway.send(gateway.event("counted", reason="refused", number=number, **nobody))
    metrics = operator.get("/metrics").body.decode()
    labels = f'gateway="{gateway.name}",what="refused"'
    assert f"ikewarden_ike_messages_total{{{labels}}} 12.0" in metrics
    # Gateways send the words: those that are none of ours are one series together.
    invented = [gateway.event("counted", reason=f"word-{n}", number=2, **nobody) for n in range(30)]
    gateway.send(*invented)
    metrics = operator.get("/metrics").body.decode()
    told = {
        line for line in metrics.splitlines() if line.startswith("ikewarden_ike_messages_total")
    }
    labels = f'gateway="{gateway.name}",what='
    others = {line for line in told if labels in line and 'what="lost"' not in line}
    assert others == {
        f'ikewarden_ike_messages_total{{{labels}"{what}"}} {number}'
        for what, number in (("refused", "12.0"), ("other", "60.0"))
    }
    assert 'kind="counted"' not in metrics


def test_rekeys_are_counted_by_tunnel(gateway: Gateway, operator: Client) -> None:
    names = ('a"b\n', 'a"b\\n', "\x1b[2J\x07\x9b\u202e")
    made = [
        gateway.event("child_rekeyed", after=480, name=name, ike_id=number, new_child_id=number)
        for number, name in enumerate(names, 9_002)
    ]
    replaced = gateway.event("ike_rekeyed", after=480, ike_id=9_001, old_ike_id=9_000)
    gateway.send(replaced, *made)
    metrics = operator.get("/metrics").body.decode()
    labels = f'connection="branch",gateway="{gateway.name}",kind="ike_rekeyed"'
    assert f"ikewarden_rekeys_total{{{labels}}} 1.0" in metrics
    # As all that is printed; the backslash is doubled by the format.
    assert metrics.count(r'connection="a\"b\\n"') == 1
    assert r'connection="\\x1b[2J\\x07\\x9b\\u202e"' in metrics
    assert escaped(metrics.replace("\n", "")) == metrics.replace("\n", "")


def test_failures_are_counted_by_reason(gateway: Gateway, operator: Client) -> None:
    words = ["psk", "made-up", "another", None]
    gateway.send(
        *(
            gateway.event("cert_invalid", reason=word, ike_id=number)
            for number, word in enumerate(words, 9_100)
        )
    )
    metrics = operator.get("/metrics").body.decode().splitlines()
    assert [line for line in metrics if "cert_invalid" in line and "failures" in line] == [
        'ikewarden_sa_failures_total{kind="cert_invalid",reason=""} 1.0',
        'ikewarden_sa_failures_total{kind="cert_invalid",reason="other"} 2.0',
        'ikewarden_sa_failures_total{kind="cert_invalid",reason="psk"} 1.0',
    ]


def test_whatever_a_peer_calls_itself_comes_back_as_it_was(
    gateway: Gateway, operator: Client
) -> None:
    gateway.fail(HOSTILE)
    found = operator.get(f"/v1/sa-events?gateway={gateway.name}&limit=1&kind=auth_failed")
    [item] = found.json["items"]
    assert item["identity"] == HOSTILE.replace("\x00", "\ufffd")
    assert b"\x1b" not in found.body
    assert operator.get("/v1/alerts").status == 200


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"stream": "no spaces"}, "body_invalid"),
        ({"stream": ""}, "body_invalid"),
        ({"first": -1}, "body_invalid"),
        ({"first": 1 << 40}, "sa_events_refused"),
        ({"oldest": 9}, "sa_events_refused"),
        ({"gateway": "other.example"}, "body_invalid"),
        ({"until": "yesterday"}, "body_invalid"),
        ({"events": [{"event": "made_up"}]}, "body_invalid"),
        ({"events": [{"event": "cookie", "time": "2026-01-01T00:00:00"}]}, "body_invalid"),
        ({"events": [{"event": "cookie", "identity": "x" * 1025}]}, "body_invalid"),
        ({"events": [{"event": "cookie", "peer": "x" * 256}]}, "body_invalid"),
        ({"events": [{"event": "cookie", "ike_id": -1}]}, "body_invalid"),
        ({"events": [{"event": "cookie", "ike_id": 1 << 70}]}, "body_invalid"),
        ({"events": [{"event": "cookie", "seconds": "1"}]}, "body_invalid"),
        ({"events": [{"event": "cookie", "spi_in": "xyz"}]}, "body_invalid"),
        ({"events": [{"event": "cookie"}] * (MAX_EVENTS + 1)}, "body_invalid"),
    ],
    ids=str,
)
def test_what_is_not_a_batch_is_refused_with_its_place(
    gateway: Gateway, change: dict[str, Any], code: str
) -> None:
    body = {"stream": "refused", "first": 0, "events": [], **change}
    reply = gateway.client.post(PATH, body)
    assert (reply.status, reply.code) == (422, code)
    if code == "body_invalid":
        assert reply.json["errors"][0]["pointer"]


@pytest.mark.parametrize("raw", [b"{", b"[]", b"\xff", b'{"stream": "\\ud800"}', b"null"])
def test_what_is_no_json_is_refused(gateway: Gateway, raw: bytes) -> None:
    reply = gateway.client.post(PATH, raw=raw)
    assert reply.status in {400, 422}
    assert reply.code in {"malformed_request", "body_invalid"}


def test_a_batch_that_is_as_large_as_allowed_goes_through(gateway: Gateway) -> None:
    wide = {"identity": "é" * 300, "algorithms": "A" * 1024, "host": "h" * 255}
    taken = gateway.send(*(gateway.event("cookie", **wide) for _ in range(MAX_EVENTS)))
    assert taken["stored"] == MAX_EVENTS


def test_a_gateway_that_is_too_fast_is_told_when_to_come_back(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fleet.monitoring import pace

    monkeypatch.setattr(pace, "PER_MINUTE", 1)
    events = [gateway.event(), gateway.event()]
    body = {"stream": "s1", "first": gateway.next, "events": events}
    reply = gateway.client.post(PATH, body)
    assert (reply.status, reply.code) == (429, "sa_events_too_fast")
    assert 1 <= int(reply.headers["retry-after"]) <= 60


def test_nobody_speaks_for_another_gateway(serving: Serving, gateway: Gateway) -> None:
    stranger = serving.client(serving.site.client_certificate("unregistered.example"))
    with stranger:
        body = {"stream": "s1", "first": 0, "events": [gateway.event(host=gateway.name)]}
        assert stranger.post(PATH, body).code == "gateway_not_found"
    with serving.client(Role.ADMIN) as admin:
        assert admin.post(PATH, body).code == "role_not_permitted"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/alerts?severity=worst", "query_invalid"),
        ("/v1/alerts?state=gone", "query_invalid"),
        ("/v1/alerts?kind=none", "query_malformed"),
        ("/v1/alerts?gateway=none", "gateway_not_found"),
        ("/v1/alerts/0", "alert_not_found"),
        ("/v1/alerts/none", "alert_not_found"),
        ("/v1/sa-events?kind=none", "query_malformed"),
        ("/v1/sa-events?since=now", "query_invalid"),
        ("/v1/sa-events?limit=501", "query_invalid"),
    ],
)
def test_what_cannot_be_looked_for_is_refused(operator: Client, path: str, code: str) -> None:
    assert operator.get(path).code == code


def test_a_silence_without_reason_or_end_is_refused(gateway: Gateway, operator: Client) -> None:
    gateway.fail("CN=another")
    [alert, *_] = operator.get("/v1/alerts").json["items"]
    soon = (gateway.serving.site.clock() + timedelta(days=1)).isoformat()
    path = f"/v1/alerts/{alert['id']}/silence"
    for body in ({"until": soon}, {"until": soon, "why": ""}, {"until": "never", "why": "x"}):
        assert operator.post(path, body).code == "body_invalid"
    late = (gateway.serving.site.clock() + timedelta(days=900)).isoformat()
    assert operator.post(path, {"until": late, "why": "x"}).code == "silence_refused"
    assert operator.post("/v1/alerts/0/silence", {"until": soon, "why": "x"}).status == 404


def test_the_description_names_the_routes(serving: Serving, site: Any) -> None:
    assert isinstance(site.desk, Desk)
    with serving.client() as anyone:
        paths = anyone.get("/v1/openapi.json").json["paths"]
    assert "429" in paths[PATH]["post"]["responses"]
