"""Cursors: opaque, and believed only when we made them."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import cursors
from api.cursors import PageQuery
from api.errors import CursorInvalid
from pki.actors import Role
from tests.api.serving import Serving

PATH = "/v1/certificates"


def _raw(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


@given(st.integers(min_value=0, max_value=(1 << 63) - 1))
def test_numbers_come_back(position: int) -> None:
    assert cursors.decode(PATH, cursors.encode(PATH, position), int) == position


@given(st.text(alphabet="0123456789abcdef", max_size=64))
def test_texts_come_back(position: str) -> None:
    assert cursors.decode(PATH, cursors.encode(PATH, position), str) == position


@given(st.text(max_size=300))
def test_anything_else_is_refused(text: str) -> None:
    try:
        found = cursors.decode(PATH, text, int)
    except CursorInvalid:
        return
    assert cursors.decode(PATH, cursors.encode(PATH, found or 0), int) == found


FORGED = [
    _raw([PATH, True]),
    _raw([PATH, -1]),
    _raw([PATH, 1 << 63]),
    _raw([PATH, 1.5]),
    _raw([PATH, None]),
    _raw([PATH, "1"]),
    _raw([PATH]),
    _raw([PATH, 1, 2]),
    _raw(["/v1/tokens", 1]),
    _raw({"a": 1}),
    _raw("x"),
    "!!!",
    "",
    "W10=",
    "é",
]


@pytest.mark.parametrize("forged", FORGED)
def test_forged_ones(forged: str) -> None:
    with pytest.raises(CursorInvalid):
        cursors.decode(PATH, forged, int)


@pytest.mark.parametrize("text", ["\x00", "a\n", "\ud800", "\u202e", 1])
def test_texts_that_no_record_holds(text: object) -> None:
    with pytest.raises(CursorInvalid):
        cursors.decode(PATH, _raw([PATH, text]), str)


def test_the_last_page_has_no_next() -> None:
    assert cursors.next_page(PATH, PageQuery(limit=3), [1, 2], 2) == (None, ())
    assert cursors.next_page(PATH, PageQuery(limit=3), [], None) == (None, ())
    cursor, ((name, link),) = cursors.next_page(PATH, PageQuery(limit=2), [1, 2], 2)
    assert name == "Link"
    assert link == f'<{PATH}?limit=2&cursor={cursor}>; rel="next"'


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_over_the_wire(serving: Serving) -> None:
    with serving.client(Role.ADMIN) as client:
        for path in ("/v1/certificates", "/v1/tokens", "/v1/audit-events"):
            first = client.get(f"{path}?limit=1").json
            cursor = first["next_cursor"]
            assert client.get(f"{path}?limit=1&cursor={cursor}").json["items"] != first["items"]
            other = "/v1/tokens" if path != "/v1/tokens" else "/v1/certificates"
            reply = client.get(f"{other}?cursor={cursor}")
            assert (reply.status, reply.code) == (422, "cursor_invalid")
            assert client.get(f"{path}?cursor={'A' * 400}").code == "query_invalid"
