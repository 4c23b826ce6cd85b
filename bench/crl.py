"""CRLs: one more revocation when a million are on record, and the cost of a complete list."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median

from cryptography import x509

from bench import load, material, openbao, watch
from bench.ours import Ours, hexadecimal
from bench.rounds import Bench, Row, alone, compare
from bench.sides import start_openbao, start_ours
from bench.supply import of_openbao

_CROWD, _FEW = "crowd", "few"
_SHARDS = 128
_PUBLISH_LIMIT = 1.0  # seconds, issue 2
_MEMORY_LIMIT = 1024.0  # MiB, issue 2


@dataclass(frozen=True)
class _Size:
    crowd: int
    few: int = 9_000  # more would take OpenBao's `revoke` too long
    revocations: int = 5
    publications: int = 3
    busy_seconds: float = 30.0
    busy_most: int = 90


_QUICK = _Size(crowd=20_000, few=300, revocations=2, publications=2, busy_seconds=2.0, busy_most=6)


@dataclass(frozen=True)
class _Ours:
    """Seconds of our side; `memory` is the peak of each process in MiB, the largest first."""

    quiet: list[float]
    busy: list[float]
    few: list[float]
    full_crowd: list[float]
    full_few: list[float]
    memory: list[float]


@dataclass(frozen=True)
class _Peer:
    """Seconds of the peer with so many entries on its list."""

    rebuilds: list[float]
    revocations: list[float]
    entries: int


def run(bench: Bench) -> list[Row]:
    """Fill our records, measure; then the peer with as many as it can take."""
    size = _QUICK if bench.options.quick else _Size(crowd=bench.options.revoked)
    ours = _measure_ours(bench, size)
    rows = _against_limits(size, ours)
    if bench.options.ours_only:
        return [*rows, alone(("crl", f"full_list_of_{size.crowd}", "s"), ours.full_crowd)]
    return [*rows, *_against_openbao(size, ours, _measure_peer(bench, size))]


def _against_limits(size: _Size, ours: _Ours) -> list[Row]:
    held = f"{size.crowd:,} revoked in {_SHARDS} shards"
    limited = [
        (
            ("crl", "revoke_to_shard_served", "s"),
            ours.quiet,
            _PUBLISH_LIMIT,
            f"{held}; from sending the request until every process serves the list",
        ),
        (
            ("crl", "revoke_to_shard_served_while_busy", "s"),
            ours.busy,
            _PUBLISH_LIMIT,
            f"{len(ours.busy)} revocations one after the other; complete lists are built meanwhile",
        ),
        (
            ("crl", "peak_memory_of_largest_process", "MiB"),
            ours.memory[:1],
            _MEMORY_LIMIT,
            f"{held}; all processes: " + ", ".join(f"{one:.0f}" for one in ours.memory),
        ),
    ]
    return [
        compare(what, figures, "limit", [limit], less_is_better=True, note=note)
        for what, figures, limit, note in limited
    ]


def _against_openbao(size: _Size, ours: _Ours, peer: _Peer) -> list[Row]:
    name = f"{openbao.name()} with {peer.entries:,} revoked"
    per_entry = [seconds / peer.entries * 1e6 for seconds in peer.rebuilds]

    def each(seconds: list[float], count: int) -> list[float]:
        return [one / count * 1e6 for one in seconds]

    return [
        compare(
            ("crl", "revoke_to_list_served", "s"),
            ours.few,
            name,
            peer.revocations,
            less_is_better=True,
            note=f"ours: one list of {size.few:,}, made after the answer; OpenBao: before it",
        ),
        compare(
            ("crl", f"full_list_of_{size.few}", "µs/entry"),
            each(ours.full_few, size.few),
            name,
            per_entry,
            less_is_better=True,
            note="same size; both read the records, sign, and store the list",
        ),
        compare(
            ("crl", f"full_list_of_{size.crowd}", "µs/entry"),
            each(ours.full_crowd, size.crowd),
            name,
            per_entry,
            less_is_better=True,
            note=f"ours: {median(ours.full_crowd):.1f} s in all; not the size of the peer's",
        ),
    ]


def _measure_ours(bench: Bench, size: _Size) -> _Ours:
    service = start_ours(bench, serving=False)
    bench.say(f"recording {size.crowd:,} revoked certificates")
    service.seed("crowd", _CROWD, str(size.crowd), str(_SHARDS))
    service.seed("crowd", _FEW, str(size.few), "0")
    bench.say("publishing complete lists")
    full_crowd = service.seed("publish", _CROWD, str(size.publications))["full_seconds"]
    full_few = service.seed("publish", _FEW, str(size.publications))["full_seconds"]
    bench.say(f"the complete list of {size.crowd:,}: {median(full_crowd):.1f} s")
    service.start()
    samples = _samples(service, "gateway-sharded", _CROWD, size.revocations + size.busy_most)
    others = _samples(service, "gateway", _FEW, size.revocations)
    complete = f"{service.plain_url}/crl/{_CROWD}.crl"
    quiet, busy, few = [], [], []
    for sample in samples[: size.revocations]:
        quiet.append(_revoke_and_watch(service, sample))
        later = watch.until_shown(complete, sample.serial, service.program)
        bench.say(f"on its shard after {quiet[-1]:.2f} s, on the complete list {later:.1f} s later")
    end = time.monotonic() + size.busy_seconds
    for sample in samples[size.revocations :]:
        busy.append(_revoke_and_watch(service, sample))
        if time.monotonic() > end:
            break
    bench.say(f"one after the other: {median(busy):.2f} s, at worst {max(busy):.2f} s")
    watch.until_shown(complete, sample.serial, service.program)
    for sample in others:
        few.append(_revoke_and_watch(service, sample))
    bench.say(f"of {size.few:,} on one list: after {median(few):.2f} s")
    memory = sorted((peak.resident / 2**20 for peak in service.program.peaks()), reverse=True)
    service.stop()
    return _Ours(quiet, busy, few, full_crowd, full_few, memory)


@dataclass(frozen=True)
class _Sample:
    """A certificate to revoke, and the list that its distribution point names."""

    serial: int
    url: str


def _samples(service: Ours, profile: str, authority: str, count: int) -> list[_Sample]:
    made = []
    for csr in material.certificate_requests(count):
        wanted = {"csr": csr, "profile": profile, "authority": authority}
        issued = service.call("POST", "/v1/certificates", wanted)
        certificate = x509.load_pem_x509_certificate(issued["certificate"].encode())
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        names = points[0].full_name or []
        made.append(_Sample(certificate.serial_number, str(names[0].value)))
    return made


def _revoke_and_watch(service: Ours, sample: _Sample) -> float:
    path = f"/v1/certificates/{hexadecimal(sample.serial)}/revoke"

    def revoke() -> None:
        service.call("POST", path, {"reason": "superseded"})

    return watch.seconds_until_shown(sample.url, sample.serial, revoke)


def _measure_peer(bench: Bench, size: _Size) -> _Peer:
    peer = start_openbao(bench)
    mount = peer.mount("pki", crl={"auto_rebuild": True})
    supply = of_openbao(bench, peer, mount)
    bench.say(f"OpenBao: issuing and revoking {size.few:,}")

    def revoke(serial: int) -> None:
        body = {"serial_number": openbao.colons(serial)}
        peer.call("POST", f"{mount.path}/revoke", body)

    with ThreadPoolExecutor(load.CONNECTIONS) as together:
        list(together.map(revoke, supply.take(size.few)))
    peer.call("POST", f"{mount.path}/config/crl", {"auto_rebuild": False})
    rebuilds = [peer.rebuild_crl(mount) for _ in range(size.publications)]
    entries = len(peer.crl(mount))
    if entries != size.few:
        raise load.LoadFailed(f"OpenBao: {entries} of {size.few} on its list")
    revocations = []
    for serial in supply.take(size.revocations):
        began = time.perf_counter()
        revoke(serial)
        revocations.append(time.perf_counter() - began)
        if peer.crl(mount).get_revoked_certificate_by_serial_number(serial) is None:
            raise load.LoadFailed("OpenBao: a revocation was answered and is not on the list")
    bench.say(f"OpenBao: {entries:,} entries rebuilt in {min(rebuilds):.3f} s at best")
    return _Peer(rebuilds, revocations, entries)
