"""The SAs of this host now: charon and pluto are asked, and the kernel."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from core.errors import IkewardenError
from ike.daemons.libreswan.places import Places
from ike.daemons.libreswan.whack import Whack
from ike.daemons.port import DaemonRefused
from ike.daemons.strongswan import listing, sightings
from ike.daemons.strongswan.files import SWANCTL
from ike.daemons.strongswan.session import SOCKET, Endpoint, Session
from ike.sas import charon, pluto, proofs, xfrm
from ike.sas.association import Association
from ike.sas.combining import combined
from ike.sas.errors import SasUnreachable

_SECONDS: Final = 20.0
# Older versions of ip do not know `nokeys`: there the keys pass by, and are dropped with their line.
_COMMANDS: Final = (("-s", "xfrm", "state", "list", "nokeys"), ("-s", "xfrm", "state"))


@dataclass(frozen=True)
class Here:
    """Where the daemons of this host are, what the agent noted of charon's SAs, and how `ip` is called."""

    vici: Path = SOCKET
    noted: Path = SWANCTL / "ikewarden/sightings.json"
    pluto: Places = field(default_factory=Places)
    ip: tuple[str, ...] = ("ip",)


@dataclass(frozen=True)
class Listed:
    """The SAs, who told of them, and who could not be asked and why."""

    associations: list[Association]
    asked: list[str]
    silent: dict[str, str]


def of_host(here: Here, now: datetime) -> Listed:
    """Ask everybody. `now` is an aware time. Raises SasUnreachable where nobody can be asked."""
    told: list[Association] = []
    asked: list[str] = []
    silent: dict[str, str] = {}
    for name, there in (("charon", here.vici), ("pluto", here.pluto.control)):
        if not there.is_socket():
            continue
        try:
            told += _charon(here) if name == "charon" else _pluto(here, now)
            asked.append(name)
        except IkewardenError as error:
            silent[name] = error.message
    kernel: list[Association] = []
    try:
        kernel = _kernel(here, now)
        asked.append("kernel")
    except OSError as error:
        silent["kernel"] = f"`ip xfrm state` was not answered: {error.strerror or error}."
    if not asked:
        raise SasUnreachable(" ".join(silent.values()))
    daemons = set(asked) & {"charon", "pluto"}
    return Listed(combined(told, kernel) if daemons else kernel, asked, silent)


def _charon(here: Here) -> list[Association]:
    with Endpoint(here.vici).session() as session:
        held = _held(session, here)  # before the SAs: what they came up by is there by then
        return charon.associations(session.stream("list-sas", "list-sa"), held)


def _held(session: Session, here: Here) -> proofs.Charon:
    """What charon holds, as far as it tells: older ones do not know every command."""
    held = proofs.Charon(noted=sightings.read(here.noted))
    with suppress(DaemonRefused):
        listed = session.stream("list-conns", "list-conn")
        conns = {name: conn for each in listed for name, conn in each.items()}
        held = replace(held, connections=conns, certificates=listing.certificates(session))
        held = replace(held, secrets=session.ask("get-shared").get("keys", ()))
    return held


def _pluto(here: Here, now: datetime) -> list[Association]:
    whack = Whack(here.pluto)
    traffic, status = whack.ask("--trafficstatus"), whack.ask("--status")
    held = proofs.Pluto(whack.ask("--listcerts"), whack.ask("--listpsks"))
    return pluto.associations(traffic, status, held, now=now.timestamp())


def _kernel(here: Here, now: datetime) -> list[Association]:
    local = now.astimezone().replace(tzinfo=None)
    return xfrm.associations(states(here), now=local, local=addresses(here))


def states(here: Here) -> list[xfrm.State]:
    """The ESP and AH states of the kernel. Raises OSError."""
    failed = OSError("no answer")
    for command in _COMMANDS:
        try:
            return list(xfrm.states(_lines([*here.ip, *command])))
        except OSError as error:
            failed = error
    raise failed


def _lines(command: Sequence[str]) -> Iterator[str]:
    """What a program prints, line by line. Raises OSError where it fails."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_ENVIRONMENT
    ) as process:
        for line in process.stdout or ():
            yield line.decode(errors="replace")
        said = process.stderr.read().decode(errors="replace").strip() if process.stderr else ""
        if process.wait():
            raise OSError(said.splitlines()[-1] if said else "it failed without a word")


_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


def addresses(here: Here) -> set[str]:
    """The addresses of this host; none where they are not told."""
    with suppress(OSError, ValueError, subprocess.SubprocessError):
        done = subprocess.run(
            [*here.ip, "-j", "address"],
            capture_output=True,
            check=True,
            timeout=_SECONDS,
            env=_ENVIRONMENT,
        )
        links: list[dict[str, Any]] = json.loads(done.stdout)
        return {
            str(each.get("local")) for link in links for each in link.get("addr_info", ()) if each
        }
    return set()
