"""Certificates to revoke: issued over HTTP before the clock starts, each handed out once."""

import json
from collections.abc import Callable, Iterable

from bench import load, material, openbao, ours
from bench.load import Request
from bench.openbao import Mount, OpenBao
from bench.ours import Ours
from bench.rounds import Bench

_BURST_SECONDS = 3
_BURSTS = 80


class Supply:
    """Hands out serial numbers that were not handed out before, and has more issued when they run out."""

    def __init__(self, issue: Callable[[int], object], listed: Callable[[], Iterable[int]]) -> None:
        self._issue = issue
        self._listed = listed
        self._used: set[int] = set()

    def take(self, count: int) -> list[int]:
        """`count` of them. Raises LoadFailed if they cannot be issued in a few minutes."""
        for _ in range(_BURSTS):
            unused = [serial for serial in self._listed() if serial not in self._used]
            if len(unused) >= count:
                taken = material.deal(unused, count)
                self._used.update(taken)
                return taken
            self._issue(1 if count - len(unused) < 200 else _BURST_SECONDS)
        raise load.LoadFailed(f"{count} certificates could not be issued")


def of_ours(bench: Bench, service: Ours) -> Supply:
    """Certificates of our issuing authority."""
    bodies = ours.issue_bodies(material.certificate_requests(100))
    requests = [Request("POST", "/v1/certificates", body) for body in bodies]
    file = load.write(bench.directory / "ours.issue", service.headers(), requests)
    return Supply(lambda seconds: load.run(service.url, file, seconds=seconds), service.serials)


def of_openbao(bench: Bench, peer: OpenBao, mount: Mount) -> Supply:
    """Certificates of one of OpenBao's engines."""
    bodies = openbao.sign_bodies(material.certificate_requests(100))
    path = f"/v1/{mount.path}/sign/{openbao.ROLE}"
    file = load.write(
        bench.directory / f"{mount.path}.issue",
        peer.headers(),
        [Request("POST", path, body) for body in bodies],
    )
    return Supply(
        lambda seconds: load.run(peer.url, file, seconds=seconds), lambda: peer.serials(mount)
    )


def our_revocations(serials: Iterable[int]) -> list[Request]:
    """A request for each."""
    body = json.dumps({"reason": "superseded"}).encode()
    return [
        Request("POST", f"/v1/certificates/{ours.hexadecimal(serial)}/revoke", body)
        for serial in serials
    ]


def peer_revocations(mount: Mount, serials: Iterable[int]) -> list[Request]:
    """A request for each. OpenBao takes no reason."""
    return [
        Request(
            "POST",
            f"/v1/{mount.path}/revoke",
            json.dumps({"serial_number": openbao.colons(serial)}).encode(),
        )
        for serial in serials
    ]
