"""Copies that editors, package managers and people leave beside files of secrets and keys."""

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ike.audit import rights
from ike.audit.gathering import Gathering
from ike.audit.ground import Ground
from ike.audit.shapes import Shape
from ike.audit.values import Item, Role
from ike.secrets.values import Problem

_ENDINGS: Final = (
    r"~|\.~\d+~|\.(?:bak|back|backup|old|orig|save|saved|copy|tmp|temp|new|rej|swp|swo|swn|disabled"
    r"|rpmsave|rpmnew|rpmorig|dpkg-[a-z]+|ucf-[a-z]+|pacsave|pacnew|apk-new|augsave|\d{1,14})"
    r"|[-_.](?:bak|old|backup|copy|orig|save)|[-_.]\d{4}[-_.]?\d\d[-_.]?\d\d(?:[-_.T]?\d{2,6})?"
    r"| \(copy(?: \d+)?\)"
)
_ENDING: Final = re.compile(rf"(?:{_ENDINGS})\Z", re.IGNORECASE)
# Not of `original`: what is packed is no configuration to be read in its original's stead.
_PACKING: Final = re.compile(
    r"\.(?:gz|bz2|xz|zst|lz4|lzma|zip|7z|tar|tgz|b64|base64)\Z", re.IGNORECASE
)
_MAX: Final = 500


@dataclass(frozen=True)
class Copy:
    """A copy, and what it is one of. `shape` is what it holds by its looks; None where it cannot be read."""

    item: Item
    of: Item
    shape: Shape | None


def original(name: str) -> str:
    """What a file's name would be without the marks of a copy; an empty string where it has none."""
    plain = name
    if name.startswith("#") and name.endswith("#"):
        plain = name.strip("#")
    elif name.startswith(".") and re.search(r"\.sw[a-z]\Z", name):
        plain = name[1:]
    for _ in range(3):  # ipsec.secrets.bak.1~
        shorter = _ENDING.sub("", plain)
        if shorter == plain:
            break
        plain = shorter
    return plain if plain != name else ""


def look(ground: Ground, items: Sequence[Item]) -> tuple[list[Copy], list[Problem]]:
    """The copies beside all files of secrets and keys."""
    gathering = Gathering(ground)
    found: dict[str, Copy] = {}
    folders: dict[str, dict[str, Item]] = {}
    for item in items:
        if rights.is_secret(item):
            for path in {item.path, item.real}:
                folder, name = posixpath.split(path)
                folders.setdefault(folder, {})[name] = item
    for folder, originals in folders.items():
        for path, of in _beside(gathering, folder, originals):
            shape = gathering.shape(path)
            copy = (
                None
                if shape in (Shape.NOTHING, Shape.CERTIFICATE)
                else gathering.add(path, of.role)
            )
            # A packager's file of comments is no copy of secrets; what cannot be seen through may well be.
            holds = (
                shape is not Shape.OTHER or of.role is not Role.SECRETS or gathering.is_opaque(path)
            )
            if copy is not None and holds:
                found.setdefault(copy.real, Copy(copy, of, shape))
            if len(found) >= _MAX:
                return list(found.values()), gathering.problems
    return list(found.values()), gathering.problems


def _unpacked(name: str) -> str:
    plain = name
    for _ in range(2):  # ipsec.secrets.tar.gz
        plain = _PACKING.sub("", plain)
    return (original(plain) or plain) if plain != name else ""


def _beside(
    gathering: Gathering, folder: str, originals: dict[str, Item]
) -> Iterator[tuple[str, Item]]:
    for name in gathering.names(folder):
        of = originals.get(original(name)) or originals.get(_unpacked(name))
        path = posixpath.join(folder, name)
        if of is not None and gathering.is_file(path):
            yield path, of
