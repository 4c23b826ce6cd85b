"""Where an instance is, and what a client may read of its settings, without the server's libraries."""

import fcntl
import ipaddress
import os
import shutil
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import Conflict, InvalidInput

SETTINGS = "ikewarden.toml"
ADMIN_TOKEN = "admin-token"  # noqa: S105 - a file's name
ROOT_CERTIFICATE = "root-ca.pem"
# Stands in the directory until `init` is done, which holds a lock on it meanwhile.
UNFINISHED = "init-unfinished"
_LOCAL = Path("var")
_SYSTEM = Path("/var/lib/ikewarden")
_DEFAULT_PORT = 8443
_DEFAULT_NAME = "localhost"


class InstanceUnreadable(InvalidInput):
    """The settings of an instance cannot be read by this user, or are no settings."""

    code = "instance_unreadable"
    next_step = "Run as the user that owns the instance, or give --url, --ca-file and --token-file."


class InstanceUnfinished(Conflict):
    """An `init` was cut off here before it was done, or is at work."""

    code = "instance_unfinished"
    next_step = (
        "Remove the directory (nothing was issued from it yet) and run `ikewarden init` again."
    )


def require_finished(directory: Path) -> None:
    """Make sure that no half of an instance is there. Raises InstanceUnfinished."""
    try:
        descriptor = os.open(directory / UNFINISHED, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InstanceUnfinished(
            f"Another `ikewarden init` is at work in {directory}.",
            next_step="Wait until it is done.",
        ) from None
    finally:
        os.close(descriptor)
    raise InstanceUnfinished(f"An `ikewarden init` was cut off in {directory}.")


def find_directory(named: Path | None, environ: Mapping[str, str]) -> Path:
    """Which instance is meant: the one named, $IKEWARDEN_DIR, ./var if there is one, else /var/lib/ikewarden."""
    if named is not None:
        return named
    if environ.get("IKEWARDEN_DIR"):
        return Path(environ["IKEWARDEN_DIR"])
    return _LOCAL if os.path.lexists(_LOCAL / SETTINGS) else _SYSTEM


def program() -> str:
    """How to call this program again: its name where the shell finds it, else the path it was called by."""
    called = sys.argv[0]
    found = shutil.which("ikewarden")
    if Path(called).name != "ikewarden" or (
        found and os.path.realpath(found) == os.path.realpath(called)
    ):
        return "ikewarden"
    return os.path.relpath(called)


def api_url(directory: Path, environ: Mapping[str, str]) -> str | None:
    """The URL of the API of the instance in `directory`; None where there is no instance.

    From the first of `[api] names` and `[api] port`, or what overrules them in the environment. Raises
    InstanceUnreadable.
    """
    path = directory / SETTINGS
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InstanceUnreadable(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise InstanceUnreadable(
            f"{path} is not TOML.", next_step="Run `ikewarden check-config` on it."
        ) from None
    section = document.get("api")
    section = section if isinstance(section, dict) else {}
    return f"https://{_bracketed(_name(section, environ))}:{_port(section, environ)}"


def _name(section: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    overruled = environ.get("IKEWARDEN_API__NAMES", "").split(",")[0].strip()
    names = section.get("names")
    first = names[0] if isinstance(names, list) and names else _DEFAULT_NAME
    return overruled or str(first)


def _port(section: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    return environ.get("IKEWARDEN_API__PORT") or str(section.get("port", _DEFAULT_PORT))


def _bracketed(host: str) -> str:
    try:
        # RFC 3986 §3.2.2: an IPv6 address in a URL stands in brackets
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        return host
