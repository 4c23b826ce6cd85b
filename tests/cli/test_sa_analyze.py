"""`sa analyze`: the right verdict for what real daemons logged, in every format, and whatever a peer calls itself."""

import base64
import gzip
import hashlib
import json
import re
import time
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from fleet.monitoring.values import LIMITED
from ike.detection.alert import KINDS
from ike.detection.analysis import Log, analyse
from ike.detection.conditions import QUIET
from ike.detection.forms.json import document
from ike.detection.report import TITLES
from ike.events.reader import Reader
from tests.events.recordings import EXPECTED, RECORDED, recorded
from tests.fixtures.served import Done, run
from tests.ike.agent.test_base_install import blocked

PAGES = Path(__file__).parents[2] / "docs/reference/alerts"
HOSTILE = "<script>alert(1)</script>\"'&\x1b]0;x\x07\x1b[31m\u202e=cmd|' /C calc'!A0"


def analyzed(*arguments: str | Path, **options: Any) -> Done:
    return run("sa", "analyze", *arguments, **options)


def report(*arguments: str | Path, **options: Any) -> Any:
    return analyzed("--format", "json", *arguments, **options).document


def judged(name: str) -> dict[str, Any]:
    """The analysis of a recording, as JSON has it, without a program of its own for each."""
    reader = Reader(time.time(), beats=True)
    events = reader.feed(recorded(name).read_bytes()) + reader.close()
    return document(analyse([Log(name, events)]))


def evidence(name: str) -> dict[str, Any]:
    [alert] = judged(name)["alerts"]
    return {"start": alert["start"], **alert["evidence"]}


def test_the_numbers_are_those_of_the_log() -> None:
    """Counted by hand in the recordings."""
    flood = evidence("half_open_flood.right")
    assert (flood["refused"], flood["timed_out"]) == (170, 30)
    assert "170 cookies, 30 timed-out" in analyzed(recorded("half_open_flood.right")).out
    storm = evidence("rekey_storm.left")
    assert (storm["rekeys"], storm["bound"]) == (44, "learned")
    assert "12:06:14" in storm["start"]
    assert evidence("psk_guessing.right")["attempts"] == 48
    # Two lines about each: one shows who it claims to be, the other one where it is.
    assert evidence("pluto_wrong_psk.right")["attempts"] == 8


