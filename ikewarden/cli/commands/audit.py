"""`ikewarden audit`: who can read the keys of a host, and are they worth reading? No server is asked."""

import os
import socket
import sys
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
    from ike.audit.whole import Outcome, Task

# As ike.audit has them; a help page needs none of it.
BASELINES: Final = ("rfc", "nist", "cnsa1", "cnsa2", "bsi")
SEVERITIES: Final = ("critical", "high", "medium", "low", "info")
_NEVER: Final = "never"
_STDIN: Final = ("-", "/dev/stdin")
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@command(
    epilog=example(
        "ikewarden audit",
        "ikewarden audit --root /mnt/image --format html > gw1.html",
        "ikewarden audit --accepted accepted.toml --earlier last.json --format json",
        "ikewarden audit --fix --dry-run",
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
    "--published-keys",
    type=_FILE,
    multiple=True,
    metavar="FILE",
    help="A list of keys that everybody has: blocklist.dat, as `badkeys --update-bl` gets it. May be given again.",
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
@click.option("--fix", is_flag=True, help="Mend modes and owners, after showing what and asking.")
@click.option("--dry-run", is_flag=True, help="With --fix: only show what would be changed.")
@click.option("--yes", is_flag=True, help="With --fix: do not ask.")
@click.option(
    "--undo-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --fix: where the way back is written. [default: a new file in this directory]",
)
@click.option("--undo", type=_FILE, metavar="FILE", help="Put back what a --fix has changed.")
@click.option(
    "--windows",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    metavar="FILE",
    help="Judge a Windows machine, by what the collector wrote there; - reads standard input.",
)
@click.option("--collector", is_flag=True, help="Print that collector, a PowerShell script.")
@click.option("--all", "everything", is_flag=True, help="Show every place, not the first few.")
@click.option("--rules", is_flag=True, help="List the rules, and look at nothing.")
@format_option("sarif", "junit", "html", "csv")
@pass_session
def audit(session: Session, /, paths: tuple[str, ...], **given: Any) -> int:
    """Find out who can read the keys of a host.

    Follows the configuration of strongSwan, Libreswan and their like to every file that matters, and judges who may
    read or replace it, how good the secrets, keys and certificates are, and what is negotiated. Shows no secret and
    changes nothing, unless --fix is given. With PATHs, only these files and folders and what they include. Run it as
    root, or much cannot be read.

    Ends with 0 where nothing is as bad as --fail-on, with 1 where something is or could not be read, with 2 for bad
    usage. `--fail-on never` ends with 0 whatever was found. After --fix, what is left counts.
    """
    _refuse_nonsense(session, paths, given)
    if given["rules"]:
        _list_rules(session)
        return 0
    if given["collector"]:
        return _print_collector(session)
    if given["undo"]:
        from ikewarden.cli.commands import audit_fix

        return audit_fix.undo(session, given["undo"], given["root"])
    if given["windows"]:
        return _verdict(_of_windows(session, given), given["fail_on"])
    return _of_host(session, paths, given)


def _of_host(session: Session, paths: tuple[str, ...], given: Mapping[str, Any]) -> int:
    from ike.audit.ground import Ground
    from ike.audit.whole import carry_out

    task = _task(paths, given)

    def look() -> "Outcome":
        with _waiting(session, task.host):
            outcome = carry_out(Ground(given["root"]), task, session.clock)
        return replace(outcome, audit=_as_whom(outcome.audit, given["root"]))

    found = look()
    if not given["fix"]:
        _show(session, found.audit, given)
        return _verdict(found.audit, given["fail_on"])
    from ikewarden.cli.commands import audit_fix

    fixed = audit_fix.fix(session, found, given)
    if fixed.any_done:
        found = look()
    if session.screen.is_json:
        session.screen.json(fixed.document(found.audit))
    elif not given["dry_run"]:
        _show(session, found.audit, given)
    if fixed.any_done:
        audit_fix.tell_rest(session, found, fixed=True)
    return _verdict(found.audit, given["fail_on"]) if fixed.all_done else FAILED


def _of_windows(session: Session, given: Mapping[str, Any]) -> "Audit":
    from ike.audit import whole
    from ike.audit.windows import facts
    from ike.audit.windows.reading import MAX_OCTETS

    piped = str(given["windows"]) in _STDIN
    seen = facts.look(sys.stdin.buffer.read(MAX_OCTETS + 1) if piped else given["windows"])
    task = replace(_task((), given), host=seen.collected.host)
    found = whole.of_windows(seen, task, session.clock())
    _show(session, found, given)
    return found


def _print_collector(session: Session) -> int:
    from ike.audit.windows.facts import script

    session.out.write(script().decode())
    return 0


def _refuse_nonsense(session: Session, paths: tuple[str, ...], given: Mapping[str, Any]) -> None:
    instead = [name for name in ("rules", "collector", "undo", "windows", "fix") if given[name]]
    if len(instead) > 1:
        raise click.UsageError(f"Give either --{instead[0]} or --{instead[1]}.")
    if paths and instead and instead != ["fix"]:
        raise click.UsageError(f"--{instead[0]} takes no PATH.")
    for name in ("dry_run", "yes", "undo_file"):
        if given[name] and not given["fix"]:
            raise click.UsageError(f"--{name.replace('_', '-')} goes with --fix.")
    if given["windows"] and given["root"] != Path("/"):
        raise click.UsageError("--windows takes no --root.")
    if given["collector"] and session.format != "text":
        raise click.UsageError("--collector is text.")
    if instead and instead != ["windows"] and session.format not in ("text", "json"):
        raise click.UsageError(f"--{instead[0]} goes with --format text or json.")
    if given["fix"] and session.screen.is_json and not (given["yes"] or given["dry_run"]):
        raise click.UsageError("--format json does not ask: give --yes too, or --dry-run.")


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
        wanted=Wanted(absolute, known=False) if absolute else Wanted(more),
        policy=policy,
        accepted=accepted.read(given["accepted"]) if given["accepted"] else (),
        before=earlier.read(given["earlier"]) if given["earlier"] else None,
    )


def _policy(given: Mapping[str, Any]) -> "tuple[Policy, tuple[str, ...]]":
    from ike.audit import policies
    from ike.audit.published import PublishedKeys
    from ike.audit.values import Policy

    policy, paths = policies.read(given["policy"]) if given["policy"] else (Policy(), ())
    if given["baseline"]:
        policy = replace(policy, baseline=given["baseline"])
    lists = tuple(PublishedKeys(each) for each in given["published_keys"])
    policy = replace(policy, published=policy.published + lists)
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
    unread = any(problem not in found.unread_before for problem in found.problems)
    return FAILED if bad or unread else 0


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

    ordered = sorted(RULES, key=lambda rule: (rule.area, rule.severity.rank, rule.id))
    if session.format == "json":
        session.screen.json({"rules": [json.rule_document(rule) for rule in ordered]})
    else:
        audit_screen.show(session.out, text.rules(ordered))
