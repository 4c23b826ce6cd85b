"""The doors of other people's clients beside our own: first certificates a second by EST, SCEP and CMP, against
REST."""

import base64
from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bench import cmping, load, material, ours, scepping
from bench.load import Load, Request
from bench.ours import Ours
from bench.rounds import Bench, Row, alternate, compare
from bench.sides import start_ours

# More than a door gives: the list of requests, of which each is good for one certificate, must not end before. Where
# nothing is encrypted they are made fast, and answered fast.
_MOST_A_SECOND = 600
_MOST_BY_EST = 3000


def run(bench: Bench) -> list[Row]:
    """Ask the same service for certificates, by each door in turn."""
    endpoints = bench.directory / "endpoints"
    endpoints.mkdir()
    (endpoints / "bench.toml").write_text(scepping.FILE)
    (endpoints / "bench-cmp.toml").write_text(cmping.FILE)
    settings = {"IKEWARDEN_ENROLLMENT__ENDPOINTS_DIRECTORY": str(endpoints)}
    service = start_ours(bench, environment=settings)
    csrs = material.certificate_requests()
    rest = [Request("POST", "/v1/certificates", body) for body in ours.issue_bodies(csrs)]
    file = load.write(bench.directory / "rest.requests", service.headers(), rest)
    doors = {"REST": _measure(bench, service, file)}
    doors["EST"] = _est(bench, service)
    doors["SCEP"] = _scep(bench, service)
    doors["CMP"] = _cmp(bench, service)
    bench.say("warming up")
    for measure in doors.values():
        measure()
    figures = alternate(bench, doors)
    notes = {
        "est_simpleenroll": ("EST", "a new P-256 key each, one enroller's token of many uses"),
        "scep_pkcsreq": ("SCEP", "one process of the validation listener; RSA-2048, a token each"),
        "cmp_ir": ("CMP", "the same process; PBMAC1, P-256, implicit confirmation, a token each"),
    }
    return [
        compare(("doors", name, "1/s"), figures[door], "REST", figures["REST"], note=note)
        for name, (door, note) in notes.items()
    ]


def _measure(bench: Bench, service: Ours, file: Path) -> Callable[[], float]:
    def measure() -> float:
        before = len(service.serials())
        measured = load.run(service.url, file, seconds=bench.options.seconds)
        return _counted(measured, len(service.serials()) - before)

    return measure


def _est(bench: Bench, service: Ours) -> Callable[[], float]:
    password = base64.b64encode(f"bench:{service.enroller_token()}".encode()).decode()
    headers = {"Authorization": f"Basic {password}", "Content-Type": "application/pkcs10"}

    def requests(count: int) -> list[Request]:
        made = map(str.encode, material.certificate_requests(count))
        ders = (x509.load_pem_x509_csr(each).public_bytes(Encoding.DER) for each in made)
        path = "/.well-known/est/simpleenroll"
        return [Request("POST", path, base64.b64encode(each)) for each in ders]

    url, most = service.url, _MOST_BY_EST
    return _measure_once(bench, service, "est", headers, requests, ours.PROFILE, url=url, most=most)


def _scep(bench: Bench, service: Ours) -> Callable[[], float]:
    device = scepping.Device(service)
    headers = {"Content-Type": "application/x-pki-message"}
    return _measure_once(bench, service, "scep", headers, device.requests, scepping.PROFILE)


def _cmp(bench: Bench, service: Ours) -> Callable[[], float]:
    device = cmping.Device(service)
    headers = {"Content-Type": "application/pkixcmp"}
    return _measure_once(bench, service, "cmp", headers, device.requests, ours.PROFILE)


def _measure_once(
    bench: Bench,
    service: Ours,
    name: str,
    headers: Mapping[str, str],
    requests: Callable[[int], list[Request]],
    profile: str,
    url: str = "",
    most: int = _MOST_A_SECOND,
) -> Callable[[], float]:
    """Of a door whose requests are good once; on the plain listener, where no other is named."""
    file = bench.directory / f"{name}.requests"

    def measure() -> float:
        wanted = requests(bench.options.seconds * most)
        load.write(file, headers, wanted)
        before = len(service.serials(profile))
        measured = load.run(
            url or service.plain_url, file, seconds=bench.options.seconds, once=True
        )
        # A refusal in SCEP and CMP has the status 200: the records tell.
        return _counted(measured, len(service.serials(profile)) - before)

    return measure


def _counted(measured: Load, recorded: int) -> float:
    if not measured.requests <= recorded <= measured.requests + load.CONNECTIONS:
        raise load.LoadFailed(f"{measured.requests} answers, {recorded} records")
    return measured.rate
