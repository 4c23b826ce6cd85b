"""What this host sees of the network, for the doctor: its own ports, and the way to the peer.

Only the peer is sent anything, and nothing that it has to remember: a request of a version of IKE that nobody has,
which it refuses at once (RFC 7296 §2.5). Its log says so, and nothing there looks like a tunnel that fails. A peer
that gives no answer to that is asked for an IKE SA with an algorithm that nobody has.
"""

import ipaddress
import os
import select
import socket
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from ike.doctor.values import Answer, Network

IKE_PORT, NAT_PORT = 500, 4500
_LARGE: Final = 1900  # octets: more than one Ethernet packet, less than what a daemon reads at once
_VERSIONS: Final = (3, 3, 2)  # the major version of IKE by try
_STATUS: Final = 61_904  # a notification of the private range for states (RFC 7296 §3.10.1)
_SECONDS: Final = (
    0.6  # after which a probe is sent again; a path of 600 ms carries no IKE with default timers
)
_IP_MTU_DISCOVER, _IP_PMTUDISC_DONT, _IP_MTU = 10, 0, 14
_TABLES: Final = ("udp", "udp6")


def look(addresses: Iterable[str], *, probe: bool) -> Network:
    """The ports that are bound here, and with `probe` what the first address of a peer answers."""
    bound = frozenset(_bound())
    peer = next(iter(_resolved(addresses, names=probe)), "")
    if not peer:
        return Network(bound)
    source, mtu = _way(peer)
    network = Network(bound, peer, source, path_mtu=mtu, states=_states(peer))
    if not probe:
        return network
    answers = _probed(peer)
    return Network(
        bound, peer, source, answers["ike"], answers["nat"], answers["large"], mtu, network.states
    )


def _bound() -> Iterator[int]:
    """The UDP ports that are bound in this thread's network namespace."""
    for table in _TABLES:
        with suppress(OSError):
            for line in Path(f"/proc/thread-self/net/{table}").read_text().splitlines()[1:]:
                yield int(line.split()[1].rpartition(":")[2], 16)


def _resolved(addresses: Iterable[str], *, names: bool) -> Iterator[str]:
    """The addresses of a peer; its names only with `names`, since they are asked of the resolver."""
    for each in addresses:
        try:
            found = ipaddress.ip_address(each)
        except ValueError:
            if not names or each.startswith("%") or "/" in each or "-" in each:
                continue
            with suppress(OSError, UnicodeError):
                yield str(socket.getaddrinfo(each, IKE_PORT, type=socket.SOCK_DGRAM)[0][4][0])
            continue
        if not found.is_unspecified:
            yield str(found)


def _socket(peer: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in peer else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        if family == socket.AF_INET:
            # A large probe is to be taken apart on its way, as a large message of IKE is.
            made.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DONT)
        made.connect((peer, port))
    except OSError:
        made.close()
        raise
    return made


def _way(peer: str) -> tuple[str, int]:
    try:
        with _socket(peer, IKE_PORT) as made:
            mtu = 0
            if made.family == socket.AF_INET:
                mtu = made.getsockopt(socket.IPPROTO_IP, _IP_MTU)
            return str(made.getsockname()[0]), mtu
    except OSError:
        return "", 0


# ---------------------------------------------------------------- probes


def _probed(peer: str) -> Mapping[str, Answer]:
    """What came back for each probe; all are under way at once."""
    wanted = {
        "ike": (IKE_PORT, request()),
        "nat": (NAT_PORT, request()),
        "large": (IKE_PORT, request(_LARGE)),
    }
    answers: dict[str, Answer] = {}
    waiting: dict[socket.socket, tuple[str, bytes]] = {}
    for name, (port, message) in wanted.items():
        try:
            waiting[_socket(peer, port)] = (name, message)
        except OSError:
            answers[name] = Answer.UNREACHABLE
    everything = list(waiting)
    try:
        for version in _VERSIONS:
            for made in list(waiting):
                _send(made, version, waiting, answers)
            _hear(waiting, answers)
    finally:
        for made in everything:
            made.close()
    return {name: answers.get(name, Answer.SILENT) for name in wanted}


def _send(
    made: socket.socket,
    version: int,
    waiting: dict[socket.socket, tuple[str, bytes]],
    answers: dict[str, Answer],
) -> None:
    name, message = waiting[made]
    marker = bytes(4) if name == "nat" else b""  # RFC 3948 §2.2: what follows is IKE
    try:
        made.send(marker + of_version(message, version))
    except OSError as error:
        answers[name] = _meaning(error)
        del waiting[made]


def _hear(waiting: dict[socket.socket, tuple[str, bytes]], answers: dict[str, Answer]) -> None:
    end = time.monotonic() + _SECONDS
    while waiting and (left := end - time.monotonic()) > 0:
        for made in select.select(list(waiting), [], [], left)[0]:
            name, message = waiting[made]
            try:
                heard = made.recv(4096)
            except OSError as error:
                answers[name] = _meaning(error)
            else:
                if message[:8] not in heard[:16]:
                    continue
                answers[name] = Answer.ANSWERED
            del waiting[made]


def _meaning(error: OSError) -> Answer:
    if isinstance(error, ConnectionRefusedError):
        return Answer.REFUSED
    # The kernel says so where a rule of this host drops what it sends.
    return Answer.FORBIDDEN if isinstance(error, PermissionError) else Answer.UNREACHABLE


def of_version(message: bytes, major: int) -> bytes:
    """The message under another major version of IKE: the upper half of octet 17 (RFC 7296 §3.1)."""
    return message[:17] + bytes([major << 4 | message[17] & 15]) + message[18:]


def request(size: int = 0) -> bytes:
    """An IKE_SA_INIT request (RFC 7296 §1.2) with an algorithm of the private range, filled up to `size` octets by a
    notification of a state, which whoever does not know it ignores (§3.10.1).
    """
    spi = b"\x01" + os.urandom(7)
    kinds = (
        (1, 1024),
        (2, 1024),
        (3, 1024),
        (4, 31),
    )  # RFC 7296 §3.3.2: 1024 and above are private
    transforms = b"".join(
        struct.pack("!BBHBBH", 0 if number == 4 else 3, 0, 8, kind, 0, value)
        for number, (kind, value) in enumerate(kinds, 1)
    )
    proposal = struct.pack("!BBHBBBB", 0, 0, 8 + len(transforms), 1, 1, 0, len(kinds)) + transforms
    exchange = struct.pack("!HH", 31, 0) + os.urandom(32)
    payloads = (
        _payload(34, proposal)
        + _payload(40, exchange)
        + _payload(41 if size else 0, os.urandom(32))
    )
    if size:
        told = struct.pack("!BBH", 0, 0, _STATUS)
        payloads += _payload(0, told + bytes(size - 28 - len(payloads) - 8))
    head = spi + bytes(8) + struct.pack("!BBBBII", 33, 0x20, 34, 0x08, 0, 28 + len(payloads))
    return head + payloads


def _payload(following: int, content: bytes) -> bytes:
    return struct.pack("!BBH", following, 0, 4 + len(content)) + content


# ---------------------------------------------------------------- the kernel


def _states(peer: str) -> int | None:
    """How many IPsec states there are to and from the peer; None where that cannot be known. Keys are not asked for."""
    try:
        done = subprocess.run(
            ["ip", "xfrm", "state", "list", "nokeys"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return None
    heads = (line.split() for line in done.stdout.splitlines() if line.startswith("src "))
    return sum(peer in head for head in heads)
