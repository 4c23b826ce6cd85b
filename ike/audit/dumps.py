"""Whether a daemon that crashes leaves its memory, with all keys in it, on the disk."""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from ike.audit import places
from ike.audit.ground import Ground
from ike.secrets.values import Place

_PATTERN: Final = "/proc/sys/kernel/core_pattern"
_COLLECTORS: Final = ("/usr/lib/systemd/systemd-coredump", "/lib/systemd/systemd-coredump")
_COLLECTOR_SETTINGS: Final = (
    "/usr/lib/systemd/coredump.conf.d/*.conf",
    "/etc/systemd/coredump.conf",
    "/etc/systemd/coredump.conf.d/*.conf",
)
_MANAGER: Final = ("/etc/systemd/system.conf", "/etc/systemd/system.conf.d/*.conf")
_LIMITS: Final = ("/etc/security/limits.conf", "/etc/security/limits.d/*.conf")
_LIMIT: Final = re.compile(r"^[ \t]*(\S+)[ \t]+(soft|hard|-)[ \t]+core[ \t]+(\S+)", re.MULTILINE)
_MOST: Final = 100  # lines of one file
_WIDE: Final = ("*", "root", "0", "@root")


@dataclass(frozen=True)
class Limit:
    """A limit on core dumps and where it stands; a place in line 0 is one that none is set in."""

    place: Place
    value: str
    who: str = ""

    @property
    def forbids(self) -> bool:
        """Whether nothing is written with it."""
        return self.value.partition(":")[0] == "0"


@dataclass(frozen=True)
class Dumps:
    """What is known of core dumps. `collector`: the program that the kernel gives them to, `collected` whether it
    keeps them. `units` are those of the daemons.
    """

    collector: str
    collected: bool
    units: tuple[Limit, ...]
    general: Limit | None
    limits: tuple[Limit, ...]


def look(ground: Ground) -> Dumps:
    """Read it from the kernel where the host is alive, and from the settings."""
    collector = ""
    if ground.is_live:
        pattern = _text(ground, _PATTERN)
        collector = pattern[1:].split(" ")[0].strip() if pattern.startswith("|") else ""
    elif any(map(ground.exists, _COLLECTORS)):
        collector = "/usr/lib/systemd/systemd-coredump"
    collected = bool(collector) and posixpath.basename(collector) not in ("false", "true")
    if collected and collector.endswith("systemd-coredump"):
        storage = _last(ground, _COLLECTOR_SETTINGS, "Storage")
        largest = _last(ground, _COLLECTOR_SETTINGS, "ProcessSizeMax")
        collected = not (
            (storage and storage.value.lower() == "none") or (largest and largest.value == "0")
        )
    return Dumps(
        collector,
        collected,
        tuple(_units(ground)),
        _last(ground, _MANAGER, "DefaultLimitCORE"),
        tuple(_limits(ground)),
    )


def _units(ground: Ground) -> Iterator[Limit]:
    for name in places.UNIT_NAMES:
        whole = next(
            (
                path
                for folder in places.UNIT_FOLDERS
                if ground.exists(path := f"{folder}/{name}.service")
            ),
            None,
        )
        if whole is None:
            continue
        parts = [f"{folder}/{name}.service.d/*.conf" for folder in reversed(places.UNIT_FOLDERS)]
        yield _last(ground, (whole, *parts), "LimitCORE") or Limit(Place(whole, 0), "")


def _last(ground: Ground, patterns: tuple[str, ...], name: str) -> Limit | None:
    """The setting that is in force, where it is set at all."""
    found = None
    setting = re.compile(rf"^[ \t]*{name}[ \t]*=[ \t]*(\S*)", re.MULTILINE)
    for path in (path for pattern in patterns for path in ground.matching(pattern)):
        text = _text(ground, path)
        *_, last = (None, *setting.finditer(text))
        if last is not None:
            line = text.count("\n", 0, last.start()) + 1
            found = Limit(Place(path, line), last[1]) if last[1] else None
    return found


def _limits(ground: Ground) -> Iterator[Limit]:
    for path in (path for pattern in _LIMITS for path in ground.matching(pattern)):
        text = _text(ground, path)
        for match in islice(_LIMIT.finditer(text), _MOST):
            if match[1] in _WIDE and match[2] != "hard":
                line = text.count("\n", 0, match.start()) + 1
                yield Limit(Place(path, line), match[3], match[1])


def _text(ground: Ground, path: str) -> str:
    try:
        return ground.read(path).content.decode("utf-8", "replace")
    except OSError:
        return ""
