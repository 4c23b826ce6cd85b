"""A PowerShell module for one Windows gateway: the same code for all, and a data file for this one. Holds no secret."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from core.errors import InvalidInput
from ike.agent.channel import Service
from ike.agent.enrollment import Enrollment, fetch_root, scope_of
from ike.atomic import write_atomically

_MODULE: Final = ("Ikewarden.psm1", "Ikewarden.psd1")
_PUBLIC: Final = 0o644


class BundleUnsafe(InvalidInput):
    """A name that cannot stand in a file of PowerShell data."""

    code = "bundle_unsafe"


@dataclass(frozen=True)
class WindowsGateway:
    """What the module must know of its gateway."""

    name: str
    url: str
    profile: str
    names: tuple[str, ...]
    root: x509.Certificate


def describe(enrollment: Enrollment, now: datetime) -> WindowsGateway:
    """Ask the service what the enrollment is for; its token is not used up.

    Raises PinMismatch, EnrollmentSpent, ClockWrong and the errors of `ike.agent.channel`.
    """
    root = fetch_root(enrollment, clock=lambda: now)
    service = Service(enrollment.url, root, clock=lambda: now, token=enrollment.token)
    try:
        names, profile = scope_of(service, enrollment)
    finally:
        service.close()
    return WindowsGateway(enrollment.name, enrollment.url, profile, tuple(names), root)


def write(gateway: WindowsGateway, out: Path) -> list[Path]:
    """Write the module into a directory; gives its files. Raises BundleUnsafe, OSError."""
    der = gateway.root.public_bytes(Encoding.DER)
    data = _data(
        {
            "Name": gateway.name,
            "Url": gateway.url,
            "Profile": gateway.profile,
            "RootSha256": hashlib.sha256(der).hexdigest(),
            "Names": list(gateway.names),
        }
    )
    here = files(__name__)
    content = {name: here.joinpath(name).read_bytes() for name in _MODULE}
    # Windows PowerShell 5.1 takes a file without this mark for one in the old code page.
    content = {name: b"\xef\xbb\xbf" + _crlf(each) for name, each in content.items()}
    content["Gateway.psd1"] = b"\xef\xbb\xbf" + _crlf(data.encode())
    content["root-ca.cer"] = der
    out.mkdir(parents=True, exist_ok=True)
    for name, octets in content.items():
        write_atomically(out / name, octets, _PUBLIC)
    return [out / name for name in content]


def _data(values: dict[str, str | list[str]]) -> str:
    lines = ["# Written by `ikewarden agent windows-bundle`; nothing in it is secret.", "@{"]
    for name, value in values.items():
        if isinstance(value, list):
            lines.append(f"    {name} = @(" + ", ".join(map(_quoted, value)) + ")")
        else:
            lines.append(f"    {name} = {_quoted(value)}")
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    """Text in single quotes, in which PowerShell expands nothing; it takes curly quotes for straight ones."""
    if not text.isprintable() or any(each in "\u2018\u2019\u201a\u201b" for each in text):
        raise BundleUnsafe(f"{text!r} cannot be written into a PowerShell file.")
    return "'" + text.replace("'", "''") + "'"


def _crlf(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
