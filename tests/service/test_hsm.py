"""A service whose keys are in a token, from `init` to `serve`: what it does, and what it does without its token."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from sqlalchemy import func, select

from ikewarden.client import Refused, ServiceUnreachable
from store.engine import open_store
from store.tables import audit_events, certificates
from tests.fixtures.served import Served, run, serving
from tests.fixtures.softhsm import FaultyModule, SoftToken

_WAIT = 180.0
_AWAY = ("503 hsm_absent", "503 signer_unavailable")


def until(done: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + _WAIT
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def body(name: str) -> dict[str, Any]:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return {"csr": pem.decode(), "profile": "gateway"}


@pytest.fixture
def in_token(tmp_path: Path, hsm_token: SoftToken, faulty: FaultyModule) -> Iterator[Served]:
    """A service that reaches its token through a module that counts and can fail."""
    options = (
        "--pkcs11",
        faulty.path,
        "--token",
        hsm_token.label,
        "--pin-file",
        hsm_token.pin_file,
    )
    with serving(tmp_path / "instance", options=tuple(map(str, options))) as service:
        yield service


def parts_of(service: Served) -> set[int]:
    """The processes of the service itself: those that load modules come and go."""
    assert service.process is not None
    group = service.process.pid
    found = {group}
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                parent = int((each / "stat").read_text().rpartition(")")[2].split()[1])
            except FileNotFoundError:
                continue
            if parent == group:
                found.add(int(each.name))
    return found


@dataclass
class Load:
    """Threads that ask for certificates, and what came of it."""

    service: Served
    serials: list[str] = field(default_factory=list)
    refusals: list[Refused] = field(default_factory=list)
    others: list[Exception] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def work(self, number: int) -> None:
        client = self.service.client
        count = 0
        while not self.stop.is_set():
            count += 1
            try:
                made = client.post("/v1/certificates", body(f"gw{number}-{count}.example"))
                self.serials.append(made["serial"])
            except Refused as refusal:
                self.refusals.append(refusal)
                time.sleep(0.05)
            except Exception as error:  # noqa: BLE001 - told by the test
                self.others.append(error)
                return


def test_the_token_goes_away_under_load_and_comes_back(
    in_token: Served, hsm_token: SoftToken, faulty: FaultyModule
) -> None:
    before = parts_of(in_token)
    revoked = in_token.client.post("/v1/certificates", body("gw-revoked.example"))
    load = Load(in_token)
    with ThreadPoolExecutor(4) as pool:
        try:
            running = [pool.submit(load.work, number) for number in range(4)]
            until(lambda: len(load.serials) > 30, "certificates are issued")
            hsm_token.take_out()
            # What needs no signature goes on, and a revocation waits on record for its list.
            until(lambda: len(load.refusals) > 30, "the token is missed")
            assert in_token.client.get("/v1/whoami")["role"] == "admin"
            path = f"/v1/certificates/{revoked['serial']}/revoke"
            in_token.client.post(path, {"reason": "superseded"})
            hsm_token.put_back()
            enough = len(load.serials) + 30
            until(lambda: len(load.serials) > enough, "certificates are issued again")
            faulty.fail(sign="30")  # CKR_DEVICE_ERROR: it is there, and broken
            enough = len(load.refusals) + 10
            until(lambda: len(load.refusals) > enough, "the token is missed again")
            faulty.fail()
            enough = len(load.serials) + 30
            until(lambda: len(load.serials) > enough, "certificates are issued once more")
        finally:
            load.stop.set()
        for each in running:
            each.result()
    assert load.others == []
    assert {each.status for each in load.refusals} == {503}
    codes = {str(each.problem["code"]) for each in load.refusals}
    assert codes <= {"signer_unavailable", "hsm_absent"}
    assert parts_of(in_token) == before  # nothing was restarted
    assert len(set(faulty.signed)) == len(faulty.signed)  # nothing was signed twice
    _check_records(in_token, [revoked["serial"], *load.serials], len(load.refusals))
    until(lambda: _listed(in_token, revoked["serial"]), "the revoked one is on the list")
    assert hsm_token.pin not in in_token.log
    calls = faulty.calls
    assert calls["login a0"] == 0


def _check_records(service: Served, serials: list[str], refused: int) -> None:
    """Everything that was given out is on record, and nothing else was made."""
    store = open_store(f"sqlite:///{service.directory}/ikewarden.db")
    try:
        with store.read() as connection:
            made = connection.scalars(
                select(certificates.c.serial).where(
                    certificates.c.profile == "gateway", certificates.c.der.is_not(None)
                )
            ).all()
            # An answer that the load's threads did not wait for may be on record too; none was lost.
            assert set(serials) <= set(made)
            # Once the token is known to be away, nothing is put on record for it: few are in doubt, of many refused.
            in_doubt = connection.scalar(
                select(func.count()).where(certificates.c.status.in_(("pending", "abandoned")))
            )
            assert in_doubt is not None
            assert in_doubt < refused
            intents = connection.execute(
                select(audit_events.c.object, func.count())
                .where(
                    audit_events.c.action == "certificate.sign", audit_events.c.outcome == "intent"
                )
                .group_by(audit_events.c.object)
            ).all()
            assert {count for _, count in intents} == {1}
    finally:
        store.close()
    assert len(set(serials)) == len(serials)


def _listed(service: Served, serial: str) -> bool:
    listed = x509.load_der_x509_crl(service.public("/crl/issuing.crl"))
    return listed.get_revoked_certificate_by_serial_number(int(serial, 16)) is not None


def test_a_service_in_a_token_issues_revokes_and_answers(
    tmp_path: Path, hsm_token: SoftToken
) -> None:
    module = "/usr/lib/softhsm/libsofthsm2.so"
    options = ("--pkcs11", module, "--token", hsm_token.label, "--algorithm", "ec-p384")
    environ = {"IKEWARDEN_PIN": hsm_token.pin}
    with serving(tmp_path / "instance", options=options, environ=environ) as service:
        assert sum(each.startswith("ca-") for each in hsm_token.labels()) == 2
        until(lambda: sum(e.startswith("ocsp-") for e in hsm_token.labels()) == 2, "OCSP signers")
        assert not list((service.directory / "keys").glob("*.key"))
        made = service.client.post("/v1/certificates", body("gw.example"))
        leaf = x509.load_pem_x509_certificate(made["certificate"].encode())
        issuer = x509.load_pem_x509_certificate(made["chain"][0].encode())
        leaf.verify_directly_issued_by(issuer)
        assert _status(service, leaf, issuer) is ocsp.OCSPCertStatus.GOOD
        path = f"/v1/certificates/{made['serial']}/revoke"
        service.client.post(path, {"reason": "keyCompromise"})
        until(lambda: _listed(service, made["serial"]), "the serial is on the list")
        until(
            lambda: _status(service, leaf, issuer) is ocsp.OCSPCertStatus.REVOKED,
            "OCSP tells that it is revoked",
        )
        again = service.client.post(
            "/v1/authorities",
            {"name": "branch", "kind": "root", "subject": "CN=Branch", "algorithm": "rsa-2048"},
        )
        assert again["name"] == "branch"
        assert sum(each.startswith("ca-branch-") for each in hsm_token.labels()) == 1
        _check_no_pin(service, hsm_token.pin)


def _status(service: Served, leaf: x509.Certificate, issuer: x509.Certificate) -> Any:
    builder = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA256())
    asked = builder.build().public_bytes(serialization.Encoding.DER)
    answer = ocsp.load_der_ocsp_response(service.public("/ocsp/issuing", asked))
    if answer.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        return None
    return answer.certificate_status


def _check_no_pin(service: Served, pin: str) -> None:
    """It is in no file of the instance, and in nobody's arguments."""
    for each in service.directory.rglob("*"):
        if each.is_file():
            assert pin.encode() not in each.read_bytes(), each
    assert pin not in service.log
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert pin.encode() not in each.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue


