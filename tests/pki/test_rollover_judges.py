"""Cross-certificates of a rollover of a root, judged by OpenSSL and by strongSwan's `pki` (RFC 4210 §4.4)."""

import pytest

from pki import publication
from pki.desk import Desk
from pki.rollover import crossing, phases
from pki.rollover.phases import Order
from pki.rollover.successor import RolloverRequest
from tests import judges
from tests.fixtures.desk import ADMIN, CLOCKWORK, NOW
from tests.pki.acts import certificate_of, crl, issue
from tests.pki.requests import DER


def roll(desk: Desk, name: str) -> None:
    number = phases.prepare(desk, ADMIN, RolloverRequest(name), now=NOW).id
    for phase in ("published", "switched"):
        phases.move(desk, ADMIN, number, Order(phase), now=NOW)


def crossed(desk: Desk, subject: str, issuer: str) -> bytes:
    """The certificate of one's key by the other."""
    (made,) = [each for each in crossing.list_(desk, ADMIN, subject) if each.issuer == issuer]
    return made.der


def lists(desk: Desk, *names: str) -> list[bytes]:
    for name in names:
        publication.publish_full(desk, CLOCKWORK, name, now=NOW)
    return [crl(desk, name).public_bytes(DER) for name in names]


@pytest.fixture
def rolled(desk: Desk) -> tuple[bytes, bytes]:
    """A certificate from before root and issuing authority were rolled over, and one from after."""
    old = issue(desk, authority="issuing").der
    roll(desk, "root")
    roll(desk, "issuing")
    return old, issue(desk, authority="issuing").der


def test_openssl_finds_the_way_from_new_to_old_and_from_old_to_new(
    desk: Desk, rolled: tuple[bytes, bytes]
) -> None:
    old, new = rolled
    options = ("-crl_check_all", "-x509_strict")
    judges.openssl_verify(
        new,
        *options,
        root=certificate_of(desk, "root"),
        between=[certificate_of(desk, "issuing-2"), crossed(desk, "root-2", "root")],
        crls=lists(desk, "issuing-2", "root-2", "root"),
    )
    judges.openssl_verify(
        old,
        *options,
        root=certificate_of(desk, "root-2"),
        between=[certificate_of(desk, "issuing"), crossed(desk, "root", "root-2")],
        crls=lists(desk, "issuing", "root", "root-2"),
    )


def test_strongswan_finds_both_ways(desk: Desk, rolled: tuple[bytes, bytes]) -> None:
    old, new = rolled
    judges.strongswan_verify(
        new,
        authorities=[
            certificate_of(desk, "root"),
            certificate_of(desk, "issuing-2"),
            crossed(desk, "root-2", "root"),
        ],
        crls=lists(desk, "issuing-2", "root"),
    )
    judges.strongswan_verify(
        old,
        authorities=[
            certificate_of(desk, "root-2"),
            certificate_of(desk, "issuing"),
            crossed(desk, "root", "root-2"),
        ],
        crls=lists(desk, "issuing", "root-2"),
    )


def test_the_old_root_certifies_the_new_issuing_authority(
    desk: Desk, rolled: tuple[bytes, bytes]
) -> None:
    # For charon, which counts a cross-certificate against the root's path length (tests/lab/test_rollover.py).
    _, new = rolled
    made = crossing.cross_sign(desk, ADMIN, "issuing-2", "root", None, now=NOW)
    way = [certificate_of(desk, "root"), made.der]
    judges.strongswan_verify(new, authorities=way, crls=lists(desk, "issuing-2", "root"))
