"""Jobs and settings in the console: what runs, what failed for good, what is in force; and never a secret."""

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ikewarden.settings import load_settings
from ikewarden.settings_in_force import in_force
from pki.actors import Role
from store import jobs, outbox
from tests.api.serving import Serving, serve
from tests.api.site import Site
from tests.console.browser import Browser

Make = Callable[..., Browser]


def dead_letter(serving: Serving, key: str) -> None:
    """Work that failed as often as it may."""
    store, now = serving.site.desk.store, serving.site.clock()
    with store.write() as connection:
        outbox.put(connection, topic="a.topic", key=key, payload={}, now=now)
    topics = outbox.Topics(frozenset({"a.topic"}), others=False)
    for _ in range(20):
        now += timedelta(hours=2)
        lease = timedelta(minutes=1)
        for message in outbox.claim(store, owner="t", limit=9, lease=lease, now=now, topics=topics):
            outbox.failed(
                store, message, owner="t", error="webhook_failed: <b>gone</b>", now=now, spread_by=1
            )


def test_jobs_their_runs_and_what_failed_for_good(browser: Make, serving: Serving) -> None:
    store, now = serving.site.desk.store, serving.site.clock()
    for number in range(60):
        run = jobs.started(store, "crl_refresh", "a-process", now + timedelta(minutes=number))
        end = now + timedelta(minutes=number, seconds=2)
        if number % 2:
            jobs.finished(store, run, "ok", None, {"lists": number}, end)
        else:
            jobs.finished(store, run, "failed", "signer_away: the token is gone", None, end)
    dead_letter(serving, "gw1")
    visitor = browser(Role.OPERATOR)
    page = visitor.get("/jobs")
    assert "webhook_failed: <b>gone</b>" in page.text  # as text
    assert "crl_refresh" in page.text
    runs = visitor.get("/jobs/crl_refresh")
    assert "signer_away" in runs.text
    (older,) = [link for link in runs.links if "cursor=" in link]
    assert visitor.get(older).html.count("a-process") == 10
    assert visitor.get("/jobs/no-such-job").status == 404
    done = visitor.submit(page, "/jobs/dead-letters/")
    assert "It is queued anew" in done.text
    assert "webhook_failed" not in done.text
    again = visitor.fill(page, "/jobs/dead-letters/")
    assert (again.status, "dead_letter_not_found" in again.html) == (404, True)


def test_the_page_is_live_and_sends_its_part_alone(browser: Make) -> None:
    visitor = browser(Role.AUDITOR)
    page = visitor.get("/jobs")
    assert ("div", "sse-connect", "/jobs") in page.attributes
    part = visitor.send("GET", "/jobs", headers={"HX-Request": "true"})
    assert part.status == 200
    assert "<html" not in part.html
    assert "Due now" in part.text


def test_an_auditor_looks_and_queues_nothing(browser: Make, serving: Serving) -> None:
    dead_letter(serving, "gw2")
    page = browser(Role.AUDITOR).get("/jobs")
    assert "gw2" in page.text
    assert not [form for form in page.forms if "retry" in form.action]


@pytest.fixture
def configured(site: Site, tmp_path: Path) -> Site:
    """The same site, begun with settings."""
    file = tmp_path / "ikewarden.toml"
    file.write_text(
        '[database]\nurl = "postgresql+psycopg://ike:hunter2@db.example/ike"\n'
        '[notices]\nwebhook = "https://hooks.example/T0P-SECRET"\n[crl]\nfull_hours = 48\n'
    )
    file.chmod(0o600)
    environ = {"IKEWARDEN_API__WORKERS": "3"}
    found = in_force(load_settings(file, environ), environ)
    other = copy(site)
    other.desk = replace(site.desk, settings=found)
    return other


def test_what_is_in_force_and_where_it_comes_from(configured: Site) -> None:
    told = {(each.section, each.key): each for each in configured.desk.settings}
    for place, value, default, origin in (
        (("crl", "full_hours"), "48", "24", "file"),
        (("crl", "delta_hours"), "6", "6", "default"),
        (("api", "workers"), "3", "2", "environment"),
        (("database", "url"), "set", "not set", "file"),
        (("notices", "webhook"), "set", "not set", "file"),
        (("keys.pkcs11", "module"), "none", "none", "default"),
    ):
        one = told[place]
        assert (one.value, one.default, one.origin) == (value, default, origin), place


def test_settings_endpoints_and_profiles_are_shown_without_a_secret(configured: Site) -> None:
    with serve(configured) as serving:
        visitor = Browser(serving)
        visitor.sign_in(configured.tokens[Role.AUDITOR])
        page = visitor.get("/settings")
        assert page.status == 200
        assert "[notices]" in page.text
        for secret in ("hunter2", "T0P-SECRET", "db.example"):
            assert secret not in page.html
        assert "IKEWARDEN_API__WORKERS" in page.text
        endpoints = visitor.get("/settings/endpoints")
        assert "/.well-known/est" in endpoints.text
        profiles = visitor.get("/settings/profiles")
        assert "/settings/profiles/gateway" in profiles.links
        assert "ec-p256" in visitor.get("/settings/profiles/gateway").text
        assert visitor.get("/settings/profiles/nothing").status == 404
        visitor.close()
