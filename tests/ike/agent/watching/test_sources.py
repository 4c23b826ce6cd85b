"""Where events of SAs come from: a log, read on after a death; journald's program; what charon tells over VICI."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ike.agent.errors import AgentSettingsInvalid
from ike.agent.settings import AgentSettings, WatchSettings, parse, render
from ike.agent.watching.feeds import feeds_of
from ike.agent.watching.kernel import Kernel
from ike.agent.watching.sources import (
    Gathered,
    Journal,
    LogFile,
    Source,
    Vici,
)
from ike.agent.watching.threads import document
from ike.daemons.strongswan import happenings
from ike.events.event import EVENTS, REMARKS, SaEvent
from tests.events.recordings import recorded

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
LINE = b"Nov 29 11:59:%02d gw charon[8]: 05[IKE] <site|%d> IKE_SA site[%d] established between a[a]...b[b]\n"


def now() -> datetime:
    return NOW


def gathered(
    source: Source, position: dict[str, Any] | None, enough: Callable[[list[Gathered]], bool]
) -> list[Gathered]:
    """What a source gives until it is enough."""
    stop, found = threading.Event(), list[Gathered]()
    end = time.monotonic() + 90
    for each in source.gather(position, stop):
        found.append(each)
        if enough(found):
            stop.set()
        assert time.monotonic() < end, found[-3:]
    return found


def idle(found: list[Gathered]) -> bool:
    return found[-1].until is not None


def events(found: list[Gathered]) -> list[SaEvent]:
    return [event for each in found for event in each.events]


def test_a_log_is_read_on_and_nothing_comes_twice(tmp_path: Path) -> None:
    log = tmp_path / "charon.log"
    log.write_bytes(LINE % (1, 1, 1))
    source = LogFile(log, now)
    first = gathered(source, None, idle)
    assert events(first) == []  # what was before the agent is not its business
    with log.open("ab") as file:
        file.write(LINE % (2, 2, 2))
    second = gathered(source, first[-1].position, idle)
    assert [each.ike_id for each in events(second)] == [2]
    with log.open("ab") as file:
        file.write(LINE % (3, 3, 3))
    # The agent died after the first piece was kept.
    third = gathered(source, second[0].position, idle)
    assert [each.ike_id for each in events(third)] == [3]


def test_of_a_log_that_is_not_there_nothing_is_vouched_for(tmp_path: Path) -> None:
    log = tmp_path / "charon.log"
    found = LogFile(log, now).gather(None, threading.Event())
    first = next(found)
    assert (first.until, (first.position or {})["inode"]) == (None, 0)
    with pytest.raises(FileNotFoundError):
        next(found)
    with pytest.raises(FileNotFoundError):
        gathered(LogFile(log, now), {"log": str(log), "inode": 0, "offset": 0}, idle)
    log.write_bytes(LINE % (1, 1, 1))
    # It came after the agent had looked: all of it is news.
    place = {"log": str(log), "settled": True, "inode": 0, "offset": 0, "head": "", "known": 0}
    assert [each.ike_id for each in events(gathered(LogFile(log, now), place, idle))] == [1]


@pytest.mark.parametrize("lines", [1, 2, 5])
def test_a_log_that_is_cut_off_and_written_anew_between_two_looks(
    tmp_path: Path, lines: int
) -> None:
    log = tmp_path / "charon.log"
    log.write_bytes(LINE % (1, 1, 1) + LINE % (2, 2, 2))
    source = LogFile(log, now).gather(None, threading.Event())
    assert next(source).events == []
    assert next(source).until is not None
    log.write_bytes(b"".join(LINE % (n, n, n) for n in range(3, 3 + lines)))
    again = [event for each in (next(source), next(source)) for event in each.events]
    assert [each.ike_id for each in again] == list(range(3, 3 + lines))


@pytest.mark.parametrize("log", ["relative.log", "./charon.log", "journald", "charon"])
def test_a_log_without_its_whole_path_is_refused(log: str) -> None:
    settings = f'url = "https://a"\ngateway = "b"\n[watch]\nlog = "{log}"\n'
    with pytest.raises(AgentSettingsInvalid, match=r"watch\.log is one of .*begins with /"):
        parse(settings.encode(), Path("agent.toml"))


@pytest.mark.parametrize("zone", ["UTC", "EST+5"])
def test_times_without_a_zone_are_of_this_host(
    tmp_path: Path, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        log = tmp_path / "charon.log"
        log.write_bytes(b"")
        source = LogFile(log, now)
        place = gathered(source, None, idle)[-1].position
        log.write_bytes(
            LINE % (1, 1, 1) if zone == "UTC" else LINE.replace(b"11:", b"06:") % (1, 1, 1)
        )
        (event,) = events(gathered(source, place, idle))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert event.time == datetime(2026, 11, 29, 11, 59, 1, tzinfo=UTC).timestamp()


def test_a_line_without_a_time_is_of_now(tmp_path: Path) -> None:
    log = tmp_path / "charon.log"
    log.write_bytes(b"")
    source = LogFile(log, now)
    place = gathered(source, None, idle)[-1].position
    log.write_bytes(b"05[IKE] <site|4> IKE_SA site[4] established between a[a]...b[b]\n")
    (event,) = events(gathered(source, place, idle))
    assert event.time == NOW.timestamp()


@pytest.fixture
def journal(tmp_path: Path) -> tuple[str, Path]:
    """A program that follows a file of entries as journalctl does, from a cursor on."""
    entries, program = tmp_path / "entries", tmp_path / "journalctl"
    program.write_text(
        f"""#!/bin/sh
