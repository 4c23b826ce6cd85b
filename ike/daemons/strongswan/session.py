"""Talking to charon over its VICI socket, with time limits and with errors of the port.

The `vici` library gives packets and messages; its own transport waits for ever once a message has begun, and takes any
length that the first four bytes name. Both matter when the socket is not charon's, or charon hangs.
"""

import contextlib
import select
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vici.exception import DeserializationException
from vici.protocol import FiniteStream, Message, Packet, Transport

from ike.daemons.port import DaemonRefused, DaemonUnreachable

SOCKET = Path("/var/run/charon.vici")
MAX_VALUE = 0xFFFF  # VICI counts the bytes of a value in 16 bits
_NOT_VICI = (DeserializationException, struct.error, ValueError, IndexError, TypeError, KeyError)

Answer = dict[str, Any]


@dataclass(frozen=True)
class Endpoint:
    """Where charon listens, and how many seconds one command may take."""

    path: Path = SOCKET
    seconds: float = 10.0

    @contextlib.contextmanager
    def session(self) -> Iterator["Session"]:
        """A connection of one's own, closed at the end. Raises DaemonUnreachable."""
        with socket.socket(socket.AF_UNIX) as connection:
            self._connect(connection)
            yield Session(self, connection)

    def _connect(self, connection: socket.socket) -> None:
        # Not settimeout: a socket that does not block is refused at once while charon's queue is full.
        whole, part = divmod(self.seconds, 1)
        limit = struct.pack("ll", int(whole), int(part * 1_000_000))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        try:
            connection.connect(str(self.path))
        except BlockingIOError:
            raise DaemonUnreachable(
                f"charon took no connection at {self.path} within {self.seconds:g} s."
            ) from None
        except OSError as refused:
            raise DaemonUnreachable(
                f"charon cannot be reached at {self.path}: {refused.strerror or refused}."
            ) from None


