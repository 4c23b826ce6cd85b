"""Scenarios played now: daemons of today log what the recordings say, and `sa analyze` says the same of it."""

from pathlib import Path

import pytest

from tests.events.recordings import EXPECTED
from tests.fixtures.served import run
from tests.lab.flood import request
from tests.lab.recording import record
from tests.lab.scenarios import SCENARIOS

# Those that are short.
PLAYED = (
    "wrong_psk",
    "psk_guessing",
    "half_open_flood",
    "certificate_revoked",
    "unknown_peer",
    "weaker_than_before",
    "clock_behind",
)


def test_every_scenario_is_recorded() -> None:
    assert {name.partition(".")[0] for name in EXPECTED} == set(SCENARIOS)


@pytest.mark.usefixtures("needs_lab")
@pytest.mark.parametrize("scenario", PLAYED)
def test_what_happens_now_is_judged_as_what_was_recorded(scenario: str, tmp_path: Path) -> None:
    files = record(scenario, tmp_path)
    assert len(files) >= 2
    for file in files:
        wanted, also = EXPECTED[file.name.removesuffix(".log")]
        found = run("sa", "analyze", "--format", "json", file).document
        kinds = {alert["kind"] for alert in found["alerts"]}
        assert bool(kinds & wanted) == bool(wanted), (file.name, kinds)
        assert kinds <= wanted | also, (file.name, kinds)


def test_a_request_of_the_flood_is_well_formed() -> None:
    message = request()
    assert int.from_bytes(message[24:28]) == len(message)
    kinds, at, following = [], 28, message[16]
    while following:
        kinds.append(following)
        following, length = message[at], int.from_bytes(message[at + 2 : at + 4])
        at += length
    assert kinds == [33, 34, 40], "SA, KE, nonce"
    assert at == len(message)
    assert request()[:8] != message[:8]
