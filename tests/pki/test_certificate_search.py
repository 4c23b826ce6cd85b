"""Searching certificates: by anything, in pages both ways, the same before and after their words are kept."""

import base64
import random
import secrets
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from hsm.keys import new_key
from pki import (
    authorities,
    certificate_ids,
    certificates,
    issuance,
    revocation,
    search_index,
)
from pki.actors import Actor, Role, Scope
from pki.certificates import BadQuery, CertificateQuery, Found
from pki.desk import Desk
from pki.issuance import IssueRequest
from pki.x509 import serials
from store.search_tables import certificate_words, search_marks
from store.tables import certificates as table
from tests.fixtures.desk import CLOCKWORK, NOW, OPERATOR, Custody
from tests.pki.acts import issue
from tests.pki.requests import name as subject_name
from tests.pki.requests import request

LATER = NOW + timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture(params=["new", "kept"])
def kept(request: pytest.FixtureRequest) -> bool:
    """Whether the words of what is on record are kept when it is searched for."""
    return bool(request.param == "kept")


def keep(desk: Desk) -> int:
    return search_index.keep_words(desk, CLOCKWORK, now=LATER)


def browse(desk: Desk, actor: Actor = OPERATOR, **query: Any) -> Found:
    return certificates.browse(desk, actor, CertificateQuery(**query), now=NOW)


def search(desk: Desk, **query: Any) -> list[str]:
    return [each.serial for each in browse(desk, **query).items]


def test_found_by_anything(desk: Desk, kept: bool) -> None:
    one = issue(
        desk,
        ["dns:gw-frankfurt-07.site4.Example.org", "ip:2001:db8::7", "email:noc@frankfurt.example"],
        gateway="edge7",
    )
    issue(desk, ["dns:gw-paris-08.site5.example.net", "ip:192.0.2.77"])
    if kept:
        keep(desk)
    found = certificates.find(desk, one.serial)
    spki = found.spki_sha256
    for text in (
        "gw-frankfurt",
        "FRANKFURT-07",
        "07.site4",
        "7.site4",
        "4.example.org",
        "dns:gw-frankfurt-07.site4.example.org",
        "gw-frankfurt-07.site4.example.org",
        "2001:db8::7",
        "db8::7",
        "noc@frank",
        "email:noc@frankfurt.example",
        "edge7",
        one.serial,
        one.serial[:31],
        one.serial.upper(),
        ":".join(one.serial[n : n + 2] for n in range(0, 32, 2)),
        one.fingerprint,
        one.fingerprint[:12],
        "SHA256:" + one.fingerprint.upper(),
        spki,
        spki[:8],
        base64.b64encode(bytes.fromhex(spki)).decode(),
        "pin-sha256=" + base64.b64encode(bytes.fromhex(spki)).decode(),
        base64.urlsafe_b64encode(bytes.fromhex(spki)).rstrip(b"=").decode(),
    ):
        if text == "7.site4":
            assert search(desk, q=text) == [], "inside of a word"
        else:
            assert search(desk, q=text) == [one.serial], text
    for text in ("rankfurt", "gw-frankfurt-07.site4.example.orgs", "gw-frankfurt 07", ".", "--"):
        assert search(desk, q=text) == [], text
    assert search(desk, name="frankfurt") == [one.serial]
    assert search(desk, name=one.serial) == []
    assert search(desk, name="frankfurt", q="edge") == [one.serial]
    assert search(desk, name="paris", q="edge") == []
    assert search(desk, serial=one.serial[:30].upper()) == [one.serial]
    assert search(desk, key=spki) == [one.serial]
    assert search(desk, key=base64.b64encode(bytes.fromhex(spki)).decode()) == [one.serial]


def test_names_of_other_scripts(desk: Desk, kept: bool) -> None:
    csr = request(
        ["email:x@example.com"], subject=subject_name(CN="北京网关 Zürich"), key=new_key("ec-p256")
    )
    one = issuance.issue(desk, OPERATOR, IssueRequest(csr=csr, profile="user"), now=NOW)
    issue(desk)
    if kept:
        keep(desk)
    for text in ("网关", "北京", "ZÜRICH", "zürich"):
        assert search(desk, q=text) == [one.serial], text


