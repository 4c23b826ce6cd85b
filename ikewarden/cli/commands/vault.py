"""`ikewarden vault`: what the service needs in Vault or OpenBao, and whether it has it."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from core.errors import InvalidInput
from ikewarden.cli.commands.serve import InstanceMissing
from ikewarden.cli.help import command
from ikewarden.cli.lazy import Lazy, LazyGroup
from ikewarden.cli.options import directory_option, example, format_option
from ikewarden.cli.place import SETTINGS
from ikewarden.cli.session import Session, pass_session

if TYPE_CHECKING:
    from ikewarden.settings_secrets import SecretsSettings

_CONFIG = click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A settings file, in place of the one in the directory.",
)
_HEAD = """\
# What ikewarden needs for [secrets] mount = "{mount}" and path = "{path}", and nothing more.
#   ikewarden vault policy > ikewarden.hcl
#   bao policy write ikewarden ikewarden.hcl          (Vault: vault policy write ...)
# Then give the role that ikewarden logs in by: token_policies=ikewarden
"""


class NotInVault(InvalidInput):
    """The settings keep the secrets elsewhere."""

    code = "secrets_not_in_vault"
    next_step = 'Set [secrets] store = "vault", its url and how to log in: docs/how-to/vault.md.'


@click.group(
    cls=LazyGroup,
    lazy={
        "policy": Lazy(f"{__name__}:policy", "Print the policy that the service needs there."),
        "check": Lazy(f"{__name__}:check", "Try everything that the service does there."),
    },
    epilog=example("ikewarden vault policy > ikewarden.hcl", "ikewarden vault check"),
)
def vault() -> None:
    """Vault or OpenBao as the store of shared secrets."""


@command(
    "policy",
    epilog=example(
        "ikewarden vault policy > ikewarden.hcl", "bao policy write ikewarden ikewarden.hcl"
    ),
)
@directory_option
@_CONFIG
@format_option()
@pass_session
def policy(session: Session, config: Path | None) -> None:
    """Print the policy that the service needs there.

    For mount and path template of the settings in force, in HCL, with nothing in it that is not needed; with
    --format json in JSON, which the server takes as well.
    """
    from fleet.rotation.values import Kind
    from hsm.vaultpolicy import as_document, as_hcl, make_policy

    chosen = _chosen(session, config)
    made = make_policy(chosen.mount, chosen.path, [kind.value for kind in Kind])
    if session.screen.is_json:
        session.screen.json(as_document(made))
    else:
        head = _HEAD.format(mount=chosen.mount, path=chosen.path)
        session.screen.verbatim(f"{head}\n{as_hcl(made)}")


@command("check", epilog=example("ikewarden vault check --dir /var/lib/ikewarden"))
@directory_option
@_CONFIG
@format_option()
@pass_session
def check(session: Session, config: Path | None) -> None:
    """Try everything that the service does there.

    Logs in, writes a random value at a path of its own, reads, deletes, undeletes and destroys it, and removes what is
    left. Exits with 0 if all went well, 1 if the server refuses something, 2 for a mistake in the settings, 3 if the
    server is away, sealed or over its quota.
    """
    from secrets import token_hex

    from hsm.secrettrial import try_out

    chosen = _chosen(session, config)
    if chosen.store != "vault":
        raise NotInVault(f'[secrets] store is "{chosen.store}".')
    from fleet.rotation.values import Kind
    from ikewarden.vault import open_vault

    steps: list[str] = []
    screen = session.screen

    def report(step: str) -> None:
        steps.append(step)
        screen.note(f"… {step}")

    tunnel = f"ikewarden-check-{token_hex(4)}"
    path = chosen.path.replace("{tunnel}", tunnel).replace("{kind}", Kind.PSK.value)
    try_out(open_vault(chosen, session.environ), path, report)
    if screen.is_json:
        screen.json({"ok": True, "url": chosen.url, "mount": chosen.mount, "steps": steps})
    else:
        screen.line("ok")


def _chosen(session: Session, config: Path | None) -> "SecretsSettings":
    file = config or session.directory / SETTINGS
    if not file.exists():
        raise InstanceMissing(
            f"There is no instance in {file.parent}.",
            next_step="Name its directory with --dir, or its settings with --config.",
        )
    from ikewarden.settings import load_settings

    return load_settings(file, session.environ).secrets
