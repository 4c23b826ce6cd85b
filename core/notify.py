"""Telling systemd how we are (sd_notify(3)), without its library."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress


class Supervisor:
    """Where the service manager listens, if there is one; a message that does not get through is dropped."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # an abstract socket is written with @ in the place of its first NUL
        self._address = "\0" + address[1:] if address.startswith("@") else address
        usec = environ.get("WATCHDOG_USEC", "")
        own = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog_seconds = int(usec) / 1_000_000 if usec.isdecimal() and own else None

    def tell(self, **fields: str | int) -> None:
        """Send fields, `READY=1` and `STATUS=…` say."""
        if not self._address:
            return
        message = "\n".join(f"{name}={_line(value)}" for name, value in fields.items())
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.connect(self._address)
            out.sendall(message.encode())


def _line(value: str | int) -> str:
    return " ".join(str(value).split())
