"""Shared secrets: one file among those that ipsec.secrets includes, read again by pluto when it was changed.

pluto takes one secret for a pair of identities, so of a slot of PSKs the first key alone is written. PPKs are named,
so all of a slot are, and the first of them is the one that pluto names to a peer.
"""

import fnmatch
import glob
import hmac
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ike.daemons.libreswan import secretsfile, sections, status
from ike.daemons.libreswan.managed import write
from ike.daemons.libreswan.places import Places
from ike.daemons.libreswan.secretsfile import Begun, Entry
from ike.daemons.libreswan.status import Listing
from ike.daemons.libreswan.whack import Whack
from ike.daemons.port import (
    ConnectionInvalid,
    DaemonFilesUnwritable,
    DaemonRefused,
    DaemonUnreachable,
    ForeignSecret,
    LoadedSlot,
    Shared,
    SharedKey,
    SharedSlot,
)
from ike.secrets.forms import octets
from ike.secrets.pluto_records import Malformed

_HEAD: Final = "# Written by the ikewarden agent, which replaces it as a whole. Changes are lost.\n"
_MARK = re.compile(r"# slot ([A-Za-z0-9_.-]+) (psk|ppk) (\d+)")
_SLOT = re.compile(r"[A-Za-z0-9_.-]{1,255}")
# A name, an address or a mailbox that pluto takes for what it is.
_NAMES = re.compile(r"@?[A-Za-z0-9_.*+-]+|[A-Za-z0-9_.*+-]+@[A-Za-z0-9_.-]+|[0-9a-fA-F:.]+")
_PART = re.compile(r"[A-Za-z0-9.]+=[^,/+=\\]+")
# pluto looks names up that stand in the operator's lines.
_REREAD_SECONDS = 15.0

_Read = Entry | Malformed | Begun


@dataclass(frozen=True, eq=False)
class _Line:
    """A secret of our file: what it is for, and its record."""

    slot: str
    kind: str
    version: int
    entry: Entry
    record: str = field(repr=False)

    @property
    def pair(self) -> tuple[str, frozenset[str]]:
        return self.kind, frozenset(map(secretsfile.normal, self.entry.ids))

    @property
    def text(self) -> str:
        return f"# slot {self.slot} {self.kind} {self.version}\n{self.record}\n"


