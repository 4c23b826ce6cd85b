"""Any bytes, in blocks of any size: nothing raises, nothing loops, and the blocks make no difference."""

import re
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from ike.daemons.strongswan import happenings
from ike.events import dialects
from ike.events.event import EVENTS, REASONS, SaEvent, printed
from ike.events.reader import Reader

NOW = 1_796_000_000.0
MIXED = b"""Jun 20 14:29:40 gw charon[8]: 05[NET] received packet: from 192.0.2.7[500] to 198.51.100.1[500]
Jun 20 14:29:40 gw charon[8]: 05[IKE] 192.0.2.7 is initiating an IKE_SA
Jun 20 14:29:41 gw sshd[7]: Accepted publickey; IKE_SA gw[3] established between a[b]...c[d]
Jun 20 14:29:42 gw charon[8]: 05[IKE] <gw|3> IKE_SA gw[3] established between
198.51.100.1[gw.example]...192.0.2.7[west.example]
Jun 20 14:29:43 gw charon[8]: 05[IKE] <gw|3> received
  AUTHENTICATION_FAILED notify error
Jun 20 14:29:44 gw charon[8]: 05[ENC] <gw|3> generating INFORMATIONAL request 2 [ ]
Jun 20 14:29:44 gw charon[8]: 05[IKE] <gw|3> giving up after 5 retransmits\r
05[IKE] <gw|3> CHILD_SA net{1} closed
{"time":"2026-06-20 14:29:47","thread":7,"group":"IKE","level":1,"msg":"IKE_SA deleted"}

05[IKE] <gw|3> establishing IKE_SA failed, peer not responding"""
PIECES = [
    *MIXED.splitlines(keepends=True),
    b"07[IKE] <",
    b"gw|3> ",
    b"IKE_SA gw[3] established between ",
    b"]...[",
    b"charon[1]: ",
    b"\x00\xff\xfe",
    b"0001-01-01T00:00:00+23:59 ",
    b"9999-12-31 23:59:59-99:99 ",
    b'{"MESSAGE":"07[IKE] IKE_SA deleted","__REALTIME_TIMESTAMP":"99999999999999999999"}\n',
    b"\r",
    b'{"MESSAGE":',
    b"{" * 50,
    b"Jun 20 14:29:47 ",
    b" is initiating an IKE_SA",
    b"<" * 300,
    b"'" * 9,
]


def read(data: bytes, *cuts: int) -> list[SaEvent]:
    reader = Reader(NOW)
    found, start = [], 0
    for cut in (*sorted(cuts), len(data)):
        found += reader.feed(data[start:cut])
        start = cut
    return found + reader.close()


def test_lines_are_counted_and_those_of_other_programs_left_alone() -> None:
    assert [(event.line, event.kind, event.peer) for event in read(MIXED)] == [
        (2, "ike_respond", "192.0.2.7"),
        (4, "ike_established", "192.0.2.7"),
        (6, "auth_failed", None),
        (9, "giving_up", None),
        (10, "child_closed", None),
        (11, "ike_deleted", None),
        (13, "ike_timeout", None),
    ]


@given(st.lists(st.integers(0, len(MIXED)), max_size=9))
def test_blocks_make_no_difference(cuts: list[int]) -> None:
    assert read(MIXED, *cuts) == read(MIXED)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=40), max_size=30), st.data())
def test_any_bytes_are_read(pieces: list[bytes], data: st.DataObject) -> None:
    log = b"".join(pieces)
    cuts = data.draw(st.lists(st.integers(0, len(log)), max_size=4))
    found = read(log, *cuts)
    assert found == read(log)
    lines = log.count(b"\n") + 1
    for event in found:
        assert 1 <= event.line <= lines
        assert event.time is None or datetime.fromtimestamp(event.time, UTC)
        if event.kind in EVENTS:
            assert set(printed(event)) <= {"line", "event", "phase", *EVENTS[event.kind]}


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_an_identity_never_makes_another_event(identity: str) -> None:
    identity = "".join(each for each in identity if each.isprintable())
    line = f"07[IKE] <gw|3> IKE_SA gw[3] established between 198.51.100.1[gw]...192.0.2.7[{identity}]\n"
    (event,) = read(line.encode("utf-8", "replace"))
    assert (event.kind, event.peer, event.ike_id) == ("ike_established", "192.0.2.7", 3)


def test_very_long_lines_neither_stop_it_nor_fill_the_memory() -> None:
    good = b"07[IKE] <gw|3> giving up after 5 retransmits\n"
    for filling in (b"x", b"07[IKE] <", b"[", b"{", b"charon: ", b"1 is initiating ", b"\0", b"'"):
        long = filling * (3_000_000 // len(filling))
        reader = Reader(NOW)
        found = []
        for start in range(0, len(long), 65536):
            found += reader.feed(long[start : start + 65536])
        found += reader.feed(b"\n" + good) + reader.close()
        assert [(event.line, event.kind) for event in found] == [(2, "giving_up")], filling


def test_very_many_messages_on_one_line_are_read_up_to_a_few() -> None:
    line = b"Jun 20 14:29:47 gw charon[8]: 07[IKE] IKE_SA deleted" * 15_000
    assert {(event.line, event.kind) for event in read(line)} == {(1, "ike_deleted")}


def test_what_is_kept_does_not_grow_with_the_log() -> None:
    line = "Jun 20 14:29:47 gw charon[8]: 05[IKE] <gw|{0}> IKE_SA gw[{0}] established between a[b]...c[d]\n"
    reader = Reader(NOW)
    for start in range(0, 300_000, 10_000):
        reader.feed("".join(line.format(each) for each in range(start, start + 10_000)).encode())
    (daemon,) = reader._parsers[0]._daemons.values()  # type: ignore[attr-defined]
    assert len(daemon.names) <= 200_000


def test_names_of_exchanges_are_no_messages_of_another_daemon() -> None:
    """Wherever a log begins, and whichever end is first."""
    log = (
        b'"w" #3: IKE_SA_INIT_I: retransmission; will wait 1 seconds for response\n'
        b'"w" #3: IKE_AUTH response contained the error notification AUTHENTICATION_FAILED\n'
    )
    backwards = b"\n".join(reversed(log.splitlines())) + b"\n"
    assert [(event.kind, event.ike_id) for event in read(log)] == [
        ("retransmit", 3),
        ("auth_failed", 3),
    ]
    assert [event.kind for event in read(backwards)] == ["auth_failed", "retransmit"]


def test_the_reasons_that_parsers_give_are_known() -> None:
    written = re.compile(
        r'\breason(?:=|"\] = )"(\w+)"|\), "(\w+)"(?:, |\))|\("auth_failed", "(\w+)"\)'
    )
    given = set()
    for path in (*Path(dialects.__path__[0]).glob("*.py"), Path(happenings.__file__)):
        for found in written.finditer(path.read_text("utf-8")):
            given.add(next(filter(None, found.groups())))
    assert {"psk", "eap"} < given
    assert given - REASONS <= {"start"}  # a phase
