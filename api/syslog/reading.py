"""Lines, from whichever listener, on their way to the reader of their device and from there to the records."""

import logging
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from api.syslog.delivery import Delivery
from api.syslog.device import Device
from api.syslog.framing import line_of
from api.syslog.senders import Senders
from api.syslog.tally import CUT, Tally

_LOG = logging.getLogger("ikewarden.syslog")
#: So many devices are told apart; then the one that was silent longest is forgotten.
MOST_DEVICES: Final = 4096
_SAY_EVERY: Final = timedelta(seconds=60)
# Whoever was heard over UDP within this time may be one whose datagrams the kernel dropped.
_SENDS_STILL: Final = 86_400.0
_SHOWN: Final = 5
_Key = tuple[str, str, str | None]


@dataclass(frozen=True)
class Origin:
    """Where lines come from. `gateway`: whose certificate proved it; None where the address and the settings decide."""

    address: str
    transport: str
    gateway: str | None = None


class Reading:
    """All devices that send. Used by one thread."""

    def __init__(self, senders: Senders, delivery: Delivery, tally: Tally) -> None:
        self._senders, self._delivery, self._tally = senders, delivery, tally
        self._devices: dict[_Key, Device] = {}
        self._lately: dict[_Key, Device] = {}
        # Gateways, of which the settings name a limited number: how many lines of them were dropped since the last
        # tick, and when they were heard over UDP.
        self._lost: Counter[str] = Counter()
        self._by_udp: dict[str, float] = {}
        self._unknown: dict[str, int] = {}
        self._unknown_lines = 0
        self._say_at: datetime | None = None

    def hear(self, origin: Origin, message: bytes, now: datetime) -> str | None:
        """Take one message; give the gateway that it is of, None for nobody's.

        Over UDP a message that finds no room is dropped; the other listeners ask `has_room` before they read.
        """
        line = line_of(message)
        if not line:
            return None
        found = self._owner(origin, line)
        if found is None:
            self.note_unknown(origin.address)
            return None
        self._tally.count(origin.transport)
        gateway, host = found
        at = now.timestamp()
        device = self._device((gateway, origin.address, host), at)
        if origin.transport == "udp":
            self._by_udp[gateway] = at
            if not self._may_come(device, gateway, at):
                self._lost[gateway] += 1
                return gateway
        try:
            events = device.hear(line, at)
        except Exception as error:  # noqa: BLE001 - a mistake in a parser must not end the connection
            # Not its own words: they may quote what a peer sent.
            about = {"gateway": gateway, "kind": type(error).__name__}
            _LOG.error("a line of syslog could not be read", extra=about)
            self._tally.count("unreadable")
            self._lost[gateway] += 1
            del self._devices[gateway, origin.address, host]
            return gateway
        if events:
            self._delivery.add(gateway, events)
        return gateway

    def note_unknown(self, address: str) -> None:
        """Something came from nobody that we know: it is counted, told now and then, and forgotten."""
        self._tally.count("unknown_source")
        self._unknown_lines += 1
        if len(self._unknown) < _SHOWN or address in self._unknown:
            self._unknown[address] = self._unknown.get(address, 0) + 1

    def note_cut(self, number: int) -> None:
        """So many messages were longer than what is looked at."""
        self._tally.count(CUT, number)

    def note_dropped(self, number: int, now: datetime) -> None:
        """The kernel dropped so many datagrams; whose, it does not tell."""
        at = now.timestamp()
        for gateway, heard in self._by_udp.items():
            if number and at - heard < _SENDS_STILL:
                self._lost[gateway] += number

    def tick(self, now: datetime) -> None:
        """What time brings, about once a second: messages that are whole now, what was left out or dropped, and
        silence that is vouched for.
        """
        at = now.timestamp()
        self._tell_lost()
        for key, device in list(self._lately.items()):
            events = device.settle(at)
            told = device.left_out() if events is None else events
            if told:
                self._delivery.add(key[0], told)
            if events is not None:
                self._delivery.vouch(key[0], device.vouched())
                del self._lately[key]
        self._say(now)

    def close(self, now: datetime) -> None:
        """Nothing more comes."""
        for key, device in self._lately.items():
            self._finish(key, device, now.timestamp())
        self._tell_lost()

    def _finish(self, key: _Key, device: Device, at: float) -> None:
        """Nothing more comes of it: what it owes is told."""
        owed = device.settle(at + _SAY_EVERY.total_seconds())
        if owed:
            self._delivery.add(key[0], owed)

    def _tell_lost(self) -> None:
        for gateway, number in self._lost.items():
            self._delivery.lose(gateway, number)
        self._lost.clear()

    def _owner(self, origin: Origin, line: bytes) -> tuple[str, str | None] | None:
        if origin.gateway is not None:
            return origin.gateway, None
        return self._senders.find(origin.address, line)

    def _device(self, key: _Key, at: float) -> Device:
        device = self._devices.pop(key, None)
        if device is None:
            if len(self._devices) >= MOST_DEVICES:
                stalest = next(iter(self._devices))
                self._finish(stalest, self._devices.pop(stalest), at)
                self._lately.pop(stalest, None)
            device = Device(at)
        # The one that was heard last stands last.
        self._devices[key] = self._lately[key] = device
        return device

    def _may_come(self, device: Device, gateway: str, at: float) -> bool:
        if not device.allow(at):
            self._tally.count("too_fast")
        elif not self._delivery.has_room(gateway):
            self._tally.count("backlog")
        else:
            return True
        return False

    def _say(self, now: datetime) -> None:
        if not self._unknown or (self._say_at is not None and now < self._say_at):
            return
        _LOG.warning(
            "syslog from unknown sources was dropped",
            extra={"messages": self._unknown_lines, "sources": sorted(self._unknown)},
        )
        self._unknown, self._unknown_lines = {}, 0
        self._say_at = now + _SAY_EVERY
