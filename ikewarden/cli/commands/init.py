"""`ikewarden init`: an instance from nothing."""

import ipaddress
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.errors import InvalidInput
from core.secret import Secret
from hsm.ports import KEY_ALGORITHMS, KeyAlgorithm
from ikewarden.cli.help import command
from ikewarden.cli.options import directory_option, example, format_option
from ikewarden.cli.place import ADMIN_TOKEN, ROOT_CERTIFICATE, SETTINGS, program
from ikewarden.cli.session import Session, pass_session

if TYPE_CHECKING:
    from ikewarden.instance import Instance, TokenPlan

_WORKED_OUT = "IKEWARDEN_PASSPHRASE"
_DATABASE = "IKEWARDEN_DATABASE__URL"
_DATABASE_PASSWORD = "IKEWARDEN_DATABASE__PASSWORD_FILE"  # noqa: S105 - a variable's name


class SettingUnusable(InvalidInput):
    """An option whose value cannot stand in the settings."""

    code = "setting_unusable"


class PassphraseNotAsked(InvalidInput):
    """A passphrase was to be typed where nobody is."""

    code = "passphrase_not_asked"
    next_step = "Run it from a terminal, or give the passphrase by --passphrase-env."


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    organization: str
    host: str
    port: int
    names: tuple[str, ...]
    validation_host: str
    validation_port: int
    validation_url: str | None
    algorithm: KeyAlgorithm
    passphrase_prompt: bool
    passphrase_env: str | None
    passphrase_file: Path | None
    pkcs11: Path | None
    token: str | None
    pin_file: Path | None
    transit: Path | None
    busy_ok: bool
    if_missing: bool


@command(
    epilog=example(
        "ikewarden init --dir var",
        "ikewarden init --dir /var/lib/ikewarden --host 192.0.2.10 --name pki.example.com \\",
        "    --validation-host 192.0.2.10 --validation-url http://pki.example.com:8080",
        "ikewarden init --dir var --pkcs11 /usr/lib/softhsm/libsofthsm2.so --token ca --pin-file pin",
    )
)
@directory_option
@click.option(
    "--organization",
    metavar="NAME",
    default="ikewarden",
    show_default=True,
    help="Stands in the names of the CAs.",
)
@click.option(
    "--host",
    metavar="ADDRESS",
    default="127.0.0.1",
    show_default=True,
    help="Address that the API listens on.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    default=8443,
    show_default=True,
    help="Its port.",
)
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="NAME",
    help="What clients call the API: a DNS name or an address; may be given more than once, the first is that of the "
    "URL. [default: localhost and the address]",
)
@click.option(
    "--validation-host",
    metavar="ADDRESS",
    default="127.0.0.1",
    show_default=True,
    help="Address of the listener for CRLs and OCSP.",
)
@click.option(
    "--validation-port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    default=8080,
    show_default=True,
    help="Its port.",
)
@click.option(
    "--validation-url",
    metavar="URL",
    help="Where gateways reach that listener; it is written into every certificate. "
    "[default: http://HOST:PORT]",
)
@click.option(
    "--algorithm",
    # Clients of the service check its TLS certificate, gateways each other's: none of them knows ML-DSA yet.
    type=click.Choice([each for each in KEY_ALGORITHMS if not each.startswith("ml-dsa")]),
    default="ec-p256",
    show_default=True,
    help="Keys of the root and the issuing CA.",
)
@click.option(
    "--passphrase-prompt",
    is_flag=True,
    help="Ask for the passphrase that seals the keys, and keep it nowhere.",
)
@click.option(
    "--passphrase-env",
    metavar="VARIABLE",
    help="Take it from this environment variable, and keep it nowhere. [default: a random one, in a file beside "
    "the keys]",
)
@click.option(
    "--passphrase-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Take it from this file (mode 0600), which the settings then name.",
)
@click.option(
    "--pkcs11",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="MODULE",
    help="Make the keys of the CAs in an HSM: its PKCS#11 module. With --token. [default: sealed files]",
)
@click.option("--token", metavar="LABEL", help="The label of the HSM's token.")
@click.option(
    "--pin-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file (mode 0600) with the token's user PIN. [default: IKEWARDEN_PIN, or it is asked for]",
)
@click.option(
    "--transit",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Make the keys of the CAs in a Transit engine of Vault or OpenBao: a file with the tables [keys.transit] and, "
    "if wanted, [secrets] of the settings. [default: sealed files]",
)
@click.option(
    "--busy-ok",
    is_flag=True,
    help="Make it although its ports are in use here: it will be served later, or on another machine.",
)
@click.option("--if-missing", is_flag=True, help="Do nothing where there is an instance already.")
@format_option()
@pass_session
def init(session: Session, /, **given: Any) -> None:
    """Make an instance: settings, keys, a root and an issuing CA.

    In one directory: the settings, the records (SQLite), the sealed keys, an admin token. A second time, it changes
    nothing and says so.
    """
    from ikewarden import instance

    options = Options(**given)
    directory = session.directory
    if options.if_missing and instance.exists(directory):
        session.screen.note(f"There is an instance in {directory}.")
        return
    names = options.names or _names(options.host)
    _check(
        options.organization,
        options.host,
        options.validation_host,
        options.validation_url or "",
        *names,
    )
    plan = instance.InstancePlan(
        directory=directory,
        organization=options.organization,
        host=options.host,
        port=options.port,
        names=names,
        validation_host=options.validation_host,
        validation_port=options.validation_port,
        validation_url=options.validation_url,
        algorithm=options.algorithm,
        database_url=session.environ.get(_DATABASE, instance.InstancePlan.database_url),
        passphrase_env=options.passphrase_env,
        passphrase_file=options.passphrase_file,
        database_password_file=_path(session.environ.get(_DATABASE_PASSWORD)),
        token=_token_plan(options),
        transit=_transit_text(options),
    )
    passphrase = _passphrase(session, options)
    if not options.busy_ok:
        _look_at_ports(options)
    made = instance.make(
        plan,
        passphrase,
        now=session.clock(),
        environ=session.environ,
        prompt=session.ask,
        report=lambda step: session.screen.note(f"… {step}"),
    )
    _tell(session, made, options)


