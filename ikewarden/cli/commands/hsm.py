"""`ikewarden hsm`: signing keys in an HSM, over PKCS#11."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.errors import Conflict, InvalidInput
from hsm.ports import KEY_ALGORITHMS, KeyAlgorithm
from ikewarden.cli.help import command
from ikewarden.cli.lazy import Lazy, LazyGroup
from ikewarden.cli.local import config_option, settings_of
from ikewarden.cli.options import directory_option, example, format_option
from ikewarden.cli.session import Session, pass_session

if TYPE_CHECKING:
    from hsm.keytrial import Trial
    from hsm.token.store import TokenKeyStore
    from ikewarden.settings_model import Settings


class HsmNotSet(InvalidInput):
    """The settings have no token."""

    code = "hsm_not_set"
    next_step = "Set [keys.pkcs11] module, token and pin_file: docs/how-to/hsm.md."


class HsmUnfit(Conflict):
    """The token answers, but can make and use no key of a kind that was asked for."""

    code = "hsm_unfit"
    next_step = "Choose another kind of key, or another device; its mechanisms are listed with --format json."


@click.group(
    cls=LazyGroup,
    lazy={"check": Lazy(f"{__name__}:check", "Try what the HSM can do.")},
    epilog=example("ikewarden hsm check --dir var"),
)
def hsm() -> None:
    """Signing keys in an HSM, over PKCS#11."""


@command(
    "check",
    epilog=example(
        "ikewarden hsm check --dir /var/lib/ikewarden",
        "ikewarden hsm check --algorithm ec-p384 --algorithm rsa-4096 --format json",
    ),
)
@directory_option
@config_option
@click.option(
    "--algorithm",
    "algorithms",
    type=click.Choice(KEY_ALGORITHMS),
    multiple=True,
    help="Try this kind of key only; may be given more than once. [default: all but ML-DSA, which tokens do not make]",
)
@click.option(
    "--retry-pin",
    is_flag=True,
    help="Try the PIN once more, though the token refused it: some tokens lock themselves after three.",
)
@format_option()
@pass_session
def check(
    session: Session,
    config: Path | None,
    algorithms: tuple[KeyAlgorithm, ...],
    retry_pin: bool,
) -> None:
    """Try what the HSM can do.

    Loads the module, logs in, and for each kind of key makes one, signs with it in every way, verifies that, and
    destroys it: nothing is left in the token. Exits with 0 if one kind of key works, or all that were named; 1 if not,
    or if the PIN is refused or the module does not work; 2 for a mistake in the settings; 3 if the token is away.
    """
    from hsm.keystores import makes
    from hsm.keytrial import try_out

    settings = settings_of(session, config)
    store = _open(session, settings)
    screen = session.screen
    try:
        if retry_pin:
            store.retry_pin()
        told = store.check()
        if not screen.is_json:
            screen.fields([(name.capitalize(), str(told[name])) for name in _FIELDS])
            screen.line()
        trials = []
        possible = tuple(each for each in KEY_ALGORITHMS if makes("pkcs11", each))
        for trial in try_out(store, algorithms or possible):
            trials.append(trial)
            if not screen.is_json:
                screen.line(_line(trial))
    finally:
        store.close()
    if screen.is_json:
        screen.json({"token": told, "algorithms": [_document(each) for each in trials]})
    failed = [each for each in trials if each.code]
    if failed and (algorithms or len(failed) == len(trials)):
        raise HsmUnfit(f"The token does not do {', '.join(each.algorithm for each in failed)}.")


_FIELDS = ("label", "serial", "manufacturer", "model", "firmware", "slot")


def _line(trial: "Trial") -> str:
    signs = ", ".join(trial.signs)
    if not trial.code:
        return f"{trial.algorithm:10} yes   {signs}"
    partly = f"{signs}; then " if signs else ""
    return f"{trial.algorithm:10} no    {partly}{trial.message} ({trial.code})"


def _document(trial: "Trial") -> dict[str, Any]:
    return {
        "algorithm": trial.algorithm,
        "works": not trial.code,
        "signs": list(trial.signs),
        "code": trial.code or None,
        "message": trial.message or None,
    }


def _open(session: Session, settings: "Settings") -> "TokenKeyStore":
    from ikewarden.wiring import open_sealed, open_token

    if settings.keys.pkcs11.module is None:
        raise HsmNotSet("[keys.pkcs11] module is not set.")
    sealed = open_sealed(settings, session.environ, session.ask)
    return open_token(settings, sealed, session.environ, session.ask)
