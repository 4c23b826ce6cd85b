"""`ikewarden restore`: a backup put into an empty directory, or checked."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ikewarden.cli.commands.backup import VARIABLE
from ikewarden.cli.help import command
from ikewarden.cli.options import directory_option, example, format_option
from ikewarden.cli.place import program
from ikewarden.cli.screen import shown
from ikewarden.cli.session import Session, pass_session

if TYPE_CHECKING:
    from ikewarden.backup.envelope import Opener

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_MOST_IDENTITIES = 64 * 1024


@command(
    epilog=example(
        "ikewarden restore 2026-11-29.ikw --dir /var/lib/ikewarden --passphrase-file backup-passphrase",
        "ikewarden restore 2026-11-29.ikw --check --identity key.txt",
    )
)
@click.argument("file", type=_FILE)
@click.option(
    "--identity",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file (mode 0600) with identities of age (AGE-SECRET-KEY-…), one a line.",
)
@click.option(
    "--passphrase-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"A file (mode 0600) with the backup's passphrase. [env: {VARIABLE}; default: it is asked for]",
)
@click.option("--check", is_flag=True, help="Read the whole backup, and write nothing.")
@directory_option
@format_option()
@pass_session
def restore(
    session: Session,
    file: Path,
    identity: Path | None,
    passphrase_file: Path | None,
    check: bool,
) -> None:
    """Put a backup into an empty directory, or check it.

    The whole file is verified first. Records of PostgreSQL go into the empty database that the settings of the backup
    name, or IKEWARDEN_DATABASE__URL.

    Run it as the user of the service. What is restored is not served before `ikewarden audit-log accept-gap`: what came
    after the backup is lost.
    """
    from ikewarden.backup import restoring
    from pki.actors import Actor, Role

    screen = session.screen
    with file.open("rb") as opened:
        opener = _opener(session, opened, identity, passphrase_file)
        if check:
            manifest, _ = restoring.verify(opened, opener)
        else:
            manifest = restoring.restore(
                opened,
                opener,
                session.directory,
                Actor("console", Role.ADMIN),
                environ=session.environ,
                now=session.clock(),
            )
    if screen.is_json:
        screen.json({"backup": manifest.backup, "made_at": manifest.made_at, "restored": not check})
        return
    if check:
        screen.line(f"The backup {manifest.backup} of {shown(manifest.made_at)} is whole.")
        return
    screen.line(
        f"The backup {manifest.backup} of {shown(manifest.made_at)} is in {session.directory}."
    )
    screen.note(
        "Before it serves, make sure that the old service does not run any more, and accept what came after the backup:"
    )
    screen.note(
        f"  {program()} audit-log accept-gap --dir {session.directory} --reason 'backup restored'"
    )


def _opener(
    session: Session, opened: Any, identity: Path | None, passphrase_file: Path | None
) -> "Opener":
    from core.secret import Secret
    from hsm.passphrase import find_passphrase, read_private
    from ikewarden.backup.envelope import Opener, needs_passphrase

    if identity is not None:
        return Opener(identities=Secret(read_private(identity, _MOST_IDENTITIES)))
    if not needs_passphrase(opened):
        return Opener()
    ask = session.ask
    return Opener(
        find_passphrase(
            file=passphrase_file,
            variable=VARIABLE,
            environ=session.environ,
            prompt=ask and partial(ask, "Passphrase of the backup: "),
        )
    )
