"""Each operation through the door: once as it should go, once refused."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from pki.actors import Role, Scope
from pki.x509.profile import Profile
from tests.api.serving import Serving
from tests.api.site import Site, new_csr

PROFILE = {
    "name": "branch",
    "description": "Branch offices",
    "lifetime": "30d",
    "max_lifetime": "90d",
    "key_usage": ["digitalSignature"],
    "key_algorithms": ["ec-p256"],
    "extended_key_usage": ["server_auth", "client_auth"],
    "names": ["dns"],
    "names_required": ["dns"],
    "distribution": {"crl": "full", "ocsp": True, "ca_issuers": True},
    "lint": {"strongswan": "block"},
}


def test_issue(serving: Serving) -> None:
    with serving.client(Role.OPERATOR) as client:
        body = {"csr": new_csr("gw1.example"), "profile": "gateway", "names": ["ip:192.0.2.1"]}
        reply = client.post("/v1/certificates", body)
        assert reply.status == 201, reply
        made = reply.json
        leaf = x509.load_pem_x509_certificate(made["certificate"].encode())
        issuer, root = (x509.load_pem_x509_certificate(pem.encode()) for pem in made["chain"])
        leaf.verify_directly_issued_by(issuer)
        issuer.verify_directly_issued_by(root)
        assert made["names"] == ["dns:gw1.example", "ip:192.0.2.1"]
        assert made["gateway"] == "gw1.example"
        assert made["authority"] == "issuing"
        assert made["lint"]["strongswan"] == "pass"
        assert int(made["serial"], 16) == leaf.serial_number
        shown = client.get(reply.headers["location"])
        assert shown.json["certificate"] == made["certificate"]
        assert shown.json["status"] == "valid"


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"csr": "no"}, 422, "csr_malformed"),
        ({"csr": "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"}, 422, "csr_malformed"),
        ({"profile": "nothing"}, 404, "profile_not_found"),
        ({"profile": "service-tls"}, 422, "profile_internal"),
        ({"authority": "nobody"}, 404, "authority_not_found"),
        ({"not_after": "2001-01-01T00:00:00Z"}, 422, "lifetime_refused"),
        ({"names": ["dns:-bad-.example"]}, 422, None),
    ],
)
def test_issue_refused(
    serving: Serving, change: dict[str, object], status: int, code: str | None
) -> None:
    with serving.client(Role.OPERATOR) as client:
        before = client.get("/v1/certificates?limit=1").json["items"]
        body = {"csr": new_csr("gw1.example"), "profile": "gateway"} | change
        reply = client.post("/v1/certificates", body)
        assert reply.status == status, reply
        assert code in {None, reply.code}
        assert reply.json["next_step"]
        assert client.get("/v1/certificates?limit=1").json["items"] == before


def test_an_enroller_stays_within_its_scope(serving: Serving) -> None:
    scope = Scope(profiles=("gateway",), names=("dns:*.branch.example",))
    token = serving.site.token(Role.ENROLLER, uses=1, scope=scope)
    with serving.client(token) as client:
        outside = {"csr": new_csr("gw.other.example"), "profile": "gateway"}
        reply = client.post("/v1/certificates", outside)
        assert (reply.status, reply.code) == (403, "outside_scope")
        inside = {"csr": new_csr("gw.branch.example"), "profile": "gateway"}
        assert client.post("/v1/certificates", inside).status == 201, "a refusal uses nothing up"
        reply = client.post("/v1/certificates", inside)
        assert (reply.status, reply.code) == (401, "token_refused")
        assert reply.headers["www-authenticate"].endswith('error="invalid_token"')


def test_renew(serving: Serving) -> None:
    certificate = serving.site.client_certificate("gw2.example")
    serial = certificate.issued.serial
    with serving.client(certificate) as client:
        again = client.post(f"/v1/certificates/{serial}/renew")
        assert again.status == 201, again
        assert again.json["renewed_from"] == serial
        body = {"csr": new_csr("gw2.example")}
        rekeyed = client.post(f"/v1/certificates/{serial}/renew?authority=issuing", body)
        assert rekeyed.status == 201, rekeyed
        assert rekeyed.json["names"] == ["dns:gw2.example"]


def test_renew_refused(serving: Serving) -> None:
    certificate = serving.site.client_certificate("gw3.example")
    other = serving.site.issue("gw4.example")
    with serving.client(certificate) as client:
        reply = client.post(f"/v1/certificates/{other.serial}/renew")
        assert (reply.status, reply.code) == (403, "outside_scope")
        body = {"csr": new_csr("another.example")}
        reply = client.post(f"/v1/certificates/{certificate.issued.serial}/renew", body)
        assert (reply.status, reply.code) == (422, "renewal_names_changed")


def test_revoke_and_a_second_time(serving: Serving) -> None:
    serial = serving.site.issue("gw5.example").serial
    url = f"/v1/certificates/{serial}/revoke"
    with serving.client(Role.OPERATOR) as client:
        lost = (serving.site.clock() - timedelta(hours=1)).isoformat()
        reply = client.post(url, {"reason": "superseded", "invalidity_date": lost})
        assert reply.status == 200, reply
        assert (reply.json["status"], reply.json["reason"]) == ("revoked", "superseded")
        reply = client.post(url, {"reason": "superseded"})
        assert (reply.status, reply.code) == (409, "already_revoked")
        assert client.post(url, {"reason": "keyCompromise"}).json["reason"] == "keyCompromise"


def test_a_compromised_key_is_named_and_refused(serving: Serving) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    with serving.client(Role.OPERATOR) as client:
        asked = [
            {"csr": new_csr(f"lost{number}.example", key), "profile": "gateway"}
            for number in range(3)
        ]
        made = [client.post("/v1/certificates", body).json["serial"] for body in asked]
        url = f"/v1/certificates/{made[0]}/revoke"
        dry = client.post(url, {"reason": "keyCompromise", "dry_run": True}).json
        assert {each["serial"] for each in dry["same_key"]} == set(made[1:])
        assert client.post(url, {"reason": "superseded", "dry_run": True}).json["same_key"] == []
        done = client.post(url, {"reason": "keyCompromise"}).json
        assert done["same_key"] == dry["same_key"]
        body = {"serials": made[1:2], "reason": "keyCompromise"}
        both = client.post("/v1/certificates/revoke", body).json
        assert [each["serial"] for each in both["same_key"]] == made[2:]
        for path, again in (
            ("/v1/certificates", asked[0]),
            (f"/v1/certificates/{made[2]}/renew", {}),
        ):
            reply = client.post(path, again)
            assert (reply.status, reply.code) == (422, "key_compromised")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/reason"),
        ({"reason": "certificateHold"}, "/reason"),
        ({"reason": "because"}, "/reason"),
        ({"reason": 1}, "/reason"),
        ({"reason": "superseded", "when": "now"}, "/when"),
        ({"reason": "superseded", "invalidity_date": "yesterday"}, "/invalidity_date"),
        ({"reason": "superseded", "invalidity_date": "2030-01-01T00:00:00"}, "/invalidity_date"),
        ({"reason": "superseded", "a/b~c": 1}, "/a~1b~0c"),
    ],
)
def test_revoke_refused_for_its_body(
    serving: Serving, body: dict[str, object], pointer: str
) -> None:
    serial = serving.site.issue("gw6.example").serial
    with serving.client(Role.OPERATOR) as client:
        reply = client.post(f"/v1/certificates/{serial}/revoke", body)
        assert (reply.status, reply.code) == (422, "body_invalid")
        assert [place["pointer"] for place in reply.json["errors"]] == [pointer]
        assert client.get(f"/v1/certificates/{serial}").json["status"] == "valid"


def test_hold_and_release(serving: Serving) -> None:
    serial = serving.site.issue("gw7.example").serial
    with serving.client(Role.OPERATOR) as client:
        assert client.post(f"/v1/certificates/{serial}/hold").json["status"] == "held"
        assert client.post(f"/v1/certificates/{serial}/hold").code == "already_on_hold"
        assert client.post(f"/v1/certificates/{serial}/release").json["status"] == "valid"
        reply = client.post(f"/v1/certificates/{serial}/release")
        assert (reply.status, reply.code) == (409, "not_on_hold")


def test_show_refused(serving: Serving) -> None:
    other = serving.site.issue("gw8.example").serial
    with serving.client(serving.site.client_certificate("gw9.example")) as client:
        reply = client.get(f"/v1/certificates/{other}")
        assert (reply.status, reply.code) == (404, "certificate_not_found"), (
            "not even its existence"
        )
        assert client.get("/v1/certificates/xyz").status == 422
        reply = client.get(f"/v1/certificates/{other}?authority=root")
        assert reply.code == "certificate_not_found"


def test_search(serving: Serving) -> None:
    names = [f"find{number}.search.example" for number in range(7)]
    for name in names:
        serving.site.issue(name)
    with serving.client(Role.AUDITOR) as client:
        found, url = [], "/v1/certificates?q=.search.example&limit=3"
        while url:
            reply = client.get(url)
            assert reply.status == 200, reply
            found += [item["gateway"] for item in reply.json["items"]]
            assert ("link" in reply.headers) == (reply.json["next_cursor"] is not None)
            link = reply.headers.get("link", "")
            assert link == "" or link.endswith('; rel="next"')
            url = link.partition(">")[0].removeprefix("<")
        assert found == names[::-1]
        soon = (serving.site.clock() + timedelta(days=1)).isoformat().replace("+", "%2B")
        assert client.get(f"/v1/certificates?expires_before={soon}").json["items"] == []


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "limit=many",
        "limit=1&limit=2",
        "colour=red",
        "status=lost",
        "expires_before=tomorrow",
        "expires_before=2030-01-01T00:00:00",
        "q=",
        "q=%00",
        "q=%ff",
        "novalue",
        "&".join(f"a{number}=1" for number in range(60)),
    ],
)
def test_search_refused(serving: Serving, query: str) -> None:
    with serving.client(Role.AUDITOR) as client:
        reply = client.get(f"/v1/certificates?{query}")
    assert (reply.status, reply.code) == (422, "query_invalid"), reply


def test_a_query_where_there_is_none(serving: Serving) -> None:
    with serving.client(Role.AUDITOR) as client:
        assert client.get("/v1/authorities?x=1").code == "query_invalid"


def test_authorities(serving: Serving) -> None:
    body = {
        "name": "branch",
        "kind": "issuing",
        "parent": "root",
        "subject": "CN=Branch CA,O=Example",
        "permitted": ["dns:branch.example"],
    }
    with serving.client(Role.ADMIN) as client:
        reply = client.post("/v1/authorities", body)
        assert reply.status == 201, reply
        assert client.get(reply.headers["location"]).json == reply.json
        assert reply.json["crl_url"] == "http://127.0.0.1:8080/crl/branch.crl"
        assert len(reply.json["chain"]) == 1
        listed = client.get("/v1/authorities").json["items"]
        assert [item["name"] for item in listed] == ["branch", "issuing", "root"]
        again = client.post("/v1/authorities", body)
        assert (again.status, again.code) == (409, "authority_exists")
        bad = client.post("/v1/authorities", body | {"name": "No Good"})
        assert (bad.status, bad.code) == (422, "authority_malformed")
        assert client.get("/v1/authorities/nobody").code == "authority_not_found"
    with serving.client(Role.OPERATOR) as client:
        outside = {"csr": new_csr("elsewhere.example"), "profile": "gateway", "authority": "branch"}
        assert client.post("/v1/certificates", outside).status == 422


def test_profiles(serving: Serving) -> None:
    with serving.client(Role.ADMIN) as client:
        reply = client.post("/v1/profiles", PROFILE)
        assert reply.status == 201, reply
        assert client.get(reply.headers["location"]).json == reply.json
        assert PROFILE.items() <= reply.json.items()
        again = client.post("/v1/profiles", PROFILE)
        assert (again.status, again.code) == (409, "profile_exists")
        bad = client.post("/v1/profiles", PROFILE | {"name": "x", "key_usage": ["keyCertSign"]})
        assert (bad.status, bad.code) == (422, "invalid_profile")
        assert client.get("/v1/profiles/nothing").code == "profile_not_found"
        names = [item["name"] for item in client.get("/v1/profiles").json["items"]]
        assert {"gateway", "branch", "windows-gateway"} <= set(names)
        body = {"csr": new_csr("gw.branch.example"), "profile": "branch"}
        assert client.post("/v1/certificates", body).status == 201


def test_the_profile_model_knows_every_field() -> None:
    from api.v1.profiles import CreateProfile
    from api.v1.profiles import Profile as Shown

    fields = set(Profile.__dataclass_fields__)
    assert set(Shown.model_fields) == fields
    assert set(CreateProfile.model_fields) == fields - {"internal"}


def test_tokens(serving: Serving) -> None:
    body = {"name": "gw1", "role": "enroller", "profiles": ["gateway"], "uses": 1}
    with serving.client(Role.OPERATOR) as client:
        reply = client.post("/v1/tokens", body)
        assert reply.status == 201, reply
        secret = reply.json["token"]
        assert reply.headers["cache-control"] == "no-store"
        listed = client.get("/v1/tokens?limit=500")
        assert secret.encode() not in listed.body
        assert reply.json["id"] in {item["id"] for item in listed.json["items"]}
        bad = client.post("/v1/tokens", {"name": "boss", "role": "admin"})
        assert (bad.status, bad.code) == (403, "outside_scope")
        bad = client.post("/v1/tokens", {"name": "x", "role": "gateway"})
        assert (bad.status, bad.code) == (422, "body_invalid")
        with serving.client(secret) as enroller:
            assert enroller.get("/v1/whoami").json["one_time"] is True
            assert client.post(f"/v1/tokens/{reply.json['id']}/revoke").json["revoked_at"]
            refused = enroller.get("/v1/whoami")
        assert (refused.status, refused.code) == (401, "token_refused")
        assert client.post("/v1/tokens/0000000000000000/revoke").code == "token_not_found"


def test_an_expired_token_is_refused(serving: Serving) -> None:
    with serving.client(Role.ADMIN) as client:
        later = (serving.site.clock() + timedelta(hours=1)).isoformat()
        body = {"name": "short", "role": "auditor", "expires_at": later}
        secret = client.post("/v1/tokens", body).json["token"]
    with serving.client(secret) as client:
        assert client.get("/v1/whoami").status == 200
        serving.site.clock.ahead = timedelta(hours=2)
        try:
            assert client.get("/v1/whoami").code == "token_refused"
        finally:
            serving.site.clock.ahead = timedelta(0)


@pytest.mark.parametrize(
    "header",
    [
        "Basic YTpi",
        "Bearer",
        "Bearer ",
        "Bearer a b",
        "bearer\tx",
        "Token iw_x",
        "Bearer " + "x" * 300,
    ],
)
def test_a_malformed_authorization(serving: Serving, header: str) -> None:
    with serving.client() as client:
        reply = client.get("/v1/whoami", headers={"Authorization": header})
    assert (reply.status, reply.code) == (401, "authorization_malformed")


def test_audit_events(serving: Serving) -> None:
    serial = serving.site.issue("gw10.example").serial
    with serving.client(Role.AUDITOR) as client:
        found, url = [], f"/v1/audit-events?object=certificate:issuing:{serial}&limit=1"
        while url:
            reply = client.get(url)
            found += [(item["action"], item["outcome"]) for item in reply.json["items"]]
            url = reply.headers.get("link", "").partition(">")[0].removeprefix("<")
        assert found == [("certificate.issue", "ok"), ("certificate.sign", "intent")]
        assert client.get("/v1/audit-events?since=monday").code == "query_invalid"


def test_jobs_and_dead_letters(serving: Serving) -> None:
    from store import jobs, outbox

    site: Site = serving.site
    number = jobs.started(site.desk.store, "crl", "me", site.clock())
    jobs.finished(site.desk.store, number, "failed", "no signer", {"lists": 3}, site.clock())
    with site.desk.store.write() as connection:
        outbox.put(connection, topic="t", key="k", payload={"a": 1}, now=site.clock())
    later = site.clock() + timedelta(minutes=1)
    claimed = outbox.claim(
        site.desk.store, owner="me", limit=500, lease=timedelta(minutes=1), now=later
    )
    for message in claimed:
        outbox.failed(site.desk.store, message, owner="me", error="down", now=later, max_attempts=1)
    with serving.client(Role.OPERATOR) as client:
        (job,) = client.get("/v1/jobs").json["items"]
        assert (job["job"], job["outcome"], job["last_error"]) == ("crl", "failed", "no signer")
        letters = client.get("/v1/jobs/dead-letters?limit=500").json["items"]
        assert "t" in {letter["topic"] for letter in letters}
        assert client.get("/v1/jobs/dead-letters?limit=0").code == "query_invalid"
        letter = next(each for each in letters if each["topic"] == "t")
        path = f"/v1/jobs/dead-letters/{letter['id']}/retry"
        revived = client.post(path, {})
        assert (revived.status, revived.json) == (200, {**letter, "attempts": 0})
        assert client.post(path, {}).code == "dead_letter_not_found"
        assert client.post("/v1/jobs/dead-letters/x/retry", {}).status == 404
        left = client.get("/v1/jobs/dead-letters?limit=500").json["items"]
        assert letter["id"] not in {each["id"] for each in left}
    with serving.client(Role.ADMIN) as client:
        (row,) = client.get("/v1/audit-events?action=job.retry").json["items"]
        assert row["object"] == f"dead-letter:{letter['id']}"
        assert row["detail"] == {"topic": "t", "key": "k"}


@pytest.mark.parametrize(
    ("raw", "media_type", "status", "code"),
    [
        (b"{", "application/json", 400, "malformed_request"),
        (b"", "application/json", 422, "body_invalid"),
        (b"\xff\xfe{}", "application/json", 400, "malformed_request"),
        (b'{"csr": "\\ud800"}', "application/json", 400, "malformed_request"),
        (b'{"a": NaN}', "application/json", 422, "body_invalid"),
        (b"[" * 100_000, "application/json", 400, "malformed_request"),
        (b"[]", "application/json", 422, "body_invalid"),
        (b"null", "application/json", 422, "body_invalid"),
        (b'{"csr": 1, "profile": true}', "application/json", 422, "body_invalid"),
        (b'{"csr": "x", "profile": "a\\u0000b"}', "application/json", 422, "body_invalid"),
        (b"csr=x&profile=gateway", "application/x-www-form-urlencoded", 415, "media_type_refused"),
        (b"{}", "", 415, "media_type_refused"),
        (b"{}", "text/json", 415, "media_type_refused"),
        (b"{}", "application/json; charset=utf-8", 422, "body_invalid"),
    ],
)
def test_bad_bodies(serving: Serving, raw: bytes, media_type: str, status: int, code: str) -> None:
    with serving.client(Role.OPERATOR) as client:
        headers = {"Content-Type": media_type}
        reply = client.send("POST", "/v1/certificates", raw=raw, headers=headers)
    assert (reply.status, reply.code) == (status, code), reply


def test_errors_do_not_repeat_what_was_sent(serving: Serving) -> None:
    with serving.client(Role.OPERATOR) as client:
        secret = "pretend-this-is-a-private-key"
        reply = client.post("/v1/certificates", {"csr": [secret], "profile": {"x": secret}})
    assert reply.status == 422
    assert secret.encode() not in reply.body
