"""`ikewarden audit-log verify|accept-gap`: is the log as it was signed, and what if rows were lost."""

import base64
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ikewarden.cli.failures import FAILED
from ikewarden.cli.help import command
from ikewarden.cli.local import config_option, opened_instance
from ikewarden.cli.options import approval_option, directory_option, example, format_option
from ikewarden.cli.screen import Column
from ikewarden.cli.session import Session, pass_session

if TYPE_CHECKING:
    from core.secret import Secret
    from ikewarden.cli.local import Opened
    from pki.audit_check import Report
    from pki.sequencing import Sequenced
    from pki.tlog.note import VerifierKey

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_FINDINGS: Final = (
    Column("Code", "code", whole=True),
    Column("Row", "event", whole=True),
    Column("Place", "position", whole=True),
    Column("What", "detail"),
)


@command(
    epilog=example(
        "ikewarden audit-log verify audit.jsonl --key audit-log.pub --head head-2026-11-01",
        "ikewarden audit-log verify --dir /var/lib/ikewarden",
    )
)
@click.argument("file", type=_FILE, required=False)
@click.option(
    "--key",
    "key_files",
    type=_FILE,
    multiple=True,
    help="What `audit-log key` printed; a file needs it. With a file, more than once: also of older logs.",
)
@click.option(
    "--head",
    "head_files",
    type=_FILE,
    multiple=True,
    help="What `audit-log head` printed once; may be given more than once.",
)
@directory_option
@config_option
@format_option()
@pass_session
def verify(
    session: Session,
    file: Path | None,
    key_files: tuple[Path, ...],
    head_files: tuple[Path, ...],
    config: Path | None,
) -> int:
    """Check that no row of the audit log was changed, removed, put in or moved.

    With FILE, one that `audit-log export` wrote: no service and no database is needed, the public key alone. Without,
    the database of this instance: every row, the tree, and the head that is remembered beside the keys.

    Where records were lost once, the log goes on under another key. Give the old one too, for heads from before.

    A log whose end was cut off is whole in itself: only a head that was kept elsewhere shows it. Exits with 1 if
    anything is not as it was signed.
    """
    from pki.tlog.note import VerifierKey

    keys = [VerifierKey.parse(_read(each)) for each in key_files]
    notes = [_read(each) for each in head_files]
    if file is None:
        if len(keys) > 1:
            raise click.UsageError("The records are checked with one --key: that of the heads.")
        return _check_records(session, config, keys[0] if keys else None, notes)
    if not keys:
        raise click.UsageError("A file is checked with the public key: give --key.")
    return _check_file(session, file, keys, notes)


def _read(file: Path) -> str:
    from pki.tlog.note import LONGEST

    with file.open("rb") as opened:
        return opened.read(LONGEST + 1).decode("utf-8", "replace")


def _check_file(session: Session, file: Path, keys: "list[VerifierKey]", notes: list[str]) -> int:
    from pki.tlog.export import LONGEST, check

    with file.open("rb") as opened:
        done = check(iter(lambda: opened.readline(LONGEST + 1), b""), keys[0], notes, more=keys[1:])
    head, screen = done.head, session.screen
    root = base64.b64encode(head.root).decode()
    if screen.is_json:
        screen.json(
            {
                "ok": True,
                "origin": head.origin,
                "size": head.size,
                "root": root,
                "heads": done.agreed,
            }
        )
        return 0
    screen.line(f"All {head.size} rows are as they were signed.")
    screen.fields([("Log", head.origin), ("Root", root), ("Heads kept elsewhere", done.agreed)])
    if not notes:
        screen.note(
            "Rows that were cut off at the end show only against a head that was kept: --head."
        )
    return 0


def _check_records(
    session: Session, config: Path | None, key: "VerifierKey | None", notes: list[str]
) -> int:
    from pki.actors import Actor, Role
    from pki.audit_check import Kept, check

    with opened_instance(session, config) as opened:
        actor = Actor("console", Role.ADMIN)
        found = check(opened.desk, actor, opened.keys, Kept(notes, key))
    _show(session, found)
    return FAILED if found.findings else 0


def _show(session: Session, found: "Report") -> None:
    screen = session.screen
    root = base64.b64encode(found.root).decode()
    if screen.is_json:
        screen.json(
            {
                "ok": not found.findings,
                "size": found.size,
                "root": root,
                "heads": found.heads,
                "waiting": found.waiting,
                "absent": found.absent,
                "findings": [vars(each) for each in found.findings],
                "left_out": found.left_out,
            }
        )
        return
    if not found.findings:
        screen.line(f"All {found.size} rows are as they were signed.")
    counts = [("Not signed yet", found.waiting), ("Numbers without a row", found.absent)]
    screen.fields([("Root", root), ("Heads", found.heads), *counts])
    if found.findings:
        screen.line()
        screen.table(_FINDINGS, [vars(each) for each in found.findings])
    if found.left_out:
        screen.note(f"There are {found.left_out} more.")


@command(
    "accept-gap",
    epilog=example(
        'ikewarden audit-log accept-gap --reason "backup of 29 November restored, ticket 4711"'
    ),
)
@click.option("--reason", required=True, metavar="TEXT", help="Stands in the audit log.")
@click.option(
    "--approver-token-file",
    type=_FILE,
    help="Where backup.restore needs two persons and no service runs: the token of the approver, who is here.",
)
@approval_option
@directory_option
@config_option
@format_option()
@pass_session
def accept_gap(
    session: Session, reason: str, approver_token_file: Path | None, config: Path | None
) -> None:
    """Go on after records were lost.

    An old database was put back, or a backup was restored. Before this, nothing is served or signed. A new log is begun
    over the rows that are there, with a name and key of its own; the first thing in it is what is missing, and why.
    Keep its key and head elsewhere. CRL numbers go on at the milliseconds since 1970, so that none comes twice, and all
    CRLs are made anew.

    What came after the backup is not known: revoke again what was revoked since.
    """
    approver = None
    if approver_token_file is not None:
        from hsm.passphrase import passphrase_from_file

        approver = passphrase_from_file(approver_token_file)
    with opened_instance(session, config) as opened:
        done = _accept(session, opened, reason, approver)
    if session.screen.is_json:
        session.screen.json({"size": done.size})
    else:
        session.screen.line(f"A new log goes on with the {done.size} rows that are there.")


def _accept(
    session: Session, opened: "Opened", reason: str, approver: "Secret | None"
) -> "Sequenced":
    from pki import decisions, identity, sequencing
    from pki.actors import Actor, Role
    from pki.approvals import ApprovalRequired
    from pki.guarded import Step

    desk, now = opened.desk, session.clock()
    given = session.given.get("approval")
    actor = Actor("console", Role.ADMIN, approval=None if given is None else int(str(given)))
    try:
        return sequencing.accept_gap(desk, actor, opened.keys, reason, now=now)
    except ApprovalRequired as needed:
        if approver is None:
            raise ApprovalRequired(
                needed.message,
                next_step="No service runs that an approver could ask: have him come along, and give his token with "
                "--approver-token-file FILE.",
                details=needed.details,
            ) from None
        number = int(str(needed.details["approval"]))
    second = identity.actor_from_token(desk, approver, now=now, request_id="")
    decisions.decide(desk, second, number, Step.APPROVE, reason, now=now)
    actor = replace(actor, approval=number)
    return sequencing.accept_gap(desk, actor, opened.keys, reason, now=now)
