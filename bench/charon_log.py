"""A log of charon as its filelog has it at level 1: ordinary days of many tunnels, with a wrong key now and then."""

import heapq
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

TUNNELS = 200
_START = 1_790_000_000.0
_FIRST = 300.0  # seconds in which all come up
_PROBED = 180.0  # seconds between two questions whether a peer is there
_REKEYED = (2970.0, 3300.0)  # rekey_time = 55m, and a tenth of it at random
_GUESSED = 500.0  # seconds between two peers with a wrong key
_NEAR = "192.0.2.1"
_NAMED = re.compile(r"\] <[^>]*> ")
_OFFER = "SA KE No N(NATD_S_IP) N(NATD_D_IP) N(FRAG_SUP) N(HASH_ALG) N(REDIR_SUP)"


def write(path: Path, lines: int, *, named: bool = True) -> None:
    """The same log each time, of so many lines. `named`: with `ike_name = yes`, which is not charon's default."""
    gateway, number = _Gateway(), 0
    with path.open("w", encoding="ascii") as opened:
        for at, thread, told in gateway.lines():
            text = told if named else _NAMED.sub("] ", told, count=1)
            opened.write(
                f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S} {thread:02d}{text}\n"
            )
            number += 1
            if number == lines:
                break


@dataclass
class _Site:
    """One tunnel: its number among them, that of its IKE SA, and number and SPIs of its Child SA."""

    number: int
    ike_id: int = 0
    child_id: int = 0
    spis: tuple[str, str] = ("", "")

    @property
    def far(self) -> str:
        """Its peer's address."""
        return f"198.51.{100 + self.number // 250}.{1 + self.number % 250}"


