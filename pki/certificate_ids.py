"""Which certificates a search means, by their numbers: found by words, narrowed by the rest, in the order of time.

A million of them are looked through in a fraction of a second because the wide rows are not: words and what lists are
narrowed by stand in indexes of their own.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select

from core.errors import InvalidInput
from pki import words
from pki.words import Needle
from store.search_tables import certificate_words, search_marks
from store.tables import authorities, certificates
from store.text import storable

STATUSES: Final = ("pending", "valid", "held", "revoked", "abandoned", "expired")
MAX_PAGE: Final = 500
MARK: Final = "certificates"
PORTION: Final = 1 << 16
"""So many certificates have their words together."""
_FEW: Final = 2_000  # that are looked at one by one
_ROWS: Final = 500


class BadQuery(InvalidInput):
    """A search that makes no sense."""

    code = "query_malformed"


@dataclass(frozen=True)
class CertificateQuery:
    """A search; what is given holds together.

    `q` is the beginning of a word in a subject, name or gateway, or of a serial number, fingerprint or key hash (eight
    digits at least); `name` of the first three alone. `serial` is the beginning of one in any spelling, `key` that of
    the SHA-256 of a SubjectPublicKeyInfo, hexadecimal, or all of it in base64. Times: from `…_after` on, to before
    `…_before`. `renewed`: only those that have a valid successor or that the service renews by itself, or only others.
    `cursor` is the id of the last one of a page; `newer` goes from there to newer ones.
    """

    q: str | None = None
    status: str | None = None
    expires_before: datetime | None = None
    gateway: str | None = None
    profile: str | None = None
    authority: str | None = None
    cursor: int | None = None
    limit: int = 100
    name: str | None = None
    serial: str | None = None
    key: str | None = None
    expires_after: datetime | None = None
    issued_after: datetime | None = None
    issued_before: datetime | None = None
    newer: bool = False
    renewed: bool | None = None

    @property
    def needles(self) -> tuple[Needle, ...]:
        """The words that are looked for."""
        given = ((self.q, words.of_anything), (self.name, words.of_names))
        return tuple(make(storable(text)) for text, make in given if text)


_SUCCESSOR: Final = certificates.alias("successor")
_RENEWED: Final = or_(
    # Those the service renews by itself, and not as successors.
    certificates.c.profile.in_(("ocsp-responder", "service-tls", "scep-ra")),
    exists().where(
        _SUCCESSOR.c.renewed_from == certificates.c.serial, _SUCCESSOR.c.status == "valid"
    ),
)


def conditions(query: CertificateQuery, now: datetime) -> Iterator[ColumnElement[bool]]:
    """What a database can tell without words. Raises BadQuery."""
    if not 1 <= query.limit <= MAX_PAGE:
        raise BadQuery(f"A page has between 1 and {MAX_PAGE} entries.")
    column = certificates.c
    yield from _times(query)
    if query.status is not None:
        yield _has_status(query.status, now)
    if query.renewed is not None:
        yield _RENEWED if query.renewed else ~_RENEWED
    if query.profile is not None:
        yield column.profile == storable(query.profile)
    if query.authority is not None:
        mine = select(authorities.c.id).where(authorities.c.name == storable(query.authority))
        yield column.authority_id == mine.scalar_subquery()
    if query.serial is not None:
        yield begins(column.serial, _digits(query.serial, 40, "a serial number"))
    if query.key is not None:
        yield begins(column.spki_sha256, _digits(query.key, 64, "the hash of a key"))


def _times(query: CertificateQuery) -> Iterator[ColumnElement[bool]]:
    column = certificates.c
    if query.expires_before is not None:
        yield column.not_after < query.expires_before
    if query.expires_after is not None:
        yield column.not_after >= query.expires_after
    if query.issued_before is not None:
        yield column.issued_at < query.issued_before
    if query.issued_after is not None:
        yield column.issued_at >= query.issued_after


def _digits(text: str, most: int, what: str) -> str:
    digits = words.of_digits(text)
    if not digits or len(digits) > most:
        raise BadQuery(f"This is not {what}, nor the beginning of one.")
    return digits


def _has_status(status: str, now: datetime) -> ColumnElement[bool]:
    if status not in STATUSES:
        raise BadQuery(f"A status is one of {', '.join(STATUSES)}.")
    column = certificates.c
    if status == "expired":
        return and_(column.status != "abandoned", column.not_after <= now)
    if status == "valid":
        return and_(column.status == status, column.not_after > now)
    return column.status == status


def begins(column: ColumnElement[str], digits: str) -> ColumnElement[bool]:
    """That a column of hexadecimal digits begins with these; `g` stands behind all digits, in every collation."""
    return and_(column >= digits, column < digits + "g")


def find(
    connection: Connection,
    needles: Sequence[Needle],
    narrow: Sequence[ColumnElement[bool]],
    need: int,
    *,
    cursor: int | None = None,
    newer: bool = False,
) -> list[int]:
    """The numbers of the first `need` certificates after `cursor`: the newest first, or with `newer` the oldest."""
    search = _Search(connection, tuple(needles), tuple(narrow), need, cursor, newer=newer)
    return search.run()


@dataclass(frozen=True)
class _Search:
    connection: Connection
    needles: tuple[Needle, ...]
    narrow: tuple[ColumnElement[bool], ...]
    need: int
    cursor: int | None
    newer: bool

    def run(self) -> list[int]:
        if not self.needles:
            return self._ids(self.need)
        if not all(each.keys for each in self.needles):
            return []  # nothing but signs
        if self.narrow:
            # Where the rest leaves few, they are looked at.
            few = self._ids(_FEW + 1)
            if len(few) <= _FEW:
                return self._fitting(few)[: self.need]
        reached = self._reached()
        parts = (self._new(reached), self._known(reached))
        found: list[int] = []
        for part in reversed(parts) if self.newer else parts:
            for number in part:
                found.append(number)
                if len(found) == self.need:
                    return found
        return found

    def _order(self, column: ColumnElement[int]) -> ColumnElement[int]:
        return column.asc() if self.newer else column.desc()

    def _after(self, column: ColumnElement[int]) -> tuple[ColumnElement[bool], ...]:
        if self.cursor is None:
            return ()
        return (column > self.cursor if self.newer else column < self.cursor,)

    def _ids(self, need: int, *more: ColumnElement[bool]) -> list[int]:
        number = certificates.c.id
        query = select(number).where(*self.narrow, *self._after(number), *more)
        return list(self.connection.scalars(query.order_by(self._order(number)).limit(need)))

    def _fitting(self, ids: Sequence[int]) -> list[int]:
        """Those of them that are meant, in their order."""
        found = []
        for some in _batches(ids, _ROWS):
            rows = self.connection.execute(_LOOKED_AT.where(certificates.c.id.in_(some)))
            meant = {row.id for row in rows if all(each.fits(row) for each in self.needles)}
            found += [number for number in some if number in meant]
        return found

    def _reached(self) -> int:
        mark = select(search_marks.c.reached).where(search_marks.c.name == MARK)
        return int(self.connection.scalar(mark) or 0)

    def _new(self, reached: int) -> Iterator[int]:
        """From those whose words are not kept yet."""
        last: tuple[ColumnElement[bool], ...] = ()
        number = certificates.c.id
        while True:
            some = self._ids(_ROWS, number > reached, *self._perhaps(), *last)
            yield from self._fitting(some)
            if len(some) < _ROWS:
                return
            last = (number > some[-1] if self.newer else number < some[-1],)

    def _perhaps(self) -> Iterator[ColumnElement[bool]]:
        """What the database can sort out beforehand: it knows no other letters' cases than those of ASCII."""
        column = certificates.c
        for each in self.needles:
            if each.text.isascii():
                parts = [
                    those.icontains(each.text, autoescape=True)
                    for those in (column.subject, column.names, column.gateway)
                ]
                if each.digits:
                    parts += [
                        begins(those, each.digits)
                        for those in (column.serial, column.fingerprint, column.spki_sha256)
                    ]
                yield or_(*parts)

    def _known(self, reached: int) -> Iterator[int]:
        """From those whose words are kept."""
        if not reached:
            return
        first = self.needles[0]
        last = reached // PORTION
        candidates = self._by_digits(first)
        for key in first.keys:
            # The number of portions is small, and each is one step into the index.
            those = select(certificate_words.c.certificate_id).where(_begins(key, range(last + 1)))
            found = self.connection.scalars(those.limit(_FEW + 1)).all()
            if len(found) > _FEW:
                for portion in self._portions(last):
                    yield from self._portion(key, portion)
                return
            candidates.update(found)
        yield from self._few(candidates, reached)

    def _portions(self, last: int) -> Iterable[int]:
        """Those from the cursor on, up to the `last`."""
        if self.newer:
            return range((self.cursor or 0) // PORTION, last + 1)
        first = last if self.cursor is None else min(last, self.cursor // PORTION)
        return range(first, -1, -1)

    def _by_digits(self, needle: Needle) -> set[int]:
        found: set[int] = set()
        for column in (certificates.c.serial, certificates.c.spki_sha256):
            if needle.digits:
                those = select(certificates.c.id).where(begins(column, needle.digits))
                found.update(self.connection.scalars(those.order_by(column.desc()).limit(_ROWS)))
        return found

    def _few(self, candidates: Collection[int], reached: int) -> Iterator[int]:
        ids: list[int] = []
        for some in _batches(sorted(candidates), _ROWS):
            number = certificates.c.id
            ids += self._ids(_ROWS, number.in_(some), number <= reached)
        ids.sort(reverse=not self.newer)
        yield from self._fitting(ids) if self._is_looked_at_again else ids

    @property
    def _is_looked_at_again(self) -> bool:
        return self.needles[0].is_long or len(self.needles) > 1

    def _portion(self, key: str, portion: int) -> Iterator[int]:
        number = certificate_words.c.certificate_id
        last: tuple[ColumnElement[bool], ...] = self._after(number)
        while True:
            query = select(number).where(_begins(key, [portion]), *last).distinct()
            if self.narrow:
                query = query.join(certificates, certificates.c.id == number).where(*self.narrow)
                # Words of one portion are of certificates that stand together.
                among = certificates.c.id.between(portion * PORTION, (portion + 1) * PORTION - 1)
                query = query.where(among)
            query = query.order_by(self._order(number)).limit(self.need)
            some = list(self.connection.scalars(query))
            yield from self._fitting(some) if self._is_looked_at_again else some
            if len(some) < self.need:
                return
            last = (number > some[-1] if self.newer else number < some[-1],)


_LOOKED_AT: Final = select(
    certificates.c.id,
    certificates.c.subject,
    certificates.c.names,
    certificates.c.gateway,
    certificates.c.serial,
    certificates.c.fingerprint,
    certificates.c.spki_sha256,
)


def _begins(key: str, portions: Sequence[int]) -> ColumnElement[bool]:
    word = certificate_words.c.word
    # The last character there is: nothing that begins with a key stands behind it.
    begins = and_(word >= key, word <= key + "\U0010ffff")
    return and_(certificate_words.c.portion.in_(portions), begins)


def _batches(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
