"""`python -m bench.ingest_clients PORT ROOT PLACE GATEWAYS TUNNELS SIZE SECONDS DAYS`: gateways that report events.

Each has a thread, and a connection over TLS with its client certificate. Bodies are made while the last batch is on its
way. The events begin so many days ago. Prints events, seconds, and the 99th percentile of a batch.
"""

import http.client
import json
import ssl
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

# An hour between two rekeys of a tunnel, as by default.
_PERIOD = 3600.0


def events(tunnels: int, start: datetime) -> Iterator[str]:
    """An ordinary life as JSON: each tunnel comes up, and its Child SA is rekeyed once an hour."""
    for turn in range(1 << 30):
        for tunnel in range(tunnels):
            # Never the same age twice, never out of order.
            shift = (tunnel + 0.4 * ((turn * 7 + tunnel * 3) % 11) / 11) * _PERIOD / tunnels / 2
            at = start + timedelta(seconds=turn * _PERIOD + shift)
            number = turn * tunnels + tunnel
            what: dict[str, object] = {"event": "child_rekeyed"}
            if turn == 0:
                what = {"event": "ike_established", "identity": f"CN=gw{tunnel}.example"}
            elif turn == 1:
                what = {"event": "child_established", "child": "net", "child_id": number}
            else:
                what |= {"child": "net", "child_id": number - tunnels, "new_child_id": number}
            if turn:
                what |= {"spi_in": f"{number:08x}", "spi_out": f"{number + (1 << 28):08x}"}
            yield json.dumps(
                {
                    **what,
                    "time": at.isoformat(),
                    "peer": f"192.0.2.{tunnel}",
                    "connection": f"tunnel-{tunnel}",
                    "ike_id": tunnel + 1,
                }
            )


class Reporter:
    """One gateway."""

    def __init__(self, port: int, root: Path, certificate: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(root)
        context.load_cert_chain(certificate)
        self._connection = http.client.HTTPSConnection(
            "localhost", port, context=context, timeout=60
        )

    def run(self, made: Iterator[str], size: int, until: float) -> list[float]:
        """Report until then; gives how long each batch took."""
        took: list[float] = []
        first, listed = 0, ""
        while time.monotonic() < until:
            listed = ",".join(next(made) for _ in range(size))
            body = f'{{"stream":"size-{size}","first":{first},"events":[{listed}]}}'
            begun = time.monotonic()
            self._send(body.encode(), size)
            took.append(time.monotonic() - begun)
            first += size
        # As an agent says now and then that nothing else has happened: rules wait a moment for what comes out of order.
        quiet = datetime.fromisoformat(json.loads(f"[{listed}]")[-1]["time"]) + timedelta(minutes=1)
        body = (
            f'{{"stream":"size-{size}","first":{first},"events":[],"until":"{quiet.isoformat()}"}}'
        )
        self._send(body.encode(), 0)
        return took

    def _send(self, body: bytes, size: int) -> None:
        while True:
            headers = {"Content-Type": "application/json"}
            self._connection.request("POST", "/v1/gateways/self/sa-events", body, headers)
            answer = self._connection.getresponse()
            said = answer.read()
            if answer.status == http.client.TOO_MANY_REQUESTS:
                time.sleep(float(answer.headers["Retry-After"]))
                continue
            if answer.status != http.client.OK or json.loads(said)["stored"] != size:
                raise ConnectionError(f"{answer.status} {said[:500]!r}")
            return


def main() -> None:
    """Report, and tell how much it was."""
    port, root, place, *numbers = sys.argv[1:]
    gateways, tunnels, size, seconds, days = map(int, numbers)
    start = datetime.now(UTC) - timedelta(days=days)
    crowd = [
        Reporter(int(port), Path(root), Path(place) / f"{each}.pem") for each in range(gateways)
    ]
    begun = time.monotonic()
    with ThreadPoolExecutor(gateways) as pool:
        jobs = [
            pool.submit(each.run, events(tunnels, start), size, begun + seconds) for each in crowd
        ]
        took = sorted(each for job in jobs for each in job.result())
    spent = time.monotonic() - begun
    p99 = took[int(len(took) * 0.99)]
    print(json.dumps({"events": len(took) * size, "seconds": spent, "p99": p99}))


if __name__ == "__main__":
    main()
