"""SIGKILL at random moments under load: nothing acknowledged is lost, nothing exists that is not on record.

`IKEWARDEN_SOAK_KILLS` says how often (issue 2, done when 4: 200).
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from sqlalchemy import func, select, text

from hsm.seal import ScryptCost, Seal
from hsm.sealedfiles import SealedFileKeyStore
from pki import (
    audit_check,
    authorities,
    founding,
    issuance,
    publication,
    reconcile,
    sequencing,
)
from pki.actors import Actor, Role
from pki.audit_check import Kept
from pki.desk import Desk
from pki.founding import AuthorityRequest
from pki.ocsp_responder import OcspResponder
from pki.reconcile import PATIENCE
from scheduler.jobs import SCHEDULER
from store.engine import Store
from store.tables import audit_events, certificates, tokens
from tests.fixtures.desk import drain
from tests.pki import kill_worker
from tests.pki.acts import crl, listed, number_of

KILLS = int(os.environ.get("IKEWARDEN_SOAK_KILLS", "8"))
ROOT = Path(__file__).parents[2]
# Between two rounds more time goes by than a lease or an intent lasts.
ROUND = timedelta(minutes=10)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A sealed key store on disk; a cheap passphrase, because each round opens it again."""
    path = tmp_path / "keys"
    Seal.create(path, kill_worker.PASSPHRASE, cost=ScryptCost(n=2**14))
    return path


@pytest.fixture
def founded(store_url: str, keys: Path) -> str:
    """The URL of records with a root and an issuing authority."""
    now = datetime.now(UTC)
    desk = kill_worker.open_desk(store_url, keys)
    admin = Actor("admin", Role.ADMIN)
    for name, parent in (("root", None), ("issuing", "root")):
        wanted = AuthorityRequest(
            name=name,
            kind="issuing" if parent else "root",
            parent=parent,
            subject=f"CN={name}",
            path_length=0 if parent else 1,
        )
        founding.create(desk, admin, wanted, now=now)
    drain(desk, now)
    desk.store.close()
    return store_url


class Load:
    """The worker as a process, and what it acknowledged."""

    def __init__(self, database: str, keys: Path, ahead: timedelta, said: Path) -> None:
        self._said = said
        with said.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.pki.kill_worker"),
                    *(database, str(keys), str(ahead.total_seconds())),
                ],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.PIPE,
            )

    def wait_until_ready(self) -> None:
        for _ in range(6_000):
            if self._said.read_bytes().startswith(b"ready\n"):
                return
            assert self._process.poll() is None, self._complaint()
            time.sleep(0.01)
        raise AssertionError("the worker did not start")

    def kill(self) -> list[list[str]]:
        """Acknowledgements up to the end, as words."""
        assert self._process.poll() is None, self._complaint()
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(90)
        assert self._process.stderr is not None
        self._process.stderr.close()
        lines = self._said.read_text().splitlines(keepends=True)
        return [line.split() for line in lines if line.endswith("\n")]

    def _complaint(self) -> str:
        return self._process.communicate(timeout=90)[1].decode()


def test_killed_at_random_moments(founded: str, keys: Path, tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4))
    moments = random.Random(seed)
    seen: Counter[str] = Counter()
    revoked: dict[str, str] = {}
    for number in range(10 * KILLS):
        if number >= KILLS and len(seen) > KILLS and revoked:
            break  # a slow machine gets little done in a round
        ahead = ROUND * number
        load = Load(founded, keys, ahead, tmp_path / "said")
        try:
            load.wait_until_ready()
            time.sleep(moments.uniform(0, 0.7))
        finally:
            said = load.kill()
        desk = kill_worker.open_desk(founded, keys)
        try:
            _until_alone(desk.store)
            issued = [words[1] for words in said if words[0] in {"issued", "enrolled"}]
            revoked |= {words[1]: words[2] for words in said if words[0] == "revoked"}
            seen.update(issued)
            now = datetime.now(UTC) + ahead + PATIENCE + timedelta(minutes=1)
            _check_round(desk, now, said, issued, revoked, f"seed {seed}, round {number}")
        finally:
            desk.store.close()
    assert max(seen.values()) == 1, "a serial number was acknowledged twice"
    assert len(seen) > KILLS
    assert revoked


def _until_alone(store: Store) -> None:
    """On PostgreSQL a commit that was sent is carried out after its client's death: wait for the server."""
    if store.dialect == "sqlite":
        return
    query = text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    for _ in range(9_000):
        with store.read() as connection:
            if connection.execute(query).scalar_one() == 0:
                return
        time.sleep(0.01)
    raise AssertionError("the killed process still has sessions")


def _check_round(
    desk: Desk,
    now: datetime,
    said: list[list[str]],
    issued: list[str],
    revoked: dict[str, str],
    where: str,
) -> None:
    numbers = [int(words[2]) for words in said if words[0] == "published"]
    assert number_of(crl(desk)) >= max(numbers, default=0), where
    reconcile.settle(desk, SCHEDULER, now=now)
    drain(desk, now)
    publication.publish_full(desk, SCHEDULER, "issuing", now=now)
    _check_certificates(desk, issued, revoked, where)
    _check_revocations(desk, now, revoked, issued, where)
    _check_order(desk, where)
    _check_tokens(desk, said, where)
    _check_log(desk, now, said, where)


