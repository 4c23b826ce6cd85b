"""The dashboards are as Grafana's JSON model has them."""

import json
import re
from typing import Any

import pytest

from docs.metrics import ALL
from monitoring import dashboards
from monitoring.dashboards import grafana
from tests.prometheus.tools import DASHBOARDS

KINDS = {"row", "stat", "timeseries", "bargauge", "table"}
# Ids of units as Grafana has them (packages/grafana-data, valueFormats).
UNITS = {"short", "s", "bytes", "percentunit", "reqps", "cps"}
DOCUMENTS: dict[str, Any] = {each.name: json.loads(each.read_text("utf-8")) for each in DASHBOARDS}


def panels(document: Any) -> list[Any]:
    """What shows something."""
    return [each for each in document["panels"] if each["type"] != "row"]


def test_the_files_are_as_they_are_written() -> None:
    assert {f"{each.name}.json" for each in dashboards.DASHBOARDS} == set(DOCUMENTS)
    for each in dashboards.DASHBOARDS:
        file = dashboards.PLACE / f"{each.name}.json"
        assert file.read_text("utf-8") == grafana.text(each), (
            "run `python -m monitoring.dashboards`"
        )


def test_no_two_have_the_same_identity() -> None:
    assert len({each["uid"] for each in DOCUMENTS.values()}) == len(DOCUMENTS) == 5
    assert len({each["title"] for each in DOCUMENTS.values()}) == len(DOCUMENTS)
    # Grafana refuses longer ones, and other characters.
    assert all(re.fullmatch(r"[a-z-]{1,40}", each["uid"]) for each in DOCUMENTS.values())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_dashboard_is_whole(name: str) -> None:
    document = DOCUMENTS[name]
    assert "id" not in document  # Grafana gives it
    assert isinstance(document["schemaVersion"], int)
    ids = [each["id"] for each in document["panels"]]
    assert len(ids) == len(set(ids))
    titles = [each["title"] for each in document["panels"]]
    assert len(titles) == len(set(titles))
    [source] = [each for each in document["templating"]["list"] if each["type"] == "datasource"]
    assert (source["name"], source["query"]) == ("datasource", "prometheus")
    for panel in panels(document):
        assert panel["type"] in KINDS
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert steps[0]["value"] is None
        assert [each["value"] for each in steps[1:]] == sorted(each["value"] for each in steps[1:])
        for thing in (panel, *panel["targets"]):
            assert thing["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        references = [each["refId"] for each in panel["targets"]]
        assert len(references) == len(set(references)) > 0


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_panel_lies_over_another(name: str) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DOCUMENTS[name]["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, (panel["title"], taken[x, y])
                taken[x, y] = panel["title"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_panels_ask_for_what_there_is(name: str) -> None:
    there = {each.name: each for each in ALL}
    known = {each["name"] for each in DOCUMENTS[name]["templating"]["list"]}
    known |= {"__rate_interval"}
    for panel in panels(DOCUMENTS[name]):
        for target in panel["targets"]:
            expression = target["expr"]
            assert set(re.findall(r"\$(\w+)", expression)) <= known
            for metric in re.findall(r"\bikewarden_\w+", expression):
                assert metric.removesuffix("_bucket") in there, (panel["title"], metric)
            # What is told with these labels has them.
            labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            of = re.findall(r"\bikewarden_\w+", expression)
            allowed = {"instance"}.union(
                *(there[metric.removesuffix("_bucket")].labels for metric in of)
            )
            assert labels <= allowed, (panel["title"], labels)


def test_every_family_is_shown_or_told_of_by_a_rule() -> None:
    from tests.prometheus.tools import rules

    said = " ".join(
        [
            *(t["expr"] for d in DOCUMENTS.values() for p in panels(d) for t in p["targets"]),
            *(rule["expr"] for rule in rules().values()),
        ]
    )
    unused = {each.name for each in ALL if not re.search(rf"\b{each.name}(_bucket)?\b", said)}
    assert unused == {
        # The oldest of all; by age they are shown.
        "ikewarden_shared_secret_oldest_seconds",
        # When a job failed says less than that it fails.
        "ikewarden_job_last_failure_timestamp_seconds",
        "ikewarden_syslog_connections",
        "ikewarden_syslog_waiting_events",
    }
