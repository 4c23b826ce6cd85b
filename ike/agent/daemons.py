"""Which daemon the agent feeds: the adapter that agent.toml names, or the one whose daemon is found here."""

import importlib
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from core.errors import InvalidInput
from core.secret import Secret
from ike.agent.folder import check_private
from ike.agent.settings import AgentSettings, LibreswanSettings
from ike.agent.tokens import require_able
from ike.daemons.files import After, FilesDaemon
from ike.daemons.port import Daemon

_CHARON: Final = ("/run/charon.vici", "/var/run/charon.vici")
_PLUTO: Final = ("/run/pluto/pluto.ctl",)
_LONGEST: Final = 1024


class DaemonNotFound(InvalidInput):
    """No IKE daemon was found, and none was named."""

    code = "daemon_not_found"
    next_step = "Name it: --daemon strongswan, libreswan or files. It need not run yet."


class DaemonUnsupported(InvalidInput):
    """This installation has no adapter for the daemon."""

    code = "daemon_unsupported"
    next_step = "Choose another in agent.toml, or install the adapter."


def detect(exists: Callable[[str], bool] = lambda path: _is_socket(Path(path))) -> str:
    """The name of the daemon that runs here, else of the one that is installed. Raises DaemonNotFound."""
    if any(map(exists, _CHARON)):
        return "strongswan"
    if any(map(exists, _PLUTO)):
        return "libreswan"
    if shutil.which("swanctl") or shutil.which("charon-systemd"):
        return "strongswan"
    if Path("/usr/libexec/ipsec/pluto").exists():
        return "libreswan"
    raise DaemonNotFound("Neither charon's nor pluto's socket is here, and neither is installed.")


def build(settings: AgentSettings, now: Callable[[], datetime]) -> Daemon:
    """The adapter for these settings. Raises DaemonUnsupported, KeyInToken, OutputUnusable, HomeNotPrivate."""
    require_able(settings)
    if settings.daemon == "files":
        return _files(settings)
    try:
        return (
            _strongswan(settings, now)
            if settings.daemon == "strongswan"
            else _libreswan(settings, now)
        )
    except ModuleNotFoundError as missing:
        raise DaemonUnsupported(
            f"There is no adapter for {settings.daemon} here ({missing.name})."
        ) from None


def _strongswan(settings: AgentSettings, now: Callable[[], datetime]) -> Daemon:
    adapter: Any = importlib.import_module("ike.daemons.strongswan")
    own = settings.strongswan
    paths = {"socket": own.socket, "swanctl": own.swanctl, "sightings": own.sightings}
    chosen = {name: Path(path) for name, path in paths.items() if path}
    overlap = {"yes": True, "no": False}.get(own.make_before_break)
    made: Daemon = adapter.StrongSwan(now=now, make_before_break=overlap, **chosen)
    return made


def _libreswan(settings: AgentSettings, now: Callable[[], datetime]) -> Daemon:
    adapter: Any = importlib.import_module("ike.daemons.libreswan")
    own: LibreswanSettings = settings.libreswan
    chosen: dict[str, str | Path] = {}
    for each in fields(own):
        value = getattr(own, each.name)
        if value and each.name != "nickname":
            chosen[each.name] = value if each.name in ("whack", "addconn") else Path(value)
    places = replace(adapter.Places(), **chosen)
    made: Daemon = adapter.Libreswan(now=now, nickname=own.nickname, places=places)
    return made


def _files(settings: AgentSettings) -> FilesDaemon:
    own = settings.files
    passphrase = None
    if own.passphrase_file:
        path = Path(own.passphrase_file)
        with path.open("rb") as file:
            check_private(path, os.fstat(file.fileno()))
            passphrase = Secret(file.read(_LONGEST).strip())
    after = After(own.after, own.after_seconds)
    return FilesDaemon(own.render, Path(own.out), after, passphrase=passphrase)


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False
