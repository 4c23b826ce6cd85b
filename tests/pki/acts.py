"""Short forms of what nearly every test of the operations does."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, TypeVar

from cryptography import x509
from cryptography.x509 import ocsp
from sqlalchemy import Table, func, select

from pki import authorities, issuance, publication
from pki.actors import Actor
from pki.desk import Desk
from pki.issuance import IssuedCertificate
from pki.ocsp_responder import OcspResponder
from store.tables import audit_events, certificates
from tests.fixtures.desk import NOW, OPERATOR
from tests.pki.requests import DER, GW1, issue_request

T = TypeVar("T")


def issue(
    desk: Desk,
    names: Iterable[str] = GW1,
    profile: str = "gateway",
    *,
    actor: Actor = OPERATOR,
    now: datetime = NOW,
    **rest: Any,
) -> IssuedCertificate:
    """Issue a certificate for an honest request."""
    return issuance.issue(desk, actor, issue_request(names, profile, **rest), now=now)


def certificate_of(desk: Desk, authority: str) -> bytes:
    """An authority's certificate, DER."""
    return authorities.load(desk, authority).certificate.public_bytes(DER)


def crl(
    desk: Desk, authority: str = "issuing", kind: str = "full", shard: int = publication.NO_SHARD
) -> x509.CertificateRevocationList:
    """A published list whose signature is right."""
    found = x509.load_der_x509_crl(publication.published(desk, authority, kind, shard).der)
    assert found.is_signature_valid(authorities.load(desk, authority).public_key)
    return found


def listed(found: x509.CertificateRevocationList) -> dict[str, str]:
    """Serial numbers (hexadecimal) on a list, with their reasons."""
    out = {}
    for each in found:
        try:
            reason = each.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
        except x509.ExtensionNotFound:
            reason = ""
        out[format(each.serial_number, "032x")] = reason
    return out


def number_of(found: x509.CertificateRevocationList) -> int:
    """A list's CRL number."""
    return found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def ocsp_status(
    responder: OcspResponder, issued: IssuedCertificate, now: datetime, request: bytes | None = None
) -> str:
    """What the responder says: "good", "unknown", or "revoked REASON"; or the name of its error."""
    asked = request or ocsp_request(issued)
    answer = ocsp.load_der_ocsp_response(responder.answer(issued.authority.name, asked, now).body)
    if answer.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        return answer.response_status.name
    status = answer.certificate_status.name.lower()
    reason = answer.revocation_reason
    return f"{status} {reason.value}" if reason else status


def ocsp_request(
    issued: IssuedCertificate, digest: Any = None, nonce: bytes | None = None
) -> bytes:
    """A client's request about a certificate."""
    from cryptography.hazmat.primitives import hashes

    builder = ocsp.OCSPRequestBuilder().add_certificate(
        x509.load_der_x509_certificate(issued.der),
        issued.authority.certificate,
        digest or hashes.SHA1(),  # noqa: S303 - a CertID hash
    )
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(DER)


def count(desk: Desk, table: Table, *where: Any) -> int:
    """How many rows."""
    with desk.store.read() as connection:
        return int(
            connection.execute(select(func.count()).select_from(table).where(*where)).scalar_one()
        )


def status_on_record(desk: Desk, serial: str) -> str:
    """The status column of a certificate."""
    with desk.store.read() as connection:
        query = select(certificates.c.status).where(certificates.c.serial == serial)
        return str(connection.execute(query).scalar_one())


def trail(desk: Desk, about: str = "%") -> list[tuple[str, str]]:
    """Audit rows about objects like this: (action, outcome), oldest first."""
    query = (
        select(audit_events.c.action, audit_events.c.outcome)
        .where(audit_events.c.object.like(about))
        .order_by(audit_events.c.id)
    )
    with desk.store.read() as connection:
        return [(row.action, row.outcome) for row in connection.execute(query)]


def at_once(*works: Callable[[], T]) -> list[T | Exception]:
    """Run works in as many threads, all let go at the same moment; what each gave or raised, in order."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], T]) -> T | Exception:
        barrier.wait()
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            return error

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))