class SharedSecrets:
    """The file, and what pluto has of it."""

    def __init__(self, places: Places, whack: Whack) -> None:
        self._places = places
        self._whack = whack
        # What pluto lists beyond its files even after it read them: a name that it looked up, say.
        self._unexplained: Counter[int] = Counter()

    # the port's two

    def share(self, slots: Sequence[SharedSlot]) -> None:
        """As the port says. pluto reads all files of secrets again: what an operator changed in theirs counts too."""
        listing = self._listing()
        was = self._text()
        before = _lines(was, str(self._file))
        wanted, refused = self._planned(slots, before)
        if not (was or wanted):
            _raise_first(refused)
            return
        text = _HEAD + "".join(each.text for each in wanted)
        if wanted:
            self._require_included(self._tree(listing, text), listing)
        if text != was:
            self._replace(text)
        held, tree = _lines(text, str(self._file)), self._tree(listing, text)
        if text != was or self._is_unread() or self._differs(held, tree, listing):
            self._whack.ask("--rereadsecrets", seconds=_REREAD_SECONDS)
            self._note_read()
            listing = self._listing()
            self._unexplained = _left_over(held, tree, listing)
        refused += [_not_listed(each, listing) for each in _missing(held, listing)]
        refused += [each for slot in slots for each in self._overruled(slot, tree)]
        _raise_first(refused)

    def shared(self, slots: Sequence[SharedSlot]) -> Shared:
        """As the port says. pluto tells whom its secrets are for, not what they are: versions are those of our file."""
        listing = self._listing()
        text = self._text()
        tree = self._tree(listing, text)
        lines = _lines(text, str(self._file))
        included = Begun(str(self._file)) in tree
        gone = {each.slot for each in _missing(lines, listing)}
        gone |= {each.slot for each in lines if self._is_unread() or not included}
        gone |= {each.slot for each in lines if self._differs([each], tree, listing)}
        named = {each.name: each for each in slots}
        found = []
        for name in dict.fromkeys((*(each.slot for each in lines), *named)):
            own = [each for each in lines if each.slot == name and name not in gone]
            found.append(LoadedSlot(name, self._in_use(own, named.get(name), tree)))
        foreign = [each for slot in slots for each in self._foreign(slot, tree)]
        return Shared(tuple(found), tuple(foreign))

    def _differs(self, held: list[_Line], tree: Sequence[_Read], listing: Listing) -> bool:
        """Whether pluto has not read its files as they are, as far as they are about these."""
        left = _left_over(held, tree, listing) - self._unexplained
        return bool(_missing(held, listing) or left)

    # what is to be in the file

    def _planned(
        self, slots: Sequence[SharedSlot], before: list[_Line]
    ) -> tuple[list[_Line], list[DaemonRefused]]:
        wanted: list[_Line] = []
        refused: list[DaemonRefused] = []
        for slot in slots:
            try:
                fresh = _made(slot, str(self._file))
                _require_own_pair(fresh, wanted)
            except ValueError as fault:
                refused.append(DaemonRefused(f"Slot {slot.name!r}: {fault}."))
                wanted += [each for each in before if each.slot == slot.name]
            else:
                wanted += fresh
        return wanted, refused

    def _in_use(
        self, own: list[_Line], slot: SharedSlot | None, tree: Sequence[_Read]
    ) -> tuple[int, ...]:
        """Versions of a slot that pluto goes by: those of our file, unless a line before ours is taken in its place."""
        if not own:
            return ()
        keys = slot.keys if slot is not None else ()
        first = self._before_ours(own[0].kind, own[0].entry.ids, tree)
        if first is None or _same(first, own[0].entry):
            others = {each.version for each in keys} - {
                _version_of(each.entry, keys) for each in own
            }
            return tuple(each.version for each in own if each.version not in others)
        same = _version_of(first, keys)
        return () if same is None else (same,)

    # what others put in

    def _foreign(self, slot: SharedSlot, tree: Sequence[_Read]) -> Iterator[ForeignSecret]:
        try:
            ids = _ids(slot)
        except ValueError:
            return  # nobody has such an identity here
        first = self._before_ours(slot.kind, ids, tree)
        names = {each.ppk_id for each in slot.keys} if slot.kind == "ppk" else set()
        for each in tree:
            if not isinstance(each, Entry) or each.kind != slot.kind or self._is_ours(each):
                continue
            if secretsfile.rank(each.ids, ids[0], ids[1]) or each.ppk_id in names:
                same = _version_of(each, slot.keys)
                yield ForeignSecret(slot.name, each.where, same, shadows=each is first)

    def _before_ours(self, kind: str, ids: Sequence[str], tree: Sequence[_Read]) -> Entry | None:
        """The line that pluto takes for a pair in the place of any that stands in our file."""
        for each in tree:
            if each == Begun(str(self._file)):
                return None
            if isinstance(each, Entry) and each.kind == kind:
                if secretsfile.rank(each.ids, ids[0], ids[1]) == secretsfile.EXACT:
                    return each
        return None

    def _overruled(self, slot: SharedSlot, tree: Sequence[_Read]) -> Iterator[DaemonRefused]:
        for each in self._foreign(slot, tree):
            if slot.keys and each.shadows and each.same_as != slot.keys[0].version:
                yield DaemonRefused(
                    f"Slot {slot.name}: {each.where} has another secret for the same pair, stands before ours, and so"
                    " shadows it.",
                    next_step="Take that line out, and have pluto read its files again (ipsec secrets).",
                )

    # files

    @property
    def _file(self) -> Path:
        return self._places.secrets

    @property
    def _unread(self) -> Path:
        """Names the pluto that has not read our file since it was replaced."""
        return self._places.state / "secrets.unread"

    def _text(self) -> str:
        return _content(self._file)

    def _is_ours(self, entry: Entry) -> bool:
        return entry.file == str(self._file)

    def _replace(self, text: str) -> None:
        was_unread = self._is_unread()
        # Before the file: an agent that dies in between reads it once more. One that starts has read it.
        write(self._unread, (self._whack.incarnation() or "").encode())
        try:
            write(self._file, octets(text))
        except DaemonFilesUnwritable:
            if not was_unread:
                self._note_read()
            raise

    def _is_unread(self) -> bool:
        name = _content(self._unread)
        return bool(name) and name == self._whack.incarnation()

    def _note_read(self) -> None:
        with suppress(OSError):
            self._unread.unlink(missing_ok=True)

    def _listing(self) -> Listing:
        listing = status.secrets(self._whack.ask("--listpsks"))
        if not listing.root:
            raise DaemonUnreachable("What whack printed is not understood as pluto's secrets.")
        return listing

    def _tree(self, listing: Listing, text: str) -> list[_Read]:
        """What pluto reads, with this for the content of our file."""

        def load(pattern: str) -> Iterator[tuple[str, str]]:
            for path in _expanded(pattern, self._file):
                ours = path == str(self._file)
                yield path, text if ours else _content(Path(path))

        return list(secretsfile.gather(listing.root, load))

    def _require_included(self, tree: Sequence[_Read], listing: Listing) -> None:
        if Begun(str(self._file)) not in tree:
            raise DaemonRefused(
                f"{listing.root} lacks the line: include {self._file}",
                next_step="Add that line, in the first column and before the secrets that stand there.",
            )


# pure


