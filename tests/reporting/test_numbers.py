"""The numbers of reports are those of the lists that the API gives."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from api.reporting.kinds import KINDS
from pki.actors import Role
from tests.api.conftest import module_directory, serving, site  # noqa: F401 - fixtures
from tests.api.serving import Client, Serving
from tests.reporting.scene import AROUND, PERIODS, fill


@pytest.fixture(scope="module")
def auditor(serving: Serving) -> Iterator[Client]:  # noqa: F811 - a fixture
    fill(serving.site.desk)
    with serving.client(Role.AUDITOR) as made:
        yield made


def listed(client: Client, path: str) -> list[dict[str, Any]]:
    """All entries of a list, page by page."""
    found: list[dict[str, Any]] = []
    target = path
    while target:
        reply = client.get(target)
        assert reply.status == 200, reply.json
        found += reply.json["items"]
        target = reply.headers.get("link", "").partition(">")[0].removeprefix("<")
    return found


def report(client: Client, kind: str, **query: str) -> Any:
    period = {"period": PERIODS[kind]} if kind in PERIODS else {}
    words = "&".join(f"{name}={quote(value)}" for name, value in {**period, **query}.items())
    reply = client.get(f"/v1/reports/{kind}?{words}")
    assert reply.status == 200, reply.json
    return reply.json


def test_the_inventory(auditor: Client) -> None:
    told = report(auditor, "inventory")
    for name, path in (
        ("authorities", "/v1/authorities"),
        ("gateways", "/v1/gateways"),
        ("tunnels", "/v1/tunnels"),
    ):
        entries = listed(auditor, path)
        assert told[name]["total"] == len(entries) > 1
        assert {each["name"] for each in told[name]["items"]} == {each["name"] for each in entries}
    for status, number in told["certificates"].items():
        assert number == len(listed(auditor, f"/v1/certificates?status={status}")), status
    valid = listed(auditor, "/v1/certificates?status=valid")
    held = listed(auditor, "/v1/certificates?status=held")
    serials = {each["serial"] for each in (*valid, *held)}
    assert {each["serial"] for each in told["in_force"]["items"]} == serials
    assert told["in_force"]["total"] == len(serials) == sum(told["profiles"].values())
    tunnels = listed(auditor, "/v1/tunnels")
    secrets = [
        secret
        for each in tunnels
        for secret in auditor.get(f"/v1/tunnels/{each['name']}/secrets").json["items"]
    ]
    assert told["secrets"]["total"] == len(secrets) == report(auditor, "psk-age")["total"] == 2
    ages = {each["name"]: each["current_at"] for each in report(auditor, "psk-age")["secrets"]}
    assert ages == {each["name"]: each["current_at"] for each in secrets}


def test_what_ends_and_what_was_revoked(auditor: Client) -> None:
    told = report(auditor, "expiring")
    path = f"/v1/certificates?expires_before={quote(told['until'])}"
    ends = [*listed(auditor, f"{path}&status=valid"), *listed(auditor, f"{path}&status=held")]
    assert {each["serial"] for each in told["certificates"]} == {each["serial"] for each in ends}
    assert (told["total"], told["more"]) == (len(ends), 0)
    assert told["held"] == len(listed(auditor, f"{path}&status=held")) == 1
    successors = {each["renewed_from"] for each in listed(auditor, "/v1/certificates")}
    assert {e["serial"] for e in told["certificates"] if e["renewed"]} == {
        each["serial"] for each in ends if each["serial"] in successors
    }
    ended = report(auditor, "revocations")
    revoked = listed(auditor, "/v1/certificates?status=revoked")
    assert (ended["revoked"], ended["held"]) == (len(revoked), 1)
    assert {each["serial"] for each in revoked} < {each["serial"] for each in ended["certificates"]}
    for each in ended["certificates"]:
        reach = auditor.get(f"/v1/certificates/{each['serial']}/reach").json
        states = [answer["state"] for answer in reach["gateways"]]
        assert (each["gateways"], each["confirmed"]) == (len(states), states.count("confirmed"))
    assert (ended["latency"]["cuts"], ended["latency"]["slowest"]) == (1, 20)


def test_tunnels_and_findings(auditor: Client) -> None:
    health = report(auditor, "sa-health", period=AROUND)
    alerts = listed(auditor, "/v1/alerts?state=open")
    assert health["open"] == len(alerts) > 0
    found = report(auditor, "audit")
    for state, counts in (("open", found["open"]), ("accepted", found["accepted"])):
        entries = listed(auditor, f"/v1/findings?state={state}")
        assert sum(counts.values()) == len(entries) > 0
    verdicts = report(auditor, "compliance")
    facts = {each["name"]: each["values"] for each in verdicts["facts"]}
    gateways = len(listed(auditor, "/v1/gateways"))
    assert sum(each["gateways"] for each in verdicts["baselines"]) == gateways
    assert facts["inventory"]["gateways"] == gateways
    assert facts["certificates"]["in_force"] == len(
        listed(auditor, "/v1/certificates?status=valid")
    )
    assert facts["audit_log"]["entries_proven"] == auditor.get("/v1/audit-log/head").json["size"]
    assert facts["alerts"]["alerts_open"] == len(alerts)
    usable = [each for each in listed(auditor, "/v1/tokens") if each["revoked_at"] is None]
    assert facts["access"]["tokens"] == len(usable)


def test_every_kind_has_a_route_in_every_form(auditor: Client) -> None:
    for kind in KINDS:
        for form, media in (
            ("json", "application/json"),
            ("csv", "text/csv; charset=utf-8"),
            ("html", "text/html; charset=utf-8"),
            ("pdf", "application/pdf"),
        ):
            reply = auditor.get(f"/v1/reports/{kind}?format={form}&lang=zh")
            assert (reply.status, reply.headers["content-type"]) == (200, media)
            named = "attachment" in reply.headers.get("content-disposition", "")
            assert named == (form in {"csv", "pdf"})
    assert auditor.get("/v1/reports/expiring?period=soon").code == "report_period_invalid"
    assert auditor.get("/v1/reports/inventory?period=2026").code == "query_invalid"
    assert auditor.get("/v1/reports/audit?lang=de").code == "query_invalid"
