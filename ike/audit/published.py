"""Lists of keys whose private part everybody has, as badkeys keeps and updates them.

Keys of Debian's OpenSSL of 2006 to 2008 (CVE-2008-0166), of firmware, of the tests of libraries, of those who put them
on the web. A list is sorted records of sixteen octets: the first fifteen of a SHA-256, and the collection's number.
What is hashed is one number of the key in network order, without leading zeros: the modulus of RSA, y of DSA, x of a
point; and the octets of newer kinds. Names of the collections stand in `badkeysdata.json` beside the list.
"""

import hashlib
import json
import os
import stat
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Final, final

from core.errors import InvalidInput

HASH_OCTETS: Final = 15
_RECORD: Final = HASH_OCTETS + 1
_AT_ONCE: Final = 2**16  # records
_MAX_NAMES: Final = 2**20
_NAMES: Final = "badkeysdata.json"


class PublishedKeysInvalid(InvalidInput):
    """A list of published keys cannot be used."""

    code = "audit_published_keys_invalid"
    next_step = "Give a blocklist.dat as badkeys writes it: badkeys --update-bl, then ~/.cache/badkeys/blocklist.dat."


def listed(octets: bytes) -> bytes:
    """How the lists have a number of a key."""
    return hashlib.sha256(octets).digest()[:HASH_OCTETS]


@final
class PublishedKeys:
    """One list, read where it lies: it may be large. Raises OSError and PublishedKeysInvalid.

    What becomes of the file afterwards may cost a hit, and nothing else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _opened(path)
        # However long the list is in use, and whatever becomes of its name.
        weakref.finalize(self, os.close, self._file)
        octets = os.fstat(self._file).st_size
        self._count = octets // _RECORD
        if not octets or octets % _RECORD or not _is_sorted(self._file, self._count):
            raise PublishedKeysInvalid(f"{path} is no list of published keys.")
        self._names = _names(path.with_name(_NAMES))

    def __len__(self) -> int:
        return self._count

    def collection(self, listed: bytes) -> str | None:
        """The collection that has a key; None where none has it."""
        try:
            record = _find(self._file, self._count, listed)
        except OSError:
            return None
        if len(record) < _RECORD or record[:HASH_OCTETS] != listed:
            return None
        return self._names.get(record[HASH_OCTETS], f"number {record[HASH_OCTETS]}")


def _find(file: int, count: int, listed: bytes) -> bytes:
    """The first record that is not before a hash."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if _record(file, middle)[:HASH_OCTETS] < listed:
            low = middle + 1
        else:
            high = middle
    return _record(file, low)


def _record(file: int, at: int) -> bytes:
    return os.pread(file, _RECORD, at * _RECORD)


def _is_sorted(file: int, count: int) -> bool:
    """Whether each record is in its place, without which a key is not found; in any other file they are not."""
    last = b""
    for start in range(0, count, _AT_ONCE):
        octets = os.pread(file, _AT_ONCE * _RECORD, start * _RECORD)
        records = [octets[at : at + _RECORD] for at in range(0, len(octets), _RECORD)]
        if records[0] <= last or records != sorted(set(records)):
            return False
        last = records[-1]
    return True


def _opened(path: Path) -> int:
    """A descriptor of a regular file, without waiting for anybody at the other end of a pipe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError:  # a NUL in it
        raise PublishedKeysInvalid("The name of a list of published keys is no path.") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise PublishedKeysInvalid(f"{path} is no regular file.")
    return descriptor


_UNUSABLE: Final = (
    *(OSError, PublishedKeysInvalid),
    *(ValueError, ArithmeticError, LookupError, TypeError, RecursionError),
)


def _names(path: Path) -> Mapping[int, str]:
    try:
        with os.fdopen(_opened(path), "rb") as opened:
            document = json.loads(opened.read(_MAX_NAMES))
        return {int(each["id"]): str(each["name"])[:100] for each in document["blocklists"]}
    except _UNUSABLE:
        return {}  # a name is for people: without it the number is told
