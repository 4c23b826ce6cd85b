"""The service with its signing keys in OpenBao: the spine, and a server that is sealed and restarted under load."""

import contextlib
import json
import sqlite3
import threading
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp

from tests.fixtures.openbao import OpenBao
from tests.fixtures.served import Served, serving
from tests.hsm.vaults import key_settings
from tests.lab.story import wait_until

THREADS = 4
# What a server that goes and comes is told as.
AWAY = {"signer_sealed", "signer_unavailable", "signer_failing", "signer_slow", "signer_elsewhere"}


@dataclass(frozen=True)
class Vaulted:
    """A service, and the engine that its keys are in."""

    served: Served
    openbao: OpenBao
    mount: str

    @property
    def database(self) -> Path:
        return self.served.directory / "ikewarden.db"

    def query(self, text: str) -> list[tuple[Any, ...]]:
        address = f"file:{self.database}?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True)) as records:
            return records.execute(text).fetchall()

    def crl(self) -> x509.CertificateRevocationList:
        return x509.load_der_x509_crl(self.served.public("/crl/issuing.crl"))

    def is_on_crl(self, serial: str) -> bool:
        found = self.crl().get_revoked_certificate_by_serial_number(int(serial, 16))
        return found is not None


@pytest.fixture(scope="module")
def vaulted(
    lasting_openbao: OpenBao, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Vaulted]:
    place = tmp_path_factory.mktemp("vaulted")
    mount, file = lasting_openbao.transit(), place / "transit.toml"
    text = key_settings(lasting_openbao, mount, token_ttl="20s")
    file.write_text(f"{text}timeout_seconds = 5.0\n")
    environ = {"IKEWARDEN_LOGS__LEVEL": "debug"}
    options = ("--transit", str(file))
    with serving(place / "instance", environ=environ, options=options) as served:
        yield Vaulted(served, lasting_openbao, mount)


def request_for(name: str) -> dict[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return {"csr": pem.decode(), "profile": "gateway"}


def chain_of(issued: Mapping[str, Any]) -> list[x509.Certificate]:
    return [
        x509.load_pem_x509_certificate(pem.encode())
        for pem in (issued["certificate"], *issued["chain"])
    ]


def status_of(vaulted: Vaulted, issued: Mapping[str, Any]) -> str:
    """What OCSP says, in an answer whose signature is good."""
    leaf, issuer = chain_of(issued)[:2]
    asked = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA256()).build()
    der = vaulted.served.public("/ocsp/issuing", asked.public_bytes(serialization.Encoding.DER))
    answer = ocsp.load_der_ocsp_response(der)
    [signer] = answer.certificates
    signer.verify_directly_issued_by(issuer)
    public = signer.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert answer.signature_hash_algorithm is not None
    method = ec.ECDSA(answer.signature_hash_algorithm)
    public.verify(answer.signature, answer.tbs_response_bytes, method)
    return answer.certificate_status.name


def test_the_spine_works_and_no_key_is_on_disk(vaulted: Vaulted) -> None:
    served = vaulted.served
    issued = served.client.post("/v1/certificates", request_for("gw1.transit.example"))
    leaf, issuing, root = (*chain_of(issued)[:2], _root(served))
    leaf.verify_directly_issued_by(issuing)
    issuing.verify_directly_issued_by(root)
    wait_until(lambda: _answers(vaulted, issued) == "GOOD", "OCSP")
    renewed = served.client.post(f"/v1/certificates/{issued['serial']}/renew", {})
    assert renewed["serial"] != issued["serial"]
    served.client.post(f"/v1/certificates/{issued['serial']}/revoke", {"reason": "superseded"})
    wait_until(lambda: vaulted.is_on_crl(issued["serial"]), "the serial on the CRL")
    assert vaulted.crl().is_signature_valid(issuing.public_key())  # type: ignore[arg-type]  # P-256
    wait_until(lambda: status_of(vaulted, issued) == "REVOKED", "OCSP of the revoked")
    uris = [row[0] for row in vaulted.query("select key_uri from authorities")]
    uris += [row[0] for row in vaulted.query("select key_uri from ocsp_signers")]
    assert len(uris) >= 4
    assert all(uri.startswith(f"transit:{vaulted.mount}/") for uri in uris)
    assert all(uri.endswith("?version=1") for uri in uris)
    assert list((served.directory / "keys").glob("*.key")) == []


