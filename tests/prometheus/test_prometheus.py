"""A real Prometheus scrapes a real service, twice as if it were two replicas, and is asked what the dashboards ask."""

import base64
import contextlib
import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.errors import IkewardenError
from docs.metrics import ALL
from tests.fixtures.another_year import of_go
from tests.fixtures.databases import _TEMPLATE
from tests.fixtures.needs import program
from tests.fixtures.ports import free_ports
from tests.fixtures.postgresql import Server
from tests.fixtures.served import Served, serving
from tests.prometheus.test_dashboards import DOCUMENTS, panels
from tests.prometheus.tools import RULES, promtool, rules
from tests.syslog.sending import eventually, throw

pytestmark = of_go
GATEWAY = "gw1.metrics.example"
# What nobody brought about: no series, and that is as it should be.
EMPTY = {
    ("sas.json", "Open alerts by kind"),
    ("sas.json", "Messages that daemons counted, an hour"),
    ("service.json", "Jobs that fail"),
    ("certificates.json", "Errors of the validation listener"),
}
# Counters that have a series once something happened.
LATER = {
    "ikewarden_syslog_connections",
    "ikewarden_shared_secret_oldest_seconds",
    "ikewarden_job_last_failure_timestamp_seconds",
    "ikewarden_sa_alerts_left_out",
}


@dataclass
class Watching:
    """A service, and a Prometheus that watches it."""

    served: Served
    url: str
    metrics: bytes = b""

    def ask(self, path: str, **query: str) -> Any:
        """What Prometheus' API answers."""
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(address, timeout=60) as answer:
            document = json.load(answer)
        assert document["status"] == "success"
        return document["data"]

    def query(self, expression: str) -> list[Any]:
        """The series of an expression, now."""
        data = self.ask("query", query=expression)
        assert data["resultType"] in {"vector", "scalar"}
        return list(data["result"])

    def number(self, expression: str) -> float:
        """The one number that an expression gives."""
        [only] = self.query(expression)
        return float(only["value"][1])


def _make_something_happen(served: Served, syslog: int) -> None:
    client = served.client
    for name in (GATEWAY, "gw2.metrics.example"):
        client.post("/v1/gateways", {"name": name, "identities": [f"dns:{name}"]})
    client.post(
        "/v1/tunnels",
        {"name": "t", "left": {"gateway": GATEWAY}, "right": {"gateway": "gw2.metrics.example"}},
    )
    value = base64.b64encode(b"7Hq!mZ7wXt2#LpVk-and-some-more").decode()
    client.post("/v1/tunnels/t/secrets", {"import": {"value": value}})
    for path in ("/crl/issuing.crl", "/crl/root.crl"):
        served.public(path)
    said = [
        "05[IKE] <branch|1> IKE_SA branch[1] established between 192.0.2.1[gw]...198.51.100.2[b]",
        "05[IKE] <branch|1> IKE_SA branch[2] rekeyed between 192.0.2.1[gw]...198.51.100.2[b]",
        "05[IKE] <branch|3> no IKE config found for 192.0.2.1...198.51.100.9, sending NO_PROPOSAL_CHOSEN",
    ]
    for line in said:
        throw(syslog, f"<30>1 {_stamp()} gw1 charon 1 - - {line}".encode())
    with pytest.raises(IkewardenError):
        client.get("/v1/certificates/77")
    # From nobody that is known.
    throw(syslog, b"<30>nobody", source="127.0.0.99")


def _stamp() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@contextlib.contextmanager
def prometheus(served: Served, place: Path) -> Iterator[str]:
    """Debian's Prometheus on loopback, which scrapes the service under two names each second."""
    program("prometheus", "prometheus")
    [port] = free_ports(1)
    token = place / "token"
    token.touch(0o600)
    token.write_text(served.admin_token)
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {
                "job_name": "ikewarden",
                "scheme": "https",
                "authorization": {"credentials_file": str(token)},
                "tls_config": {"ca_file": str(served.ca_file)},
                "static_configs": [
                    {"targets": [f"{name}:{served.port}" for name in ("localhost", "127.0.0.1")]}
                ],
            }
        ],
    }
    file = place / "prometheus.yml"
    file.write_text(json.dumps(config))
    done = promtool("check", "config", file)
    assert done.returncode == 0, done.stderr.decode()
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig=SIGTERM", "prometheus"),
                f"--config.file={file}",
                f"--storage.tsdb.path={place / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            cwd=place,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def watching(
    tmp_path_factory: pytest.TempPathFactory, postgresql_server: Server
) -> Iterator[Watching]:
    place = tmp_path_factory.mktemp("prometheus")
    [syslog] = free_ports(1)
    environ = {
        "IKEWARDEN_SCHEDULER__FIGURES": "1",
        "IKEWARDEN_SYSLOG__UDP_PORT": str(syslog),
        "IKEWARDEN_SYSLOG__SENDERS": f"127.0.0.1 = {GATEWAY}",
    }
    with (
        postgresql_server.database(_TEMPLATE) as url,
        serving(place / "instance", database_url=url, environ=environ) as served,
        prometheus(served, place) as address,
    ):
        found = Watching(served, address)
        _make_something_happen(served, syslog)
        eventually(lambda: _quietly(lambda: len(found.query("up == 1")) == 2))

        def both_tell_of_it() -> bool:
            told = found.query('ikewarden_rekeys_total{kind="ike_rekeyed"} == 1')
            failures = found.query("ikewarden_sa_failures_total > 0")
            return len(told) == 2 and len(failures) >= 2

        eventually(lambda: _quietly(both_tell_of_it))
        # A rate needs two samples, and a counter that begins to be told a third.
        samples = "count_over_time(ikewarden_sa_failures_total[5m]) > 3"
        eventually(lambda: len(found.query(samples)) >= 2)
        missed = 'count_over_time(ikewarden_http_requests_total{status="404"}[5m]) > 3'
        eventually(lambda: len(found.query(missed)) >= 2)
        asked = "count_over_time(ikewarden_validation_requests_total[5m]) > 3"
        eventually(lambda: len(found.query(asked)) >= 2)
        found.metrics = served.client.content("/metrics")
        yield found


