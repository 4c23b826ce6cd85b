"""Kinds of values that settings have: what each allows, in words and as a check."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import SplitResult, parse_qs, urlsplit

from pydantic import AfterValidator, BeforeValidator, ValidationInfo

_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_DATABASE_WORDS: Final = (
    "a URL: sqlite:///FILE, or postgresql+psycopg://USER@HOST/DATABASE (with its password, if any)"
)
_HOST_WORDS: Final = "an IP address or a host name"
_PUBLIC_WORDS: Final = "a URL http://HOST[:PORT][/PATH] (plain http: RFC 5280 §8)"
_SERVICE_WORDS: Final = "a URL https://HOST[:PORT]"
_WEBHOOK_WORDS: Final = "a URL that starts with https:// or http://"
_NAME_WORDS: Final = "1 to 63 letters, digits, dots, underscores, hyphens; a letter or digit first"
_NAMES_WORDS: Final = "one or more DNS names and IP addresses"
_PATH_WORDS: Final = "a path, relative to the settings file"
_VARIABLE_WORDS: Final = "the name of an environment variable"
_MAILBOX: Final = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?P<host>[A-Za-z0-9.-]{1,253})"
)
_ALERTMANAGER_WORDS: Final = (
    "a URL https://HOST[:PORT][/PATH] (http:// too) that stands before /api/v2"
)
_TRACES_WORDS: Final = (
    "a URL https://HOST[:PORT]/PATH (http:// too), without user, query and fragment"
)
_MAILBOX_WORDS: Final = "an address NAME@HOST of ASCII letters"
_MAILBOXES_WORDS: Final = "1 to 20 addresses NAME@HOST of ASCII letters"
_DAYS_WORDS: Final = "whole numbers of days from 3650 to 1, each smaller than the one before"


@dataclass(frozen=True)
class Words:
    """Says what a setting allows, for errors and the reference page."""

    text: str


def is_host(text: str) -> bool:
    """Whether it is an IP address or a host name of the usual letters."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        labels = text.removesuffix(".").split(".")
        # RFC 1123 §2.1: the last label of a name is not all digits, so 300.1.1.1 is no name either.
        return len(text) <= 253 and all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdigit()
    return True


def is_every_address(host: str) -> bool:
    """Whether listening there means listening on all addresses of the machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether it is this machine, seen from itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def holds_password(url: str) -> bool:
    """Whether a database URL has a password in it, in either of the two places."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.password is not None or "password" in parse_qs(parts.query)


def _host(text: str) -> str:
    if not is_host(text):
        raise ValueError(f"must be {_HOST_WORDS}")
    return text


def _path(value: object, info: ValidationInfo) -> object:
    """Paths in the file are relative to the file, wherever the process was started."""
    if not isinstance(value, str | Path):
        return value
    if not str(value) or "\0" in str(value):
        raise ValueError(f"must be {_PATH_WORDS}")
    base = (info.context or {}).get("base")
    return base / value if base else Path(value)


