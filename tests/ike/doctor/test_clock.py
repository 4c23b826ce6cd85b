"""A clock that is wrong is told from a certificate that has ended."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from core.secret import Secret
from ike.audit.ground import Ground
from ike.doctor import clocks, files
from ike.doctor.diagnosis import examine
from ike.doctor.values import Case, Host, Verdict
from tests.ike.doctor.test_rules import CASE, check
from tests.lab.handmade import HOUR, NOW, Authority

YEAR = timedelta(days=365)
HARDWARE = "the hardware clock"
CONNECTION = """
connections {
  site {
    remote_addrs = 192.0.2.2
    local {
      auth = pubkey
      id = left.example.net
    }
    remote {
      auth = pubkey
      id = right.example.net
    }
    children {
      net {
      }
    }
  }
}
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    """An end with a certificate that ends in some days."""
    root = tmp_path_factory.mktemp("host")
    authority = Authority("Lab Root")
    leaf = authority.leaf("left.example.net", serial=0xA0)
    for name, content in (
        ("conf.d/site.conf", CONNECTION.encode()),
        ("x509/own.pem", leaf.pem),
        ("private/own.pem", leaf.key_pem),
        ("x509ca/root.pem", authority.pem),
        ("swanctl.conf", b"include conf.d/*.conf\n"),
    ):
        file = root / "etc/swanctl" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return files.look(Ground(root), Secret(b"k" * 32))


def case(host: Host, **more: object) -> Case:
    return replace(CASE, here=host, tunnel=host.tunnels[0], now=NOW + YEAR, **more)  # type: ignore[arg-type]


def test_a_clock_that_is_fast_is_known_by_another(host: Host) -> None:
    found = case(host, clocks={HARDWARE: NOW})
    said = check(found, "clock")
    assert said.verdict == "wrong"
    assert "the clock may be fast" in said.evidence
    first = examine(found).first
    assert first is not None
    assert first.name == "clock"


def test_what_has_ended_by_every_clock_has_ended(host: Host) -> None:
    found = case(host, clocks={HARDWARE: NOW + YEAR - HOUR})
    assert check(found, "clock").verdict == "ok"
    assert check(found, "certificate_valid").verdict == "wrong"


def test_a_clock_that_nobody_keeps_is_to_be_looked_at_first(host: Host) -> None:
    kept, unkept = (check(case(host, unkept=each), "certificate_valid") for each in (False, True))
    assert kept.next_step.startswith("Renew")
    assert unkept.next_step.startswith("Look first whether the clock is right")


def test_clocks_that_differ_are_told_where_nothing_has_ended() -> None:
    said = check(replace(CASE, clocks={HARDWARE: CASE.now - YEAR}), "clock")
    assert (said.verdict, "the clock may be wrong" in said.evidence) == (Verdict.UNKNOWN, True)


def test_a_file_from_the_future_means_a_slow_clock(host: Host) -> None:
    assert host.written is not None
    late = replace(CASE.here, written=CASE.now + HOUR)
    said = check(replace(CASE, here=late), "clock")
    assert said.verdict == "wrong"
    assert "a file of the configuration" in said.evidence


def test_the_other_clocks_are_read(tmp_path: Path) -> None:
    hardware, home = tmp_path / "since_epoch", tmp_path / "home"
    assert clocks.others(NOW, hardware, home) == {}
    hardware.write_text(f"{int(NOW.timestamp()) - 60}\n")
    home.mkdir(mode=0o700)
    notes = home / "state.json"
    notes.write_text(json.dumps({"skew_seconds": -7200.0}))
    notes.chmod(0o644)  # the agent does not believe it either
    assert list(clocks.others(NOW, hardware, home)) == [HARDWARE]
    notes.chmod(0o600)
    assert clocks.others(NOW, hardware, home) == {
        HARDWARE: NOW - timedelta(minutes=1),
        "the clock of the service": NOW - 2 * HOUR,
    }
    hardware.write_text("never\n")
    assert HARDWARE not in clocks.others(NOW, hardware, home)
    assert clocks.is_unkept() in {True, False}
