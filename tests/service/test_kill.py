"""The whole service killed at random moments under concurrent issue and revoke load ("Done when" 4).

No certificate exists that is not on record, no acknowledged revocation is missing from the next CRL, no serial number
is used twice. IKEWARDEN_SOAK_KILLS sets how often (`make soak`: 200).
"""

import contextlib
import os
import random
import sqlite3
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.lab.errors import LabError
from tests.lab.story import Warden, served

KILLS = int(os.environ.get("IKEWARDEN_SOAK_KILLS", "6"))
THREADS = 6


def _request(name: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@dataclass
class Load:
    """Threads that issue and revoke, and what the service acknowledged to them."""

    warden: Warden
    issued: dict[str, str] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    answered_twice: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, number: int) -> None:
        csr = _request(f"gw{number}.kill.example")
        body = {"csr": csr, "profile": "gateway"}
        while not self.stop.is_set():
            # What is not answered may or may not have happened; only what was answered is held to.
            with contextlib.suppress(urllib3.exceptions.HTTPError, LabError, OSError):
                made = self.warden.call("POST", "/v1/certificates", body)
                with self.lock:
                    if made["serial"] in self.issued:
                        self.answered_twice.append(made["serial"])
                    self.issued[made["serial"]] = made["fingerprint"]
                path = f"/v1/certificates/{made['serial']}/revoke"
                if random.random() < 0.5:
                    self.warden.call("POST", path, {"reason": "superseded"})
                    with self.lock:
                        self.revoked.add(made["serial"])

    def wait_until_some_got_through(self, seconds: float = 180.0) -> None:
        """On a slow machine the service may hardly have been up between two kills."""
        deadline = time.monotonic() + seconds
        while len(self.issued) < 20 or len(self.revoked) < 5:
            assert time.monotonic() < deadline, "the load does not get through"
            time.sleep(0.1)


def _crl_serials(warden: Warden) -> set[str]:
    crl = x509.load_der_x509_crl(warden.fetch("/crl/issuing.crl"))
    return {format(entry.serial_number, "032x") for entry in crl}


def test_the_service_killed_at_random_moments_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    directory = tmp_path / "instance"
    with served(directory, "ec-p256", in_lab=False) as warden:
        load = Load(warden)
        threads = [threading.Thread(target=load.run, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(KILLS):
                time.sleep(random.uniform(0.05, 1.5))
                warden.kill()
                warden.start()
            warden.wait_until_ready()
            load.wait_until_some_got_through()
        finally:
            load.stop.set()
            for thread in threads:
                thread.join(90)
        assert not load.answered_twice
        _check_records(directory / "ikewarden.db", load)
        _check_published(warden, load)


def _check_records(database: Path, load: Load) -> None:
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as records:
        rows = records.execute(
            "select serial, status, fingerprint, der from certificates"
        ).fetchall()
        intents = {
            row[0].rpartition(":")[2]
            for row in records.execute(
                "select object from audit_events where action = 'certificate.sign' and outcome = 'intent'"
            )
        }
        assert records.execute("pragma integrity_check").fetchone() == ("ok",)
    by_serial = {row[0]: row for row in rows}
    assert len(by_serial) == len(rows)
    for serial, fingerprint in load.issued.items():
        assert by_serial[serial][2] == fingerprint
        assert by_serial[serial][1] in {"valid", "revoked"}
    for serial in load.revoked:
        assert by_serial[serial][1] == "revoked"
    signed_here = {row[0] for row in rows if row[3] is not None and b"kill.example" in row[3]}
    assert signed_here <= intents


def _check_published(warden: Warden, load: Load) -> None:
    deadline = time.monotonic() + 90
    while not (missing := load.revoked - _crl_serials(warden)) == set():
        assert time.monotonic() < deadline, f"{len(missing)} revocations are not on the CRL"
        time.sleep(0.2)
