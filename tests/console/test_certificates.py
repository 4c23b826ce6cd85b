"""Certificates in the console: found, looked at, issued, renewed, taken away. What a page says is held to REST."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from urllib.parse import urlencode

import pytest
from cryptography import x509

from pki.actors import Role, Scope
from tests.api.serving import Serving
from tests.api.site import new_csr
from tests.api.test_fleet import Fleet, sa
from tests.console.browser import Browser, Page

Make = Callable[..., Browser]
_numbers = itertools.count(1)


@pytest.fixture
def fleet(serving: Serving) -> Iterator[Fleet]:
    """An operator over REST, and gateways."""
    made = Fleet(serving)
    yield made
    for client in made.clients:
        client.connection.close()


def one(serving: Serving, path: str) -> dict[str, object]:
    """What REST says."""
    with serving.client(Role.OPERATOR) as operator:
        reply = operator.get(path)
        assert reply.status == 200, reply
        return dict(reply.json)


def seen(page: Page) -> str:
    """What a reader sees, names unbroken."""
    return replace(page, html=page.html.replace("<wbr>", "")).text


def a_name() -> str:
    """A name that no other test has."""
    return f"c{next(_numbers)}.console.example"


def serials(page: Page) -> list[str]:
    """The certificates that a list leads to."""
    paths = [link.partition("?")[0] for link in page.links]
    found = [path.removeprefix("/certificates/") for path in paths if "/certificates/" in path]
    return [each for each in found if each != "issue"]


def test_a_certificate_is_found_by_anything(browser: Make, serving: Serving) -> None:
    name = a_name()
    made = serving.site.issue(name)
    other = serving.site.issue(a_name())
    visitor = browser(Role.AUDITOR)
    spaced = ":".join(made.serial[i : i + 2] for i in range(0, len(made.serial), 2))
    for text in (name, name[:-4], made.serial, spaced, made.fingerprint, f" {name} "):
        found = visitor.get(f"/certificates?{urlencode({'q': text})}")
        assert serials(found) == [made.serial], text
        assert "1 found" in found.text
    everything = visitor.get("/certificates")
    assert {made.serial, other.serial} <= set(serials(everything))


def test_filters_that_nobody_filled_in_count_as_left_out(browser: Make, serving: Serving) -> None:
    made = serving.site.issue(a_name())
    visitor = browser(Role.AUDITOR)
    empty = "q=&status=&authority=&profile=&gateway=&expires_before="
    assert made.serial in serials(visitor.get(f"/certificates?{empty}"))
    page = visitor.get("/certificates?status=revoked&q=" + made.serial)
    assert (page.status, serials(page)) == (200, [])
    assert "Nothing was found" in page.text
    assert serials(visitor.get(f"/certificates?q={made.serial}&expires_before=2020-01-01")) == []
    assert visitor.get("/certificates?expires_before=nonsense").status == 422
    assert visitor.get("/certificates?status=nonsense").status == 422


def test_a_long_list_has_pages(browser: Make, serving: Serving) -> None:
    made = {serving.site.issue(a_name()).serial for _ in range(51)}
    visitor = browser(Role.AUDITOR)
    first = visitor.get("/certificates?profile=gateway")
    [older] = [link for link in first.links if "cursor=" in link]
    assert "profile=gateway" in older
    second = visitor.get(older)
    assert len(serials(first)) == 50
    assert not set(serials(first)) & set(serials(second))
    assert made <= {*serials(first), *serials(second)}
    back = next(link for link in second.links if "cursor=" in link)
    assert serials(visitor.get(back)) == serials(first)
    assert visitor.get("/certificates?cursor=nonsense").status == 422


def test_what_was_searched_for_is_shown_and_does_nothing(browser: Make) -> None:
    visitor = browser(Role.AUDITOR)
    page = visitor.get("/certificates?q=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E")
    assert page.status == 200
    assert "<script>alert" not in page.html


def test_a_page_tells_all_that_is_known(browser: Make, fleet: Fleet) -> None:
    mine, peer = fleet.gateway(), fleet.gateway()
    tunnel = fleet.tunnel(mine.name, peer.name)
    peer.sas(sa(mine, connection=tunnel))
    state = mine.state().json
    assert mine.applied(state["version"], certificate=mine.fingerprint).status == 204
    rest = one(fleet.serving, f"/v1/certificates/{mine.serial}")
    page = browser(Role.AUDITOR).get(f"/certificates/{mine.serial}")
    for field in ("serial", "fingerprint", "subject", "gateway", "profile", "authority"):
        assert str(rest[field]) in page.text, field
    assert str(rest["certificate"]).strip().replace("\n", " ") in page.text
    assert "strongSwan Works" in page.text
    assert f"{mine.name} Yes Yes" in seen(page)
    assert f"{peer.name} {tunnel} ESTABLISHED of the peer" in seen(page)
    assert "CN=Test Issuing" in page.text
    assert "CN=Test Root" in page.text
    assert "certificate.issue" in page.text  # its history
    operator = browser(Role.OPERATOR).get(f"/certificates/{mine.serial}")
    assert "certificate.issue" not in operator.text  # who may not read the audit log
    assert "History" not in operator.text


HOSTILE = '<img src=x onerror="alert(1)">\u202egnp.exe\x1b[2J' + "x" * 300


def test_what_peers_choose_is_shown_and_does_nothing(browser: Make, fleet: Fleet) -> None:
    mine, peer = fleet.gateway(), fleet.gateway()
    assert peer.sas(sa(mine, connection="<b>t</b>\u202e", state="<i>")).status == 204
    visitor = browser(Role.OPERATOR)
    for part in ("", "/revoke", "/hold"):
        page = visitor.get(f"/certificates/{mine.serial}{part}")
        assert page.status == 200
        assert "<b>t" not in page.html, part
        assert "<i>" not in page.html, part
        assert "\u202e" not in page.html, part
    asked = visitor.fill(
        visitor.get("/certificates/issue"),
        "/certificates/issue",
        csr=HOSTILE,
        names=HOSTILE,
        gateway=HOSTILE[:100],
    )
    assert asked.status == 422
    assert "<img src=x" not in asked.html
    typed = asked.form("/certificates/issue").fields
    assert typed["names"] == HOSTILE  # as it was typed, in its field


def test_buttons_are_for_those_who_may(browser: Make, serving: Serving) -> None:
    path = f"/certificates/{serving.site.issue(a_name()).serial}"
    for role, may in ((Role.OPERATOR, True), (Role.AUDITOR, False), (Role.APPROVER, False)):
        page = browser(role).get(path)
        for act in ("renew", "hold", "revoke"):
            found = any(link.startswith(f"{path}/{act}") for link in page.links)
            assert found == may, (role, act)


def test_the_certificate_is_taken_away_in_three_forms(browser: Make, serving: Serving) -> None:
    made = serving.site.issue(a_name())
    visitor = browser(Role.AUDITOR)
    path = f"/certificates/{made.serial}/file"
    plain = visitor.send("GET", f"{path}?form=pem")
    assert plain.html == made.pem
    assert plain.headers["content-disposition"] == f'attachment; filename="{made.serial}.pem"'
    chain = x509.load_pem_x509_certificates(visitor.send("GET", f"{path}?form=chain").html.encode())
    assert chain == [x509.load_der_x509_certificate(made.der), *made.authority.chain]
    der = visitor.send("GET", f"{path}?form=der")
    assert der.headers["content-type"] == "application/pkix-cert"
    assert int(der.headers["content-length"]) == len(made.der)


def test_a_pasted_request_becomes_a_certificate(browser: Make, serving: Serving) -> None:
    name = a_name()
    visitor = browser(Role.OPERATOR)
    page = visitor.get("/certificates/issue")
    made = visitor.submit(
        page,
        "/certificates/issue",
        csr=new_csr(name).replace("\n", "\r\n"),
        names=f"dns:also.{name}\r\n\r\nip:192.0.2.7",
        not_after="",
    )
    assert "The certificate is issued." in made.text
    assert made.path.startswith("/certificates/")
    serial = made.path.removeprefix("/certificates/").partition("?")[0]
    rest = one(serving, f"/v1/certificates/{serial}")
    assert rest["names"] == [f"dns:{name}", f"dns:also.{name}", "ip:192.0.2.7"]
    assert (rest["status"], rest["profile"]) == ("valid", "gateway")


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"csr": "no request"}, "", "csr"),
        ({"not_after": "tomorrow"}, "form_invalid", "not_after"),
        ({"not_after": "2020-01-01T00:00"}, "lifetime_refused", ""),
        ({"profile": "nobody-has-this"}, "profile_not_found", ""),
        ({"authority": "nobody-has-this"}, "authority_not_found", ""),
        ({"names": "dns:a b"}, "", "names"),
    ],
)
def test_what_cannot_be_issued_is_said_beside_what_was_typed(
    browser: Make, serving: Serving, fields: dict[str, str], code: str, field: str
) -> None:
    visitor = browser(Role.OPERATOR)
    name = a_name()
    typed = {"csr": new_csr(name), "names": f"dns:kept.{name}", **fields}
    page = visitor.fill(visitor.get("/certificates/issue"), "/certificates/issue", **typed)
    assert 400 <= page.status < 500, page.text
    assert code in page.html
    kept = page.form("/certificates/issue").fields
    for key, value in typed.items():
        if key in ("csr", "names", "not_after"):
            assert kept[key].split() == value.split(), key
    assert one(serving, f"/v1/certificates?q={name}")["items"] == []


def test_what_daemons_would_refuse_is_not_signed(browser: Make, serving: Serving) -> None:
    strict = {
        "name": "too-strict",
        "description": "blocks on everything",
        "lifetime": "90d",
        "max_lifetime": "90d",
        "key_usage": ["nonRepudiation"],
        "extended_key_usage": ["email_protection"],
        "key_algorithms": ["ec-p256"],
        "names": ["dns"],
        "names_required": ["dns"],
        "lint": {"strongswan": "block", "windows": "block"},
    }
    with serving.client(Role.ADMIN) as admin:
        assert admin.post("/v1/profiles", strict).status == 201
    name = a_name()
    visitor = browser(Role.OPERATOR)
    sent = {"csr": new_csr(name), "profile": "too-strict"}
    page = visitor.fill(visitor.get("/certificates/issue"), "/certificates/issue", **sent)
    assert (page.status, "lint_refused" in page.html) == (422, True), page.text
    assert "Nothing was signed: daemons would refuse it" in page.text
    assert "Windows" in page.text
    assert page.form("/certificates/issue").fields["profile"] == "too-strict"
    assert one(serving, f"/v1/certificates?q={name}")["items"] == []


def test_a_successor_has_a_new_key_or_keeps_it(browser: Make, serving: Serving) -> None:
    name = a_name()
    old = serving.site.issue(name)
    visitor = browser(Role.OPERATOR)
    at = f"/certificates/{old.serial}/renew"
    page = visitor.get(at)
    refused = visitor.fill(page, at)
    assert (refused.status, "form_invalid" in refused.html) == (422, True)
    rekeyed = visitor.submit(page, at, csr=new_csr(name))
    kept = visitor.submit(visitor.get(at), at, keep="yes")
    for made in (rekeyed, kept):
        assert "The successor is issued." in made.text
    found = [
        one(serving, f"/v1/certificates/{made.path.split('?')[0].rpartition('/')[2]}")
        for made in (rekeyed, kept)
    ]
    keys = [
        x509.load_pem_x509_certificate(str(each["certificate"]).encode()).public_key()
        for each in found
    ]
    before = x509.load_der_x509_certificate(old.der).public_key()
    assert [key == before for key in keys] == [False, True]
    assert [each["renewed_from"] for each in found] == [old.serial, old.serial]


def test_a_token_of_one_gateway_sees_that_one_only(browser: Make, serving: Serving) -> None:
    mine, other = serving.site.issue(a_name()), serving.site.issue(a_name())
    token = serving.site.token(Role.OPERATOR, scope=Scope(gateway=mine.gateway))
    visitor = browser(token)
    assert serials(visitor.get("/certificates")) == [mine.serial]
    assert visitor.get(f"/certificates/{mine.serial}").status == 200
    for part in ("", "/file", "/revoke", "/hold", "/renew"):
        page = visitor.get(f"/certificates/{other.serial}{part}")
        assert page.status in {403, 404}, part
        assert str(other.gateway) not in page.text


def test_the_pages_speak_chinese(browser: Make, serving: Serving) -> None:
    serial = serving.site.issue(a_name()).serial
    visitor = browser(Role.OPERATOR, language="zh-CN")
    assert "吊销" in visitor.get(f"/certificates/{serial}").text
    assert "永久吊销" in visitor.get(f"/certificates/{serial}/revoke").text
    assert "签发" in visitor.get("/certificates/issue").text


def test_a_day_before_all_time_is_no_fault_of_ours(browser: Make) -> None:
    page = browser(Role.AUDITOR).get("/certificates?expires_after=0001-01-01T00:00:00%2B01:00")
    assert (page.status, "query_invalid" in page.html) == (422, True)