def test_every_recording_has_its_verdict() -> None:
    assert {path.name.removesuffix(".log") for path in RECORDED.glob("*.log")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_right_thing_is_said_of_what_a_daemon_logged(name: str) -> None:
    wanted, also = EXPECTED[name]
    found = judged(name)
    kinds = {alert["kind"] for alert in found["alerts"]}
    if not wanted:
        # Of one end that only watched there may be no event at all: then nothing was judged.
        assert (found["verdict"], kinds) == ("ok" if found["events"] else "warning", set())
        return
    assert kinds & wanted, kinds
    assert kinds <= wanted | also, kinds
    grave = {"critical", "high"} & {alert["severity"] for alert in found["alerts"]}
    assert found["verdict"] == ("alert" if grave else "warning")
    lines = recorded(name).read_bytes().count(b"\n")
    for alert in found["alerts"]:
        assert alert["cause"]
        assert alert["next_step"]
        assert alert["evidence"]
        assert alert["lines"]
        assert all(1 <= line <= lines for line in alert["lines"])
        assert alert["see"] == f"ikewarden alert explain {alert['kind']}"


def test_the_verdict_is_in_the_first_line() -> None:
    quiet, loud = analyzed(recorded("normal_day.left")), analyzed(recorded("psk_guessing.right"))
    assert quiet.out.startswith("ok: ")
    assert (quiet.code, quiet.err) == (0, "")
    assert loud.out.startswith("alert: ")
    assert "auth_guessing" in loud.out.splitlines()[0]
    assert (loud.code, loud.err) == (1, "")
    assert "CRITICAL" in loud.out
    assert "ikewarden alert explain auth_guessing" in loud.out
    assert max(map(len, loud.out.splitlines()[2:])) <= 100


def test_rekeys_are_counted_and_drawn() -> None:
    (site,) = report(recorded("normal_day.left"))["connections"]
    assert (site["connection"], site["peer"], site["up"]) == ("site", "192.0.2.2", True)
    assert site["ike_established"] == 2, "the planned restart makes the second"
    assert site["ike_rekeys"] >= 2
    assert site["child_rekeys"] >= 8
    assert site["failures"] == 0
    # rekey_time 15 s, rand_time 3 s; charon draws up to a second more.
    assert 10 <= site["child_intervals"]["shortest"] <= site["child_intervals"]["longest"] <= 16
    assert {sa["made"] for sa in site["sas"]} == {"established", "rekeyed"}
    assert [sa["kind"] for sa in site["sas"] if sa["up"]] == ["ike", "child"]

    text = analyzed(recorded("rekey_storm.left")).out
    assert re.search(r"\|.*o .*o", text), "rekeys as configured"
    assert re.search(r"\|.*XX", text), "and the storm, below the bound"


def test_both_ends_see_the_same_rekeys() -> None:
    ends = [report(recorded(f"normal_day.{end}"))["connections"][0] for end in ("left", "right")]
    assert ends[0]["child_rekeys"] == ends[1]["child_rekeys"]
    assert ends[0]["ike_rekeys"] == ends[1]["ike_rekeys"]


def test_bounds_that_are_given_are_used() -> None:
    # Told that an hour is configured, rekeys of every quarter of a minute are a storm.
    found = report(recorded("rekey_collision.left"), "--rekey-time", "1h", "--life-time", "66m")
    assert "rekey_too_fast" in {alert["kind"] for alert in found["alerts"]}
    (site,) = found["connections"]
    assert site["child_intervals"]["lower_bound"] == 3240
    assert site["child_intervals"]["bounds"] == "configured"


@pytest.mark.parametrize(
    "wrong",
    [
        ["--rekey-time", "soon"],
        ["--rekey-time", "0"],
        ["--life-time", "1h"],
        ["--rekey-time", "1h", "--life-time", "30m"],
    ],
)
def test_bounds_that_make_no_sense_are_refused(wrong: list[str]) -> None:
    done = analyzed(*wrong, recorded("wrong_psk.left"))
    assert (done.code, done.out) == (2, "")


@pytest.mark.parametrize("alive", [True, False])
def test_lines_that_tell_nothing_show_that_the_log_has_no_hole(tmp_path: Path, alive: bool) -> None:
    """An SA that is not rekeyed for ten hours: with lines of liveness checks all the time, and without any line."""
    site, pair = (
        "[IKE] <site|1> ",
        "with SPIs {0:08x}_i {1:08x}_o and TS 10.1.0.0/16 === 10.2.0.0/16",
    )
    up = f"{site}IKE_SA site[1] established between 192.0.2.1[a]...192.0.2.2[b]"
    told = {0: [up, f"{site}CHILD_SA net{{1}} established {pair.format(1, 2)}"]}
    for number in range(2, 7):
        old, new = (
            pair.format(2 * number - 3, 2 * number - 2),
            pair.format(2 * number - 1, 2 * number),
        )
        told[3600 * (number - 1)] = [
            f"{site}establishing CHILD_SA net{{{number}}} reqid 1",
            f"{site}inbound CHILD_SA net{{{number}}} established {new}",
            f"{site}outbound CHILD_SA net{{{number}}} established {new}",
            f"{site}closing CHILD_SA net{{{number - 1}}} {old}".replace("_i", "_i (0 bytes)"),
        ]
    if alive:
        for second in range(15, 15 * 3600, 30):
            told[second] = [f"{site}sending DPD request", "[ENC] <site|1> parsed INFORMATIONAL [ ]"]
    start = datetime(2026, 11, 29, 10, tzinfo=UTC)
    path = tmp_path / "charon.log"
    with path.open("w") as file:
        for second, lines in sorted(told.items()):
            at = f"{start + timedelta(seconds=second):%Y-%m-%dT%H:%M:%S}"
            file.writelines(f"{at} 05{line}\n" for line in lines)
    found = report("--rekey-time", "1h", path)
    assert found["connections"][0]["child_rekeys"] == 5
    assert [each["kind"] for each in found["alerts"]] == (["rekey_missed"] if alive else [])


def test_a_log_may_come_from_standard_input(tmp_path: Path) -> None:
    content = recorded("wrong_psk.right").read_bytes()
    found = report("-", given=content)
    assert [alert["kind"] for alert in found["alerts"]] == ["auth_failures"]
    assert found["lines"] == content.count(b"\n")


def test_a_log_may_be_in_parts_out_of_order_packed_and_backwards(tmp_path: Path) -> None:
    lines = recorded("rekey_storm.right").read_bytes().splitlines(keepends=True)
    half = len(lines) // 2
    new, old = tmp_path / "charon.log", tmp_path / "charon.log.1.gz"
    new.write_bytes(b"".join(lines[half:]))
    old.write_bytes(gzip.compress(b"".join(lines[:half])))
    back = tmp_path / "backwards.log"
    back.write_bytes(b"".join(reversed(lines)))
    whole = report(recorded("rekey_storm.right"))
    for found in (report(new, old), report(back)):
        assert found["verdict"] == whole["verdict"]
        assert found["connections"][0]["child_rekeys"] == pytest.approx(
            whole["connections"][0]["child_rekeys"], abs=2
        )
    places = {place for alert in report(new, old)["alerts"] for place in alert["places"]}
    assert places
    assert all(place.startswith((f"{new}:", f"{old}:")) for place in places)


def test_whom_a_log_with_the_newest_line_first_is_about_is_what_it_is_in_any_order(
    tmp_path: Path,
) -> None:
    """Lines without names of SAs: the packet before a failure, in time, tells whose it is."""
    begin = datetime(2026, 6, 20, tzinfo=UTC)
    lines = []
    for number in range(3_000):
        at = (begin + timedelta(seconds=3 * number)).strftime("%Y-%m-%dT%H:%M:%S")
        packet = f"{at} 05[NET] received packet: from {{}}[500] to 198.51.100.1[500] (36 bytes)"
        if number % 50 == 0:
            told = f"'gw' - 'user{number % 9}', but MAC mismatched"
            lines += [packet.format("192.0.2.66"), f"{at} 05[IKE] tried 1 shared key for {told}"]
        lines += [packet.format(f"203.0.113.{number % 250}"), f"{at} 05[ENC] parsed INFORMATIONAL"]
    there, back, packed = (tmp_path / name for name in ("a.log", "b.log", "c.log.gz"))
    there.write_text("\n".join(lines) + "\n")
    back.write_text("\n".join(reversed(lines)))
    packed.write_bytes(gzip.compress(back.read_bytes())[:-8])
    assert back.stat().st_size > 1 << 18
    [expected] = report(there)["alerts"]
    assert expected["peer"] == "192.0.2.66"
    [found] = report(back)["alerts"]
    turned = [len(lines) + 1 - each for each in found["lines"]]
    assert {**found, "lines": turned, "places": expected["places"]} == expected
    [breaking_off] = report(packed)["alerts"]
    assert breaking_off["peer"] == "192.0.2.66"


@pytest.mark.parametrize("named", [True, False])
def test_a_clock_that_was_put_back_is_seen_in_a_log_with_the_newest_line_first(
    tmp_path: Path, named: bool
) -> None:
    """The rules know by the number of a line which one came first."""
    text = recorded("clock_put_back.right").read_text()
    lines = (text if named else re.sub(r"\] <[^>\n]*> ", "] ", text)).splitlines()
    back = tmp_path / "log"
    back.write_text("\n".join(reversed(lines)) + "\n")
    [alert] = report(back)["alerts"]
    [expected] = report(recorded("clock_put_back.right"))["alerts"]
    assert alert["kind"] == "clock"
    assert [len(lines) + 1 - each for each in alert["lines"]] == expected["lines"]


def test_two_sinks_of_one_daemon_in_one_log_are_one_gateway(tmp_path: Path) -> None:
    path = tmp_path / "syslog"
    twice = []
    for line in recorded("normal_day.right").read_text().splitlines():
        stamp, message = line[:15], line[20:]
        twice += [line, f"{stamp} gw1 charon-systemd[1]: {message}"]
    path.write_text("".join(f"{line}\n" for line in twice))
    (found,) = report(path)["connections"]
    (alone,) = report(recorded("normal_day.right"))["connections"]
    assert found["gateway"] == "gw1"
    for each in ("ike_established", "child_rekeys", "ike_rekeys"):
        assert found[each] == alone[each]


def test_one_sa_under_two_connections(tmp_path: Path) -> None:
    """No daemon of the lab does it: lines as charon writes them, of one SA that two policies share."""
    path = tmp_path / "charon.log"
    shared = "established with SPIs c1d2e3f4_i a1b2c3d4_o and TS 10.1.0.0/16 === 10.2.0.0/16"
    path.write_text(
        "2026-03-04T08:00:01 05[IKE] <site|1> IKE_SA site[1] established between"
        " 192.0.2.1[left.example]...198.51.100.7[right.example]\n"
        f"2026-03-04T08:00:01 05[IKE] <site|1> CHILD_SA net{{1}} {shared}\n"
        "2026-03-04T08:05:01 06[IKE] <guest|2> IKE_SA guest[2] established between"
        " 192.0.2.1[left.example]...198.51.100.9[guest.example]\n"
        f"2026-03-04T08:05:01 06[IKE] <guest|2> CHILD_SA guest{{2}} {shared}\n"
    )
    found = report(path)
    assert [each["kind"] for each in found["alerts"]] == ["sa_shared"]
    assert found["alerts"][0]["evidence"]["other_connection"] == "site"


def test_logs_of_several_gateways_are_kept_apart() -> None:
    found = report(recorded("normal_day.left"), recorded("normal_day.right"))
    assert found["verdict"] == "ok"
    assert [each["gateway"] for each in found["connections"]] == [
        "normal_day.left.log",
        "normal_day.right.log",
    ]


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"no log at all\n" * 9, bytes(range(128, 256)) * 50]
)
def test_of_what_is_no_log_nothing_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    done = analyzed(path)
    assert done.out.startswith("warning: no events of an IKE daemon were found")
    assert (done.code, done.err) == (1, "")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = analyzed(tmp_path / "none.log")
    assert done.code == 2
    assert "none.log" in done.err
    assert "Traceback" not in done.err