def split_url(text: str, words: str) -> SplitResult:
    """The parts of a URL. Raises `ValueError` with the words, and never with the URL."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise ValueError(f"must be {words}") from None
    if _CONTROL.search(text):
        raise ValueError(f"must be {words}")
    return parts


def _database_url(text: str, info: ValidationInfo) -> str:
    parts = split_url(text, _DATABASE_WORDS)
    if parts.scheme in ("sqlite", "sqlite+pysqlite"):
        # SQLAlchemy: three slashes and a relative path, or four and an absolute one.
        _, _, name = text.partition(":///")
        file = (info.context or {}).get("base", Path()) / name
        if not name or name.endswith(("/", ":memory:")) or "?" in str(file):
            raise ValueError(f"must be {_DATABASE_WORDS}")
        return f"sqlite:///{file}"
    if parts.scheme not in ("postgresql", "postgresql+psycopg") or len(parts.path) < 2:
        raise ValueError(f"must be {_DATABASE_WORDS}")
    return "postgresql+psycopg" + text.removeprefix(parts.scheme)


def _public_url(text: str) -> str:
    parts = split_url(text, _PUBLIC_WORDS)
    unwanted = parts.query or parts.fragment or "@" in parts.netloc or " " in text
    if parts.scheme != "http" or not is_host(parts.hostname or "") or unwanted:
        raise ValueError(f"must be {_PUBLIC_WORDS}")
    return text.rstrip("/")


def _service_url(text: str) -> str:
    parts = split_url(text, _SERVICE_WORDS)
    unwanted = parts.query or parts.fragment or "@" in parts.netloc or parts.path.strip("/")
    if parts.scheme != "https" or not is_host(parts.hostname or "") or unwanted or " " in text:
        raise ValueError(f"must be {_SERVICE_WORDS}")
    return text.rstrip("/")


def _webhook(text: str) -> str:
    parts = split_url(text, _WEBHOOK_WORDS)
    if parts.scheme not in ("https", "http") or not is_host(parts.hostname or "") or " " in text:
        raise ValueError(f"must be {_WEBHOOK_WORDS}")
    return text


def _alertmanager(text: str) -> str:
    parts = split_url(text, _ALERTMANAGER_WORDS)
    unwanted = parts.query or parts.fragment or "@" in parts.netloc or not text.isascii()
    path = parts.path.rstrip("/")
    known = parts.scheme in ("https", "http") and is_host(parts.hostname or "")
    if not known or unwanted or " " in text or path.endswith("/api/v2"):
        raise ValueError(f"must be {_ALERTMANAGER_WORDS}")
    return text.rstrip("/")


def _traces(text: str) -> str:
    parts = split_url(text, _TRACES_WORDS)
    unwanted = parts.query or parts.fragment or "@" in parts.netloc or not text.isascii()
    known = parts.scheme in ("https", "http") and is_host(parts.hostname or "")
    if not known or unwanted or " " in text or not parts.path.strip("/"):
        raise ValueError(f"must be {_TRACES_WORDS}")
    return text


def _mailbox(text: str) -> str:
    found = _MAILBOX.fullmatch(text)
    if found is None or not is_host(found["host"]):
        raise ValueError(f"must be {_MAILBOX_WORDS}")
    return text


def _mailboxes(names: tuple[str, ...]) -> tuple[str, ...]:
    if not 1 <= len(names) <= 20 or len(set(names)) < len(names):
        raise ValueError(f"must be {_MAILBOXES_WORDS}, each once")
    return tuple(map(_mailbox, names))


def _matching(pattern: re.Pattern[str], words: str) -> Any:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"must be {words}")
        return text

    return AfterValidator(check)


def _stages(days: tuple[int, ...]) -> tuple[int, ...]:
    if any(not 1 <= day <= 3650 for day in days) or list(days) != sorted(set(days), reverse=True):
        raise ValueError(f"must be {_DAYS_WORDS}")
    return days


def _names(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names or not all(map(is_host, names)):
        raise ValueError(f"must be {_NAMES_WORDS}")
    return names


Host = Annotated[str, AfterValidator(_host), Words(_HOST_WORDS)]
Names = Annotated[tuple[str, ...], AfterValidator(_names), Words(_NAMES_WORDS)]
RelativePath = Annotated[Path, BeforeValidator(_path), Words(_PATH_WORDS)]
DatabaseUrl = Annotated[str, AfterValidator(_database_url), Words(_DATABASE_WORDS)]
PublicUrl = Annotated[str, AfterValidator(_public_url), Words(_PUBLIC_WORDS)]
ServiceUrl = Annotated[str, AfterValidator(_service_url), Words(_SERVICE_WORDS)]
Webhook = Annotated[str, AfterValidator(_webhook), Words(_WEBHOOK_WORDS)]
AlertmanagerUrl = Annotated[str, AfterValidator(_alertmanager), Words(_ALERTMANAGER_WORDS)]
TracesUrl = Annotated[str, AfterValidator(_traces), Words(_TRACES_WORDS)]
Mailbox = Annotated[str, AfterValidator(_mailbox), Words(_MAILBOX_WORDS)]
Mailboxes = Annotated[tuple[str, ...], AfterValidator(_mailboxes), Words(_MAILBOXES_WORDS)]
Name = Annotated[str, _matching(_NAME, _NAME_WORDS), Words(_NAME_WORDS)]
Variable = Annotated[str, _matching(_VARIABLE, _VARIABLE_WORDS), Words(_VARIABLE_WORDS)]
Days = Annotated[tuple[int, ...], AfterValidator(_stages), Words(_DAYS_WORDS)]
