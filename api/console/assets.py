"""Style sheets and scripts: a name with the hash of the content, which a browser may keep for ever."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

_KINDS: Final[Mapping[str, str]] = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Asset:
    """One file; `address` changes with its content."""

    address: str
    media_type: str
    content: bytes


@lru_cache(maxsize=1)
def assets() -> Mapping[str, Asset]:
    """All files, by their name without a folder."""
    folder = files("api").joinpath("console", "assets")
    found = [*folder.iterdir(), *folder.joinpath("vendor").iterdir()]
    return {each.name: _asset(each) for each in found if each.is_file() and _kind(each) in _KINDS}


@lru_cache(maxsize=1)
def by_address() -> Mapping[str, Asset]:
    """The same by what stands behind `/assets/`."""
    return {each.address: each for each in assets().values()}


def address(name: str) -> str:
    """The path under which a page asks for a file. Raises KeyError for one that is not there."""
    return f"/assets/{assets()[name].address}"


def _asset(file: Traversable) -> Asset:
    content = file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:16]
    stem, _, kind = file.name.rpartition(".")
    return Asset(f"{stem}.{digest}.{kind}", _KINDS[kind], content)


def _kind(file: Traversable) -> str:
    return file.name.rpartition(".")[2]
