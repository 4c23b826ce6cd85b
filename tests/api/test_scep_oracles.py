"""SCEP: nobody learns from answers what is in an envelope of somebody else (Vaudenay 2002, Bleichenbacher 1998).

Over plain HTTP anybody has other people's envelopes, and may put them, changed, into messages of his own of any type.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from asn1crypto import cms

from tests.api.plain import Listener
from tests.api.scepping import Answer, Device, csr, name_and_number, new_key, open_doors, token
from tests.api.site import Site
from tests.api.test_scep import BAD_CERT, BAD_CHECK, device, enrolled, refused

BLOCK = 16
# A first block that anybody can put at the beginning of another's message, whose own first block he knows; behind it
# whatever there is counts as the content of an OCTET STRING in a name, or of an INTEGER.
TWO_NAMES = "30 2d 3000 30 29 31 27 30 25 06012a 04 20"
NAME_AND_NUMBER = "30 2d 3009 3107 3005 06012a 0500 02 20"


@pytest.fixture(scope="module")
def listener(site: Site) -> Iterator[Listener]:
    """Two processes that answer for an installation with several endpoints."""
    with open_doors(site) as running:
        yield running


def padded_wrongly(new: Device, content: bytes) -> bytes:
    """An envelope that decrypts to something with a padding that is none."""
    info = cms.ContentInfo.load(new.sealed(content + bytes(BLOCK)))
    inner = info["content"]["encrypted_content_info"]
    octets = bytearray(inner["encrypted_content"].native)
    octets[-BLOCK - 1] ^= 0x80
    inner["encrypted_content"] = bytes(octets)
    return bytes(info.dump(force=True))


def with_anything(begin: str) -> bytes:
    head = bytes.fromhex(begin)
    return head + bytes(range(2 + head[1] - len(head)))


def told(new: Device, kind: str, *envelopes: bytes) -> list[Answer]:
    return [new.send(new.signed(kind, each)) for each in envelopes]


@pytest.mark.parametrize("kind", ["17", "20", "21", "22"])
def test_who_is_unknown_learns_nothing(listener: Listener, kind: str) -> None:
    victim = device(listener, "victim.example")
    theirs = victim.sealed(csr(victim.key, "victim.example", token(listener, "victim.example")))
    stranger = device(listener, "stranger.example")
    contents = [
        b"anything",
        with_anything(TWO_NAMES),
        with_anything(NAME_AND_NUMBER),
        stranger.names(),
        csr(stranger.key, "stranger.example"),
    ]
    answers = told(
        stranger, kind, theirs, padded_wrongly(stranger, b""), *map(stranger.sealed, contents)
    )
    wanted = "scep_transaction_unknown" if kind == "20" else "client_certificate_unknown"
    assert {refused(each) for each in answers} == {(BAD_CERT, wanted)}
    assert len({each.text for each in answers}) == 1


@pytest.mark.parametrize("kind", ["17", "19", "21", "22"])
def test_who_is_known_learns_nothing_of_others(listener: Listener, kind: str) -> None:
    holder = enrolled(listener, "insider.example")
    contents = [b"anything", with_anything(TWO_NAMES), with_anything(NAME_AND_NUMBER)]
    answers = told(holder, kind, padded_wrongly(holder, b""), *map(holder.sealed, contents))
    assert {refused(each) for each in answers} == {(BAD_CHECK, "scep_check_failed")}
    assert len({each.text for each in answers}) == 1


def test_an_authority_that_is_not_of_this_service_is_as_unreadable(listener: Listener) -> None:
    holder = enrolled(listener, "insider.example")
    foreign = name_and_number(device(listener, "elsewhere.example").certificate).dump()
    for kind in ("21", "22"):
        assert refused(holder.ask(kind, foreign)) == (BAD_CHECK, "scep_check_failed")


def test_a_poll_is_never_opened(listener: Listener) -> None:
    """Its content decides nothing (RFC 8894 §3.3.3: two names); who has begun the transaction signs it."""
    name = "patient.example"
    new = device(listener, name, "watched")
    assert new.enroll(name, token(listener, name)).status == "3"
    contents = [b"anything", with_anything(TWO_NAMES), new.names(), csr(new_key(), name)]
    answers = told(new, "20", padded_wrongly(new, b""), *map(new.sealed, contents))
    assert [each.status for each in answers] == ["3"] * len(answers)
    other = replace(new, transaction="another")
    assert refused(other.poll()) == (BAD_CERT, "scep_transaction_unknown")