def test_what_is_given_holds_together(desk: Desk, kept: bool) -> None:
    soon = issue(desk, ["dns:a.one.example"], not_after=NOW + DAY)
    late = issue(desk, ["dns:b.one.example"], not_after=NOW + 20 * DAY)
    other = issue(desk, ["dns:c.two.example"], not_after=NOW + 20 * DAY, now=NOW + DAY / 4)
    revocation.revoke(desk, OPERATOR, late.serial, "superseded", now=NOW)
    if kept:
        keep(desk)
    one = [late.serial, soon.serial]
    assert search(desk, q="one.example") == one
    assert search(desk, q="one.example", status="revoked") == [late.serial]
    assert search(desk, q="one.example", expires_after=NOW + 2 * DAY) == [late.serial]
    assert search(desk, q="one.example", expires_before=NOW + 2 * DAY) == [soon.serial]
    assert search(desk, q="one.example", authority="sharded") == []
    assert search(desk, q="one.example", authority="issuing", profile="gateway") == one
    assert search(desk, q="one.example", gateway="b.one.example") == [late.serial]
    assert search(desk, issued_after=NOW + DAY / 8) == [other.serial]
    assert search(desk, q="one", issued_before=NOW + DAY / 8) == one


def test_total_and_pages_both_ways(desk: Desk, kept: bool) -> None:
    made = [issue(desk, [f"dns:gw{n}.pages.example"]).serial for n in range(7)][::-1]
    if kept:
        keep(desk)
    first = browse(desk, q="pages.example", limit=3)
    assert ([each.serial for each in first.items], first.total) == (made[:3], 7)
    assert (first.newer, first.is_more) == (None, False)
    second = browse(desk, q="pages.example", limit=3, cursor=first.older)
    assert [each.serial for each in second.items] == made[3:6]
    third = browse(desk, q="pages.example", limit=3, cursor=second.older)
    assert ([each.serial for each in third.items], third.older) == (made[6:], None)
    assert third.total == 7
    back = browse(desk, q="pages.example", limit=3, cursor=third.newer, newer=True)
    assert back == second
    begin = browse(desk, q="pages.example", limit=3, cursor=back.newer, newer=True)
    assert [each.serial for each in begin.items] == made[:3]
    assert begin.newer is None
    assert begin.older == first.older


def test_a_total_has_an_end(desk: Desk) -> None:
    crowd(desk, certificates.COUNTED + 5)
    found = browse(desk, q="crowd.example", limit=1)
    assert (found.total, found.is_more) == (certificates.COUNTED, True)
    keep(desk)
    assert browse(desk, q="crowd.example", limit=1) == found


def test_a_credential_limited_in_names_learns_no_total(desk: Desk, kept: bool) -> None:
    mine = issue(desk, ["dns:a.mine.example"])
    issue(desk, ["dns:a.other.example"])
    if kept:
        keep(desk)
    limited = Actor("l", Role.OPERATOR, scope=Scope(names=("dns:*.mine.example",)))
    found = browse(desk, limited, q="example")
    assert ([each.serial for each in found.items], found.total) == ([mine.serial], None)
    gateway = Actor("g", Role.GATEWAY, scope=Scope(gateway="a.other.example"))
    assert browse(desk, gateway, q="mine.example").total == 0


@pytest.mark.parametrize("query", [{"serial": "xyz"}, {"serial": "a" * 41}, {"key": "no hash"}])
def test_digits_that_are_none(shared_desk: Desk, query: dict[str, str]) -> None:
    with pytest.raises(BadQuery):
        search(shared_desk, **query)


def test_what_is_not_signed_yet_waits_with_all_after_it(desk: Desk, keys: Custody) -> None:
    keep(desk)
    before = reached(desk)
    one = issue(desk, ["dns:one.example"])
    with desk.store.write() as connection:
        connection.execute(
            update(table).where(table.c.serial == one.serial).values(status="pending")
        )
    two = issue(desk, ["dns:two.example"])
    assert keep(desk) == 0
    assert reached(desk) == before
    assert search(desk, q="two.example") == [two.serial]
    with desk.store.write() as connection:
        connection.execute(update(table).where(table.c.serial == one.serial).values(status="valid"))
    # A transaction that took its number earlier may still be open.
    assert search_index.keep_words(desk, CLOCKWORK, now=NOW + timedelta(seconds=90)) == 0
    assert keep(desk) == 2
    assert keep(desk) == 0