def test_a_log_that_breaks_off_is_judged_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "charon.log.1.gz"
    path.write_bytes(gzip.compress(recorded("normal_day.left").read_bytes())[:-40])
    done = analyzed(path)
    assert done.out.startswith("warning: nothing abnormal in 1 connection, but not all")
    assert done.code == 1
    assert str(path) in done.err
    found = report(path)
    assert (found["verdict"], len(found["remarks"])) == ("warning", 1)
    assert str(path) in found["remarks"][0]
    assert "not all could be read" in analyzed("--format", "html", path).out


def test_a_log_without_times_says_what_it_cannot_say(tmp_path: Path) -> None:
    path = tmp_path / "charon.log"
    lines = recorded("normal_day.left").read_text().splitlines()
    path.write_text("".join(f"{line.split(' ', 1)[1]}\n" for line in lines))
    done = analyzed(path)
    assert done.out.startswith("warning: nothing abnormal in 1 connection so far as it shows")
    assert "The lines have no times" in done.out
    assert done.code == 1  # a storm of rekeys would look the same
    assert report(path)["remarks"]


def test_an_ike_sa_that_lost_its_child_sa_is_not_up() -> None:
    (found,) = report(recorded("rekey_refused.left"))["connections"]
    assert not found["up"]
    assert (
        "IKE SA up, but no Child SA: no traffic passes"
        in analyzed(recorded("rekey_refused.left")).out
    )


