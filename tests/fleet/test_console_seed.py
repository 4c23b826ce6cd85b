"""The large fleet that benchmarks put on record: rows as the service writes them, which every operation can read."""

import hashlib
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from sqlalchemy import func, select

from bench import console_seed
from fleet import gateways, overview, topology, tunnels
from fleet.findings import summary
from fleet.findings.summary import ReportQuery
from fleet.gateways import GatewayQuery
from fleet.monitoring import health
from fleet.monitoring.health import HealthQuery
from fleet.rotation import shown
from fleet.rotation.shown import RotationQuery
from fleet.topology import MapQuery
from fleet.tunnels import TunnelQuery
from pki import certificates, publication, search_index
from pki.certificates import CertificateQuery
from pki.desk import Desk
from pki.words import words
from store.search_tables import certificate_words
from store.tables import certificates as table
from tests.fixtures.desk import ADMIN, CLOCKWORK, NOW, OPERATOR

COUNT, TUNNELS = 400, 20


def test_the_seed_is_a_fleet_as_any_other(desk: Desk, store_url: str) -> None:
    done = console_seed.fill(desk, COUNT, TUNNELS, NOW, store_url)
    assert (done["certificates"], done["tunnels"], done["gateways"]) == (COUNT, TUNNELS, 10)
    _certificates_decode(desk)
    _words_are_those_of_the_job(desk)
    found = certificates.browse(desk, OPERATOR, CertificateQuery(q="fleet.example"), now=NOW)
    assert found.total == COUNT + 6, "and what they are copies of"
    for authority in ("issuing-eu", "issuing-cloud"):
        publication.publish_full(desk, CLOCKWORK, authority, now=NOW)
    drawn = topology.look(desk, OPERATOR, MapQuery(), now=NOW)
    assert (drawn.tunnels, drawn.gateways) == (TUNNELS, 10)
    told = overview.overview(desk, ADMIN, now=NOW)
    assert sum((told.rekeys or {}).values()) > 0
    assert sum(each.count for each in told.key_ages or ()) == TUNNELS * 7 // 10
    assert len(gateways.search(desk, OPERATOR, GatewayQuery(), now=NOW)) == 10
    assert len(tunnels.search(desk, OPERATOR, TunnelQuery())) == TUNNELS
    assert shown.search(desk, OPERATOR, RotationQuery())
    assert summary.audit(desk, OPERATOR, ReportQuery(), now=NOW).gateways == 10
    assert health.report(desk, OPERATOR, HealthQuery(), now=NOW).connections > 0


def _certificates_decode(desk: Desk) -> None:
    with desk.store.read() as connection:
        rows = connection.execute(select(table).where(table.c.request_id.like("seed-%"))).all()
    assert len(rows) == COUNT
    for row in (row for row in rows if row.der is not None):
        decoded = x509.load_der_x509_certificate(row.der)
        assert format(decoded.serial_number, "032x") == row.serial
        names = decoded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert [each.value for each in names] == [row.names.partition(":")[2]]
        assert decoded.subject.rfc4514_string() == row.subject
        assert decoded.not_valid_after_utc == row.not_after
        assert decoded.fingerprint(hashes.SHA256()).hex() == row.fingerprint
        spki = decoded.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        assert hashlib.sha256(spki).hexdigest() == row.spki_sha256


def _words_are_those_of_the_job(desk: Desk) -> None:
    assert search_index.keep_words(desk, CLOCKWORK, now=NOW + timedelta(hours=1)) == 0
    with desk.store.read() as connection:
        rows = connection.execute(select(table)).all()
        kept = connection.scalar(select(func.count()).select_from(certificate_words))
    assert kept == sum(len(words(row)) for row in rows)
