"""`ikewarden ca ceremony`: a written ceremony, rehearsed, held, and checked afterwards."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ikewarden.cli import files
from ikewarden.cli.help import command
from ikewarden.cli.local import config_option, opened_instance
from ikewarden.cli.options import approval_option, directory_option, example, format_option
from ikewarden.cli.screen import Column
from ikewarden.cli.session import Session, pass_session

if TYPE_CHECKING:
    from hsm.sealedfiles import SealedFileKeyStore
    from pki.ceremony.account import Account
    from pki.ceremony.course import Confirmation, Made
    from pki.ceremony.plan import Plan, Step
    from pki.desk import Desk

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_PARTED: Final = 4
_STEPS: Final = (
    Column("Step", "record", whole=True),
    Column("Authority", "name", whole=True),
    Column("Key", "algorithm", whole=True),
    Column("Signed by", "signed_by", whole=True),
    Column("Path", "path_length", whole=True),
    Column("Store", "store"),
    Column("Until", "not_after", whole=True),
    Column("Permitted", "permitted"),
    Column("Excluded", "excluded"),
    Column("Subject", "subject"),
)
_UNTYPED: Final = ("certificate", "crl")


@command(
    "ceremony",
    epilog=example(
        "ikewarden ca ceremony ceremony.toml --dry-run",
        "ikewarden ca ceremony ceremony.toml --transcript transcript.jsonl",
        "ikewarden ca ceremony --verify transcript.jsonl --key audit-log.pub",
    ),
)
@click.argument("file", type=_FILE, required=False)
@click.option("--dry-run", is_flag=True, help="Rehearse it on a throw-away copy; make nothing.")
@click.option(
    "--transcript",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where the signed transcript goes. [default: FILE.transcript]",
)
@click.option("--verify", type=_FILE, metavar="TRANSCRIPT", help="Check a transcript instead.")
@click.option(
    "--key",
    "key_file",
    type=_FILE,
    help="What `audit-log key` printed, or the ceremony wrote; a transcript needs it.",
)
@approval_option
@directory_option
@config_option
@format_option()
@pass_session
def ceremony(session: Session, /, **given: Any) -> None:
    """Hold a written ceremony on this machine: make exactly the authorities that FILE describes.

    It is rehearsed first, on a copy. Then each witness that FILE names types the beginning of its SHA-256. What comes
    out of each step is compared with what is written before it is kept. In the end there is a transcript, signed with
    the key of the audit log. A run that was cut off goes on with what is missing when it is started again.

    With --verify, a transcript is checked: no service and no database is needed, the public key alone.
    """
    if given["verify"] is not None:
        if given["file"] is not None or given["key_file"] is None:
            raise click.UsageError("A transcript is checked with --verify TRANSCRIPT and --key.")
        _verify(session, given["verify"], given["key_file"])
        return
    if given["file"] is None:
        raise click.UsageError("Name the file of the ceremony.")
    _hold(session, given)


def _hold(session: Session, given: dict[str, Any]) -> None:
    from pki.ceremony.course import check
    from pki.ceremony.errors import CeremonyNoConsole
    from pki.ceremony.plan import read_plan

    file: Path = given["file"]
    plan = read_plan(_content(file))
    target: Path = given["transcript"] or file.with_name(f"{file.name}.transcript")
    if not given["dry_run"]:
        if session.ask is None:
            raise CeremonyNoConsole("There is no terminal at which the witnesses could confirm.")
        files.check_new(target)
    with opened_instance(session, given["config"]) as opened:
        desk, sealed = opened.desk, opened.keys
        before = check(desk, plan)
        _rehearse(session, desk, plan, quiet=not given["dry_run"])
        if given["dry_run"]:
            return
        if before:
            session.screen.note(f"An earlier run made: {', '.join(before)}. This one goes on.")
        account = _make(session, desk, sealed, plan)
    files.write_new(target, account.content, files.PUBLIC)
    _tell(session, plan, target, account)


def _content(file: Path) -> bytes:
    from pki.ceremony.plan import LARGEST

    with file.open("rb") as opened:
        return opened.read(LARGEST + 1)


def _rehearse(session: Session, desk: "Desk", plan: "Plan", *, quiet: bool) -> None:
    """Do it all on a copy; say what would be made. Also before the real thing: it begins only if it can end."""
    import tempfile

    from pki.ceremony import course
    from pki.ceremony.account import describe
    from pki.ceremony.rehearsal import rehearse

    with tempfile.TemporaryDirectory(prefix="ikewarden-rehearsal-") as directory:
        done = rehearse(desk, plan, Path(directory), now=session.clock())
    would = [_line(step, describe(each)) for step, each in zip(plan.steps, done, strict=True)]
    second = course.wants_approval(desk, plan)
    screen = session.screen
    if screen.is_json:
        if not quiet:
            head = {"title": plan.title, "sha256": plan.sha256, "needs_approval": second}
            screen.json({**head, "steps": would})
        return
    _head(session, plan)
    screen.table(_STEPS, would)
    if not quiet:
        screen.line()
        screen.line(
            "This was a rehearsal: nothing was made. Keys and serial numbers will be others."
        )
        if second:
            screen.line(
                "[approvals] wants a second person. The first run asks for that, and for no witness."
            )


def _line(step: "Step", described: dict[str, Any]) -> dict[str, Any]:
    """A rehearsed step: what is written, and what came out; without what will be another."""
    described["not_after"] = described.get("not_after", described.get("next_update"))
    described["signed_by"] = _signed_by(described)
    shown = (
        *("record", "name", "signed_by", "subject", "path_length"),
        *("not_before", "not_after", "entries"),
    )
    return {**vars(step), **{name: described[name] for name in shown if name in described}}


def _signed_by(record: Mapping[str, Any]) -> object:
    """Who certifies what a step makes; None for a root, and for a list."""
    return record.get("issuer", record.get("parent"))


def _title(record: Mapping[str, Any]) -> str:
    """What came of a step, in a few words."""
    title = f"{record['record']} {record['name']}"
    return f"{title} by {record['issuer']}" if record["record"] == "cross" else title


def _head(session: Session, plan: "Plan") -> None:
    parted = [plan.sha256[at : at + _PARTED] for at in range(0, len(plan.sha256), _PARTED)]
    session.screen.fields(
        [
            ("Ceremony", plan.title),
            ("Led by", plan.led_by),
            ("Witnesses", ", ".join(plan.witnesses)),
            ("SHA-256 of the file", " ".join(parted)),
        ]
    )
    session.screen.line()


def _make(session: Session, desk: "Desk", sealed: "SealedFileKeyStore", plan: "Plan") -> "Account":
    from pki.ceremony import account, course

    approval = session.given.get("approval")
    actor = course.leader(plan, None if approval is None else int(str(approval)))
    # Before the witnesses: nobody comes twice.
    course.ask(desk, plan, actor, now=session.clock())
    said = _confirm(session, plan)
    course.hear(desk, plan, actor, said, now=session.clock())
    # Before anything is made: without the log's key there would be no transcript.
    account.log_of(desk, sealed, now=session.clock())
    actor = course.begin(desk, plan, actor, said, now=session.clock())
    done = course.carry_out(desk, plan, actor, session.clock, lambda made: _report(session, made))
    return account.write(desk, sealed, plan, done, version("ikewarden"), now=session.clock())


def _confirm(session: Session, plan: "Plan") -> list["Confirmation"]:
    """Ask each witness; stop at the first who types something else."""
    from pki.ceremony.course import Confirmation
    from pki.ceremony.plan import TYPED

    said = []
    for witness in plan.witnesses:
        question = f"{witness}: type the first {TYPED} digits of the file's SHA-256"
        typed = str(click.prompt(question, err=True))
        said.append(Confirmation(witness, typed, session.clock()))
        if not plan.confirms(typed):
            break
    return said


def _report(session: Session, made: "Made") -> None:
    from pki.ceremony.account import describe

    told = describe(made)
    was = "was made before" if made.before else "made"
    session.screen.note(f"… {_title(told)}: {was}, SHA-256 {told['sha256']}")


def _tell(session: Session, plan: "Plan", target: Path, account: "Account") -> None:
    screen = session.screen
    found = {
        "title": plan.title,
        "sha256": plan.sha256,
        "transcript": str(target),
        "key": account.key,
    }
    if screen.is_json:
        screen.json(found)
        return
    screen.fields([("Transcript", str(target)), ("Signed with", account.key)])
    screen.note(
        "Keep the transcript and, in another place, the key: --verify checks one with the other."
    )


def _verify(session: Session, file: Path, key_file: Path) -> None:
    from pki.ceremony import transcript
    from pki.tlog.note import LONGEST, VerifierKey

    with key_file.open("rb") as opened:
        key = VerifierKey.parse(opened.read(LONGEST + 1).decode("utf-8", "replace"))
    with file.open("rb") as opened:
        lines = list(iter(lambda: opened.readline(transcript.LONGEST + 1), b""))
    found = transcript.verify(lines, key)
    plan, screen = found.plan, session.screen
    if screen.is_json:
        records = [
            {name: value for name, value in each.items() if name not in _UNTYPED}
            for each in found.records
        ]
        screen.json({"ok": True, "title": plan.title, "sha256": plan.sha256, "records": records})
        return
    screen.line("The transcript is as it was signed, and what was made is what is written.")
    _head(session, plan)
    for record in found.records:
        if record["record"] in ("root", "issuing", "cross", "crl"):
            screen.line(f"{_title(record)}: SHA-256 {record['sha256']}")