def _expanded(pattern: str, ours: Path) -> list[str]:
    """Files that match a pattern of an include, ours too while it is not there yet; by its own name, however it was
    reached.
    """
    found = set(glob.glob(pattern))
    folder, name = os.path.split(pattern)
    if fnmatch.fnmatchcase(ours.name, name) and _is_same(Path(folder), ours.parent):
        found.add(os.path.join(folder, ours.name))
    ordered = sorted(found, key=os.fsencode)
    return [str(ours) if _is_same(Path(each), ours) else each for each in ordered]


def _is_same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _content(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ""
    except OSError as error:
        raise DaemonFilesUnwritable(f"{path} cannot be read: {error.strerror}.") from error


def _lines(text: str, file: str) -> list[_Line]:
    """The secrets of our file. What another hand wrote into it is passed over."""
    rows = text.split("\n")
    found = []
    for entry in secretsfile.parse(text, file):
        if isinstance(entry, Entry) and entry.line > 1:
            mark = _MARK.fullmatch(rows[entry.line - 2])
            if mark:
                found.append(_Line(mark[1], mark[2], int(mark[3]), entry, rows[entry.line - 1]))
    return found


def _made(slot: SharedSlot, file: str) -> list[_Line]:
    """The lines of a slot; raises ValueError with what hinders it."""
    if not _SLOT.fullmatch(slot.name):
        raise ValueError("a slot's name has letters, digits, '_', '.' and '-' only")
    if slot.kind not in ("psk", "ppk"):
        raise ValueError(f"{slot.kind!r} is no kind of secret")
    ids, made = _ids(slot), []
    for key in slot.keys if slot.kind == "ppk" else slot.keys[:1]:
        if (key.ppk_id is not None) != (slot.kind == "ppk"):
            raise ValueError("a PPK has a PPK_ID, and a PSK has none")
        record = secretsfile.record(ids, key.value, key.ppk_id)
        entry = Entry(file, 0, slot.kind, ids, key.value, key.ppk_id)
        made.append(_Line(slot.name, slot.kind, key.version, entry, record))
    return made


def _ids(slot: SharedSlot) -> tuple[str, str]:
    return _identity(slot.local_id), _identity(slot.remote_id)


def _identity(text: str) -> str:
    """As pluto writes it; raises ValueError where it would take it for something else, or for everybody."""
    try:
        written = sections.identity(text)
    except ConnectionInvalid as refusal:
        raise ValueError(refusal.message.rstrip(".")) from None
    bare = written.strip('"')
    parts = bare.split(", ") if text.startswith("dn:") else []
    if parts and not all(_PART.fullmatch(each) for each in parts):
        raise ValueError(f"{text!r} has a character that pluto takes for the end of a part")
    if not parts and not _NAMES.fullmatch(bare):
        raise ValueError(f"{text!r} is no identity that ipsec.secrets can name")
    known = secretsfile.normal(bare)
    if known == secretsfile.ANY or known.startswith("host "):
        raise ValueError(f"{text!r} names nobody")
    return bare


def _require_own_pair(fresh: list[_Line], others: Iterable[_Line]) -> None:
    for each in others:
        if fresh and each.pair == fresh[0].pair and not _same(each.entry, fresh[0].entry):
            raise ValueError(f"it is for the same pair of identities as slot {each.slot}")


def _missing(lines: Iterable[_Line], listing: Listing) -> list[_Line]:
    """Lines of our file that pluto does not list. PPKs it never does."""
    return [each for each in lines if each.kind == "psk" and not listing.has(each.entry)]


def _left_over(lines: Iterable[_Line], tree: Sequence[_Read], listing: Listing) -> Counter[int]:
    """Lines with records for the same pairs as ours that pluto lists, and that its files do not have (any more)."""
    left: Counter[int] = Counter()
    for ids in {each.entry.ids for each in lines if each.kind == "psk"}:
        there = Counter(
            each.line
            for each in tree
            if isinstance(each, Entry)
            and each.kind == "psk"
            and secretsfile.rank(each.ids, ids[0], ids[1]) == secretsfile.EXACT
        )
        left += Counter(listing.lines_for(ids)) - there
    return left


def _not_listed(line: _Line, listing: Listing) -> DaemonRefused:
    return DaemonRefused(
        f"Slot {line.slot}: pluto read its files again, and lists no secret of {line.entry.where}.",
        next_step=f"Look in pluto's log for what it says of {line.entry.file} and {listing.root}.",
    )


def _same(one: Entry, other: Entry) -> bool:
    return hmac.compare_digest(one.value.reveal(), other.value.reveal())


def _version_of(entry: Entry, keys: Iterable[SharedKey]) -> int | None:
    for key in keys:
        if hmac.compare_digest(entry.value.reveal(), key.value.reveal()):
            return key.version
    return None


def _raise_first(refused: Sequence[DaemonRefused]) -> None:
    if refused:
        raise refused[0]
