"""The doors of other people's clients beside our own: first certificates a second by EST, against REST."""

import base64
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bench import load, material, ours
from bench.load import Request
from bench.ours import Ours
from bench.rounds import Bench, Row, alternate, compare
from bench.sides import start_ours


def run(bench: Bench) -> list[Row]:
    """Ask the same service for the same certificates, by each door in turn."""
    service = start_ours(bench)
    csrs = material.certificate_requests()
    rest = [Request("POST", "/v1/certificates", body) for body in ours.issue_bodies(csrs)]
    files = {
        "REST": load.write(bench.directory / "rest.requests", service.headers(), rest),
        "EST": _est(bench.directory / "est.requests", service, csrs),
    }
    doors = {name: _measure(bench, service, file) for name, file in files.items()}
    bench.say("warming up")
    for measure in doors.values():
        measure()
    figures = alternate(bench, doors)
    note = "the same requests, stored and audited"
    return [
        compare(
            ("doors", "est_simpleenroll", "1/s"), figures["EST"], "REST", figures["REST"], note=note
        )
    ]


def _measure(bench: Bench, service: Ours, file: Path) -> Callable[[], float]:
    def measure() -> float:
        before = len(service.serials())
        measured = load.run(service.url, file, seconds=bench.options.seconds)
        recorded = len(service.serials()) - before
        if not measured.requests <= recorded <= measured.requests + load.CONNECTIONS:
            raise load.LoadFailed(f"{measured.requests} answers, {recorded} records")
        return measured.rate

    return measure


def _est(path: Path, service: Ours, csrs: list[str]) -> Path:
    password = base64.b64encode(f"bench:{service.token}".encode()).decode()
    headers = {"Authorization": f"Basic {password}", "Content-Type": "application/pkcs10"}
    requests = [
        Request(
            "POST",
            "/.well-known/est/simpleenroll",
            base64.b64encode(x509.load_pem_x509_csr(csr.encode()).public_bytes(Encoding.DER)),
        )
        for csr in csrs
    ]
    return load.write(path, headers, requests)
