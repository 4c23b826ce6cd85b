"""What general messages of CMP learn: lists that are newer, and who succeeds a root."""

from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pki import authorities, cmp_news, publication
from pki.cmp.errors import CmpMalformed
from pki.cmp_news import read_statuses
from pki.desk import Desk
from pki.rollover import phases
from pki.rollover.phases import Order
from pki.rollover.successor import RolloverRequest
from pki.x509 import der
from tests.fixtures.desk import ADMIN, CLOCKWORK, drain


def _sequence(*parts: bytes) -> bytes:
    return der.tlv(der.SEQUENCE, b"".join(parts))


def by_issuer(name: x509.Name, since: datetime | None = None, *, explicit: bool = True) -> bytes:
    """A CRLStatus by the issuer's name."""
    names = der.tlv(0xA4, name.public_bytes())
    source = der.tlv(0xA1, _sequence(names) if explicit else names)
    return _sequence(source, b"" if since is None else der.time(since))


def by_place(url: str) -> bytes:
    """A CRLStatus by where the list is."""
    return _sequence(der.tlv(0xA0, der.tlv(0xA0, der.tlv(0x86, url.encode()))))


def test_lists_are_told_where_they_are_newer(desk: Desk, now: datetime) -> None:
    issuing, root = (authorities.load(desk, name) for name in ("issuing", "root"))
    mine, theirs = issuing.certificate.subject, root.certificate.subject
    lists = {
        name: publication.publish_full(desk, CLOCKWORK, name, now=now)
        for name in ("issuing", "root")
    }

    def told(*statuses: bytes) -> list[str]:
        found = cmp_news.newer(desk, issuing, read_statuses(_sequence(*statuses)))
        return [name for each in found for name, known in lists.items() if known == each]

    assert told(by_issuer(mine)) == ["issuing"]
    assert told(by_issuer(mine, explicit=False)) == ["issuing"]
    assert told(by_issuer(theirs), by_issuer(mine), by_issuer(mine)) == ["issuing", "root"]
    assert told(by_place(authorities.full_crl_url(desk, "root"))) == ["root"]
    assert told(by_place("http://elsewhere.example/x.crl")) == []
    begin = lists["issuing"].this_update
    assert told(by_issuer(mine, begin - timedelta(seconds=1))) == ["issuing"]
    assert told(by_issuer(mine, begin)) == []
    assert cmp_news.current(desk, issuing) == lists["issuing"]


@pytest.mark.parametrize(
    "value", [b"", b"\x30\x02\x05\x00", b"\x04\x00", _sequence(_sequence()), _sequence(_sequence(b"\xa0\x00"))]
)  # fmt: skip
def test_what_is_no_question_is_told(value: bytes) -> None:
    with pytest.raises(CmpMalformed):
        read_statuses(value)


def test_a_root_is_succeeded(desk: Desk, now: datetime) -> None:
    issuing, root = (authorities.load(desk, name) for name in ("issuing", "root"))
    known = root.certificate.public_bytes(Encoding.DER)
    begun = phases.prepare(desk, ADMIN, RolloverRequest("root"), now=now)
    drain(desk, now)
    assert cmp_news.root_update(desk, issuing, known, now=now) is None
    phases.move(desk, ADMIN, begun.id, Order("published"), now=now)
    heir = authorities.load(desk, begun.successor)
    for asked in (known, b""):
        update = cmp_news.root_update(desk, issuing, asked, now=now)
        assert update is not None
        assert update.new == heir.certificate
        assert update.new_with_old is not None
        new_with_old = x509.load_der_x509_certificate(update.new_with_old)
        new_with_old.verify_directly_issued_by(root.certificate)
        assert new_with_old.public_key() == heir.certificate.public_key()
        if update.old_with_new is not None:
            old_with_new = x509.load_der_x509_certificate(update.old_with_new)
            old_with_new.verify_directly_issued_by(heir.certificate)
    # It is another's root.
    assert cmp_news.root_update(desk, issuing, known[:-1] + b"x", now=now) is None
