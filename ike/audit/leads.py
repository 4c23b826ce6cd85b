"""What a configuration names: files of keys and certificates, scripts, databases. Pure, and no more than leads.

How connections are configured is read elsewhere and in full; here it only matters which files play a part.
"""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ike.audit.values import Role
from ike.secrets.settings_syntax import Section, Value
from ike.secrets.values import Place, Source

_WORD: Final = r"\"(?P<quoted>[^\"\n]+)\"|(?P<word>[^\s\"#{};]+)"
_KEY_LINE: Final = re.compile(r":[ \t]+(?:RSA|ECDSA|BLISS|PKCS8|P12)[ \t]+(?:" + _WORD + ")")
_SETTING: Final = re.compile(
    r"^[ \t]*(?P<name>[A-Za-z0-9_-]+)[ \t]*=[ \t]*(?P<value>[^#\n]+)", re.M
)
_RACOON: Final = re.compile(
    r"^[ \t]*(?P<name>path[ \t]+\w+|include|certificate_type[ \t]+x509|ca_type[ \t]+x509|script)[ \t]+"
    r"\"(?P<first>[^\"\n]+)\"(?:[ \t]+\"(?P<second>[^\"\n]+)\")?",
    re.MULTILINE,
)
_NAMED: Final = {
    "cacert": Role.TRUST,
    "cacerts": Role.TRUST,
    "cert": Role.CERTIFICATE,
    "certs": Role.CERTIFICATE,
    "pubkeys": Role.CERTIFICATE,
    "leftcert": Role.CERTIFICATE,
    "rightcert": Role.CERTIFICATE,
    "file": Role.KEY,  # swanctl: secrets.private…, cacert…
    "updown": Role.PROGRAM,
    "leftupdown": Role.PROGRAM,
    "rightupdown": Role.PROGRAM,
}
_FOLDERS: Final = ("nssdir", "ipsecdir")
# Settings of strongswan.conf whose values are secrets.
_SECRETS: Final = frozenset(
    {"secret", "pin", "password", "preshared_key", "username_password", "psk"}
)
_DSN: Final = re.compile(r"[a-z0-9+]+://[^/@\s:]+:[^@\s]+@|(?:^|[;?&])password=", re.I)
_LONGEST: Final = 4096  # of a value that may be an address with a password
_SQLITE: Final = re.compile(r"sqlite://(?P<path>/[^\s?]+)")


@dataclass(frozen=True)
class Lead:
    """A path that a configuration names, relative ones as they stand; `name` is that of the setting."""

    path: str
    role: Role
    place: Place
    name: str = ""


def of_secrets(source: Source) -> Iterator[Lead]:
    """Key files that ipsec.secrets names."""
    for match in _KEY_LINE.finditer(source.text):
        yield Lead(_text(match), Role.KEY, _place(source, match))


def of_connections(source: Source) -> Iterator[Lead]:
    """Absolute paths in swanctl.conf and ipsec.conf; of a script, its arguments too."""
    for match in _SETTING.finditer(source.text):
        role = _NAMED.get(match["name"].lower())
        if role is None:
            continue
        # A script may be an argument of the shell that runs it.
        words = match["value"].split() if role is Role.PROGRAM else match["value"].split(",")
        for each in words:
            path = each.strip(" \t\r\"'").split(" ")[0]
            if path.startswith("/"):
                yield Lead(path, role, _place(source, match), match["name"].lower())


def folders(source: Source) -> Iterator[Lead]:
    """Folders of Libreswan's that ipsec.conf moves elsewhere: `nssdir`, `ipsecdir`."""
    for match in _SETTING.finditer(source.text):
        path = match["value"].strip(" \t\r\"'")
        if match["name"].lower() in _FOLDERS and path.startswith("/"):
            yield Lead(path, Role.FOLDER, _place(source, match), match["name"].lower())


def of_racoon(source: Source) -> Iterator[Lead]:
    """What racoon.conf names; relative paths are resolved as racoon does it."""
    base = posixpath.dirname(source.path)
    certificates = base
    for match in _RACOON.finditer(source.text):
        name, place = " ".join(match["name"].split()), _place(source, match)
        path = posixpath.join(base, match["first"])
        if name == "path pre_shared_key":
            yield Lead(path, Role.SECRETS, place, name)
        elif name == "path certificate":
            certificates = path
            yield Lead(path, Role.FOLDER, place, name)
        elif name == "path include":
            base = path
        elif name == "include":
            yield Lead(path, Role.CONFIGURATION, place, name)
        elif name == "script":
            yield Lead(path, Role.PROGRAM, place, name)
        elif not name.startswith("path"):
            role = Role.TRUST if name.startswith("ca_type") else Role.CERTIFICATE
            yield Lead(posixpath.join(certificates, match["first"]), role, place, name)
            if match["second"]:
                yield Lead(posixpath.join(certificates, match["second"]), Role.KEY, place, name)


def of_strongswan(top: Section) -> Iterator[Lead]:
    """What strongswan.conf names: databases, PKCS#11 modules, sockets, other files of secrets."""
    for path, value in _walk(top, ()):
        text = value.text or ""
        if match := _SQLITE.search(text):
            yield Lead(match["path"], Role.SECRETS, value.place, path[-1])
        elif path[-1] == "secrets_file" and text.startswith("/"):
            yield Lead(text, Role.SECRETS, value.place, path[-1])
        elif path[-1] == "socket" and text.startswith("unix:///"):
            yield Lead(text.removeprefix("unix://"), Role.SOCKET, value.place, path[-1])
        elif path[-1] == "path" and "modules" in path and text.startswith("/"):
            yield Lead(text, Role.PROGRAM, value.place, path[-1])


def secret_settings(top: Section) -> Iterator[Place]:
    """Where settings stand whose values are secrets."""
    for path, value in _walk(top, ()):
        if value.text and (path[-1] in _SECRETS or _DSN.search(value.text[:_LONGEST])):
            yield value.place


def _walk(section: Section, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Value]]:
    for name, value in section.values.items():
        yield (*above, *name.split(".")), value
    for name, inner in section.sections.items():
        yield from _walk(inner, (*above, name))


def _text(match: re.Match[str]) -> str:
    return match["quoted"] or match["word"]


def _place(source: Source, match: re.Match[str]) -> Place:
    return Place(source.path, source.text.count("\n", 0, match.start()) + 1)