def _root(served: Served) -> x509.Certificate:
    return x509.load_pem_x509_certificate(served.ca_file.read_bytes())


def _answers(vaulted: Vaulted, issued: Mapping[str, Any]) -> str:
    """The status, or nothing while the signer of answers is not made yet."""
    with contextlib.suppress(AssertionError, ValueError):
        return status_of(vaulted, issued)
    return ""


@dataclass
class Load:
    """Threads that issue, and what the service told them."""

    served: Served
    issued: dict[str, str] = field(default_factory=dict)
    refused: list[tuple[int, str]] = field(default_factory=list)
    broken: list[BaseException] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        for number in range(THREADS):
            thread = threading.Thread(target=self._run, args=(number,))
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def wait_for(self, count: Callable[[], int], more: int) -> None:
        wanted = count() + more
        wait_until(lambda: count() >= wanted or bool(self.broken), "the load")
        assert self.broken == []

    def successes(self) -> int:
        return len(self.issued)

    def refusals(self) -> int:
        return len(self.refused)

    def _run(self, number: int) -> None:
        body = json.dumps(request_for(f"gw{number}.load.example")).encode()
        headers = {
            "Authorization": f"Bearer {self.served.admin_token}",
            "Content-Type": "application/json",
        }
        pool = urllib3.PoolManager(
            ca_certs=str(self.served.ca_file), retries=False, timeout=90.0, maxsize=1
        )
        url = f"{self.served.url}/v1/certificates"
        try:
            while not self._stop.is_set():
                answer = pool.request("POST", url, body=body, headers=headers)
                told = json.loads(answer.data)
                with self._lock:
                    if answer.status == 201:
                        assert told["serial"] not in self.issued
                        self.issued[told["serial"]] = told["fingerprint"]
                    else:
                        assert told["next_step"]
                        self.refused.append((answer.status, told["code"]))
                if answer.status != 201:
                    time.sleep(0.05)
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            self.broken.append(error)
        finally:
            pool.clear()


def _processes(served: Served) -> list[int]:
    """The service and its parts, by id."""
    assert served.process is not None
    found = [served.process.pid]
    for pid in found:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        found += [int(child) for child in children]
    return found


def test_a_seal_a_restart_and_a_silence_of_the_server_under_load(vaulted: Vaulted) -> None:
    served, openbao = vaulted.served, vaulted.openbao
    processes = _processes(served)
    victim = served.client.post("/v1/certificates", request_for("gw2.transit.example"))
    load = Load(served)
    load.start()
    try:
        load.wait_for(load.successes, 20)
        with openbao.sealed():
            load.wait_for(load.refusals, 20)
            # What needs no signature goes on: it is on record, and on the list as soon as that can be signed.
            path = f"/v1/certificates/{victim['serial']}/revoke"
            served.client.post(path, {"reason": "keyCompromise"})
            assert not vaulted.is_on_crl(victim["serial"])
        load.wait_for(load.successes, 20)
        openbao.restart()
        try:
            load.wait_for(load.refusals, 20)
        finally:
            openbao.unseal()
        load.wait_for(load.successes, 20)
        openbao.program.pause()  # it is there, and says nothing
        try:
            load.wait_for(load.refusals, THREADS)
        finally:
            openbao.program.resume()
        load.wait_for(load.successes, 20)
    finally:
        load.stop()
    wait_until(lambda: vaulted.is_on_crl(victim["serial"]), "the serial on the CRL")
    assert {status for status, _ in load.refused} == {503}
    assert {code for _, code in load.refused} <= AWAY
    assert {"signer_sealed", "signer_slow"} <= {code for _, code in load.refused}
    assert _processes(served) == processes
    _check_nothing_is_lost(vaulted, load)
    _check_nothing_is_signed_twice(vaulted)


