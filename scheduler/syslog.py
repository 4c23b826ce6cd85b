"""Alerts as messages of syslog: RFC 5424, over TLS (RFC 5425), TCP (RFC 6587, counted) or UDP (RFC 5426)."""

import contextlib
import re
import socket
import ssl
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from core.deadline import SILENT, deadline, trusting
from core.errors import Unavailable
from core.escaping import escaped
from core.receivers import Syslog

# RFC 5424 §6.2.1: security messages.
_FACILITY: Final = 4
_SEVERITIES: Final = {"critical": 2, "high": 3, "medium": 4, "low": 5, "info": 6}
_NOTICE: Final = 5
# RFC 5612 §2: the number for who has none of his own.
_ELEMENT: Final = "alert@32473"
# RFC 5424 §6.1: what a receiver should take.
_LONGEST: Final = 2_048
_LONGEST_VALUE: Final = 200
_NAMES: Final = ("gateway", "kind", "severity", "state", "connection", "peer", "identity", "began")
_UNPRINTED: Final = re.compile(r"[^\x21-\x7e]")
_SPECIAL: Final = re.compile(r'["\\\]]')


class SyslogFailed(Unavailable):
    """The collector of syslog did not take messages."""

    code = "syslog_failed"
    next_step = "Look at the collector and at [notices] syslog_*; messages are sent again later."


def message(told: Mapping[str, Any], now: datetime) -> bytes:
    """One change of an alert, of at most 2048 bytes, without anything that could end it or begin another."""
    over = told["event"] == "alert.ended"
    priority = _FACILITY * 8 + (_NOTICE if over else _SEVERITIES.get(told["severity"], _NOTICE))
    host = _UNPRINTED.sub("", socket.gethostname())[:255] or "-"
    head = (
        f"<{priority}>1 {now.isoformat(timespec='microseconds')} {host} ikewarden - {told['event']}"
    )
    values = {"id": str(told["alert"]), **{name: told[name] for name in (*_NAMES, "ended")}}
    values["page"] = told.get("page", "")
    element = "".join(f' {name}="{_value(value)}"' for name, value in values.items() if value)
    said = f"{told['kind']} on {told['gateway']}: {told['cause']} {told['next_step']}"
    # In ASCII, so that it needs no mark of its encoding (§6.4).
    text = escaped(said).encode("ascii", "backslashreplace")
    return (f"{head} [{_ELEMENT}{element}] ".encode() + text)[:_LONGEST]


def send(receiver: Syslog, messages: Sequence[bytes]) -> None:
    """Hand them over. Raises SyslogFailed, where the transport lets one learn of it."""
    try:
        if receiver.transport == "udp":
            _throw(receiver, messages)
        else:
            _stream(receiver, messages)
    except (OSError, ValueError) as error:
        raise SyslogFailed(f"The collector failed: {type(error).__name__}.") from None


def _value(value: object) -> str:
    # RFC 5424 §6.3.3: these three are escaped. Cut before, so that no escape is cut through.
    plain = escaped(str(value)).encode()[:_LONGEST_VALUE].decode("utf-8", "ignore")
    return _SPECIAL.sub(r"\\\g<0>", plain)


def _throw(receiver: Syslog, messages: Sequence[bytes]) -> None:
    found = socket.getaddrinfo(receiver.host, receiver.port, type=socket.SOCK_DGRAM)
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as line:
        line.settimeout(SILENT)
        line.connect(address)
        for each in messages:
            line.send(each)


def _stream(receiver: Syslog, messages: Sequence[bytes]) -> None:
    context = trusting(receiver.ca_file) if receiver.transport == "tls" else None
    plain = socket.create_connection((receiver.host, receiver.port), timeout=SILENT)
    # TLS takes `plain` over; this stays, to cut the connection by and to see its end.
    with plain, plain.dup() as below, deadline(lambda: below):
        if context is None:
            plain.sendall(_framed(messages))
        else:
            with context.wrap_socket(plain, server_hostname=receiver.host) as line:
                line.sendall(_framed(messages))
                _say_goodbye(line)
        below.settimeout(SILENT)
        _wait_for_end(below)


def _framed(messages: Sequence[bytes]) -> bytes:
    # RFC 6587 §3.4.1
    return b"".join(b"%d %s" % (len(each), each) for each in messages)


def _wait_for_end(line: socket.socket) -> None:
    """Wait until the collector, too, closes: then it has read all. Nothing else tells that it did."""
    line.shutdown(socket.SHUT_WR)
    while line.recv(4096):
        pass


def _say_goodbye(line: ssl.SSLSocket) -> None:
    """Say that nothing more comes. A collector that closes without a goodbye of its own has read all the same."""
    with contextlib.suppress(ssl.SSLError):
        line.unwrap()
