"""Issuance from a token: certificates a second with the CA's key in SoftHSM2, against a bare loop of signatures.

Both sides have the same number of sessions of the same token, and the same key: one API process with one session, and
one thread with one session. The bare loop is what the token allows.
"""

import json
import subprocess
import sys
from pathlib import Path

from bench import load, material, ours
from bench.load import Request
from bench.ours import Ours
from bench.rounds import Bench, Row, alone, alternate, compare, turn
from bench.softhsm import LABEL, MODULE, SoftHsm

SESSIONS = 1
ALGORITHM = "rsa-4096"
_WHAT = ("hsm", "certificates", "1/s")


def run(bench: Bench) -> list[Row]:
    """Measure both sides."""
    bench.say("starting ikewarden with its keys in SoftHSM2")
    token = SoftHsm(bench.directory / "softhsm")
    directory = bench.directory / "ours"
    directory.mkdir()
    service = Ours(
        directory,
        database_url=bench.database_url,
        options=(
            *("--algorithm", ALGORITHM, "--pkcs11", str(MODULE)),
            *("--token", LABEL, "--pin-file", str(token.pin_file)),
        ),
        environment={
            **token.environment,
            "IKEWARDEN_API__WORKERS": "1",
            "IKEWARDEN_KEYS__PKCS11__SESSIONS": str(SESSIONS),
        },
    )
    bench.stack.callback(service.stop)
    service.start()
    requests = [
        Request("POST", "/v1/certificates", body)
        for body in ours.issue_bodies(material.certificate_requests())
    ]
    file = load.write(bench.directory / "ours.requests", service.headers(), requests)
    seconds = bench.options.seconds

    def measure_ours() -> float:
        before = len(service.serials())
        measured = load.run(service.url, file, seconds=seconds)
        recorded = len(service.serials()) - before
        # At the end each connection may have an answer that was not counted any more, and a request that was cut off.
        if not measured.requests <= recorded <= measured.requests + 2 * load.CONNECTIONS:
            raise load.LoadFailed(f"ours: {measured.requests} answers, {recorded} records")
        return measured.rate

    def measure_loop() -> float:
        with turn(_Nothing(), [service.program]):
            return _loop(token, seconds)

    bench.say("warming up")
    measure_ours()
    if bench.options.ours_only:
        return [alone(_WHAT, alternate(bench, {"ours": measure_ours})["ours"])]
    figures = alternate(bench, {"ours": measure_ours, "loop": measure_loop})
    note = f"{ALGORITHM}, {SESSIONS} session on each side; stored and audited"
    return [compare(_WHAT, figures["ours"], "bare PKCS#11 signatures", figures["loop"], note=note)]


class _Nothing:
    """The loop is started when its turn comes."""

    def pause(self) -> None:
        return

    def resume(self) -> None:
        return


def _loop(token: SoftHsm, seconds: int) -> float:
    words = [str(MODULE), LABEL, "ca-issuing-", str(SESSIONS), str(seconds)]
    done = subprocess.run(
        [sys.executable, "-m", "bench.hsm_side", *words],
        cwd=Path(__file__).parents[1],
        env={**token.environment},
        input=token.pin + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise load.LoadFailed(f"the bare loop failed: {done.stderr[-500:]}")
    return float(json.loads(done.stdout)["rate"])
