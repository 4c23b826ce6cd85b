"""Revocation: acknowledged revocations a second, against OpenBao with both of its ways to build the CRL."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import urllib3
from cryptography import x509

from bench import load, openbao
from bench.load import Request
from bench.ours import ISSUING, Ours
from bench.processes import Program, wait_until
from bench.rounds import Bench, Row, alone, alternate, compare, turn
from bench.sides import start_openbao, start_ours
from bench.supply import Supply, of_openbao, of_ours, our_revocations, peer_revocations

_METRIC = "revocations"
_TRIES = 4


@dataclass
class Revoker:
    """One side: lists of revocations sized after what it managed before."""

    url: str
    headers: dict[str, str]
    file: Path
    supply: Supply
    requests: Callable[[Iterable[int]], list[Request]]
    revoked: Callable[[], int]
    program: Program
    guess: float = 400.0
    ended: float = 0.0

    def measure(self, seconds: int, others: Sequence[Program]) -> float:
        """Revocations a second. A list that runs dry is not counted; the next try has a longer one."""
        for _ in range(_TRIES):
            serials = self.supply.take(int(self.guess * seconds * 1.5) + 64)
            load.write(self.file, self.headers, self.requests(serials))
            before = self.revoked()
            try:
                with turn(self.program, others):
                    measured = load.run(self.url, self.file, seconds=seconds, once=True)
                    self.ended = time.perf_counter()
            except load.RanDry:
                self.guess *= 2
                continue
            recorded = self.revoked() - before
            if recorded < measured.requests:
                raise load.LoadFailed(f"{measured.requests} answers, {recorded} records")
            self.guess = measured.rate
            return measured.rate
        raise load.RanDry


def run(bench: Bench) -> list[Row]:
    """Measure all sides, and that our CRL tells of every revocation soon after."""
    seconds = bench.options.seconds
    service = start_ours(bench)
    mine = Revoker(
        url=service.url,
        headers=service.headers(),
        file=bench.directory / "ours.revoke",
        supply=of_ours(bench, service),
        requests=our_revocations,
        revoked=service.revoked,
        program=service.program,
    )
    if bench.options.ours_only:
        mine.measure(1, [])
        figures = alternate(bench, {"ours": lambda: mine.measure(seconds, [])})
        return [alone(("revocation", _METRIC, "1/s"), figures["ours"]), _lag(bench, service, mine)]
    each, later = _peers(bench)
    bench.say("warming up")
    for one, other in ((mine, each), (each, mine), (later, mine)):
        one.measure(min(2, seconds), [other.program])
    figures = alternate(
        bench,
        {
            "ours": lambda: mine.measure(seconds, [each.program]),
            "CRL at each": lambda: each.measure(seconds, [mine.program]),
            "CRL later": lambda: later.measure(seconds, [mine.program]),
        },
    )
    name = openbao.name()
    return [
        compare(
            ("revocation", _METRIC, "1/s"),
            figures["ours"],
            f"{name}, CRL rebuilt at each revocation (default)",
            figures["CRL at each"],
            note="ours: on the CRL within about a second",
        ),
        compare(
            ("revocation", f"{_METRIC}_vs_auto_rebuild", "1/s"),
            figures["ours"],
            f"{name}, auto_rebuild (CRL up to 15 min later)",
            figures["CRL later"],
            note="ours: on the CRL within about a second",
        ),
        _lag(bench, service, mine),
    ]


def _peers(bench: Bench) -> tuple[Revoker, Revoker]:
    peer = start_openbao(bench)
    made = []
    for path, crl in (("pki", None), ("pki-auto", {"auto_rebuild": True, "enable_delta": True})):
        mount = peer.mount(path, crl=crl)
        made.append(
            Revoker(
                url=peer.url,
                headers=peer.headers(),
                file=bench.directory / f"{path}.revoke",
                supply=of_openbao(bench, peer, mount),
                requests=lambda serials, mount=mount: peer_revocations(mount, serials),  # type: ignore[misc]  # a default that binds
                revoked=lambda mount=mount: peer.revoked(mount),  # type: ignore[misc]  # a default that binds
                program=peer.program,
            )
        )
    return made[0], made[1]


def _lag(bench: Bench, service: Ours, mine: Revoker) -> Row:
    """Seconds from the end of many revocations until the complete CRL has them all."""
    mine.measure(min(2, bench.options.seconds), [])
    wanted = service.revoked()
    url = f"{service.plain_url}/crl/{ISSUING}.crl"
    with urllib3.PoolManager(retries=False, timeout=30.0) as http:

        def complete() -> bool:
            answer = http.request("GET", url)
            return answer.status == 200 and len(x509.load_der_x509_crl(answer.data)) >= wanted

        wait_until(complete, seconds=120, what="a CRL with all of them", program=service.program)
    return alone(
        ("revocation", "end_of_burst_to_complete_crl", "s"),
        [time.perf_counter() - mine.ended],
        note=f"until the list with all {wanted:,} was served; asked 20 times a second",
    )
