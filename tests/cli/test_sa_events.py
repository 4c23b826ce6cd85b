"""`ikewarden sa events`: one JSON object an event, from files and streams, and clear words where there is no log."""

import gzip
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_screen import dangerous
from tests.fixtures.served import PROGRAM, Done, run, surroundings

LOG = b"""Jun 20 14:29:47 gw charon[8]: 05[IKE] 192.0.2.7 is initiating an IKE_SA
Jun 20 14:29:48 gw charon[8]: 05[CFG] <gw|3> selected proposal: ESP:AES_GCM_16_256/NO_EXT_SEQ
07[IKE] <gw|3> CHILD_SA net{1} established with SPIs c1b2c3d4_i c5d6e7f8_o and TS 10.1.0.0/16 === 10.2.0.0/16
"""
FIRST: dict[str, Any] = {"line": 1, "event": "ike_respond", "peer": "192.0.2.7"}
SECOND: dict[str, Any] = {
    **{"line": 3, "event": "child_established", "connection": "gw", "ike_id": 3},
    **{"child": "net", "child_id": 1, "spi_in": "c1b2c3d4", "spi_out": "c5d6e7f8"},
}
HOSTILE = "x\x1b[2J\x1b]0;owned\x07\u202eexe.moc\x9b31m=cmd()<script>"


def objects(done: Done) -> list[dict[str, Any]]:
    """What was printed, without the times."""
    assert (done.code, done.err) == (0, "")
    found = [json.loads(line) for line in done.out.splitlines()]
    for each in found:
        each.pop("time", None)
    return found


def test_a_file_and_a_stream_give_the_same(tmp_path: Path) -> None:
    log = tmp_path / "charon.log"
    log.write_bytes(LOG)
    assert objects(run("sa", "events", log)) == [FIRST, SECOND]
    assert objects(run("sa", "events", "-", "--format", "jsonl", given=LOG)) == [FIRST, SECOND]
    assert objects(run("sa", "events", "-", given=gzip.compress(LOG))) == [FIRST, SECOND]
    assert objects(run("sa", "events", "-", given="nothing of ours\n")) == []


def test_people_get_lines_with_the_time(tmp_path: Path) -> None:
    done = run("sa", "events", "-", "--format", "text", given=LOG)
    first, second = done.out.splitlines()
    assert first.split()[1:] == ["1", "ike_respond", "peer=192.0.2.7"]
    assert first.split()[0].endswith("-06-20T14:29:47Z")
    assert second.split()[:3] == ["-", "3", "child_established"]


@pytest.mark.parametrize("form", ["jsonl", "text"])
def test_an_identity_acts_in_no_terminal(form: str) -> None:
    line = f"07[IKE] <gw|3> no shared key found for 'gw' - '{HOSTILE}'\n"
    done = run("sa", "events", "-", "--format", form, given=line)
    assert done.code == 0
    assert not dangerous(done.out)
    assert len(done.out.splitlines()) == 1
    if form == "jsonl":
        assert json.loads(done.out)["peer"] == HOSTILE


def test_what_cannot_be_read_is_told_by_a_code(tmp_path: Path) -> None:
    junk, cut = tmp_path / "junk", tmp_path / "cut.gz"
    junk.write_bytes(bytes(range(32)) * 500)
    cut.write_bytes(gzip.compress(LOG * 2000)[:-400])
    for path, code in (
        (tmp_path / "none", "log_not_found"),
        (tmp_path, "log_not_file"),
        (junk, "log_not_text"),
        (cut, "log_damaged"),
    ):
        done = run("sa", "events", path)
        assert done.code == 2
        assert f"({code})" in done.err
        assert "Next: " in done.err
    assert json.loads(run("sa", "events", cut).out.splitlines()[0])["line"] == 1
    assert run("sa", "events").code == 2


def _lines(file: Path, count: int) -> list[str]:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        found = file.read_text().splitlines()
        if len(found) >= count:
            return found
        time.sleep(0.05)
    raise AssertionError(file.read_text())


def test_a_log_is_followed_over_its_rotation(tmp_path: Path) -> None:
    log, out = tmp_path / "charon.log", tmp_path / "out"
    log.write_bytes(LOG)
    with out.open("wb") as target:
        process = subprocess.Popen(
            [*PROGRAM, "sa", "events", str(log), "--follow"], env=surroundings(), stdout=target
        )
    try:
        assert [json.loads(line)["line"] for line in _lines(out, 2)] == [1, 3]
        with log.open("ab") as file:
            file.write(b"07[IKE] <gw|3> IKE_SA gw[3] established betw")  # as far as it was written
        os.rename(log, tmp_path / "charon.log.1")
        log.write_bytes(b"07[IKE] <gw|3> IKE_SA deleted\n")
        found = [json.loads(line) for line in _lines(out, 4)]
        assert [(each["line"], each["event"]) for each in found[2:]] == [
            (4, "ike_established"),
            (1, "ike_deleted"),
        ]
    finally:
        process.terminate()
        process.wait(30)
