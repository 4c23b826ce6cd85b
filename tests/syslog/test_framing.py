"""Messages in a stream, whatever comes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.syslog.framing import LONGEST, Frames, line_of
from tests.syslog.sending import counted

A, B = b"<13>one", b"<13>2 two"


def pieces(data: bytes, size: int) -> list[bytes]:
    frames = Frames()
    found = [
        each
        for start in range(0, len(data), size)
        for each in frames.feed(data[start : start + size])
    ]
    return found + frames.close()


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
@pytest.mark.parametrize(
    ("data", "messages"),
    [
        (counted(A, B, A), [A, B, A]),
        (A + b"\n" + B + b"\r\n", [A, B + b"\r"]),
        # Each sees for itself; some put a line feed behind what is counted.
        (counted(A) + b"\n" + B + b"\n" + counted(b"<13>a\nb") + A, [A, b"", B, b"<13>a\nb", A]),
        # Digits that count nothing.
        (b"2026-11-29 12:00:00 x\n12 monkeys\n1\n", [b"2026-11-29 12:00:00 x", b"12 monkeys", b"1"]),
        (b"99999999999 <x>\n0 <y>\n", [b"99999999999 <x>", b"0 <y>"]),
        (counted(A)[:-1], []),
        (b"", []),
    ],
)  # fmt: skip
def test_messages(data: bytes, messages: list[bytes], size: int) -> None:
    assert pieces(data, size) == messages


@pytest.mark.parametrize("size", [700, 1 << 18])
def test_what_is_too_long_is_cut_and_the_next_one_is_found(size: int) -> None:
    for long in (b"<13>" + b"x" * (1 << 20) + b"\n", counted(b"<13>" + b"x" * (1 << 20))):
        found = pieces(long + counted(A) + A + b"\n", size)
        assert [len(each) for each in found] == [LONGEST, len(A), len(A)]


def test_a_line_without_an_end_takes_no_memory() -> None:
    frames = Frames()
    for _ in range(100):
        frames.feed(b"\0" * 65_000)
    assert len(frames._rest) <= LONGEST
    assert (frames.cut, frames.is_within) == (1, True)
    assert frames.feed(b"\n" + A + b"\n") == [A]
    assert not frames.is_within


@given(st.lists(st.binary(max_size=60) | st.sampled_from([counted(A), A, b"\n", b"12 <"])))
def test_any_bytes_in_any_pieces_say_the_same(parts: list[bytes]) -> None:
    frames = Frames()
    found = [each for part in parts for each in frames.feed(part)] + frames.close()
    assert found == pieces(b"".join(parts), 7)


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (A + b"\r\n\0", A),
        (b"<13>a\nNov 29 12:00:00 x charon: y", b"<13>a Nov 29 12:00:00 x charon: y"),
        (b"<13>1 - - - - - - \xef\xbb\xbfIKE", b"<13>1 - - - - - - IKE"),
        (b"\n\0 ", b""),
    ],
)
def test_a_message_is_one_line(message: bytes, line: bytes) -> None:
    assert line_of(message) == line
