"""When a line was written and by which host, as the prefix in front of a daemon's message says."""

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final

_MONTHS: Final = {
    name: number
    for number, name in enumerate(b"jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)
}
_LONGEST: Final = 160  # bytes of a line that a stamp is looked for in
_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 9998
_EPOCH: Final = date(1970, 1, 1).toordinal()
_KEPT: Final = 4096  # stamps whose reading is remembered
_THREAD: Final = 2  # digits that change from line to line, before the first bracket
_CLOCK: Final = rb"(?P<h>\d\d):(?P<mi>\d\d):(?P<s>\d\d)(?:[.,](?P<f>\d{1,9}))?"
# charon writes the milliseconds of `time_add_ms` behind whatever `time_format` ends with.
_ZONE: Final = rb"(?: ?(?P<z>Z|UTC|GMT|[+-]\d\d:?\d\d)\b(?:\.(?P<zf>\d{3})\b)?)?"
_STAMP: Final = re.compile(
    rb"(?<![\d:])(?:(?P<y>\d{4})[-/](?P<m>\d\d)[-/](?P<d>\d\d)(?:T|,? |[, ]time=)"
    + _CLOCK
    + _ZONE
    + rb"|"
    rb"(?P<mon>[A-Za-z]{3}) {1,2}(?P<md>\d{1,2}) (?:(?P<my>\d{4}) )?"
    + _CLOCK.replace(b"?P<", b"?P<m_")
    + rb"(?: (?P<my2>(?:19|20)\d\d)(?=[ :]|$))?|"
    rb"(?P<dd>\d\d)\.(?P<dm>\d\d)\.(?P<dy>\d{4}) " + _CLOCK.replace(b"?P<", b"?P<d_") + rb")"
)
_LEAD: Final = re.compile(
    rb"\s*+(?:<\d{1,3}>)?+(?:1 )?+(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\w{0,6},? )?+"
)
_FARTHEST: Final = 14 * 3600  # east or west of UTC that a clock can be
# RFC 3164: a word, then the tag with its colon; RFC 5424: a word, the name, the process number and the message's id.
_HOST: Final = re.compile(
    rb" +([^\s:\[\]<>{}]{1,255})(?= +(?:[^\s:\[]{0,64}(?:\[\d+\])?:(?: |$)|\S{1,48} (?:\d+|-) ))"
)
_COLOUR: Final = rb"(?:\x1b\[[\d;]{0,16}m)*"
#: What `kubectl logs --prefix` and compose put before each line: a pod and a container of it, or a container.
CONTAINER: Final = re.compile(
    _COLOUR
    + rb"(?:\[pod/(?P<pod>[^\]\s/]{1,128})/(?P<inner>[^\]\s/]{1,128})\] "
    + rb"|(?P<name>[\w./-]{1,128}) *\| ?)"
    + _COLOUR
)


class Stamps:
    """Reads the time and the host of lines. `now`, POSIX seconds, tells the year where a stamp has none.

    A stamp without a zone is taken for UTC, since the distances between lines are what matters; or for a time that is
    `east` seconds before UTC, where the host's zone is known.
    """

    def __init__(self, now: float, east: float = 0.0) -> None:
        self._east = east
        latest = datetime.fromtimestamp(now, UTC) + timedelta(days=1)
        self._year, self._latest = latest.year, latest.timestamp()
        self._known: dict[bytes, tuple[float | None, str | None]] = {}

    def read(self, raw: bytes) -> tuple[float | None, str | None]:
        """POSIX seconds and the name of the host, or else of the container; each None where the line shows none."""
        cut = raw.find(b"[", 0, _LONGEST) - _THREAD
        head = raw[:cut] if cut > 0 else b""
        known = self._known.get(head)
        if known is not None:
            return known
        found = _STAMP.search(raw, 0, _LONGEST)
        if found is None:
            return None, _container(raw)
        known = self._moment(found), _host(raw, found) or _container(raw)
        if found.end() <= cut:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[head] = known
        return known

    def read_usual(self, data: bytes, start: int, stop: int) -> tuple[float | None, str | None]:
        """The same of the line of `data` from `start` to `stop`, which has a bracket."""
        cut = data.find(b"[", start, start + _LONGEST) - _THREAD
        known = self._known.get(data[start:cut]) if cut > start else None
        return known or self.read(data[start:stop].rstrip(b"\r\n"))

    def _moment(self, found: re.Match[bytes]) -> float | None:
        zone = None
        if found["y"]:
            y, month, d, h, mi, s, f, zone = found.group("y", "m", "d", "h", "mi", "s", "f", "z")
            f = f or found["zf"]
        elif found["mon"]:
            y, name, d, h, mi, s, f = found.group("my", "mon", "md", "m_h", "m_mi", "m_s", "m_f")
            y, month = y or found["my2"], _MONTHS.get(name.lower())
        else:
            y, month, d, h, mi, s, f = found.group("dy", "dm", "dd", "d_h", "d_mi", "d_s", "d_f")
        hour, minute = int(h), int(mi)
        if month is None or hour > 23 or minute > 59:
            return None
        of_day = hour * 3600 + minute * 60 + min(int(s), 59)
        seconds = self._seconds(int(y) if y else None, int(month), int(d), of_day)
        if seconds is None:
            return None
        offset = _offset(zone) if zone else self._east
        if abs(offset) > _FARTHEST:
            return None
        fraction = float(b"0." + f) if f else 0.0
        return seconds + fraction - offset

    def _seconds(self, year: int | None, month: int, day: int, of_day: int) -> int | None:
        """Without a year: the latest one that lets the stamp be no later than a day from now."""
        if year:
            midnight = _midnight(year, month, day)
            return None if midnight is None else midnight + of_day
        for guess in range(self._year, self._year - 5, -1):
            midnight = _midnight(guess, month, day)
            if midnight is not None and midnight + of_day <= self._latest:
                return midnight + of_day
        return None


def _host(raw: bytes, stamp: re.Match[bytes]) -> str | None:
    host = _HOST.match(raw, stamp.end(), stamp.end() + 512)
    return host[1].decode("utf-8", "replace") if host else None


def _container(raw: bytes) -> str | None:
    if raw.find(b"|", 0, _LONGEST) < 0 and not raw.startswith(b"[pod/"):
        return None
    found = CONTAINER.match(raw)
    return (found["pod"] or found["name"]).decode("utf-8", "replace") if found else None


def end_of_stamp(raw: bytes) -> int | None:
    """Where the stamp ends that a line begins with; None where there is none: it may go on the line before it."""
    lead = _LEAD.match(raw)
    stamp = _STAMP.match(raw, lead.end()) if lead else None
    return stamp.end() if stamp else None


@lru_cache(maxsize=1024)
def _midnight(year: int, month: int, day: int) -> int | None:
    """POSIX seconds at which a day begins; None if there is no such day."""
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        return None
    try:
        return (date(year, month, day).toordinal() - _EPOCH) * 86_400
    except ValueError:  # 29 February, or no date at all
        return None


def _offset(zone: bytes) -> int:
    if zone[:1] not in (b"+", b"-"):
        return 0
    size = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
    return size if zone[:1] == b"+" else -size