def test_serve_refuses_a_wrong_pin_at_once_and_starts_without_its_token(
    tmp_path: Path, hsm_token: SoftToken, faulty: FaultyModule
) -> None:
    directory = tmp_path / "instance"
    options = (
        "--pkcs11",
        faulty.path,
        "--token",
        hsm_token.label,
        "--pin-file",
        hsm_token.pin_file,
    )
    with serving(directory, options=tuple(map(str, options))) as service:
        service.stop()
        hsm_token.write_pin("99999999x")
        for _ in range(2):  # as a supervisor does that starts what failed
            done = run("serve", "--dir", directory)
            assert (done.code, "(pin_refused)" in done.err) == (1, True)
            assert "99999999x" not in done.err
        assert faulty.calls["login a0"] == 1
        hsm_token.write_pin(hsm_token.pin)
        hsm_token.take_out()
        service.start(ready=False)
        until(lambda: _code(service) in _AWAY, "it serves, and misses the token")
        assert "started without the token" in service.log
        with pytest.raises(Refused) as refusal:
            service.client.get("/readyz")
        troubles = refusal.value.problem["troubles"]
        assert {f"503 {each['code']}" for each in troubles} <= {*_AWAY, "503 ocsp_signer_missing"}
        assert any(each["about"] == "authority:issuing" for each in troubles)
        hsm_token.put_back()
        until(lambda: _code(service) is None, "it issues when the token is back")


def _code(service: Served) -> str | None:
    """What it answers to who wants a certificate: the problem's code, none if there is one."""
    try:
        service.client.post("/v1/certificates", body("gw.example"))
    except Refused as refusal:
        return f"{refusal.status} {refusal.problem['code']}"
    except ServiceUnreachable:
        return "unreachable"
    return None
