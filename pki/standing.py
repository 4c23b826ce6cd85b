"""How authorities here stand by the list of their root, whose key is elsewhere."""

from datetime import datetime
from typing import Any, Final

from cryptography import x509
from sqlalchemy import select, update

from pki.actors import Actor
from pki.authorities import PROFILE, Authority, sha256
from pki.rollover.records import unschedule
from pki.trail import leave
from pki.x509 import serials
from pki.x509.csr import spki_sha256
from store.engine import Unit
from store.tables import authorities, certificates
from store.unit import insert

_ON_RECORD: Final = certificates.alias("on_record")


def follow(
    unit: Unit, actor: Actor, root: Authority, crl: x509.CertificateRevocationList, now: datetime
) -> None:
    """Have the authorities below a root outside stand as its list says: one that is revoked or on hold issues no more.

    Their certificates are on no record of ours until then, because we did not sign them.
    """
    connection = unit.connection
    below = select(authorities.c.name, authorities.c.certificate, _ON_RECORD.c.status)
    below = below.outerjoin(
        _ON_RECORD,
        (_ON_RECORD.c.authority_id == root.id) & (_ON_RECORD.c.serial == authorities.c.serial),
    ).where(authorities.c.parent_id == root.id)
    for row in connection.execute(below).all():
        own = x509.load_der_x509_certificate(row.certificate)
        listed = crl.get_revoked_certificate_by_serial_number(own.serial_number) is not None
        if listed is (row.status == "revoked"):
            continue
        serial = serials.to_hex(own.serial_number)
        if row.status is None:
            insert(connection, certificates, _revoked_row(actor, root, own, row.certificate, now))
        else:
            same = (certificates.c.authority_id == root.id) & (certificates.c.serial == serial)
            status = "revoked" if listed else "valid"
            connection.execute(update(certificates).where(same).values(status=status))
        if listed:
            unschedule(unit, actor, root.id, serial, now)
        what = "authority.revoked_outside" if listed else "authority.released_outside"
        about = f"authority:{row.name}"
        leave(unit, actor, what, about, now=now, serial=serial, by=root.name)


def _revoked_row(
    actor: Actor, root: Authority, own: x509.Certificate, der: bytes, now: datetime
) -> dict[str, object]:
    """The certificate of an authority below a root outside, as one that the root has ended."""
    public: Any = own.public_key()
    return {
        "authority_id": root.id,
        "serial": serials.to_hex(own.serial_number),
        "status": "revoked",
        "profile": PROFILE,
        "subject": own.subject.rfc4514_string(),
        "names": "",
        "not_before": own.not_valid_before_utc,
        "not_after": own.not_valid_after_utc,
        "shard": 0,
        "der": der,
        "fingerprint": sha256(own),
        "spki_sha256": spki_sha256(public),
        "requested_by": actor.name,
        "credential": "",
        "request_id": actor.request_id,
        "created_at": now,
        "issued_at": now,
    }