for each; do case $each in
  --after-cursor=*) after=${{each#*=}};;
  --lines=1) exec tail -n 1 {entries};;
esac; done
exec tail -n +$((after + 1)) -f {entries}
"""
    )
    program.chmod(0o755)
    entries.write_text("")
    return str(program), entries


def entry(number: int) -> str:
    message = f"05[IKE] <site|{number}> IKE_SA site[{number}] established between a[a]...b[b]"
    stamp = int(NOW.timestamp() * 1e6)
    return (
        f'{{"__CURSOR":"{number}","__REALTIME_TIMESTAMP":"{stamp}","SYSLOG_IDENTIFIER":"charon-systemd",'
        f'"MESSAGE":"{message}"}}\n'
    )


def test_journald_is_read_on(journal: tuple[str, Path]) -> None:
    program, entries = journal
    source = Journal(now, program)
    entries.write_text(entry(1))
    first = gathered(source, None, idle)
    assert (events(first), first[0].position) == ([], {"journal": "1"})
    with entries.open("a") as file:
        file.write(entry(2) + entry(3))
    second = gathered(source, first[-1].position, idle)
    assert [each.ike_id for each in events(second)] == [2, 3]
    assert second[-1].position == {"journal": "3"}


def test_a_journal_that_ends_is_an_error() -> None:
    with pytest.raises(OSError, match="ended"):
        gathered(Journal(now, "true"), {"journal": "x"}, lambda found: False)


IKE = {"uniqueid": "7", "remote-host": "192.0.2.2", "remote-id": "gw2", "established": "3"}
CHILD = {
    **{"name": "net", "uniqueid": "9", "protocol": "ESP", "spi-in": "c1", "spi-out": "c2"},
    **{"encr-alg": "AES_GCM_16", "encr-keysize": "256", "bytes-in": "5", "bytes-out": "6"},
}


@pytest.mark.parametrize(
    ("name", "message", "kinds"),
    [
        ("ike-updown", {"up": "yes", "site": IKE}, ["ike_established"]),
        ("ike-updown", {"site": {**IKE, "state": "DELETING"}}, ["ike_deleted"]),
        ("ike-updown", {"site": {"uniqueid": "1", "state": "CONNECTING"}}, []),
        ("ike-rekey", {"site": {"old": IKE, "new": {**IKE, "uniqueid": "8"}}}, ["ike_rekeyed"]),
        ("ike-update", {"remote-host": "192.0.2.9", "site": IKE}, ["address_changed"]),
        (
            "child-updown",
            {"up": "yes", "site": {**IKE, "child-sas": {"net-9": CHILD}}},
            ["algorithms", "child_established"],
        ),
        ("child-updown", {"site": {**IKE, "child-sas": {"net-9": CHILD}}}, ["child_closed"]),
        (
            "child-rekey",
            {
                "site": {
                    **IKE,
                    "child-sas": {"net": {"old": CHILD, "new": {**CHILD, "uniqueid": "10"}}},
                }
            },
            ["algorithms", "child_rekeyed"],
        ),
        ("alert", {"type": "peer-auth-failed", "ike-sa": {"site": IKE}}, ["auth_failed"]),
        ("alert", {"type": "cert-revoked"}, ["cert_revoked"]),
        ("alert", {"type": "of-tomorrow"}, []),
        ("alert", {}, []),
        ("ike-updown", {"up": "yes", "site": "text"}, []),
        ("child-rekey", {"site": {"child-sas": {"net": {}}}}, []),
    ],
)
def test_what_charon_tells(name: str, message: dict[str, Any], kinds: list[str]) -> None:
    found = happenings.events_of(name, message, 5.0)
    assert [each.kind for each in found] == kinds
    assert {each.kind for each in found} <= {*EVENTS, *REMARKS}
    assert all(each.time == 5.0 for each in found)


def test_the_numbers_of_a_rekeying() -> None:
    new = {**CHILD, "uniqueid": "10", "spi-in": "c3"}
    told = {"site": {**IKE, "child-sas": {"net": {"old": CHILD, "new": new}}}}
    chosen, rekeyed = happenings.events_of("child-rekey", told, 5.0)
    assert chosen.algorithms == "ESP:AES_GCM_16_256"
    assert (rekeyed.child, rekeyed.child_id, rekeyed.new_child_id) == ("net", 9, 10)
    assert (rekeyed.spi_in, rekeyed.spi_out, rekeyed.ike_id) == ("c3", "c2", 7)
    assert rekeyed.size == 11  # what the replaced one had carried


def test_what_the_service_would_refuse_is_left_out() -> None:
    odd = SaEvent(
        "ike_established",
        3,
        float("nan"),
        peer="x" * 400,
        identity="\ud800" * 2000,
        ike_id=-1,
        spi_in="zz",
        spi_out="ABCD",
        seconds=float("inf"),
    )
    assert document(odd) == {
        "event": "ike_established",
        "peer": "x" * 255,
        "identity": "?" * 1024,
        "spi_out": "ABCD",
    }


def test_settings_choose_the_source(tmp_path: Path) -> None:
    def chosen(log: str, daemon: str = "strongswan") -> Any:
        settings = AgentSettings("https://a", "g", daemon=daemon, watch=WatchSettings(log))
        assert parse(render(settings), tmp_path) == settings
        main = [each.source for each in feeds_of(settings, now) if not each.beside]
        return main[0] if main else None

    assert isinstance(chosen(""), Vici)
    assert isinstance(chosen("journal"), Journal)
    assert isinstance(chosen("/var/log/pluto.log", "libreswan"), LogFile)
    assert chosen("", "libreswan") is None
    assert chosen("off") is None
    assert isinstance(chosen("kernel", "libreswan"), Kernel)


@pytest.mark.parametrize(
    ("watch", "names"),
    [
        ({}, ["VICI", "counters"]),
        ({"log": "off", "kernel": "manual"}, ["kernel"]),
        ({"counters_seconds": 0, "error_notify": "/run/e"}, ["VICI", "error-notify"]),
        (
            {"log": "journal", "error_notify": "/run/e", "counters_seconds": 5},
            ["journal", "counters"],
        ),
        ({"log": "kernel", "kernel": "manual", "counters_seconds": 0}, ["kernel"]),
    ],
)
def test_settings_choose_what_stands_beside(watch: dict[str, Any], names: list[str]) -> None:
    settings = AgentSettings("https://a", "g", watch=WatchSettings(**watch))
    assert parse(render(settings), Path("agent.toml")) == settings
    assert [each.name for each in feeds_of(settings, now)] == names


@pytest.mark.parametrize("odd", ['kernel = "all"', "counters_seconds = -1", "error_notify = 7"])
def test_settings_that_are_none(odd: str) -> None:
    text = f'url = "https://a"\ngateway = "g"\n[watch]\n{odd}\n'
    with pytest.raises(AgentSettingsInvalid, match=odd.split(maxsplit=1)[0]):
        parse(text.encode(), Path("agent.toml"))


@pytest.mark.parametrize("name", ["normal_day.left", "psk_guessing.right", "pluto_normal.left"])
def test_a_log_gives_the_same_however_often_the_agent_dies(tmp_path: Path, name: str) -> None:
    """Recorded logs, written piece by piece, and gathered by agents that each die after a piece."""
    source_log = recorded(name).read_bytes()
    log = tmp_path / "charon.log"
    log.write_bytes(b"")
    source = LogFile(log, now)
    place = gathered(source, None, idle)[-1].position
    whole = gathered_at_once(tmp_path, source_log)
    found: list[SaEvent] = []
    pieces = [source_log[n : n + 3001] for n in range(0, len(source_log), 3001)]
    for piece in pieces:
        with log.open("ab") as file:
            file.write(piece)
        for each in gathered(source, place, lambda found: True):
            found += each.events
            place = each.position
    found += events(gathered(source, place, idle))
    assert [facts(each) for each in found] == [facts(each) for each in whole]
    assert len(whole) > 10


def gathered_at_once(tmp_path: Path, content: bytes) -> list[SaEvent]:
    log = tmp_path / "whole.log"
    log.write_bytes(b"")
    source = LogFile(log, now)
    place = gathered(source, None, idle)[-1].position
    log.write_bytes(content)
    return events(gathered(source, place, idle))


def facts(event: SaEvent) -> tuple[Any, ...]:
    return tuple(event._replace(line=0))