class Session:
    """One connection; one command at a time. Values come as text, those named `data` as bytes."""

    def __init__(self, endpoint: Endpoint, connection: socket.socket) -> None:
        self._endpoint = endpoint
        self._socket = connection
        self._registered: set[str] = set()

    def incarnation(self) -> str:
        """Names the daemon that listens: its process (0 where that cannot be seen) and when it made the socket."""
        size = struct.calcsize("3i")
        credentials = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        process = struct.unpack("3i", credentials)[0]
        try:
            made = self._endpoint.path.stat().st_mtime_ns
        except OSError as gone:
            raise self._broken(gone) from None
        return f"{process}-{made}"

    def ask(self, command: str, message: Mapping[str, Any] | None = None) -> Answer:
        """One command, one answer. Raises DaemonRefused with charon's words."""
        deadline = self._deadline()
        self._send(Packet.request(command, Message.serialize(message or {})))
        return self._answer(command, *self._receive(deadline))

    def stream(
        self, command: str, event: str, message: Mapping[str, Any] | None = None
    ) -> list[Answer]:
        """A command that answers by a series of events, which are returned. Raises DaemonRefused."""
        self._register(event)
        deadline = self._deadline()
        self._send(Packet.request(command, Message.serialize(message or {})))
        told: list[Answer] = []
        while True:
            kind, rest = self._receive(deadline)
            if kind != Packet.EVENT:
                self._answer(command, kind, rest)
                return told
            told.append(self._event(rest)[1])

    def listen(self, events: Sequence[str], *, idle: float) -> Iterator[tuple[str, Answer] | None]:
        """Events as they come; None after `idle` seconds without one."""
        for event in events:
            self._register(event)
        while True:
            if not select.select([self._socket], [], [], idle)[0]:
                yield None
                continue
            kind, rest = self._receive(self._deadline())
            if kind == Packet.EVENT:
                yield self._event(rest)

    def knows(self, event: str) -> bool:
        """Whether charon has this event; it is told to this session from now on."""
        try:
            self._register(event)
        except DaemonRefused:
            return False
        return True

    def not_vici(self) -> DaemonUnreachable:
        """The error for an answer that charon does not give."""
        return DaemonUnreachable(
            f"What listens at {self._endpoint.path} does not speak VICI: it is not charon.",
            next_step="Give the agent the path of charon's VICI socket (charon.plugins.vici.socket).",
        )

    # inside

    def _deadline(self) -> float:
        return time.monotonic() + self._endpoint.seconds

    def _register(self, event: str) -> None:
        """Once for each event: charon tells it as often as it was asked to."""
        if event in self._registered:
            return
        self._registered.add(event)
        self._send(Packet.register_event(event))
        deadline = self._deadline()
        while True:
            kind, _ = self._receive(deadline)
            if kind == Packet.EVENT_CONFIRM:
                return
            if kind == Packet.EVENT_UNKNOWN:
                raise DaemonRefused(f"charon knows no event '{event}': it is too old.")
            if kind != Packet.EVENT:
                raise self.not_vici()

    def _answer(self, command: str, kind: int, rest: FiniteStream) -> Answer:
        if kind == Packet.CMD_UNKNOWN:
            raise DaemonRefused(f"charon knows no command '{command}': it is too old.")
        if kind != Packet.CMD_RESPONSE:
            raise self.not_vici()
        answer = self._decoded(rest)
        if answer.get("success", "yes") != "yes":
            words = answer.get("errmsg") or "it gave no reason"
            raise DaemonRefused(f"charon refused {command}: {words}.")
        return answer

    def _event(self, rest: FiniteStream) -> tuple[str, Answer]:
        try:
            name = rest.read(rest.read(1)[0]).decode()
        except _NOT_VICI:
            raise self.not_vici() from None
        return name, self._decoded(rest)

    def _decoded(self, rest: FiniteStream) -> Answer:
        try:
            return {key: _text(key, value) for key, value in Message.deserialize(rest).items()}
        except _NOT_VICI:
            raise self.not_vici() from None

    def _send(self, packet: bytes) -> None:
        try:
            self._socket.settimeout(self._endpoint.seconds)
            self._socket.sendall(struct.pack("!I", len(packet)) + packet)
        except TimeoutError:
            raise self._late() from None
        except OSError as broken:
            raise self._broken(broken) from None

    def _receive(self, deadline: float) -> tuple[int, FiniteStream]:
        (length,) = struct.unpack("!I", self._exactly(Transport.HEADER_LENGTH, deadline))
        if not 0 < length <= Transport.MAX_SEGMENT:
            raise self.not_vici()
        stream = _Whole(self._exactly(length, deadline))
        return stream.read(1)[0], stream

    def _exactly(self, count: int, deadline: float) -> bytes:
        data = b""
        while len(data) < count:
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._late()
            try:
                self._socket.settimeout(left)
                more = self._socket.recv(count - len(data))
            except TimeoutError:
                raise self._late() from None
            except OSError as broken:
                raise self._broken(broken) from None
            if not more:
                raise DaemonUnreachable(
                    f"charon closed the connection at {self._endpoint.path} in the middle."
                )
            data += more
        return data

    def _late(self) -> DaemonUnreachable:
        return DaemonUnreachable(
            f"charon did not answer at {self._endpoint.path} within {self._endpoint.seconds:g} s."
        )

    def _broken(self, error: OSError) -> DaemonUnreachable:
        return DaemonUnreachable(
            f"The connection to charon at {self._endpoint.path} broke: {error.strerror or error}."
        )


class _Whole(FiniteStream):  # type: ignore[misc]
    """Gives as many bytes as are asked for, or raises: the library takes a value that is cut short."""

    def read(self, size: int | None = -1) -> bytes:
        data = bytes(super().read(size))
        if size is not None and len(data) < size:
            raise ValueError("cut short")
        return data


def _text(key: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return value if key == "data" else value.decode(errors="replace")
    if isinstance(value, Mapping):
        return {name: _text(name, each) for name, each in value.items()}
    if isinstance(value, list):
        return [_text("", each) for each in value]
    return value
