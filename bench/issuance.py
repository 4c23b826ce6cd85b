"""Issuance: stored and audited certificates a second, POST /v1/certificates against OpenBao's `sign`."""

from bench import load, material, openbao, ours
from bench.load import Request
from bench.rounds import Bench, Row, alone, alternate, compare, turn
from bench.sides import start_openbao, start_ours

_WHAT = ("issuance", "certificates", "1/s")
_LATENCY = ("issuance", "latency_p99", "ms")


def run(bench: Bench) -> list[Row]:
    """Measure both sides, and that they recorded what they answered."""
    csrs = material.certificate_requests()
    service = start_ours(bench)
    our_requests = [Request("POST", "/v1/certificates", body) for body in ours.issue_bodies(csrs)]
    ours_file = load.write(bench.directory / "ours.requests", service.headers(), our_requests)
    seconds = bench.options.seconds
    latency: dict[str, list[float]] = {"ours": [], "peer": []}

    if bench.options.ours_only:

        def ours_alone() -> float:
            return load.run(service.url, ours_file, seconds=seconds).rate

        ours_alone()
        return [alone(_WHAT, alternate(bench, {"ours": ours_alone})["ours"])]

    peer = start_openbao(bench)
    mount = peer.mount("pki")
    peer_requests = [
        Request("POST", f"/v1/{mount.path}/sign/{openbao.ROLE}", body)
        for body in openbao.sign_bodies(csrs)
    ]
    peer_file = load.write(bench.directory / "peer.requests", peer.headers(), peer_requests)

    def measure_ours() -> float:
        before = len(service.serials())
        with turn(service.program, [peer.program]):
            measured = load.run(service.url, ours_file, seconds=seconds)
        check_recorded("ours", measured.requests, len(service.serials()) - before)
        latency["ours"].append(measured.p99)
        return measured.rate

    def measure_peer() -> float:
        before = len(peer.serials(mount))
        with turn(peer.program, [service.program]):
            measured = load.run(peer.url, peer_file, seconds=seconds)
        check_recorded("peer", measured.requests, len(peer.serials(mount)) - before)
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


def check_recorded(side: str, answered: int, recorded: int) -> None:
    """Raise LoadFailed if fewer are on record than were answered; requests cut off at the end may be more."""
    if not answered <= recorded <= answered + load.CONNECTIONS:
        raise load.LoadFailed(f"{side}: {answered} answers, {recorded} records")