def _check_nothing_is_lost(vaulted: Vaulted, load: Load) -> None:
    rows = vaulted.query("select serial, fingerprint, status from certificates")
    kept = {serial: (fingerprint, status) for serial, fingerprint, status in rows}
    for serial, fingerprint in load.issued.items():
        assert kept[serial] == (fingerprint, "valid")


def _check_nothing_is_signed_twice(vaulted: Vaulted) -> None:
    """By what the server itself logged: each thing once, and every certificate was on record before."""
    signed = vaulted.openbao.signed(vaulted.mount)
    assert [each for each, count in Counter(signed).items() if count > 1] == []
    intents = {
        bytes.fromhex(json.loads(detail)["tbs_sha256"])
        for (detail,) in vaulted.query(
            "select detail from audit_events where action = 'certificate.sign' and outcome = 'intent'"
        )
    }
    rows = vaulted.query("select der from certificates where der is not null")
    made = {
        sha256(x509.load_der_x509_certificate(der).tbs_certificate_bytes).digest()
        for (der,) in rows
    }
    assert made <= {digest for _, digest in signed}
    assert (
        len(made & intents) >= len(made) - 1
    )  # the issuing authority's own has another kind of intent


def test_it_starts_while_the_server_is_sealed(vaulted: Vaulted) -> None:
    served = vaulted.served
    issued = served.client.post("/v1/certificates", request_for("gw3.transit.example"))
    wait_until(lambda: _answers(vaulted, issued) == "GOOD", "OCSP")
    with vaulted.openbao.sealed():
        served.stop()
        served.start(ready=False)
        wait_until(lambda: "signer_sealed" in _troubles(served), "the API")
        refused = served.run("cert", "renew", issued["serial"], "--format", "json")
        assert refused.code == 3
        assert refused.error["code"] == "signer_sealed"
        assert vaulted.crl().next_update_utc is not None
        assert status_of(vaulted, issued) == "GOOD"
        wait_until(lambda: _job(served)["outcome"] == "failed", "the look at the keys")
        assert "sealed" in _job(served)["last_error"]
    renewed = served.client.post(f"/v1/certificates/{issued['serial']}/renew", {})
    assert renewed["serial"] != issued["serial"]


def _troubles(served: Served) -> set[str]:
    """Why it is not ready, as soon as it answers."""
    with urllib3.PoolManager(ca_certs=str(served.ca_file), retries=False, timeout=60.0) as http:
        try:
            answer = http.request("GET", f"{served.url}/readyz")
        except urllib3.exceptions.HTTPError:
            return set()
    return {trouble["code"] for trouble in json.loads(answer.data)["troubles"]}


def _job(served: Served) -> dict[str, Any]:
    found = [each for each in served.client.get("/v1/jobs")["items"] if each["job"] == "key_store"]
    return found[0] if found else {"outcome": ""}


def test_what_it_logs_in_with_is_told_to_nobody(vaulted: Vaulted) -> None:
    settings = tomllib.loads((vaulted.served.directory / "ikewarden.toml").read_text())
    secret_id_file = Path(settings["keys"]["transit"]["secret_id_file"])
    secrets = {secret_id_file.read_text().strip().encode()}
    # Every token that the server ever gave to the role is in its log, which is raw.
    for line in (vaulted.openbao.directory / "audit.log").read_text().splitlines():
        auth = json.loads(line).get("response", {}).get("auth", {})
        if token := auth.get("client_token"):
            secrets.add(token.encode())
    assert len(secrets) > 2
    written = [vaulted.served.log.encode()]
    written += [each.read_bytes() for each in vaulted.served.directory.rglob("*") if each.is_file()]
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            written.append(place.read_bytes())
    for secret in secrets:
        assert all(secret not in content for content in written)
