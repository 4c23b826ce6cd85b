"""OCSP: answers a second over plain HTTP, against OpenBao and against our own server saying a constant."""

import base64
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import urllib3
from cryptography import x509

from bench import load, material, openbao
from bench.load import Request
from bench.material import Asked
from bench.ours import ISSUING, hexadecimal
from bench.processes import Program, free_ports, plain_environment, wait_until
from bench.rounds import Bench, Row, alone, alternate, compare, turn
from bench.sides import start_openbao, start_ours
from bench.supply import Supply, of_openbao, of_ours

_ISSUED, _QUICK_ISSUED = 1000, 100
_REVOKED_EACH = 10  # one of so many
_KINDS = ("post", "get", "nonce")
_NOTES = {
    "post": "ours: signed in advance; OpenBao: signed at each request",
    "get": "ours: signed in advance; OpenBao: signed at each request",
    "nonce": "requests with a nonce: both sign at each request; only ours puts the nonce in",
}
_TYPE = {"Content-Type": "application/ocsp-request"}


@dataclass
class Responder:
    """One side: where it answers, and what it is asked in each way."""

    base: str
    path: str
    program: Program
    asked: dict[str, list[Asked]]
    files: dict[str, Path] = field(default_factory=dict)

    def prepare(self, directory: Path, name: str) -> None:
        """Write the requests for wrk."""
        for kind, asked in self.asked.items():
            requests = [self.request(kind, one) for one in asked]
            self.files[kind] = load.write(directory / f"{name}.{kind}", _TYPE, requests)

    def request(self, kind: str, asked: Asked) -> Request:
        """The HTTP request of a question."""
        if kind == "get":
            # RFC 6960 §A.1
            text = quote(base64.b64encode(asked.request).decode(), safe="")
            return Request("GET", f"{self.path}/{text}")
        return Request("POST", self.path, asked.request)

    def check(self) -> bytes:
        """Ask everything once and look at the answers; gives one of them."""
        answer = b""
        with urllib3.PoolManager(retries=False, timeout=30.0) as http:
            for kind, questions in self.asked.items():
                for asked in questions:
                    wanted = self.request(kind, asked)
                    answer = http.request(
                        wanted.method, self.base + wanted.path, body=wanted.body, headers=_TYPE
                    ).data
                    material.check_ocsp(answer, asked)
        return answer

    def measure(self, kind: str, seconds: int, others: Sequence[Program]) -> float:
        """Answers a second."""
        with turn(self.program, others):
            return load.run(self.base, self.files[kind], seconds=seconds).rate


def run(bench: Bench) -> list[Row]:
    """Measure POST, GET, and POST with a nonce; every answer is verified before and after."""
    sides = {"ours": _ours(bench)}
    if not bench.options.ours_only:
        sides["peer"] = _openbao(bench)
    answers = {name: side.check() for name, side in sides.items()}
    for name, side in sides.items():
        side.prepare(bench.directory, name)
    sides["constant"] = _constant(bench, sides["ours"], answers["ours"])
    rows: list[Row] = []
    for kind in _KINDS:
        rows += _measure(bench, kind, sides)
    for name in sides.keys() - {"constant"}:
        sides[name].check()
    return rows


def _measure(bench: Bench, kind: str, sides: dict[str, Responder]) -> list[Row]:
    taking_part = {
        name: side for name, side in sides.items() if not (kind == "nonce" and name == "constant")
    }

    def measured(side: Responder, seconds: int) -> Callable[[], float]:
        others = [other.program for other in sides.values() if other is not side]
        return lambda: side.measure(kind, seconds, others)

    bench.say(f"{kind}: warming up")
    for side in taking_part.values():
        measured(side, min(2, bench.options.seconds))()
    figures = alternate(
        bench,
        {name: measured(side, bench.options.seconds) for name, side in taking_part.items()},
    )
    what = ("ocsp", f"answers_{kind}", "1/s")
    mine = figures["ours"]
    if "peer" in figures:
        rows = [compare(what, mine, openbao.name(), figures["peer"], note=_NOTES[kind])]
    else:
        rows = [alone(what, mine, note=_NOTES[kind])]
    if "constant" in figures:
        metric = "ocsp_vs_constant" if kind == "post" else f"ocsp_vs_constant_{kind}"
        rows.append(
            compare(
                ("ocsp", metric, "1/s"),
                mine,
                "the same server with a constant answer",
                figures["constant"],
            )
        )
    return rows


def _ours(bench: Bench) -> Responder:
    service = start_ours(bench)
    issuer = service.issuer()
    asked = _issue_and_revoke(
        bench,
        of_ours(bench, service),
        issuer,
        lambda serial: service.call(
            "POST", f"/v1/certificates/{hexadecimal(serial)}/revoke", {"reason": "superseded"}
        ),
    )
    return Responder(service.plain_url, f"/ocsp/{ISSUING}", service.program, asked)


def _openbao(bench: Bench) -> Responder:
    peer = start_openbao(bench)
    mount = peer.mount("pki")
    asked = _issue_and_revoke(
        bench,
        of_openbao(bench, peer, mount),
        mount.issuer,
        lambda serial: peer.call(
            "POST", f"{mount.path}/revoke", {"serial_number": openbao.colons(serial)}
        ),
    )
    return Responder(peer.plain_url, f"/v1/{mount.path}/ocsp", peer.program, asked)


def _issue_and_revoke(
    bench: Bench, supply: Supply, issuer: x509.Certificate, revoke: Callable[[int], object]
) -> dict[str, list[Asked]]:
    count = _QUICK_ISSUED if bench.options.quick else _ISSUED
    serials = supply.take(count)
    ended = frozenset(serials[::_REVOKED_EACH])
    for serial in ended:
        revoke(serial)
    plain = [Asked(material.ocsp_request(issuer, one), one, one in ended) for one in serials]
    nonces = [
        Asked(material.ocsp_request(issuer, one, secrets.token_bytes(16)), one, one in ended)
        for one in serials
    ]
    return {"post": plain, "get": plain, "nonce": nonces}


def _constant(bench: Bench, like: Responder, answer: bytes) -> Responder:
    file = bench.directory / "answer.der"
    file.write_bytes(answer)
    port = free_ports(1)[0]
    program = Program(
        [sys.executable, "-m", "bench.constant", str(port), "1", str(file)],
        log=bench.directory / "constant.log",
        cwd=Path(__file__).parents[1],
        environment=plain_environment(),
    )
    bench.stack.callback(program.stop)
    base = f"http://127.0.0.1:{port}"
    http = urllib3.PoolManager(retries=False, timeout=10.0)

    def answers() -> bool:
        try:
            return http.request("GET", base + like.path).data == answer
        except urllib3.exceptions.HTTPError:
            return False

    wait_until(answers, seconds=30, what="the constant server's start", program=program)
    http.clear()
    return Responder(base, like.path, program, {}, like.files)
