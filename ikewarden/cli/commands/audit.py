"""`ikewarden audit`: who can read the keys of a host, and are they worth reading? No server is asked."""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ikewarden.cli.failures import FAILED
from ikewarden.cli.help import command
from ikewarden.cli.options import example, format_option
from ikewarden.cli.session import Session, pass_session

if TYPE_CHECKING:
    from ike.audit.values import Audit, Policy
    from ike.audit.whole import Task

# As ike.audit has them; a help page needs none of it.
BASELINES: Final = ("rfc", "nist", "cnsa1", "cnsa2", "bsi")
SEVERITIES: Final = ("critical", "high", "medium", "low", "info")
_NEVER: Final = "never"
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@command(
    epilog=example(
        "ikewarden audit",
        "ikewarden audit --root /mnt/image --format html > gw1.html",
        "ikewarden audit --accepted accepted.toml --earlier last.json --format json",
    ),
)
@click.argument("paths", nargs=-1, type=click.Path(), metavar="[PATH]…")
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("/"),
    help="A mounted image or a copied tree; paths are those inside of it. [default: /]",
)
@click.option(
    "--fail-on",
    type=click.Choice([*SEVERITIES, _NEVER]),
    default="low",
    show_default=True,
    help="End with 1 where a finding is this bad or worse.",
)
@click.option(
    "--baseline",
    type=click.Choice(BASELINES),
    help="What algorithms and lifetimes are judged by. [default: rfc, or that of the policy]",
)
@click.option(
    "--policy",
    type=_FILE,
    help="What is allowed on this host, TOML: groups and users that may read keys, and more.",
)
@click.option(
    "--accepted",
    type=_FILE,
    help="Findings that are lived with, TOML: each with a reason and an end.",
)
@click.option(
    "--earlier",
    type=_FILE,
    help="A report in JSON of before: only what is new counts, and what is gone is told.",
)
@click.option("--all", "everything", is_flag=True, help="Show every place, not the first few.")
@click.option("--rules", is_flag=True, help="List the rules, and look at nothing.")
@format_option("sarif", "junit", "html", "csv")
@pass_session
def audit(session: Session, /, paths: tuple[str, ...], **given: Any) -> int:
    """Find out who can read the keys of a host.

    Follows the configuration of strongSwan, Libreswan and their like to every file that matters, and judges who may
    read or replace it, how good the secrets, keys and certificates are, and what is negotiated. Shows no secret and
    changes nothing. With PATHs, files and folders beside those that are found. Run it as root, or much cannot be read.

    Ends with 0 where nothing is as bad as --fail-on, with 1 where something is or could not be read, with 2 for bad
    usage. `--fail-on never` ends with 0 whatever was found.
    """
    if given["rules"]:
        _list_rules(session)
        return 0
    from ike.audit.ground import Ground
    from ike.audit.whole import carry_out

    task = _task(paths, given)
    with _waiting(session, task.host):
        found = carry_out(Ground(given["root"]), task, session.clock)
    found = _as_whom(found, given["root"])
    _show(session, found, given)
    return _verdict(found, given["fail_on"])


def _task(paths: tuple[str, ...], given: Mapping[str, Any]) -> "Task":
    """Everything that was given is read before anything is looked at, so that a mistake is told at once."""
    from ike.audit import accepted, earlier
    from ike.audit.host import Wanted
    from ike.audit.whole import Task

    root: Path = given["root"]
    is_live = _is_live(root)
    policy, more = _policy(given)
    # Inside a copy there is no current folder.
    base = os.getcwd() if is_live else "/"
    absolute = tuple(os.path.normpath(os.path.join(base, each)) for each in paths)
    return Task(
        host=socket.gethostname() if is_live else str(root),
        wanted=Wanted(paths=(*absolute, *more)),
        policy=policy,
        accepted=accepted.read(given["accepted"]) if given["accepted"] else (),
        before=earlier.read(given["earlier"]) if given["earlier"] else None,
    )


def _policy(given: Mapping[str, Any]) -> "tuple[Policy, tuple[str, ...]]":
    from ike.audit import policies
    from ike.audit.values import Policy

    policy, paths = policies.read(given["policy"]) if given["policy"] else (Policy(), ())
    if given["baseline"]:
        policy = replace(policy, baseline=given["baseline"])
    return policy, paths


def _is_live(root: Path) -> bool:
    return root.resolve() == Path("/")


@contextmanager
def _waiting(session: Session, host: str) -> Iterator[None]:
    """Tell on a terminal that something is going on."""
    from core.escaping import escaped

    if not session.err.isatty():
        yield
        return
    session.err.write(f"Looking at {escaped(host)} …")
    session.err.flush()
    try:
        yield
    finally:
        session.err.write("\r\x1b[K")
        session.err.flush()


def _as_whom(found: "Audit", root: Path) -> "Audit":
    if not _is_live(root) or os.geteuid() == 0:
        return found
    remark = "This was not run as root: files that only root may read were not judged."
    return replace(found, remarks=(remark, *found.remarks))


def _verdict(found: "Audit", fail_on: str) -> int:
    if fail_on == _NEVER:
        return 0
    least = SEVERITIES.index(fail_on)
    bad = any(finding.weight.rank <= least for finding in found.findings)
    return FAILED if bad or found.problems else 0


def _show(session: Session, found: "Audit", given: Mapping[str, Any]) -> None:
    from ike.audit.forms import csv, html, json, junit, sarif, text
    from ike.audit.rules import RULES
    from ike.audit.values import Severity
    from ikewarden.cli.commands import audit_screen

    form, fail_on = session.format, given["fail_on"]
    if form == "text":
        audit_screen.show(session.out, text.lines(found, everything=given["everything"]))
    elif form == "json":
        session.out.write(json.write(found))
    elif form == "sarif":
        session.out.write(sarif.write(found, RULES, _version()))
    elif form == "junit":
        least = None if fail_on == _NEVER else Severity(fail_on)
        session.out.write(junit.write(found, RULES, least))
    elif form == "html":
        session.out.write(html.write(found))
    else:
        session.out.write(csv.write(found))
        for remark in found.remarks:  # there is no place for them in a table
            session.screen.note(remark)


def _version() -> str:
    from importlib.metadata import version

    return version("ikewarden")


def _list_rules(session: Session) -> None:
    from ike.audit.forms import json, text
    from ike.audit.rules import RULES
    from ikewarden.cli.commands import audit_screen

    if session.format not in ("text", "json"):
        raise click.UsageError("--rules goes with --format text or json.")
    ordered = sorted(RULES, key=lambda rule: (rule.area, rule.severity.rank, rule.id))
    if session.format == "json":
        session.screen.json({"rules": [json.rule_document(rule) for rule in ordered]})
    else:
        audit_screen.show(session.out, text.rules(ordered))