def test_the_picture_says_what_it_leaves_out() -> None:
    page = analyzed("--format", "html", recorded("rekey_storm.left")).out
    assert page.count('<rect class="ike"') == 2
    assert "(the newest 42 of " in page


@pytest.mark.parametrize(("lines", "why"), [(0, "empty"), (3, "Nothing in it")])
def test_a_log_that_tells_of_no_sa_leads_to_one_that_does(
    tmp_path: Path, lines: int, why: str
) -> None:
    path = tmp_path / "messages"
    path.write_text("Nov 30 10:00:00 gw1 CRON[7]: (root) CMD (true)\n" * lines)
    done = analyzed(path)
    assert done.code == 1
    assert why in done.out
    assert "journalctl -u strongswan" in done.out
    (remark,) = report(path)["remarks"]
    assert why in remark


def test_spans_are_told_in_units_that_people_read() -> None:
    out = analyzed(recorded("rekey_storm.left")).out
    assert re.search(r"shortest [\d.]+ s, longest [\d.]+ s", out)
    assert "lower bound seconds" not in out


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(bytes(range(32)) * 500)
    done = analyzed(path)
    assert (done.code, done.out) == (2, "")


# whatever a peer calls itself


def hostile(tmp_path: Path) -> Path:
    """Logs in which names and identities are an attack on whoever reads them."""
    lines = []
    for number in range(1, 40):
        at = f"2026-11-29T10:00:{number:02d}.000 05[IKE] <{HOSTILE}|{number}>"
        lines += [
            f"{at} IKE_SA {HOSTILE}[{number}] established between 192.0.2.1[a]...192.0.2.9[{HOSTILE}]",
            f"{at} CHILD_SA {HOSTILE}{{{number}}} established with SPIs c0ffee{number:02d}_i"
            f" decade{number:02d}_o and TS 10.1.0.0/24 === 10.2.0.0/24",
            f"{at} tried 1 shared key for 'a' - '{HOSTILE}', but MAC mismatched",
            f"{at[:23]} 06[CFG] looking for peer configs matching 1.2.3.4[a]...192.0.2.8[{HOSTILE}]",
            f"{at[:23]} 06[CFG] no matching peer config found",
            f"{at} deleting IKE_SA {HOSTILE}[{number}] between 192.0.2.1[a]...192.0.2.9[{HOSTILE}]",
        ]
    path = tmp_path / "charon.log"
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


