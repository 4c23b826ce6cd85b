"""`ikewarden sa analyze`: what the logs of IKE daemons say of their SAs. No server is asked."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ikewarden.cli.failures import FAILED
from ikewarden.cli.help import command
from ikewarden.cli.options import example, format_option
from ikewarden.cli.session import Session, pass_session

if TYPE_CHECKING:
    from ike.detection.analysis import Log
    from ike.detection.bounds import Bounds
    from ike.detection.report import Report
    from ike.events.event import SaEvent

_SPAN: Final = re.compile(r"(\d{1,9})([smhd]?)")
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
# What log rotation puts behind a name: charon.log.1, charon.log-20261129, charon.log.2.gz.
_ROTATED: Final = re.compile(r"(?:[.-]\d{1,14})?(?:\.(?:gz|zst|bz2|xz))?$")


def _span(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    found = _SPAN.fullmatch(value.strip())
    if found is None or int(found[1]) == 0:
        raise click.BadParameter("Give a number of seconds, or a number with s, m, h or d: 66m.")
    return float(int(found[1]) * _SECONDS[found[2]])


@command(
    "analyze",
    epilog=example(
        "ikewarden sa analyze /var/log/charon.log",
        "journalctl -u strongswan -o short-iso | ikewarden sa analyze -",
        "ikewarden sa analyze /var/log/charon.log* --format html > gw1.html",
    ),
)
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option(
    "--rekey-time",
    callback=_span,
    metavar="SPAN",
    help="When Child SAs are rekeyed by the configuration, as 1h. [default: learned from the log]",
)
@click.option(
    "--life-time",
    callback=_span,
    metavar="SPAN",
    help="When Child SAs end that were not rekeyed, as 66m. [default: a tenth after --rekey-time]",
)
@click.option("--all", "everything", is_flag=True, help="Show every connection, not the first few.")
@format_option("html")
@pass_session
def analyze(
    session: Session,
    files: tuple[str, ...],
    rekey_time: float | None,
    life_time: float | None,
    everything: bool,
) -> int:
    """Find abnormal renegotiation in logs of IKE daemons.

    Reads the logs of strongSwan, Libreswan, Windows and network devices, several together where they belong together,
    and - for standard input. Tells in the first line whether anything is wrong; then what, by which lines, why and what
    to do; then each connection with its SAs and how often they were rekeyed.

    Ends with 0 where nothing is wrong, with 1 where something is, where no event of a daemon was found, where the lines
    have no times, or where a log could not be read to its end.
    """
    from ike.detection.analysis import analyse

    if life_time is not None and (rekey_time is None or life_time <= rekey_time):
        raise click.UsageError("--life-time goes with --rekey-time, and is longer.")
    logs = _logs(session, files)
    report = analyse(logs, _bounds(rekey_time, life_time))
    _show(session, report, everything=everything)
    problems = [log.problem for log in logs if log.problem]
    for problem in problems:
        session.screen.note(f"Not read to its end: {problem}")
    return FAILED if problems or report.verdict != "ok" else 0


def _logs(session: Session, files: tuple[str, ...]) -> "list[Log]":
    from ike.detection.analysis import Log

    bases = {_ROTATED.sub("", Path(each).name) for each in files}
    now = session.clock().timestamp()
    logs = []
    for each in files:
        # Without a host in their lines, logs of other names are those of other gateways.
        gateway = _ROTATED.sub("", Path(each).name) if len(bases) > 1 else None
        log = Log("standard input" if each == "-" else each, (), gateway)
        log.events = _events(log, each, now)
        logs.append(log)
    return logs


def _events(log: "Log", file: str, now: float) -> "Iterator[SaEvent]":
    from ike.events import files
    from ike.events.backwards import Text
    from ike.events.errors import LogDamaged
    from ike.events.reader import Reader

    reader = Reader(now, beats=True)
    source = files.stream(sys.stdin.buffer) if file == "-" else files.blocks(Path(file))
    text = Text(source, now)
    last = b"\n"
    try:
        for block in text.blocks():
            log.lines += block.count(b"\n")
            last = block[-1:] or last
            log.turned = text.turned
            yield from reader.feed(block)
    except LogDamaged as error:
        # What could be read is worth as much as a log that ends there.
        log.problem = str(error)
    log.lines += last != b"\n"
    yield from reader.close()


def _bounds(rekey_time: float | None, life_time: float | None) -> "Bounds":
    from ike.detection.bounds import UNKNOWN, Bounds, Lifetime

    if rekey_time is None:
        return UNKNOWN
    life = rekey_time * 1.1 if life_time is None else life_time
    # As strongSwan has it by default: the jitter is what lies between the two.
    return Bounds(child=Lifetime(rekey_time, min(life - rekey_time, rekey_time / 2), life))


def _show(session: Session, report: "Report", **more: Any) -> None:
    from ike.detection.forms import html, json, text
    from ikewarden.cli.commands import audit_screen

    if session.format == "json":
        session.out.write(json.write(report))
    elif session.format == "html":
        session.out.write(html.write(report))
    else:
        audit_screen.show(session.out, text.lines(report, **more))
