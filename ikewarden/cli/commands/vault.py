"""`ikewarden vault`: what the service needs in Vault or OpenBao, and whether it has it."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from core.errors import InvalidInput
from ikewarden.cli.help import command
from ikewarden.cli.lazy import Lazy, LazyGroup
from ikewarden.cli.local import config_option, settings_of
from ikewarden.cli.options import directory_option, example, format_option
from ikewarden.cli.session import Session, pass_session

if TYPE_CHECKING:
    from hsm.vaultpolicy import Policy
    from ikewarden.settings_model import Settings

_ONLY = click.option(
    "--only",
    type=click.Choice(("secrets", "keys")),
    help="Shared secrets, or signing keys. [default: what the settings keep there]",
)
_FOR_SECRETS: Final = '[secrets] mount = "{mount}" and path = "{path}"'
_FOR_KEYS: Final = '[keys.transit] mount = "{mount}"'
_HEAD: Final = """\
# What ikewarden needs for {what}, and nothing more.
#   ikewarden vault policy{only} > ikewarden.hcl
#   bao policy write ikewarden ikewarden.hcl          (Vault: vault policy write ...)
# Then give the role that ikewarden logs in by: token_policies=ikewarden
"""


class NotInVault(InvalidInput):
    """The settings keep the secrets elsewhere."""

    code = "secrets_not_in_vault"
    next_step = 'Set [secrets] store = "vault", its url and how to log in: docs/how-to/vault.md.'


class KeysNotInVault(InvalidInput):
    """The settings keep the signing keys elsewhere."""

    code = "keys_not_in_vault"
    next_step = 'Set [keys] store = "transit", and [keys.transit]: docs/how-to/vault-keys.md.'


@click.group(
    cls=LazyGroup,
    lazy={
        "policy": Lazy(f"{__name__}:policy", "Print the policy that the service needs there."),
        "check": Lazy(f"{__name__}:check", "Try everything that the service does there."),
    },
    epilog=example("ikewarden vault policy > ikewarden.hcl", "ikewarden vault check"),
)
def vault() -> None:
    """Vault or OpenBao as the store of secrets and keys."""


@command(
    "policy",
    epilog=example(
        "ikewarden vault policy > ikewarden.hcl", "bao policy write ikewarden ikewarden.hcl"
    ),
)
@directory_option
@config_option
@_ONLY
@format_option()
@pass_session
def policy(session: Session, config: Path | None, only: str | None) -> None:
    """Print the policy that the service needs there.

    For mounts and path template of the settings in force, in HCL, with nothing in it that is not needed; with
    --format json in JSON, which the server takes as well. Where secrets and keys are under logins of their own, print
    the policy of each with --only.
    """
    from hsm.vaultpolicy import as_document, as_hcl

    settings = settings_of(session, config)
    keys = only == "keys" or (only is None and settings.keys.uses_transit)
    secrets = only == "secrets" or (only is None and (_has_secrets(settings) or not keys))
    made: list[tuple[str, Policy]] = []
    if secrets:
        made.append(_secrets_policy(settings))
    if keys:
        made.append(_keys_policy(settings))
    if session.screen.is_json:
        session.screen.json(
            as_document({path: can for _, each in made for path, can in each.items()})
        )
        return
    option = f" --only {only}" if only else ""
    head = _HEAD.format(what=" and ".join(what for what, _ in made), only=option)
    session.screen.verbatim("\n".join((head, *(as_hcl(each) for _, each in made))))


@command("check", epilog=example("ikewarden vault check --dir /var/lib/ikewarden"))
@directory_option
@config_option
@_ONLY
@format_option()
@pass_session
def check(session: Session, config: Path | None, only: str | None) -> None:
    """Try everything that the service does there.

    Secrets: logs in, writes a random value at a path of its own, reads, deletes, undeletes and destroys it, and removes
    what is left. Keys: logs in, makes a key of each family, signs, and destroys it. Exits with 0 if all went well, 1 if
    the server refuses something, 2 for a mistake in the settings, 3 if the server is away, sealed or over its quota.
    """
    settings = settings_of(session, config)
    keys = settings.keys.uses_transit and only != "secrets"
    if only == "keys" and not keys:
        raise KeysNotInVault("The settings have no Transit engine.")
    secrets = only != "keys" and (_has_secrets(settings) or not keys)
    if secrets and not _has_secrets(settings):
        raise NotInVault(f'[secrets] store is "{settings.secrets.store}".')
    document: dict[str, object] = {"ok": True}
    if secrets:
        document |= _try_secrets(session, settings)
    if keys:
        document["keys"] = _try_keys(session, settings)
    if session.screen.is_json:
        session.screen.json(document)
    else:
        session.screen.line("ok")


def _has_secrets(settings: "Settings") -> bool:
    return settings.secrets.store == "vault"


def _secrets_policy(settings: "Settings") -> "tuple[str, Policy]":
    from fleet.rotation.values import Kind
    from hsm.vaultpolicy import make_policy

    chosen = settings.secrets
    made = make_policy(chosen.mount, chosen.path, [kind.value for kind in Kind])
    return _FOR_SECRETS.format(mount=chosen.mount, path=chosen.path), made


def _keys_policy(settings: "Settings") -> "tuple[str, Policy]":
    from hsm.vaultpolicy import make_key_policy

    mount = settings.keys.transit.mount
    return _FOR_KEYS.format(mount=mount), make_key_policy(mount)


def _try_secrets(session: Session, settings: "Settings") -> dict[str, object]:
    from secrets import token_hex

    from fleet.rotation.values import Kind
    from hsm.secrettrial import try_out
    from ikewarden.vault import open_vault

    chosen = settings.secrets
    steps = _Steps(session)
    tunnel = f"ikewarden-check-{token_hex(4)}"
    path = chosen.path.replace("{tunnel}", tunnel).replace("{kind}", Kind.PSK.value)
    try_out(open_vault(chosen, session.environ), path, steps.report)
    return {"url": chosen.url, "mount": chosen.mount, "steps": steps.done}


def _try_keys(session: Session, settings: "Settings") -> dict[str, object]:
    from hsm.transittrial import try_out
    from ikewarden.vault import open_transit

    chosen = settings.keys.transit
    steps = _Steps(session)
    store = open_transit(chosen, settings.secrets, session.environ)
    try_out(store, steps.report)
    return {"url": store.session.address.url, "mount": chosen.mount, "steps": steps.done}


class _Steps:
    """What went well, told as it does."""

    def __init__(self, session: Session) -> None:
        self.done: list[str] = []
        self._screen = session.screen

    def report(self, step: str) -> None:
        self.done.append(step)
        self._screen.note(f"… {step}")
