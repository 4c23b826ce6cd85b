"""Files of certificates and keys that swanctl.conf and ipsec.conf name, and that are not there."""

import errno
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from ike.audit import places
from ike.audit.ground import Ground
from ike.audit.values import Role
from ike.secrets.reading import Opened
from ike.secrets.values import Place, Problem, Source

_SETTING: Final = re.compile(
    r"^[ \t]*(?P<name>certs?|cacerts?|pubkeys|file|leftcert2?|rightcert2?)[ \t]*=[ \t]*(?P<value>[^#\n]+)",
    re.MULTILINE | re.IGNORECASE,
)
_NAME: Final = re.compile(r"[\w./@+-]+\Z")  # no name of a token's object, no variable
_FOLDERS: Final = {"pubkeys": "pubkey"}  # of these settings alone
_ROLES: Final = {"cacert": Role.TRUST, "cacerts": Role.TRUST, "file": None}
_USUAL: Final = ("private", "x509", "x509ca", "certs", "cacerts")
_MOST: Final = 1000  # of one file


def look(ground: Ground, source: Source, bases: Sequence[str], opened: Opened) -> Iterator[Problem]:
    """What a file that was `opened` names and is not there; relative names are in folders of `bases`."""
    folders = places.SWANCTL_FOLDERS if opened.kind == "swanctl" else places.IPSEC_FOLDERS
    whole = opened.included_by or opened.path
    main = bool(opened.included_by) or posixpath.basename(whole) in ("swanctl.conf", "ipsec.conf")
    known = main or any(
        ground.is_folder(posixpath.join(base, folder)) for base in bases for folder in folders
    )
    for match in islice(_SETTING.finditer(source.text), _MOST):
        for name in _names(
            match["value"], several=match["name"].lower().endswith(("certs", "pubkeys"))
        ):
            if not name.startswith("/") and not known:
                continue  # a part by itself: whose folders are meant is not seen
            paths = list(_paths(name, bases, folders, match["name"].lower()))
            if all(is_missing(ground, path) for path in paths):
                line = source.text.count("\n", 0, match.start()) + 1
                message = f"{Place(source.path, line)} names it: no such file"
                yield Problem(Place(paths[0], 0), message)


def is_missing(ground: Ground, path: str) -> bool:
    """Whether there is nothing; not where it cannot be seen."""
    try:
        ground.status(path)
    except OSError as error:
        return error.errno in (errno.ENOENT, errno.ENOTDIR)
    return False


def _names(value: str, *, several: bool) -> Iterator[str]:
    for each in value.split(",") if several else [value]:
        name = each.strip(" \t\r\"'").removesuffix("}").rstrip(" \t\"'")
        if _NAME.match(name):
            yield name


def _paths(
    name: str, bases: Iterable[str], folders: Mapping[str, Role], setting: str
) -> Iterator[str]:
    if name.startswith("/"):
        yield name
        return
    role = _ROLES.get(setting, Role.CERTIFICATE)
    # A key's passphrase and an authority name their file alike.
    fitting = [folder for folder, is_for in folders.items() if role in (None, is_for)]
    fitting = [_FOLDERS[setting]] if setting in _FOLDERS else fitting
    fitting.sort(key=lambda folder: folder not in _USUAL)  # the first is told
    for base in bases:
        for folder in fitting:
            yield posixpath.join(base, folder, name)
