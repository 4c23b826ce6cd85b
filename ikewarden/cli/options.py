"""Options that many commands share, and kinds of values."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from ikewarden.cli.session import Session

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SPAN: Final = re.compile(r"(\d{1,5})([mhdw])")
_ANY_FILE: Final = click.Path(dir_okay=False, path_type=Path)


def example(*lines: str) -> str:
    """Lines as an epilog of a help page."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def _remember(ctx: click.Context, parameter: click.Parameter, value: Path | str | None) -> None:
    session = ctx.find_object(Session)
    if session is not None and value is not None and parameter.name is not None:
        session.given[parameter.name] = value


def _set_format(ctx: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    session = ctx.find_object(Session)
    if session is not None and value is not None:  # it may stand before the command
        session.format = value


directory_option = click.option(
    "--dir",
    type=click.Path(file_okay=False, path_type=Path),
    expose_value=False,
    callback=_remember,
    help="Directory of an instance. [env: IKEWARDEN_DIR; default: ./var or /var/lib/ikewarden]",
)

_CONNECTION: Final = (
    directory_option,
    click.option(
        "--url",
        metavar="URL",
        expose_value=False,
        callback=_remember,
        help="URL of the API. [env: IKEWARDEN_URL; default: that of the instance]",
    ),
    click.option(
        "--token-file",
        type=_ANY_FILE,
        expose_value=False,
        callback=_remember,
        help="File (mode 0600) with a bearer token. [env: IKEWARDEN_TOKEN, the token itself, or "
        "IKEWARDEN_TOKEN_FILE; default: admin-token of the instance]",
    ),
    click.option(
        "--ca-file",
        type=_ANY_FILE,
        expose_value=False,
        callback=_remember,
        help="The root that the service must prove itself by, PEM. [env: IKEWARDEN_CA_FILE; "
        "default: root-ca.pem of the instance]",
    ),
    click.option(
        "--cert",
        type=_ANY_FILE,
        expose_value=False,
        callback=_remember,
        help="Client certificate for mutual TLS, PEM. [env: IKEWARDEN_CERT_FILE]",
    ),
    click.option(
        "--key",
        type=_ANY_FILE,
        expose_value=False,
        callback=_remember,
        help="Its private key, PEM. [env: IKEWARDEN_KEY_FILE]",
    ),
)


def connection_options(command: Decorated) -> Decorated:
    """Give a command the options that say which service it talks to."""
    for option in reversed(_CONNECTION):
        command = option(command)
    return command


def format_option(*more: str) -> Callable[[Decorated], Decorated]:
    """Give a command `--format text|json`, and `more` formats where it has them."""
    return click.option(
        "--format",
        type=click.Choice(["text", "json", *more]),
        expose_value=False,
        callback=_set_format,
        help="What is printed: text for people, json for programs. [default: text]",
    )


def client_command(*formats: str) -> Callable[[Decorated], Decorated]:
    """Give a command what every command that talks to the service has: `--format`, and the connection options."""

    def decorate(command: Decorated) -> Decorated:
        return format_option(*formats)(connection_options(command))

    return decorate


def _remember_number(ctx: click.Context, parameter: click.Parameter, value: int | None) -> None:
    _remember(ctx, parameter, None if value is None else str(value))


def approval_option(command: Decorated) -> Decorated:
    """Give a command `--approval`, for what may need another person's."""
    return click.option(
        "--approval",
        type=click.IntRange(1),
        metavar="ID",
        expose_value=False,
        callback=_remember_number,
        help="Another person's approval, where the service asked for one: it is used up.",
    )(command)


def store_option(default: str) -> Callable[[Decorated], Decorated]:
    """Give a command `--store`, `key_store` in its arguments; `default` is told of it."""
    return click.option(
        "--store",
        "key_store",
        type=click.Choice(("files", "pkcs11", "transit")),
        help=f"Where its key is made. [default: {default}]",
    )


def limit_option(command: Decorated) -> Decorated:
    """Give a command `--limit`."""
    return click.option(
        "--limit",
        type=click.IntRange(1, 1_000_000),
        metavar="N",
        default=100,
        show_default=True,
        help="How many entries at most.",
    )(command)


class Moment(click.ParamType[datetime]):
    """A point in time: RFC 3339 with its zone, a date (midnight UTC), or a span from now (`30m`, `12h`, `90d`, `52w`)
    towards `direction`: 1 the future, -1 the past.
    """

    name = "time"

    def __init__(self, direction: int) -> None:
        self._direction = direction

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read it; fails as click fails."""
        if isinstance(value, datetime):
            return value
        session = ctx.find_object(Session) if ctx else None
        span = _SPAN.fullmatch(value)
        try:
            if span and session:
                distance = timedelta(**{_UNITS[span[2]]: int(span[1])})
                return session.clock().replace(microsecond=0) + self._direction * distance
            moment = datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is no time: write 2027-01-31T12:00:00Z, 2027-01-31, or a number of minutes, hours, days or "
                "weeks: 30m, 12h, 90d, 52w."
            )
        if moment.tzinfo is None and len(value) > len("2027-01-31"):
            self.fail(f"{value!r} has no time zone: put Z at its end for UTC.")
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


FUTURE: Final = Moment(1)
PAST: Final = Moment(-1)


def rfc3339(moment: datetime | None) -> str | None:
    """A time as the API reads it; None stays None."""
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
