"""Issuance: stored and audited certificates a second, POST /v1/certificates against OpenBao's `sign`."""

from pathlib import Path

from bench import load, material, openbao, ours
from bench.load import Request
from bench.openbao import Mount, OpenBao
from bench.ours import Ours
from bench.rounds import Bench, Row, alone, alternate, compare, turn
from bench.sides import start_openbao, start_ours

_WHAT = ("issuance", "certificates", "1/s")
_LATENCY = ("issuance", "latency_p99", "ms")


def run(bench: Bench) -> list[Row]:
    """Measure both sides, and that they recorded what they answered."""
    csrs = material.certificate_requests()
    service = start_ours(bench)
    ours_file = _ours_file(bench, service, csrs)
    seconds = bench.options.seconds
    latency: dict[str, list[float]] = {"ours": [], "peer": []}

    if bench.options.ours_only:

        def ours_alone() -> float:
            return load.run(service.url, ours_file, seconds=seconds).rate

        ours_alone()
        return [alone(_WHAT, alternate(bench, {"ours": ours_alone})["ours"])]

    peer = start_openbao(bench)
    mount = peer.mount("pki")
    peer_file = _peer_file(bench, peer, mount, csrs)

    def measure_ours() -> float:
        before = len(service.serials())
        with turn(service.program, [peer.program]):
            measured = load.run(service.url, ours_file, seconds=seconds)
        _check_recorded("ours", measured.requests, len(service.serials()) - before)
        latency["ours"].append(measured.p99)
        return measured.rate

    def measure_peer() -> float:
        before = len(peer.serials(mount))
        with turn(peer.program, [service.program]):
            measured = load.run(peer.url, peer_file, seconds=seconds)
        _check_recorded("peer", measured.requests, len(peer.serials(mount)) - before)
        latency["peer"].append(measured.p99)
        return measured.rate

    bench.say("warming up")
    measure_ours(), measure_peer()
    latency = {"ours": [], "peer": []}
    figures = alternate(bench, {"ours": measure_ours, "peer": measure_peer})
    bench.remarks.append(f"audit events on record: {service.audit_events():,}")
    name = openbao.name()
    return [
        compare(_WHAT, figures["ours"], name, figures["peer"], note="stored and audited"),
        compare(_LATENCY, latency["ours"], name, latency["peer"], less_is_better=True),
    ]


def _ours_file(bench: Bench, service: Ours, csrs: list[str]) -> Path:
    requests = [Request("POST", "/v1/certificates", body) for body in ours.issue_bodies(csrs)]
    return load.write(bench.directory / "ours.requests", service.headers(), requests)


def _peer_file(bench: Bench, peer: OpenBao, mount: Mount, csrs: list[str]) -> Path:
    path = f"/v1/{mount.path}/sign/{openbao.ROLE}"
    requests = [Request("POST", path, body) for body in openbao.sign_bodies(csrs)]
    return load.write(bench.directory / "peer.requests", peer.headers(), requests)


def _check_recorded(side: str, answered: int, recorded: int) -> None:
    """Raise LoadFailed if fewer are on record than were answered; requests cut off at the end may be more."""
    if not answered <= recorded <= answered + load.CONNECTIONS:
        raise load.LoadFailed(f"{side}: {answered} answers, {recorded} records")
