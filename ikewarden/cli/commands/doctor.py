"""`ikewarden doctor`: why does this tunnel not come up? No server is asked."""

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ikewarden.cli.failures import FAILED
from ikewarden.cli.help import command
from ikewarden.cli.options import example, format_option
from ikewarden.cli.session import Session, pass_session

if TYPE_CHECKING:
    from ike.audit.configuration.values import Tunnel
    from ike.doctor.values import Case, Daemon, Host, Log

# As pki.x509 has them; a help page needs none of it.
KINDS: Final = ("strongswan", "libreswan", "windows", "apple", "cisco")
_FOLDER: Final = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE: Final = click.Path(exists=True, path_type=Path)


@command(
    epilog=example(
        "ikewarden doctor branch",
        "ikewarden doctor branch --peer-root /mnt/peer --log /var/log/charon.log",
        "journalctl -u strongswan | ikewarden doctor branch --peer-kind windows --log -",
        "ikewarden doctor branch --root /mnt/gw1 --peer gw2.conf --format json",
    ),
)
@click.argument("tunnel", required=False, metavar="[TUNNEL]")
@click.option(
    "--peer",
    type=_FILE,
    multiple=True,
    metavar="FILE",
    help="The peer's configuration, certificates or secrets, or a folder of them. May be given again.",
)
@click.option("--peer-root", type=_FOLDER, help="A mounted image or a copied tree of the peer.")
@click.option(
    "--peer-kind",
    type=click.Choice(KINDS),
    help="What daemon the peer has. [default: as its files tell]",
)
@click.option(
    "--log",
    "logs",
    multiple=True,
    metavar="FILE",
    help="The daemon's log; - for standard input. Given again, the peer's.",
)
@click.option(
    "--root",
    type=_FOLDER,
    default=Path("/"),
    help="A copy of this end's files; the daemon and the network are then not asked. [default: /]",
)
@click.option(
    "--vici",
    type=click.Path(path_type=Path),
    metavar="SOCKET",
    help="Socket of charon; with it the daemon and the network are asked whatever --root is.",
)
@click.option(
    "--pluto",
    type=click.Path(path_type=Path),
    metavar="SOCKET",
    help="Control socket of pluto, as --vici for charon. [default: as the configuration tells]",
)
@click.option("--no-probe", is_flag=True, help="Send the peer nothing.")
@format_option()
@pass_session
def doctor(session: Session, /, tunnel: str | None, **given: Any) -> int:
    """Find out why a tunnel does not come up.

    Goes through the list: the daemon, the configuration of both ends, the way to the peer, proofs of identity, what
    the log says. Ends with the one thing to do next. Shows no secret, changes nothing, and sends nothing but a request
    for an IKE SA to the peer, which refuses it. Of the peer nothing is known but what --peer and its like give.

    Ends with 0 where nothing is wrong, with 1 where something is, with 2 for bad usage or input.
    """
    from ike.doctor import report
    from ike.doctor.diagnosis import examine
    from ikewarden.cli.commands import audit_screen

    if given["vici"] and given["pluto"]:
        raise click.UsageError("Give either --vici or --pluto.")
    if given["peer"] and given["peer_root"]:
        raise click.UsageError("Give either --peer or --peer-root.")
    found = examine(_gathered(session, tunnel, given))
    if session.format == "json":
        session.out.write(report.write_json(found))
    else:
        audit_screen.show(session.out, report.lines(found))
    return FAILED if found.wrong else 0


