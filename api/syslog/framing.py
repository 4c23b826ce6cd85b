"""Messages of syslog found in a stream of bytes, of any length and for ever. Pure."""

import re
from typing import Final

#: Bytes of a message that are looked at; the rest of it is passed over.
LONGEST: Final = 1 << 16
# RFC 6587 §3.4.1: the length, a space, the message, which begins with its priority. A line may begin with digits, too.
_COUNT: Final = re.compile(rb"([1-9]\d{0,8}) <")
_PERHAPS: Final = re.compile(rb"[1-9]\d{0,8} ?")
_MARK: Final = b"\xef\xbb\xbf"


class Frames:
    """The messages of one connection: counted (RFC 6587 §3.4.1, RFC 5425 §4.3), or ended by a line feed (§3.4.2).

    Which of both is seen at the beginning of each, as senders take turns. `cut` counts messages that were too long.
    """

    def __init__(self) -> None:
        self.cut = 0
        self._rest = b""
        self._skip = 0  # bytes of a counted message that are still to be passed over
        self._skip_line = False

    @property
    def is_within(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._rest) or self._skip > 0 or self._skip_line

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that end in these bytes."""
        found: list[bytes] = []
        data = self._rest + self._passed_over(data)
        position = 0
        while position < len(data):
            counted = _COUNT.match(data, position)
            if counted is None and _PERHAPS.fullmatch(data, position):
                break  # not yet to be told
            end = (
                self._counted(data, counted, found)
                if counted
                else self._line(data, position, found)
            )
            if end < 0:
                break
            position = end
        self._rest = b"" if self._skip or self._skip_line else data[position:]
        return found

    def close(self) -> list[bytes]:
        """A last line without an end. A counted message that was cut off is none."""
        rest, self._rest = self._rest, b""
        return [rest] if rest and not _COUNT.match(rest) else []

    def _passed_over(self, data: bytes) -> bytes:
        if self._skip:
            gone = min(self._skip, len(data))
            self._skip -= gone
            return data[gone:]
        if self._skip_line:
            end = data.find(b"\n")
            self._skip_line = end < 0
            return data[end + 1 :] if end >= 0 else b""
        return data

    def _counted(self, data: bytes, counted: re.Match[bytes], found: list[bytes]) -> int:
        size, start = int(counted[1]), counted.end() - 1
        here = len(data) - start
        if here < size and here < LONGEST:
            return -1
        found.append(data[start : start + min(size, LONGEST)])
        if size > LONGEST:
            self.cut += 1
        self._skip = max(0, size - here)
        return min(len(data), start + size)

    def _line(self, data: bytes, start: int, found: list[bytes]) -> int:
        end = data.find(b"\n", start)
        if end < 0 and len(data) - start < LONGEST:
            return -1
        stop = end if end >= 0 else len(data)
        if stop - start > LONGEST or end < 0:
            self.cut += 1
        self._skip_line = end < 0
        found.append(data[start : min(stop, start + LONGEST)])
        return stop + 1


def line_of(message: bytes) -> bytes:
    """A message as one line, whatever it holds: who wrote into it must not be able to begin another line."""
    line = message.strip(b"\0\r\n ").replace(b"\n", b" ").replace(b"\r", b" ")
    # RFC 5424 §6.4: text in UTF-8 is marked by these bytes, of which no log of a daemon knows.
    return line.replace(_MARK, b"", 1)