class Tags(HTMLParser):
    """What is in a page, as a browser would read it."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("form", ["text", "json", "html"])
def test_a_hostile_identity_breaks_no_output(tmp_path: Path, form: str) -> None:
    done = analyzed("--format", form, hostile(tmp_path))
    assert done.code == 1
    assert not set(done.out) & {"\x1b", "\x07", "\r", "\u202e", "\x00"}
    if form == "json":
        found = json.loads(done.out)
        assert found["connections"][0]["connection"].startswith("<script>")
        assert done.out.isascii()
    if form == "html":
        page = Tags()
        page.feed(done.out)
        assert "script" not in page.tags
        assert not {name for name in page.attributes if name.startswith("on") or name == "style"}
        assert "<script>alert(1)</script>" in page.text, "as text"


# the page


def test_the_page_loads_nothing_and_allows_its_own_style_alone() -> None:
    out = analyzed("--format", "html", recorded("rekey_storm.left")).out
    page = Tags()
    page.feed(out)
    assert not page.tags & {"script", "link", "img", "iframe", "object", "use", "image"}
    assert not page.attributes & {"src", "href", "style"}
    (style,) = re.findall("<style>(.*?)</style>", out, re.S)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in out
    assert "<svg" in out
    assert 'class="low"' in out
    assert 'class="bound"' in out
    assert "viewport" in out


# the documentation


def test_every_kind_of_alert_has_a_page_and_a_title() -> None:
    assert set(TITLES) == set(KINDS)
    index = (PAGES / "README.md").read_text()
    for kind, severity in KINDS.items():
        page = (PAGES / f"{kind}.md").read_text()
        assert page.startswith(f"# {TITLES[kind]}\n")
        assert f"`{kind}`, severity {severity}" in page
        assert "## What is normal" in page
        assert "## What to do" in page
        assert f"({kind}.md) | {severity} |" in index
        row = next(line for line in index.splitlines() if f"({kind}.md)" in line)
        minutes = QUIET.get(kind, 0) / 60
        quiet = f"{minutes:g} min" if minutes < 60 else f"{minutes / 60:g} h"
        assert row.endswith(f"| {quiet if minutes else '- (the contrary alone)'} |")
    # And what the service alone says.
    assert {page.stem for page in PAGES.glob("*.md")} == {*KINDS, LIMITED, "README"}


def test_every_page_is_printed_without_a_service() -> None:
    for kind in KINDS:
        done = run("alert", "explain", kind)
        assert (done.code, done.out, done.err) == (0, (PAGES / f"{kind}.md").read_text(), "")
    listed = run("alert", "explain")
    assert {line.split()[0] for line in listed.out.splitlines()} == {*KINDS, LIMITED}
    items = run("alert", "explain", "--format", "json").document["items"]
    assert {"kind": "clock", "title": TITLES["clock"]} in items
    for kind in ("README", "nothing", "../README"):
        done = run("alert", "explain", kind)
        assert done.code == 2
        assert "auth_guessing" in done.err


def test_the_base_install_is_enough() -> None:
    explained = blocked("alert", "explain", "clock")
    assert explained.stdout.startswith("# A clock is wrong")
    done = blocked("sa", "analyze", recorded("wrong_psk.left"))
    assert done.stdout.startswith("alert: ")
    assert (done.returncode, done.stderr) == (1, "")