@dataclass
class _Gateway:
    draw: random.Random = field(default_factory=lambda: random.Random(6))
    ike_ids: int = 0
    child_ids: int = 0
    message: int = 1

    def lines(self) -> Iterator[tuple[float, int, str]]:
        """When, which thread, and the rest; without an end. A packet and its answer are of one thread."""
        draw = self.draw
        sites = [_Site(number) for number in range(TUNNELS)]
        due = [(_START + _FIRST * draw.random(), site.number, "up") for site in sites]
        due.append((_START + _FIRST, TUNNELS, "guessed"))
        heapq.heapify(due)
        while True:
            at, number, what = heapq.heappop(due)
            site = sites[number % TUNNELS]
            match what:
                case "up":
                    exchanges = [self._asked(site), self._came_up(site)]
                    for what, after in (("probed", _PROBED * draw.random()), ("rekeyed", 3000.0)):
                        heapq.heappush(due, (at + after, number, what))
                case "probed":
                    exchanges = [self._probed(site)]
                    heapq.heappush(due, (at + draw.expovariate(1 / _PROBED), number, what))
                case "rekeyed":
                    exchanges = self._rekeyed(site)
                    heapq.heappush(due, (at + draw.uniform(*_REKEYED), number, what))
                case _:
                    stranger = _Site(draw.randrange(TUNNELS))
                    exchanges = [self._asked(stranger), self._guessed(stranger)]
                    heapq.heappush(due, (at + draw.expovariate(1 / _GUESSED), number, what))
            for exchange in exchanges:
                thread = draw.randrange(5, 17)
                for text in exchange:
                    yield at, thread, text

    def _packets(self, site: _Site, ike: str, within: list[str], port: int = 4500) -> Iterator[str]:
        far, size = site.far, self.draw.randrange
        yield f"[NET] {ike} received packet: from {far}[{port}] to {_NEAR}[{port}] ({size(76, 400)} bytes)"
        yield from within
        yield f"[NET] {ike} sending packet: from {_NEAR}[{port}] to {far}[{port}] ({size(76, 400)} bytes)"

    def _asked(self, site: _Site) -> Iterator[str]:
        self.ike_ids += 1
        site.ike_id = self.ike_ids
        ike = f"<{site.ike_id}>"
        return self._packets(
            site,
            ike,
            [
                f"[ENC] {ike} parsed IKE_SA_INIT request 0 [ {_OFFER} ]",
                f"[IKE] {ike} {site.far} is initiating an IKE_SA",
                f"[CFG] {ike} selected proposal: IKE:AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384",
                f"[ENC] {ike} generating IKE_SA_INIT response 0 [ {_OFFER} ]",
            ],
            port=500,
        )

    def _came_up(self, site: _Site) -> Iterator[str]:
        ike = f"<site-{site.number}|{site.ike_id}>"
        self._new_child(site)
        ends = f"{_NEAR}[gw.example]...{site.far}[site-{site.number}.example]"
        return self._packets(
            site,
            ike,
            [
                f"[ENC] <{site.ike_id}> parsed IKE_AUTH request 1 [ IDi N(INIT_CONTACT) IDr AUTH SA TSi TSr ]",
                f"[CFG] <{site.ike_id}> looking for peer configs matching {ends}",
                f"[CFG] {ike} selected peer config 'site-{site.number}'",
                f"[IKE] {ike} authentication of 'site-{site.number}.example' with pre-shared key successful",
                f"[IKE] {ike} authentication of 'gw.example' (myself) with pre-shared key",
                f"[IKE] {ike} IKE_SA site-{site.number}[{site.ike_id}] established between {ends}",
                f"[CFG] {ike} selected proposal: ESP:AES_GCM_16_256/NO_EXT_SEQ",
                f"[IKE] {ike} CHILD_SA {_made(site)}",
                f"[ENC] {ike} generating IKE_AUTH response 1 [ IDr AUTH SA TSi TSr ]",
            ],
        )

    def _probed(self, site: _Site) -> Iterator[str]:
        ike, message = f"<site-{site.number}|{site.ike_id}>", self.draw.randrange(10_000)
        return self._packets(
            site,
            ike,
            [
                f"[ENC] {ike} parsed INFORMATIONAL request {message} [ ]",
                f"[ENC] {ike} generating INFORMATIONAL response {message} [ ]",
            ],
        )

    def _rekeyed(self, site: _Site) -> list[Iterator[str]]:
        ike, old, (near, far) = f"<site-{site.number}|{site.ike_id}>", site.child_id, site.spis
        self._new_child(site)
        exchange = [
            f"[ENC] {ike} parsed CREATE_CHILD_SA request 7 [ N(REKEY_SA) SA No KE TSi TSr ]",
            f"[CFG] {ike} selected proposal: ESP:AES_GCM_16_256/ECP_384/NO_EXT_SEQ",
            f"[IKE] {ike} inbound CHILD_SA {_made(site)}",
            f"[ENC] {ike} generating CREATE_CHILD_SA response 7 [ SA No KE TSi TSr ]",
        ]
        deletion = [
            f"[ENC] {ike} parsed INFORMATIONAL request 8 [ D ]",
            f"[IKE] {ike} received DELETE for ESP CHILD_SA with SPI {far}",
            f"[IKE] {ike} closing CHILD_SA net{{{old}}} with SPIs {near}_i (84000 bytes) {far}_o (84000 bytes)"
            f" and {_selectors(site)}",
            f"[IKE] {ike} sending DELETE for ESP CHILD_SA with SPI {near}",
            f"[IKE] {ike} CHILD_SA closed",
            f"[IKE] {ike} outbound CHILD_SA {_made(site)}",
            f"[ENC] {ike} generating INFORMATIONAL response 8 [ D ]",
        ]
        return [self._packets(site, ike, each) for each in (exchange, deletion)]

    def _guessed(self, site: _Site) -> Iterator[str]:
        ike = f"<site-{site.number}|{site.ike_id}>"
        return self._packets(
            site,
            ike,
            [
                f"[ENC] <{site.ike_id}> parsed IKE_AUTH request 1 [ IDi N(INIT_CONTACT) IDr AUTH SA TSi TSr ]",
                f"[CFG] {ike} selected peer config 'site-{site.number}'",
                f"[IKE] {ike} tried 1 shared key for '{_NEAR}' - '{site.far}', but MAC mismatched",
                f"[ENC] {ike} generating IKE_AUTH response 1 [ N(AUTH_FAILED) ]",
            ],
        )

    def _new_child(self, site: _Site) -> None:
        self.child_ids += 1
        site.child_id = self.child_ids
        site.spis = (f"{self.draw.getrandbits(32):08x}", f"{self.draw.getrandbits(32):08x}")


def _made(site: _Site) -> str:
    spis = f"{site.spis[0]}_i {site.spis[1]}_o"
    return f"net{{{site.child_id}}} established with SPIs {spis} and {_selectors(site)}"


def _selectors(site: _Site) -> str:
    return f"TS 10.{site.number}.0.0/16 === 10.255.0.0/16"
