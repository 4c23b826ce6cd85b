"""The report of how tunnels fared, in every form; what peers and logs named does no harm in any."""

import csv
import io

import pytest

from pki.actors import Role
from tests.api.serving import Serving
from tests.api.test_monitoring import Gateway

PATH = "/v1/reports/sa-health"
NAME = "\x1b[2J<script>alert(1)</script>\u202e"
FORMULA = '=HYPERLINK("http://x")'


def test_the_report_in_every_form(serving: Serving) -> None:
    gateway = Gateway(serving, "health.example")
    for name, peer in ((NAME, "198.51.100.1"), (FORMULA, "198.51.100.2")):
        gateway.send(
            *(
                gateway.event(
                    "auth_failed",
                    after=n,
                    ike_id=n,
                    identity=peer,
                    peer=peer,
                    source=peer,
                    connection=name,
                    name=name,
                    reason="psk",
                )
                for n in range(10)
            )
        )
    gateway.client.connection.close()
    with serving.client(Role.OPERATOR) as operator:
        told = operator.get(f"{PATH}?gateway=health.example").json
        rows = {each["connection"]: each for each in told["worst"]}
        assert set(rows) == {NAME, FORMULA}
        assert rows[NAME]["failures"] == {"auth_failed/psk": 10}
        assert rows[NAME]["open"] == {"auth_failures": 1}
        page = operator.get(f"{PATH}?format=html&gateway=health.example")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in page.headers["content-security-policy"]
        text = page.body.decode()
        assert "<script" not in text
        assert "&lt;script&gt;" in text
        assert not set("\x1b\u202e") & set(text)
        table = operator.get(f"{PATH}?format=csv&gateway=health.example").body.decode()
        assert not set("\x1b\u202e") & set(table)
        lines = list(csv.DictReader(io.StringIO(table)))
        assert {each["connection"][:11] for each in lines} == {"'=HYPERLINK", "\\x1b[2J<scr"}
        assert {each["failures"] for each in lines} == {"auth_failed/psk=10"}
        assert operator.get(f"{PATH}?connections=0").json["worst"] == []
        assert operator.get(f"{PATH}?connections=10001").status == 422
        assert operator.get(f"{PATH}?since=2020-01-01T00:00:00Z").status == 422
        assert operator.get(f"{PATH}?gateway=no.example").code == "gateway_not_found"
    with serving.client(Role.APPROVER) as other:
        assert other.get(PATH).status == 403


@pytest.mark.parametrize("form", ["json", "html", "csv"])
def test_a_fleet_without_events_has_a_report(serving: Serving, form: str) -> None:
    wanted = f"{PATH}?format={form}&since=2020-01-01T00:00:00Z&until=2020-01-02T00:00:00Z"
    with serving.client(Role.OPERATOR) as operator:
        answer = operator.get(wanted)
        assert answer.status == 200
        if form == "json":
            assert set(answer.json["nothing"]) == {"why", "next_step"}
        if form == "html":
            text = answer.body.decode()
            assert "There is nothing to report" in text
            assert "<code>ikewarden " in text
