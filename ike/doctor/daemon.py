"""What charon says of itself, for the doctor, over VICI. Nothing is changed there."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime

from cryptography import x509

from core.errors import IkewardenError
from ike.daemons.strongswan.sas import listed_sas
from ike.daemons.strongswan.session import Answer, Endpoint, Session
from ike.doctor.files import crl
from ike.doctor.values import Daemon, Loaded


def ask(endpoint: Endpoint, now: datetime) -> Daemon:
    """What the daemon has in force; why it does not answer is part of the answer."""
    try:
        with endpoint.session() as session:
            return _told(session, now)
    except IkewardenError as failed:
        return Daemon(failure=failed.message)
    except (KeyError, ValueError, TypeError, AttributeError):
        return Daemon(failure=f"What answers at {endpoint.path} does not answer as charon does.")


def _told(session: Session, now: datetime) -> Daemon:
    told = session.ask("version")
    listed = session.stream("list-certs", "list-cert", {"type": "ANY"})
    return Daemon(
        version=f"{told.get('daemon', 'charon')} {told.get('version', '')}".strip(),
        connections=frozenset(session.ask("get-conns").get("conns", ())),
        loaded=dict(_loaded(session.stream("list-conns", "list-conn", {}))),
        authorities=frozenset(
            each["data"] for each in listed if each.get("type") == "X509" and _is_authority(each)
        ),
        crls=tuple(_crls(listed)),
        secrets=len(session.ask("get-shared").get("keys", ())),
        sas=tuple(listed_sas(session, now)),
    )


def _loaded(listed: Iterable[Answer]) -> Iterator[tuple[str, Loaded]]:
    for entry in listed:
        for name, each in entry.items():
            yield name, Loaded(tuple(each.get("remote_addrs", ())), tuple(each.get("children", ())))


def _crls(listed: Iterable[Answer]) -> Iterator[x509.CertificateRevocationList]:
    for each in listed:
        if each.get("type") == "X509_CRL":
            with suppress(ValueError):  # what this library cannot read may be a CRL to charon
                yield crl(each["data"])


def _is_authority(listed: Answer) -> bool:
    if "flag" in listed:
        return bool(listed["flag"] == "CA")
    try:
        loaded = x509.load_der_x509_certificate(listed["data"])
        basic = loaded.extensions.get_extension_for_class(x509.BasicConstraints)
    except (ValueError, x509.ExtensionNotFound):
        return False
    return bool(basic.value.ca)
