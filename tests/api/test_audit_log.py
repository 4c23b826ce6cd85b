"""The audit log over HTTP, verified as a stranger would: from the RFC and the answers alone."""

import base64
import json

import pytest

from pki.actors import Role
from pki.tlog import note
from pki.tlog.merkle import RightEdge, leaf_hash, verify_consistency, verify_inclusion
from pki.tlog.note import VerifierKey
from tests.api.serving import Client, Serving
from tests.api.site import Site
from tests.pki.logkeeping import Memory, sequence, write


def hashes(texts: list[str]) -> list[bytes]:
    return [base64.b64decode(each, validate=True) for each in texts]


@pytest.fixture(scope="module")
def memory(site: Site) -> Memory:
    """What is remembered beside the keys of the site."""
    return Memory()


@pytest.fixture
def client(serving: Serving, memory: Memory) -> Client:
    """An auditor, where there is a log."""
    sequence(serving.site.desk, memory, serving.site.clock())
    return serving.client(Role.AUDITOR)


def test_no_head_yet(serving: Serving) -> None:
    with serving.client(Role.AUDITOR) as client:
        for path in ("head", "entries", "proof?event=1", "proof?first=0&second=0"):
            reply = client.get(f"/v1/audit-log/{path}")
            assert (reply.status, reply.code) == (404, "audit_log_not_begun")


def test_head_proofs_and_entries(serving: Serving, client: Client, memory: Memory) -> None:
    with client:
        first = client.get("/v1/audit-log/head").json
        key = VerifierKey.parse(first["key"])
        said = note.verify(first["note"], key)
        assert said.origin == first["origin"]
        assert (said.size, [said.root]) == (first["size"], hashes([first["root"]]))
        write(serving.site.desk.store, 30)
        sequence(serving.site.desk, memory, serving.site.clock())
        second = client.get("/v1/audit-log/head").json
        old, new = (note.verify(each["note"], key) for each in (first, second))
        shown = client.get(f"/v1/audit-log/proof?first={old.size}&second={new.size}").json
        assert (shown["first"], shown["second"]) == (old.size, new.size)
        verify_consistency(old.size, old.root, new.size, new.root, hashes(shown["proof"]))
        (event, *_) = client.get("/v1/audit-events?limit=1").json["items"]
        shown = client.get(f"/v1/audit-log/proof?event={event['id']}").json
        assert shown["head"] == second
        leaf = leaf_hash(shown["entry"].encode())
        verify_inclusion(leaf, shown["index"], new.size, hashes(shown["proof"]), new.root)
        assert json.loads(shown["entry"])["action"] == event["action"]
        edge = RightEdge()
        path = "/v1/audit-log/entries?limit=10"
        while path:
            reply = client.get(path)
            for each in reply.json["items"]:
                assert each["position"] == edge.size
                edge.add(leaf_hash(each["entry"].encode()))
            path = reply.headers.get("link", "").partition(">")[0].removeprefix("<")
        assert (edge.size, edge.root()) == (new.size, new.root)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "query_invalid"),
        ("event=0", "query_invalid"),
        ("event=x", "query_invalid"),
        ("event=1&first=1&second=2", "query_invalid"),
        ("first=1", "query_invalid"),
        ("second=1", "query_invalid"),
        ("first=2&second=1", "audit_log_size_unknown"),
        ("first=1&second=100000", "audit_log_size_unknown"),
        (f"event={2**62}", "audit_event_not_in_log"),
        (f"event={2**63}", "query_invalid"),
    ],
)
def test_questions_that_have_no_answer(client: Client, query: str, code: str) -> None:
    with client:
        reply = client.get(f"/v1/audit-log/proof?{query}")
        assert reply.code == code


def test_metrics(serving: Serving, client: Client) -> None:
    write(serving.site.desk.store, 3)
    with client:
        lines = client.get("/metrics").body.decode().splitlines()
    assert "ikewarden_audit_log_waiting_rows 3.0" in lines
    (age,) = [each for each in lines if each.startswith("ikewarden_audit_log_head_age_seconds ")]
    assert float(age.split()[1]) >= 0
