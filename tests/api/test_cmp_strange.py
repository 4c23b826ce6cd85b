"""CMP: messages that were spoiled on their way, or on purpose. Each gets an answer, and none of them a certificate."""

import os
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.cmp import CmpDoors
from pki import cmp_transactions, tokens
from pki.actors import Role, Scope
from pki.endpoints import CmpDoor, Endpoint
from pki.tokens import CreatedToken, TokenRequest
from pki.x509 import der
from tests.api.cmpcrafting import confirmation, crafted, csr, poll
from tests.api.cmping import MEDIA_TYPE, told
from tests.api.serving import Reply
from tests.api.site import CONSOLE, Site

# As many in CI; `make soak` says more.
_MESSAGES = int(os.environ.get("IKEWARDEN_SOAK_CMP", "400"))
_PATH = "/.well-known/cmp/p/devices"
_BODIES = {
    4: csr("strange.example"),
    24: confirmation(b"certificate"),
    25: poll(),
    23: bytes.fromhex("30053003020102"),
    21: bytes.fromhex(
        "3047300a06082b06010505070411300a06082b06010505070406300a06082b06010505070414"
        "300a06082b06010505070413301506082b0601050507041630093007a0053003a0011e00"
    ),
    11: bytes.fromhex("300f300d300ba306300430020600810101"),
    2: bytes.fromhex("30123010300e020100300930070500a503300130"),
}


@pytest.fixture(scope="module")
def doors(site: Site) -> CmpDoors:
    """The door of one process."""
    endpoints = {"devices": Endpoint("devices", "gateway", cmp=CmpDoor())}
    site.desk = replace(site.desk, rules=replace(site.desk.rules, endpoints=endpoints))
    return CmpDoors(site.desk, site.clock)


@pytest.fixture(scope="module")
def made(site: Site, doors: CmpDoors) -> CreatedToken:
    """A token that nobody spoiled."""
    scope = Scope(profiles=("host",))  # for another profile: no certificate comes of it
    wanted = TokenRequest("strange", Role.ENROLLER, scope, uses=1)
    return tokens.create(site.desk, CONSOLE, wanted, now=site.clock())


def _answer(doors: CmpDoors, message: bytes) -> None:
    body = doors.answer("POST", _PATH, MEDIA_TYPE, message)
    found = told(Reply(200, {"content-type": MEDIA_TYPE}, body))
    assert found.certificate is None
    assert found.kind in {"ip", "cp", "kup", "rp", "error", "genp", "pkiconf"}


@settings(
    max_examples=_MESSAGES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_bytes_are_too_strange(doors: CmpDoors, made: CreatedToken, data: st.DataObject) -> None:
    """Spoiled before it is protected, so that it is read to the end, or after."""
    tag = data.draw(st.sampled_from(sorted(_BODIES)))
    body = bytearray(_BODIES[tag])
    for at in data.draw(st.lists(st.integers(0, len(body) - 1), max_size=3)):
        body[at] = data.draw(st.integers(0, 255))
    kind = data.draw(st.sampled_from([tag, tag, tag, 0, 2, 7, 11, 20, 21, 24, 25, 27]))
    number, nonce = data.draw(st.binary(max_size=40)), data.draw(st.binary(max_size=40))
    whole = crafted(made, kind, bytes(body), number, nonce=nonce or b"n" * 16)
    sent = bytearray(whole.der())
    for at in data.draw(st.lists(st.integers(0, len(sent) - 1), max_size=2)):
        sent[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([0, 0, 0, 1, 30]))
    _answer(doors, bytes(sent[: len(sent) - cut]))


@settings(max_examples=_MESSAGES // 2, deadline=None)
@given(data=st.binary(max_size=200))
def test_no_bytes_at_all(doors: CmpDoors, data: bytes) -> None:
    _answer(doors, data)
    _answer(doors, der.tlv(der.SEQUENCE, data))


def test_the_table_of_transactions_does_not_grow_by_them(
    site: Site, doors: CmpDoors, made: CreatedToken
) -> None:
    for number in range(20):
        _answer(doors, crafted(made, 4, _BODIES[4], bytes([number]) * 16).der())
    later = site.clock().replace(year=site.clock().year + 9)
    with site.desk.store.write() as connection:
        assert cmp_transactions.forget(connection, later) == 0
