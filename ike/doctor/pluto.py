"""What pluto says of itself, for the doctor, through whack and addconn. Nothing is changed there."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from core.errors import IkewardenError
from ike.daemons.libreswan import associations
from ike.daemons.libreswan.places import Places
from ike.daemons.libreswan.programs import run
from ike.daemons.libreswan.whack import Whack
from ike.daemons.port import IkeSa
from ike.doctor.values import Daemon

_SECONDS: Final = 10.0
_FOLDERS: Final = ("/usr/libexec/ipsec", "/usr/lib/ipsec", "/usr/local/libexec/ipsec")
_UNORIENTED: Final = re.compile(r'000 "(?P<name>[^"]+)"(?:\[\d+\])?:     unoriented;')
_CONFIGURATION: Final = re.compile(r"\bconfigfile=(?P<file>[^,\n]+)")
_AUTHORITY: Final = re.compile(r'000 .*CA certificate ".*" - SN: (?:0x)?(?P<serial>\w+)')
# A connection with several networks is loaded as one for each pair of them.
_PAIR: Final = re.compile(r"/\d+x\d+$")
_SECRET: Final = re.compile(r"000 +\d+: PSK ")
_MOST: Final = 3


def places(control: Path | None) -> Places:
    """Where its programs are on this host; `control` is its socket, where that is elsewhere."""
    found = Places(whack=_program("whack"), addconn=_program("addconn"))
    return found if control is None else replace(found, control=control)


def _program(name: str) -> str:
    there = (f"{folder}/{name}" for folder in _FOLDERS if Path(folder, name).is_file())
    return next(there, None) or shutil.which(name) or f"{_FOLDERS[0]}/{name}"


def ask(where: Places) -> Daemon:
    """What the daemon has in force; why it does not answer is part of the answer."""
    whack = Whack(where)
    try:
        told = whack.ask("--status")
        heard = associations.look(whack)
        return Daemon(
            kind="pluto",
            version=f"pluto {heard.version}",
            connections=frozenset(map(_named, heard.names)),
            unoriented=frozenset(_named(match["name"]) for match in _UNORIENTED.finditer(told)),
            serials=frozenset(_serials(whack.ask("--listcacerts"))),
            secrets=len(_SECRET.findall(whack.ask("--listpsks"))),
            sas=tuple(map(_installed, associations.listed(whack, ()))),
            complaints=tuple(_complaints(where, told)),
        )
    except IkewardenError as failed:
        return Daemon(kind="pluto", failure=failed.message)


def _named(connection: str) -> str:
    """As the configuration names it."""
    return _PAIR.sub("", connection)


def _installed(sa: IkeSa) -> IkeSa:
    """With its Child SAs, which are all established, in the word that charon has for it."""
    children = tuple(replace(child, state="INSTALLED") for child in sa.children)
    return replace(sa, connection=_named(sa.connection), children=children)


def _serials(text: str) -> Iterator[int]:
    for match in _AUTHORITY.finditer(text):
        if re.fullmatch(r"[0-9a-fA-F]{1,40}", match["serial"]):
            yield int(match["serial"], 16)


def _complaints(where: Places, told: str) -> Iterator[str]:
    """What addconn finds wrong in the configuration that pluto was started with."""
    file = _CONFIGURATION.search(told)
    configuration = file["file"] if file else str(where.configuration)
    command = [where.addconn, "--config", configuration, "--checkconfig"]
    done = run(command, seconds=_SECONDS)
    if done.status:
        lines = [line.strip() for line in done.text.splitlines() if line.strip()]
        yield from lines[:_MOST]
