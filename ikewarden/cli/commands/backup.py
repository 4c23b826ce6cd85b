"""`ikewarden backup`: the whole instance in one encrypted file."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from core.secret import Secret
from ikewarden.cli.help import command
from ikewarden.cli.local import config_option, opened_instance
from ikewarden.cli.options import approval_option, directory_option, example, format_option
from ikewarden.cli.session import Session, pass_session

if TYPE_CHECKING:
    from ikewarden.backup.taking import Taken

VARIABLE: Final = "IKEWARDEN_BACKUP_PASSPHRASE"


@command(
    epilog=example(
        "ikewarden backup /backup/$(date +%F).ikw --passphrase-file /root/backup-passphrase",
        "ikewarden backup backup.ikw --recipient age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
    )
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--recipient",
    "recipients",
    metavar="AGE1…",
    multiple=True,
    help="Encrypt to this recipient of age (X25519); may be given more than once.",
)
@click.option(
    "--passphrase-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"A file (mode 0600) with the backup's own passphrase. [env: {VARIABLE}, the passphrase itself; default: it "
    "is asked for, where there is no --recipient]",
)
@approval_option
@directory_option
@config_option
@format_option()
@pass_session
def backup(
    session: Session,
    file: Path,
    recipients: tuple[str, ...],
    passphrase_file: Path | None,
    config: Path | None,
) -> None:
    """Write the whole instance into one encrypted file.

    While it runs or not: settings, sealed keys, shared secrets that are kept in files, and all records, as they are at
    one moment. FILE must not exist; it is there whole or not at all.
    """
    passphrase = _passphrase(session, passphrase_file, asked=not recipients)
    from ikewarden.backup.taking import Plan, take
    from pki.actors import Actor, Role

    given = session.given.get("approval")
    actor = Actor("console", Role.ADMIN, approval=None if given is None else int(str(given)))
    with opened_instance(session, config) as opened:
        plan = Plan(opened.settings_file, opened.settings, file, recipients, passphrase)
        taken = take(plan, opened.desk, actor, clock=session.clock)
    _tell(session, file, taken)


def _passphrase(session: Session, file: Path | None, *, asked: bool) -> Secret | None:
    from hsm.passphrase import passphrase_from_environment, passphrase_from_file

    if file is not None:
        return passphrase_from_file(file)
    if VARIABLE in session.environ:
        return passphrase_from_environment(VARIABLE, session.environ)
    if not asked:
        return None
    if session.ask is None:
        raise click.UsageError("A backup is encrypted: give --recipient or --passphrase-file.")
    text: str = click.prompt(
        "Passphrase for the backup", hide_input=True, confirmation_prompt=True, err=True
    )
    return Secret(text)


def _tell(session: Session, file: Path, taken: "Taken") -> None:
    screen = session.screen
    if screen.is_json:
        screen.json(
            {
                "file": str(file),
                "backup": taken.backup,
                "size": taken.size,
                "sha256": taken.sha256,
                "missing": taken.missing,
            }
        )
        return
    screen.line(f"The instance is in {file}.")
    screen.fields([("Size", f"{taken.size} bytes"), ("SHA-256", taken.sha256)])
    for each in taken.missing:
        screen.note(f"Not in it: {each}. Keep it elsewhere.")