def _check_log(desk: Desk, now: datetime, said: list[list[str]], where: str) -> None:
    """The audit log is as it was signed; what is remembered beside the keys gives no false alarm."""
    assert isinstance(desk.keys, SealedFileKeyStore)
    sizes = [int(words[1]) for words in said if words[0] == "signed"]
    before = audit_check.check(desk, kill_worker.ADMIN, desk.keys, Kept())
    assert before.findings == (), where
    assert before.size >= max(sizes, default=0), where
    while sequencing.sequence(desk, SCHEDULER, desk.keys, now=now).added:
        pass
    after = audit_check.check(desk, kill_worker.ADMIN, desk.keys, Kept())
    assert (after.findings, after.waiting) == ((), 0), where


def _check_certificates(desk: Desk, issued: list[str], revoked: dict[str, str], where: str) -> None:
    issuer = authorities.load(desk, "issuing").certificate
    query = select(certificates).where(certificates.c.profile == "gateway")
    with desk.store.read() as connection:
        rows = {row.serial: row for row in connection.execute(query)}
        every = connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
    assert len(rows) == every, f"{where}: a serial number is there twice"
    assert {row.status for row in rows.values()} <= {"valid", "revoked", "abandoned"}, where
    for serial in issued:
        row = rows[serial]
        found = x509.load_der_x509_certificate(row.der)
        found.verify_directly_issued_by(issuer)
        assert format(found.serial_number, "032x") == serial, where
        assert row.status in {"valid", "revoked"}, where
    for serial in revoked:
        assert rows[serial].status == "revoked", where
    for row in rows.values():
        # What was told is whole; what is not whole was told to nobody and is never trusted.
        assert (row.der is None) == (row.status == "abandoned"), where
        assert (row.fingerprint is None) == (row.der is None), where
        assert row.tbs is None, where


def _check_revocations(
    desk: Desk, now: datetime, revoked: dict[str, str], issued: list[str], where: str
) -> None:
    found = listed(crl(desk))
    assert set(revoked) <= set(found), where
    assert {serial: found[serial] for serial in revoked} == revoked, where
    with desk.store.read() as connection:
        abandoned = set(
            connection.scalars(
                select(certificates.c.serial).where(certificates.c.status == "abandoned")
            )
        )
    assert {serial for serial in abandoned if serial in found} == abandoned, where
    responder = OcspResponder(desk)
    status = {serial: _ocsp(responder, desk, serial, now) for serial in issued[-40:]}
    for serial, answer in status.items():
        assert answer == ("REVOKED" if serial in found else "GOOD"), where
    for serial in list(abandoned)[:10]:
        assert _ocsp(responder, desk, serial, now) == "REVOKED", where


def _ocsp(responder: OcspResponder, desk: Desk, serial: str, now: datetime) -> str:
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509 import ocsp

    from pki.x509.ocsp import issuer_hashes
    from tests.pki.requests import DER

    name, key = issuer_hashes(authorities.load(desk, "issuing").certificate, "sha256")
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        name, key, int(serial, 16), hashes.SHA256()
    )
    answer = responder.answer("issuing", builder.build().public_bytes(DER), now)
    return ocsp.load_der_ocsp_response(answer.body).certificate_status.name


def _check_order(desk: Desk, where: str) -> None:
    """Every certificate was on record as an intent before it was made, and told after."""
    events = select(audit_events.c.id, audit_events.c.object, audit_events.c.action).where(
        audit_events.c.object.like("certificate:issuing:%")
    )
    first: dict[tuple[str, str], int] = {}
    with desk.store.read() as connection:
        for row in connection.execute(events.order_by(audit_events.c.id)):
            first.setdefault((row.object, row.action), row.id)
        issuing = authorities.load(desk, "issuing").id
        query = select(certificates.c.serial, certificates.c.der).where(
            certificates.c.authority_id == issuing
        )
        rows = connection.execute(query).all()
    for row in rows:
        about = f"certificate:issuing:{row.serial}"
        intent = first.get((about, "certificate.sign"))
        made = first.get((about, "certificate.issue"))
        assert intent is not None, where
        assert (made is None) == (row.der is None), where
        assert made is None or intent < made, where


def _check_tokens(desk: Desk, said: list[list[str]], where: str) -> None:
    """A one-time token made one certificate or still has its use."""
    counted = (
        select(certificates.c.credential, func.count().label("made"))
        .where(certificates.c.status.in_(("valid", "revoked")))
        .group_by(certificates.c.credential)
    )
    with desk.store.read() as connection:
        made: dict[str, Any] = {row.credential: row.made for row in connection.execute(counted)}
        left = {row.id: row.uses_left for row in connection.execute(select(tokens))}
    for token, uses in left.items():
        assert made.get(f"token:{token}", 0) + uses == 1, where
    for words in said:
        if words[0] == "enrolled":
            assert left[words[2]] == 0, where


def test_killed_while_it_starts(founded: str, keys: Path, tmp_path: Path) -> None:
    moments = random.Random()
    for _ in range(max(2, KILLS // 8)):
        load = Load(founded, keys, timedelta(0), tmp_path / "said")
        time.sleep(moments.uniform(0, 0.4))
        load.kill()
        desk = kill_worker.open_desk(founded, keys)
        try:
            assert authorities.all_names(desk) == ["issuing", "root"]
            assert number_of(crl(desk)) >= 1
        finally:
            desk.store.close()


def test_sealed_keys_issue_as_any_other(founded: str, keys: Path) -> None:
    desk = kill_worker.open_desk(founded, keys)
    try:
        now = datetime.now(UTC)
        made = issuance.issue(desk, kill_worker.OPERATOR, kill_worker.issue_request(), now=now)
        found = x509.load_der_x509_certificate(made.der)
        found.verify_directly_issued_by(authorities.load(desk, "issuing").certificate)
    finally:
        desk.store.close()
