"""The overview over REST: each number is what its own URL lists; and searches in both directions."""

from urllib.parse import urlencode

from ike.audit.values import Severity
from pki import certificates, revocation
from pki.actors import Role
from tests.api.serving import Serving
from tests.fixtures.desk import OPERATOR
from tests.fleet.auditing import audited, found
from tests.fleet.crew import connect, enlist, later
from tests.fleet.monitoring import after, failures, sent


def test_each_number_is_what_its_url_lists(serving: Serving) -> None:
    desk, now = serving.site.desk, serving.site.clock()
    one, two = enlist(desk, "one.needs.example"), enlist(desk, "two.needs.example")
    connect(desk, "needs", one, two)
    one.report(now=later(-900))
    bad = [each._replace(connection="needs", name="needs") for each in failures()]
    sent(two, bad, until=after(60))
    audited(two, found(), found("mode", Severity.CRITICAL, "/etc/swanctl"))
    revocation.revoke(desk, OPERATOR, one.leaf.serial, "superseded", now=now)
    with serving.client(Role.AUDITOR) as client:
        told = client.get("/v1/overview").json
        counted = {}
        for need in told["needs"]:
            if need["url"].startswith(("/v1/authorities", "/v1/jobs")):
                continue
            listed = client.get(need["url"] + ("&" if "?" in need["url"] else "?") + "limit=500")
            assert len(listed.json["items"]) == need["count"], need
            counted[need["kind"]] = need["count"]
        assert counted["alerts_high"] >= 1
        assert counted["findings_critical"] >= 1
        assert counted["gateways_no_certificate"] >= 1
        drawn = client.get("/v1/fleet-map?q=needs").json
        assert [(each["tunnel"], each["state"]) for each in drawn["edges"]] == [("needs", "alert")]
        assert client.get("/v1/fleet-map?state=fine").code == "query_invalid"


def test_pages_of_certificates_in_both_directions(serving: Serving) -> None:
    made = [serving.site.issue(f"page{number}.both.example").serial for number in range(5)][::-1]
    with serving.client(Role.AUDITOR) as client:

        def page(**query: object) -> tuple[list[str], dict[str, object]]:
            reply = client.get("/v1/certificates?" + urlencode({"q": "both.example", **query}))
            assert reply.status == 200, reply
            return [each["serial"] for each in reply.json["items"]], reply.json

        first, answer = page(limit=2)
        assert (first, answer["total"], answer["total_is_more"]) == (made[:2], 5, False)
        assert answer["previous_cursor"] is None
        second, answer = page(limit=2, cursor=answer["next_cursor"])
        assert second == made[2:4]
        back, again = page(limit=2, cursor=answer["previous_cursor"])
        assert (back, again["previous_cursor"]) == (first, None)
        by_key = certificates.find(serving.site.desk, made[0]).spki_sha256
        assert page(key=by_key.upper())[0] == [made[0]]
        assert page(serial=made[1][:30], renewed="false")[0] == [made[1]]
        assert page(renewed="true")[0] == []
        assert client.get("/v1/certificates?serial=xyz").code == "query_malformed"
        assert client.get("/v1/certificates?renewed=perhaps").code == "query_invalid"