def _look_at_ports(options: Options) -> None:
    """Before a CA is made, whose certificates name the second port for ever. Raises ListenFailed."""
    from api.server import ListenFailed, bind

    for host, port, option in (
        (options.host, options.port, "--port"),
        (options.validation_host, options.validation_port, "--validation-port"),
    ):
        try:
            bind(host, port).close()
        except ListenFailed as error:
            # Whatever else is wrong may be right where it is served: the address, or who may listen below 1024.
            if error.in_use:
                raise ListenFailed(
                    f"{error.message} Nothing was made.",
                    in_use=True,
                    next_step=f"End the program that uses it, or choose another port: {option} PORT"
                    " (`make run PORT=… VALIDATION_PORT=…`); --busy-ok if it is not served here and now.",
                ) from None


def _names(host: str) -> tuple[str, ...]:
    """What clients call a service that listens there, if nobody said."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return (host,)
    if address.is_loopback or address.is_unspecified:
        return ("localhost", "127.0.0.1")
    return (host, "localhost", "127.0.0.1")


def _check(*values: str) -> None:
    """They are written into a TOML file between quotation marks."""
    for value in values:
        if not value.isprintable() or set(value) & {'"', "\\"}:
            raise SettingUnusable(
                f"{value!a} cannot be used.",
                next_step="Leave out quotation marks, backslashes and control characters.",
            )


def _token_plan(options: Options) -> "TokenPlan | None":
    from ikewarden.instance import TokenPlan

    if options.pkcs11 is None and options.token is None and options.pin_file is None:
        return None
    if options.pkcs11 is None or options.token is None:
        raise click.UsageError("A key in an HSM needs both --pkcs11 and --token.")
    return TokenPlan(options.pkcs11, options.token, options.pin_file)


def _transit_text(options: Options) -> str | None:
    """The tables in the file, which go into the settings as they are, and are judged there."""
    if options.transit is None:
        return None
    if options.pkcs11 is not None:
        raise click.UsageError("The keys are made in an HSM or in a Transit engine, not in both.")
    try:
        text = options.transit.read_text("utf-8")
        tables = tomllib.loads(text)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise SettingUnusable(f"{options.transit} cannot be read: {reason}.") from None
    except ValueError:
        raise SettingUnusable(f"{options.transit} is not TOML.") from None
    keys = tables.get("keys")
    if not isinstance(keys, dict) or set(keys) != {"transit"} or set(tables) - {"keys", "secrets"}:
        raise SettingUnusable(
            f"{options.transit} must have the table [keys.transit], and besides it at most [secrets].",
            next_step="docs/how-to/vault-keys.md has an example.",
        )
    return text


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _passphrase(session: Session, options: Options) -> Secret | None:
    from hsm.passphrase import (
        passphrase_from_environment,
        passphrase_from_file,
        require_strength,
    )

    ways = (options.passphrase_prompt, options.passphrase_env, options.passphrase_file)
    if sum(map(bool, ways)) > 1:
        raise click.UsageError(
            "Give one of --passphrase-prompt, --passphrase-env and --passphrase-file."
        )
    if options.passphrase_file:
        return require_strength(passphrase_from_file(options.passphrase_file))
    if options.passphrase_env:
        return require_strength(
            passphrase_from_environment(options.passphrase_env, session.environ)
        )
    if options.passphrase_prompt:
        if session.ask is None:
            raise PassphraseNotAsked(
                "There is no terminal at which the passphrase could be asked for."
            )
        text = click.prompt(
            "Passphrase for the keys", hide_input=True, confirmation_prompt=True, err=True
        )
        return require_strength(Secret(text))
    return None


def _tell(session: Session, made: "Instance", options: Options) -> None:
    screen, directory = session.screen, made.directory
    kept = None
    if options.passphrase_env or options.passphrase_prompt:
        kept = options.passphrase_env or _WORKED_OUT
    elif options.passphrase_file:
        kept = str(options.passphrase_file)
    elif made.settings.keys.passphrase_file:
        kept = str(made.settings.keys.passphrase_file)
    if screen.is_json:
        screen.json(
            {
                "directory": str(directory),
                "url": made.url,
                "validation_url": made.settings.validation.public_url,
                "admin_token": made.admin_token.reveal().decode(),
                "admin_token_file": str(directory / ADMIN_TOKEN),
                "root_certificate": str(directory / ROOT_CERTIFICATE),
                "settings": str(directory / SETTINGS),
                "passphrase": kept,
                "keys": made.settings.keys.store,
            }
        )
        return
    if options.if_missing:  # something else starts it at once, and tells where everything is
        screen.line(f"Made an instance in {directory}.")
        _tell_passphrase(session, options)
        return
    screen.fields(
        [
            ("API", made.url),
            ("CRLs and OCSP", made.settings.validation.public_url),
            ("Settings", str(directory / SETTINGS)),
            ("Root certificate", str(directory / ROOT_CERTIFICATE)),
            *_keys(made, options),
            ("Admin token", f"in {directory / ADMIN_TOKEN}"),
        ]
    )
    screen.line()
    _tell_passphrase(session, options)
    where = "" if "dir" not in session.given else f" --dir {directory}"
    screen.line()
    screen.line("Next:")
    screen.line(f"  {program()} serve{where}")
    screen.line(f"  {program()} cert issue gw1.example.com --out gw1{where}")


def _keys(made: "Instance", options: Options) -> list[tuple[str, str]]:
    if options.token:
        return [("Keys of the CAs", f"in the token {options.token}")]
    if options.transit:
        return [("Keys of the CAs", f"in the Transit engine {made.settings.keys.transit.mount}")]
    return []


def _tell_passphrase(session: Session, options: Options) -> None:
    screen = session.screen
    if options.passphrase_env or options.passphrase_prompt:
        variable = options.passphrase_env or _WORKED_OUT
        screen.line(f"The passphrase is kept nowhere: serve asks for it, or takes {variable}.")
    elif options.passphrase_file:
        screen.line(f"The passphrase of the keys is in {options.passphrase_file}, as before.")
    else:
        screen.line(
            "The passphrase of the keys is in a file beside them. Keep a copy of it, and move it away from the keys"
        )
        screen.line("when this is more than a trial ([keys] passphrase_file).")