def _quietly(check: Any) -> bool:
    with contextlib.suppress(OSError):
        return bool(check())
    return False


def test_promtool_finds_no_fault_with_a_scrape(watching: Watching) -> None:
    done = promtool("check", "metrics", given=watching.metrics)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_scrape_has_what_the_page_says_and_nothing_else(watching: Watching) -> None:
    text = watching.metrics.decode()
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (\S+) (.+)$", text, re.MULTILINE))
    known = {each.name: each for each in ALL}
    assert types == {name: known[name].kind for name in types}
    assert helps == {name: known[name].help for name in types}
    assert known.keys() - types.keys() <= LATER
    for name, labels in re.findall(r"^(\w+)\{(.*)\} \S+$", text, re.MULTILINE):
        family = known[re.sub(r"_(bucket|sum|count)$", "", name) if name not in known else name]
        found = set(re.findall(r'(\w+)="(?:[^"\\]|\\.)*"', labels)) - {"le"}
        assert found == set(family.labels), name
    assert "_created" not in text


def test_two_replicas_tell_the_same_numbers_as_the_api(watching: Watching) -> None:
    assert len(watching.query("ikewarden_build_info")) == 2
    assert watching.number("count(count by (version) (ikewarden_build_info))") == 1
    status = 'max by (status) (ikewarden_certificates{status="valid"})'
    page = watching.served.client.get("/v1/certificates", {"status": "valid", "limit": 500})
    assert watching.number(status) == len(page["items"])
    remaining = "sum(max by (authority, remaining) (ikewarden_certificates_valid))"
    assert watching.number(remaining) == len(page["items"])
    assert watching.number('max(ikewarden_gateways{reach="never"})') == 2
    assert watching.number('max(ikewarden_tunnels{keys="managed"})') == 1
    assert watching.number('max(ikewarden_shared_secrets_by_age{age="under_30d",kind="psk"})') == 1
    ends = "max by (authority) (ikewarden_authority_expiry_timestamp_seconds)"
    for authority in watching.served.client.get("/v1/authorities")["items"]:
        [found] = [
            float(each["value"][1])
            for each in watching.query(ends)
            if each["metric"]["authority"] == authority["name"]
        ]
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(found))
        assert authority["not_after"].startswith(stamp)


def test_what_processes_use_is_told_of_all_parts(watching: Watching) -> None:
    parts = {each["metric"]["part"] for each in watching.query("ikewarden_process_open_fds > 0")}
    assert parts == {"api-1", "api-2", "validation", "scheduler", "syslog"}
    assert watching.number("min(ikewarden_process_resident_memory_bytes)") > 10**7
    assert watching.number("min(ikewarden_process_cpu_seconds_total)") > 0
    assert watching.number("max(time() - ikewarden_process_start_time_seconds)") < 3600


def test_every_rule_is_evaluated_and_nothing_is_wrong(watching: Watching) -> None:
    def all_were_evaluated() -> bool:
        groups = watching.ask("rules")["groups"]
        return all(rule["health"] != "unknown" for group in groups for rule in group["rules"])

    eventually(all_were_evaluated)
    found = [rule for group in watching.ask("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"]: rule["health"] for rule in found} == dict.fromkeys(rules(), "ok")
    assert [rule["name"] for rule in found if rule["state"] == "firing"] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_panel_gets_what_it_asks_for(watching: Watching, name: str) -> None:
    empty = set()
    for panel in panels(DOCUMENTS[name]):
        told = []
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "5m")
            expression = re.sub(r"\$(instance|authority)", ".*", expression)
            told += watching.query(expression)
            now = time.time()
            ranged = watching.ask(
                "query_range", query=expression, start=str(now - 60), end=str(now), step="15"
            )
            assert ranged["resultType"] == "matrix"
            for series in told:
                assert series["value"][1] != "NaN", expression
            # What a legend names is there; an empty label is none.
            for label in set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) - {"reason"}:
                assert all(label in each["metric"] for each in told), expression
        if not told:
            empty.add((name, panel["title"]))
    assert empty <= EMPTY


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_choice_has_something_to_choose(watching: Watching, name: str) -> None:
    for variable in DOCUMENTS[name]["templating"]["list"]:
        if variable["type"] == "query":
            match = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
            assert match is not None
            assert watching.ask(f"label/{match[2]}/values", **{"match[]": match[1]})