def _gathered(session: Session, name: str | None, given: dict[str, Any]) -> "Case":
    from core.secret import Secret
    from ike.audit.ground import Ground
    from ike.doctor import files, matching
    from ike.doctor.choice import choose
    from ike.doctor.errors import TunnelUnknown
    from ike.doctor.values import Case

    now = session.clock()
    key = Secret(os.urandom(32))
    here = files.look(Ground(given["root"]), key)
    named = given["vici"] is not None or given["pluto"] is not None
    live = named or given["root"].resolve() == Path("/")
    try:
        tunnel = choose(here.tunnels, name)
    except TunnelUnknown:
        # A program may have loaded it.
        if not live or name not in _asked(session, here, None, given).connections:
            raise
        tunnel = None
    peer = _peer(key, given)
    # Before the peer is sent anything: what it says to that would be in its log.
    peer_tunnel = matching.counterpart(tunnel, peer.tunnels) if tunnel and peer else None
    log = _log(given["logs"], (tunnel, peer_tunnel), name or "", now.timestamp())
    case = Case(
        now=now,
        here=here,
        tunnel=tunnel,
        peer=peer,
        peer_tunnel=peer_tunnel,
        peer_kind=given["peer_kind"],
        log=log,
        name=name or "",
    )
    return _live(session, case, given) if live else case


def _peer(key: Any, given: dict[str, Any]) -> "Host | None":
    from ike.audit.ground import Ground
    from ike.doctor import files

    if given["peer_root"]:
        return files.look(Ground(given["peer_root"]), key)
    if given["peer"]:
        return files.look(Ground(), key, [str(each.resolve()) for each in given["peer"]])
    return None


def _live(session: Session, case: "Case", given: dict[str, Any]) -> "Case":
    """With what only the host itself can tell: its daemon, the network, and its clocks."""
    from ike.doctor import clocks, network

    daemon = _asked(session, case.here, case.tunnel, given)
    name = case.name
    if case.tunnel is None and not name and len(daemon.connections) == 1:
        name = next(iter(daemon.connections))
    asked = replace(case, daemon=daemon, name=name)
    peers = case.tunnel.remote_addrs if case.tunnel is not None else ()
    return replace(
        asked,
        clocks=clocks.others(session.clock()),
        unkept=clocks.is_unkept(),
        network=network.look(
            asked.unwritten.remote_addrs if asked.unwritten is not None else peers,
            probe=not given["no_probe"],
        ),
    )


def _asked(
    session: Session, here: "Host", tunnel: "Tunnel | None", given: dict[str, Any]
) -> "Daemon":
    """The daemon whose socket was named, else the one whose configuration it is."""
    from ike.daemons.strongswan.session import SOCKET, Endpoint
    from ike.doctor import daemon, matching, pluto

    is_of_pluto = here.dialect == "libreswan" if tunnel is None else matching.is_of_pluto(tunnel)
    if given["pluto"] is not None or (given["vici"] is None and is_of_pluto):
        return pluto.ask(pluto.places(given["pluto"]))
    return daemon.ask(Endpoint(given["vici"] or SOCKET), session.clock())


def _log(
    names: tuple[str, ...],
    tunnels: "tuple[Tunnel | None, Tunnel | None]",
    wanted: str,
    now: float,
) -> "Log | None":
    """The first log is this end's, further ones are the peer's, where the tunnel may have another name."""
    from ike.doctor import log
    from ike.events.order import oldest_first

    found = []
    for place, name in enumerate(names):
        behind: set[str] = set()
        events = list(oldest_first(_events(name, now, behind))[0])
        if place:
            found.append(log.read(events, tunnels[1], behind, caller=tunnels[0]))
        else:
            found.append(log.read(events, tunnels[0], behind, name=wanted))
    return log.together(found) if found else None


def _events(name: str, now: float, behind: set[str]) -> Iterator[Any]:
    from ike.doctor.log import NAT_WORDS
    from ike.events.backwards import Text
    from ike.events.reader import Reader

    reader, rest = Reader(now), b""
    text = Text(_blocks(name), now)
    for block in text.blocks():
        whole = rest + block
        behind.update(end for end, words in NAT_WORDS.items() if words in whole)
        rest = block[-64:]
        yield from map(text.placed, reader.feed(block))
    yield from map(text.placed, reader.close())


def _blocks(name: str) -> Iterable[bytes]:
    from ike.events import files

    return files.stream(sys.stdin.buffer) if name == "-" else files.blocks(Path(name))