def reached(desk: Desk) -> int | None:
    with desk.store.read() as connection:
        return connection.scalar(select(search_marks.c.reached))


def crowd(desk: Desk, count: int) -> list[dict[str, Any]]:
    """Certificates on record, with names from few words, so that much is alike."""
    owner = authorities.load(desk, "issuing")
    chance = random.Random(7)
    places = ("berlin", "bern", "paris", "parma", "x")
    rows = []
    for number in range(count):
        serial = serials.from_random(secrets.token_bytes(16), NOW)
        name = f"{chance.choice(places)}-{chance.choice(places)}{number % 50}.crowd.example"
        rows.append(
            {
                "authority_id": owner.id,
                "serial": serials.to_hex(serial),
                "status": chance.choice(("valid", "valid", "revoked", "held")),
                "profile": chance.choice(("gateway", "host")),
                "subject": f"CN={name}",
                "names": f"dns:{name}",
                "not_before": NOW,
                "not_after": NOW + DAY * chance.randrange(1, 40),
                "shard": 0,
                "der": b"",
                "fingerprint": secrets.token_hex(32),
                "spki_sha256": secrets.token_hex(32),
                "requested_by": "x",
                "credential": "",
                "gateway": name,
                "request_id": "x",
                "created_at": NOW,
                "issued_at": NOW,
            }
        )
    with desk.store.write() as connection:
        for row in rows:
            connection.execute(insert(table), row)
    return rows


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a thousand times as many certificates: several portions, and more than are looked at one by one."""
    monkeypatch.setattr(certificate_ids, "_FEW", 20)
    monkeypatch.setattr(certificate_ids, "_ROWS", 16)
    monkeypatch.setattr(certificate_ids, "PORTION", 64)
    monkeypatch.setattr(search_index, "PORTION", 64)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("part", [0, 250, 400])
def test_all_ways_find_the_same(desk: Desk, part: int) -> None:
    rows = crowd(desk, part)
    keep(desk)
    rows = (rows + crowd(desk, 400 - part))[::-1]
    for name, narrow in (
        ("berlin", {}),
        ("ber", {"status": "held"}),
        ("be", {"profile": "host", "status": "valid"}),
        ("par", {"expires_before": NOW + 5 * DAY}),
        ("parma", {"expires_before": NOW + 2 * DAY, "status": "revoked"}),
        ("paris-berlin4", {}),
        ("crowd.example", {}),
        ("berlin-bern17.crowd.example", {}),
        ("bern1", {"issued_after": NOW}),
        ("erlin", {}),
        ("x", {}),
    ):
        meant = [row["serial"] for row in rows if fits(row, name, narrow)]
        seen: list[str] = []
        page = browse(desk, name=name, limit=30, **narrow)
        assert page.total == len(meant), name
        while True:
            seen += [each.serial for each in page.items]
            assert len(seen) <= len(meant), name
            if page.older is None:
                break
            page = browse(desk, name=name, limit=30, cursor=page.older, **narrow)
        assert seen == meant, name
        back: list[str] = []
        last = page.items[-1].id if page.items else 1
        page = browse(desk, name=name, limit=30, cursor=last - 1, newer=True, **narrow)
        while True:
            back = [each.serial for each in page.items] + back
            if page.newer is None:
                break
            page = browse(desk, name=name, limit=30, cursor=page.newer, newer=True, **narrow)
        assert back == meant, name
    assert sorted(set(words_kept(desk))) == sorted(words_kept(desk))


def fits(row: dict[str, Any], name: str, narrow: dict[str, Any]) -> bool:
    """What is meant, said in the plainest way."""
    places = [at for at in range(len(row["gateway"])) if begins_word(row["gateway"], at)]
    return (
        any(row["gateway"][at:].startswith(name) for at in places)
        and row["status"] == narrow.get("status", row["status"])
        and row["profile"] == narrow.get("profile", row["profile"])
        and row["not_after"] < narrow.get("expires_before", row["not_after"] + DAY)
    )


def begins_word(text: str, at: int) -> bool:
    before = text[at - 1] if at else "-"
    return text[at].isalnum() and (
        not before.isalnum() or (text[at].isdigit() and before.isalpha())
    )


def words_kept(desk: Desk) -> list[tuple[str, int]]:
    with desk.store.read() as connection:
        return [
            (row.word, row.certificate_id) for row in connection.execute(select(certificate_words))
        ]
