"""What is written down of a ceremony that was held: its records, signed with the key of the audit log."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from hsm.ports import BlobStore
from pki import authorities, sequencing
from pki.actors import Actor, Role
from pki.authorities import Authority
from pki.ceremony import transcript
from pki.ceremony.course import Made, confirmations
from pki.ceremony.plan import Plan
from pki.desk import Desk
from pki.guarded import plain
from pki.rollover.crossing import CrossCertificate
from pki.x509.csr import spki_sha256
from pki.x509.keys import key_algorithm
from store import audit_tree
from store.audit_tree import Log

_CLOCKWORK: Final = Actor("ceremony", Role.SCHEDULER)


@dataclass(frozen=True)
class Account:
    """The transcript's octets, and the line of the public key that it is checked with."""

    content: bytes
    key: str


def log_of(desk: Desk, blobs: BlobStore, *, now: datetime) -> Log:
    """The audit log, brought up to this moment: its key signs the transcript. Raises what `sequence` raises."""
    sequencing.sequence(desk, _CLOCKWORK, blobs, now=now)
    with desk.store.read() as connection:
        return audit_tree.logs(connection)[-1]


def write(
    desk: Desk, blobs: BlobStore, plan: Plan, made: Sequence[Made], version: str, *, now: datetime
) -> Account:
    """The signed transcript; `version` is the program's. Raises what `sequence` raises, SignerUnavailable."""
    log = log_of(desk, blobs, now=now)
    records = [
        {
            "record": transcript.CEREMONY,
            "title": plan.title,
            "led_by": plan.led_by,
            "witnesses": list(plan.witnesses),
            "sha256": plan.sha256,
            "text": plan.text,
            "version": version,
        },
        *confirmations(desk, plan),
        *_above(desk, plan),
        *(describe(each) for each in made),
        {"record": "end", "at": plain(now)},
    ]
    key = desk.keys.open(log.key_uri)
    return Account(transcript.signed(records, log.origin, key), log.verifier_key)


def describe(made: Made) -> dict[str, Any]:
    """What came of a step, as the transcript and the screen have it."""
    what = made.what
    if isinstance(what, Authority):
        return {
            "record": what.kind,
            "name": what.name,
            "parent": what.parent,
            "at": plain(what.created_at),
            "key": what.key_uri,
            "algorithm": key_algorithm(what.public_key),
            "spki_sha256": spki_sha256(what.public_key),
            **_certificate(what.certificate),
        }
    if isinstance(what, CrossCertificate):
        certificate = x509.load_der_x509_certificate(what.der)
        return {
            "record": "cross",
            "name": what.subject,
            "issuer": what.issuer,
            "at": plain(what.created_at),
            "path_length": certificate.extensions.get_extension_for_class(
                x509.BasicConstraints
            ).value.path_length,
            **_certificate(certificate),
        }
    crl = x509.load_der_x509_crl(what.der)
    return {
        "record": "crl",
        "name": what.authority,
        "at": plain(what.this_update),
        "number": what.number,
        "next_update": plain(what.next_update),
        "entries": what.entries,
        "sha256": what.sha256,
        "crl": crl.public_bytes(serialization.Encoding.PEM).decode(),
    }


def _above(desk: Desk, plan: Plan) -> Iterator[dict[str, Any]]:
    """The authorities that were there before and have a part in it."""
    for name in sorted(plan.outside()):
        known = authorities.load(desk, name)
        yield {"record": "above", "name": name, **_certificate(known.certificate)}


def _certificate(certificate: x509.Certificate) -> dict[str, Any]:
    der = certificate.public_bytes(serialization.Encoding.DER)
    return {
        "subject": certificate.subject.rfc4514_string(),
        "serial": format(certificate.serial_number, "x"),
        "not_before": plain(certificate.not_valid_before_utc),
        "not_after": plain(certificate.not_valid_after_utc),
        "sha256": hashlib.sha256(der).hexdigest(),
        "certificate": authorities.pem(certificate),
    }
