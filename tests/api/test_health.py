"""Alive, ready, counted."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete

from api.server import ApiSettings
from pki import authorities, founding, publication, revocation
from pki.actors import Role
from pki.founding import AuthorityRequest
from pki.holdings import Holdings
from store import jobs, tables
from store.engine import open_store
from tests.api.serving import Client, Serving, serve
from tests.api.site import CLOCKWORK, CONSOLE, Site
from tests.fakes import FakeKeyStore
from tests.fixtures.desk import drain


def test_alive_looks_at_nothing(serving: Serving) -> None:
    with serving.client() as client:
        assert client.get("/healthz").json == {"alive": True}


@pytest.fixture(autouse=True)
def opened(site: Site) -> None:
    """What a scheduler does for new authorities: first lists, OCSP signers."""
    drain(site.desk, site.clock())


def test_not_ready_before_the_scheduler_was_there(serving: Serving) -> None:
    site = serving.site
    with site.desk.store.write() as connection:
        connection.execute(delete(tables.crls).where(tables.crls.c.kind == "delta"))
    with serving.client() as client:
        reply = client.get("/readyz")
    for name in ("root", "issuing"):
        publication.publish_full(site.desk, CLOCKWORK, name, now=site.clock())
    assert reply.status == 503
    assert ("crl_missing", "crl:issuing:delta") in {
        (t["code"], t["about"]) for t in reply.json["troubles"]
    }


def test_ready(serving: Serving) -> None:
    with serving.client() as client:
        reply = client.get("/readyz")
    assert (reply.status, reply.json) == (200, {"ready": True, "troubles": []})


def test_not_ready_with_a_stale_list(serving: Serving) -> None:
    site = serving.site
    publication.publish_full(site.desk, CLOCKWORK, "issuing", now=site.clock())
    with serving.client() as client:
        assert client.get("/readyz").status == 200
        site.clock.ahead = timedelta(days=3)
        try:
            reply = client.get("/readyz")
        finally:
            site.clock.ahead = timedelta(0)
    assert reply.status == 503
    assert reply.json["ready"] is False
    assert {(t["code"], t["about"]) for t in reply.json["troubles"]} >= {
        ("crl_stale", "crl:issuing:full")
    }


def test_an_authority_whose_time_is_over_is_not_missed(serving: Serving) -> None:
    site = serving.site
    short = AuthorityRequest(
        "short", "issuing", "CN=Short", parent="root", lifetime=timedelta(days=1)
    )
    founding.create(site.desk, CONSOLE, short, now=site.clock())
    drain(site.desk, site.clock())
    with serving.client() as client:
        site.clock.ahead = timedelta(days=2)
        try:
            reply = client.get("/readyz")
        finally:
            site.clock.ahead = timedelta(0)
    assert "authority:short" not in {each["about"] for each in reply.json["troubles"]}


@pytest.mark.parametrize("off", [timedelta(minutes=6), -timedelta(minutes=6)])
def test_not_ready_when_revocations_are_not_seen_to(serving: Serving, off: timedelta) -> None:
    site = serving.site
    at = site.clock() - off
    number = jobs.started(site.desk.store, "outbox_changes", "gone", at)
    jobs.finished(site.desk.store, number, "ok", None, None, at)
    issued = site.issue("waits.example")
    revocation.revoke(site.desk, CONSOLE, issued.serial, "superseded", now=at)
    with serving.client() as client:
        reply = client.get("/readyz")
        drain(site.desk, site.clock() + timedelta(minutes=7))
        number = jobs.started(site.desk.store, "outbox_changes", "new", site.clock())
        jobs.finished(site.desk.store, number, "ok", None, None, site.clock())
        publication.publish_full(site.desk, CLOCKWORK, "issuing", now=site.clock())
        after = client.get("/readyz")
    assert reply.status == 503
    assert {(t["code"], t["about"]) for t in reply.json["troubles"]} == {
        ("job_silent", "job:outbox_changes"),
        ("revocation_waits", "outbox"),
    }
    assert after.json == {"ready": True, "troubles": []}


def test_not_ready_without_keys(site: Site) -> None:
    empty = replace(site.desk, keys=FakeKeyStore(), holdings=Holdings())
    bare = Site(empty, site.keys, site.clock, site.directory, tokens=site.tokens)
    bare._service_pem = site._service_pem
    with serve(bare) as running, running.client() as client:
        reply = client.get("/readyz")
    assert reply.status == 503
    assert "authority:issuing" in {t["about"] for t in reply.json["troubles"]}


def test_not_ready_without_tables(site: Site, tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/empty.db")
    bare = Site(replace(site.desk, store=store), site.keys, site.clock, site.directory)
    pem = site.credential()
    running = Serving(bare, ApiSettings(version="0"), credential=lambda _: pem)
    running.start()
    try:
        with Client(running, trust=site.trust()) as client:
            reply = client.get("/readyz")
            assert client.get("/healthz").status == 200
    finally:
        running.stop()
        store.close()
    assert reply.status == 503
    assert [(t["code"], t["about"]) for t in reply.json["troubles"]] == [
        ("schema_outdated", "database")
    ]


def test_metrics(serving: Serving) -> None:
    with serving.client(Role.AUDITOR) as client:
        client.get("/v1/whoami")
        client.get("/nowhere/at/all")
        client.send("GET", "/v1/certificates/77")
        reply = client.get("/metrics")
    text = reply.body.decode()
    assert reply.headers["content-type"].startswith("text/plain")
    assert 'ikewarden_http_requests_total{method="GET",route="/v1/whoami",status="200"}' in text
    assert 'route="none",status="404"' in text
    assert 'route="/v1/certificates/{serial}",status="404"' in text
    assert 'ikewarden_outbox_messages{state="dead"} ' in text
    assert 'ikewarden_crl_next_update_timestamp_seconds{authority="issuing",kind="full"}' in text
    for status in ("valid", "held", "revoked", "expired", "pending", "abandoned"):
        assert f'ikewarden_certificates{{status="{status}"}} ' in text
    assert "/nowhere" not in text


def test_public_metrics(site: Site) -> None:
    with serve(site, ApiSettings(version="0", metrics_public=True)) as running:
        with running.client() as client:
            reply = client.get("/metrics")
            assert reply.status == 200
            assert client.get("/v1/openapi.json").json["paths"]["/metrics"]["get"]["security"] == []


def test_not_ready_while_the_default_authority_cannot_issue(serving: Serving) -> None:
    site = serving.site
    path = f"/v1/certificates/{authorities.load(site.desk, 'issuing').serial}"
    with serving.client(Role.ADMIN) as client:
        # Other tests may have issued more from it than ends unasked.
        held = client.post(f"{path}/hold", {"cut_confirmed": 100_000})
        reply = client.get("/readyz")
        released = client.post(f"{path}/release")
        again = client.get("/readyz")
    assert (held.status, released.status) == (200, 200)
    assert reply.status == 503
    assert ("authority_retired", "authority:issuing") in {
        (t["code"], t["about"]) for t in reply.json["troubles"]
    }
    assert again.status == 200


def test_not_ready_while_nothing_can_be_written(site: Site) -> None:
    store = site.desk.store
    if store.dialect != "sqlite":
        return  # the disk of a PostgreSQL server is not filled here

    def limit(pages: int) -> None:
        with store.write() as connection:  # there is one writing connection: it stays
            connection.execute(delete(tables.leases))
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    with serve(site) as running, running.client(Role.ADMIN) as client:
        limit(1)  # that is, no more than there are
        try:
            for number in range(10_000):
                body = {"name": f"{number}-" + "n" * 90, "role": "auditor"}
                refused = client.post("/v1/tokens", body)
                if refused.status != 201:
                    break
            found = client.get("/readyz")
        finally:
            limit(1_000_000)
        again = client.get("/readyz")
    assert (refused.status, refused.code) == (503, "store_full")
    assert found.status == 503
    assert ("store_full", "database") in {(t["code"], t["about"]) for t in found.json["troubles"]}
    assert again.status == 200
