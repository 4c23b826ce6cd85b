"""`ikewarden audit --fix` and `--undo`: modes and owners are mended, and put back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ikewarden.cli.failures import FAILED
from ikewarden.cli.session import Session

if TYPE_CHECKING:
    from ike.audit.fixing import Outcome
    from ike.audit.values import Audit
    from ike.audit.whole import Outcome as Audited


@dataclass(frozen=True)
class Fixed:
    """What became of the changes; `undo_file` is where the way back stands, None where nothing was changed."""

    outcomes: "Sequence[Outcome]"
    undo_file: Path | None = None
    were_open: tuple[str, ...] = ()  # keys and secrets that others could read until then

    @property
    def any_done(self) -> bool:
        """Whether a file is another one now."""
        return self.undo_file is not None

    @property
    def all_done(self) -> bool:
        """Whether nothing was left alone; of a rehearsal: whether nothing would be."""
        return all(each.done for each in self.outcomes)

    def document(self, audit: "Audit") -> dict[str, Any]:
        """The report in JSON, `changes`, and what was open until then."""
        from ike.audit.forms import json
        from ike.audit.forms.names import visible

        return {
            **json.document(audit),
            "changes": [_change(each, done=self.any_done and each.done) for each in self.outcomes],
            "undo_file": visible(str(self.undo_file)) if self.undo_file else None,
            "were_open": [visible(each) for each in self.were_open],
        }


def fix(session: Session, audited: "Audited", given: Mapping[str, Any]) -> Fixed:
    """Show what would be changed; then change it, unless it is a dry run or somebody says no."""
    from ike.audit import fixing

    changes, root = audited.changes(), given["root"]
    rehearsed = fixing.rehearse(changes, root)
    to_do = [each.change for each in rehearsed if each.done]
    _show(session, rehearsed, "would be changed" if given["dry_run"] else "to be changed")
    if not to_do:
        session.screen.note("There is no mode and no owner to be mended.")
    if given["dry_run"] or not to_do:
        tell_rest(session, audited)
        return Fixed(rehearsed)
    if not given["yes"] and not _agreed(f"Change {_files(len(to_do))}?"):
        session.screen.note("Nothing was changed.")
        return Fixed(rehearsed)
    now = session.clock()
    undo_file = (given["undo_file"] or _undo_file(now)).absolute()
    made = fixing.carry_out(to_do, root, undo_file, now)
    failed = [each for each in made if not each.done]
    _show(session, failed, "to be changed")
    left = [each for each in rehearsed if not each.done]
    if len(failed) == len(made) and not undo_file.exists():
        session.screen.note("Nothing was changed.")
        return Fixed([*made, *left])
    session.screen.note(
        f"{_files(len(made) - len(failed))} changed. The way back: ikewarden audit --undo {undo_file}"
    )
    were_open = _were_open(audited.audit, [each.change.path for each in made if each.done])
    _show_open(session, were_open)
    return Fixed([*made, *left], undo_file, were_open)


def tell_rest(session: Session, audited: "Audited", *, fixed: bool = False) -> None:
    """How many findings no mode and no owner mends, and the worst of them, in a line; of what was `fixed`, also how
    many could have been mended and were not.
    """
    from ike.audit.forms.names import shown

    # By the plan of what is there now: a folder that was narrowed makes another rule of what is in it.
    about = {finding for change in audited.changes() for finding in change.findings}
    rest = [each for each in audited.audit.findings if each.id not in about]
    left = len(audited.audit.findings) - len(rest)
    if fixed and left:
        count = "1 finding is" if left == 1 else f"{left:,} findings are"
        session.screen.note(
            f"{count} still to be mended by a mode or an owner: see what was left alone."
        )
    if not rest:
        return
    worst = rest[0]  # the worst come first
    count = "1 finding is" if len(rest) == 1 else f"{len(rest):,} findings are"
    session.screen.note(
        f"{count} mended by no mode and no owner; the worst: {worst.weight}, {worst.rule.title} "
        f"({worst.rule.id}): {shown(str(worst.place))}."
    )


def undo(session: Session, undo_file: Path, root: Path) -> int:
    """Put back what is still as the fix left it, below the root that the fix was made in."""
    from ike.audit import undoing

    undone = undoing.undo(undo_file, None if root == Path("/") else root)
    if session.screen.is_json:
        session.screen.json({"changes": [_undone(each) for each in undone]})
    else:
        for each in undone:
            what = f"left alone: {each.reason}" if each.reason else f"{each.record.before}"
            if each.already:
                what = "as it was before already"
            _line(session, each.record.path, what)
        back = sum(each.done and not each.already for each in undone)
        session.screen.line(f"{_files(back)} put back.")
    return 0 if all(each.done for each in undone) else FAILED


def _undo_file(now: datetime) -> Path:
    return Path(f"ikewarden-audit-{now:%Y%m%dT%H%M%SZ}.undo")


def _show(session: Session, outcomes: "Sequence[Outcome]", what: str) -> None:
    if session.screen.is_json or not outcomes:
        return
    done = sum(each.done for each in outcomes)
    if done:
        session.screen.line(f"{_files(done)} {what}:")
    for each in outcomes:
        if each.done:
            _line(session, each.change.path, each.change.words)
    if done < len(outcomes):
        session.screen.line(f"{_files(len(outcomes) - done)} left alone:")
    for each in outcomes:
        if not each.done:
            _line(session, each.change.path, each.reason)
    session.screen.line()


def _were_open(audit: "Audit", closed: "Sequence[str]") -> tuple[str, ...]:
    """Of the files that were closed those whose keys and secrets others may have by now."""
    from ike.audit import rights

    read = {each.place.path for each in (*audit.findings, *audit.known) if rights.ANEW in each.fix}
    return tuple(path for path in closed if path in read)


def _show_open(session: Session, paths: "Sequence[str]") -> None:
    from ike.audit.forms.names import shown

    if session.screen.is_json or not paths:
        return
    session.screen.line(
        "Others could read these until now, and may have. Make what is in them anew:"
    )
    for path in paths:
        session.screen.line(f"  {shown(path)}")
    session.screen.line()


def _line(session: Session, path: str, text: str) -> None:
    from ike.audit.forms.names import shown

    session.screen.line(f"  {shown(path)}")
    session.screen.line(f"    {shown(text)}")


def _agreed(question: str) -> bool:
    try:
        return click.confirm(question, err=True)
    except click.Abort as aborted:
        # click makes the same of Ctrl-C, which needs no words
        if not isinstance(aborted.__context__, EOFError):
            raise
        click.echo(err=True)
    raise click.UsageError("Nobody answers here, and nothing was changed: give --yes.")


def _files(count: int) -> str:
    return "1 file or folder" if count == 1 else f"{count:,} files and folders"


def _change(outcome: "Outcome", *, done: bool) -> dict[str, Any]:
    from ike.audit.forms.json import place_document
    from ike.secrets.values import Place

    change = outcome.change
    where = place_document(Place(change.path, 0))
    del where["line"]
    return {
        **where,
        "from": _rights(change.was.mode, change.was.uid, change.was.gid),
        "to": _rights(change.mode, change.uid, change.gid),
        "findings": list(change.findings),
        "done": done,
        "reason": outcome.reason,
    }


def _undone(undone: Any) -> dict[str, Any]:
    from ike.audit.forms.names import visible

    before = undone.record.before
    return {
        "path": visible(undone.record.path),
        "to": _rights(before.mode, before.uid, before.gid),
        "done": undone.done,
        "reason": undone.reason,
    }


def _rights(mode: int, uid: int, gid: int) -> dict[str, Any]:
    return {"mode": f"{mode:04o}", "uid": uid, "gid": gid}
