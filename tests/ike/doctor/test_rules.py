"""Rules that no tunnel of the lab breaks, and what comes first of several."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ike.daemons.port import ChildSa, IkeSa
from ike.doctor.diagnosis import QUESTIONS, TITLES, examine
from ike.doctor.values import Answer, Case, Check, Daemon, Host, Log, Network, Verdict
from ike.events.event import SaEvent
from ike.secrets.values import Place, Problem
from tests.ike.doctor.test_matching import tunnel

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
SITE = tunnel(
    "site",
    local_auth="psk",
    remote_auth="psk",
    local_addrs="192.0.2.1",
    remote_addrs="192.0.2.2",
)
HERE = Host((SITE,), secrets={"site": "one"})
RUNNING = Daemon(version="charon 5.9.8", connections=frozenset({"site"}))
OPEN = Network(
    frozenset({500, 4500}),
    "192.0.2.2",
    "192.0.2.1",
    Answer.ANSWERED,
    Answer.ANSWERED,
    Answer.ANSWERED,
)
CASE = Case(NOW, HERE, SITE, daemon=RUNNING, network=OPEN)


def check(case: Case, name: str) -> Check:
    """What is said under a name."""
    return next(each for each in examine(case).checks if each.name == name)


def up(bytes_in: int, bytes_out: int) -> Daemon:
    """A daemon with the tunnel up, and what it has carried."""
    child = ChildSa("net", "INSTALLED", "c1", "c2", bytes_in=bytes_in, bytes_out=bytes_out)
    sa = IkeSa(
        "1",
        "site",
        "ESTABLISHED",
        2,
        "192.0.2.1",
        "192.0.2.2",
        "left",
        "right",
        established=True,
        children=(child,),
    )
    return replace(RUNNING, sas=(sa,))


def test_every_question_has_a_name_of_its_own() -> None:
    assert len(TITLES) == len(QUESTIONS)


@pytest.mark.parametrize(
    ("bytes_in", "bytes_out", "verdict"),
    [(0, 0, "ok"), (9, 9, "ok"), (0, 9, "wrong"), (9, 0, "unknown")],
)
def test_traffic_that_never_comes_back(bytes_in: int, bytes_out: int, verdict: str) -> None:
    case = replace(CASE, daemon=up(bytes_in, bytes_out))
    assert check(case, "traffic").verdict == verdict


def test_a_tunnel_that_stands_leaves_nothing_to_do() -> None:
    found = examine(replace(CASE, daemon=up(9, 9)))
    assert (found.wrong, found.first) == ((), None)


@pytest.mark.parametrize(
    ("daemon", "network", "verdict", "step"),
    [
        (None, None, "unknown", "--vici"),
        (Daemon("pluto is not running.", "pluto"), Network(), "wrong", "systemctl start ipsec"),
        (Daemon("charon cannot be reached at x: Permission denied."), OPEN, "unknown", "root"),
        (Daemon("charon did not answer."), OPEN, "wrong", "--vici"),
        (Daemon("charon cannot be reached."), Network(), "wrong", "systemctl start"),
    ],
)
def test_why_the_daemon_says_nothing(
    daemon: Daemon | None, network: Network | None, verdict: str, step: str
) -> None:
    said = check(replace(CASE, daemon=daemon, network=network), "daemon")
    assert said.verdict == verdict
    assert step in said.next_step


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (Answer.ANSWERED, "ok"),
        (Answer.REFUSED, "wrong"),
        (Answer.UNREACHABLE, "wrong"),
        (Answer.SILENT, "wrong"),
        (Answer.NOT_TRIED, "unknown"),
    ],
)
def test_what_an_answer_of_the_peer_means(answer: Answer, verdict: str) -> None:
    said = check(replace(CASE, network=replace(OPEN, ike=answer)), "reachable")
    assert said.verdict == verdict
    assert said.next_step or verdict == "ok"


def test_silence_to_ikev2_proves_nothing_of_a_peer_that_has_ikev1_only() -> None:
    old = replace(SITE, versions=(1,))
    case = replace(CASE, tunnel=old, network=replace(OPEN, ike=Answer.SILENT))
    assert check(case, "reachable").verdict is Verdict.UNKNOWN


def test_ports_that_another_program_has() -> None:
    case = replace(CASE, network=replace(OPEN, bound=frozenset({500})))
    assert check(case, "ports").verdict is Verdict.WRONG
    assert examine(case).first == check(case, "ports")


def test_a_setting_that_the_daemon_refuses_is_told_of_its_connection_only() -> None:
    place = replace(SITE.place, line=SITE.place.line + 1)
    other = replace(SITE, name="other", place=replace(SITE.place, line=SITE.place.line + 9))
    beyond = Problem(Place(SITE.place.path, SITE.place.line + 10), "bad")
    host = replace(HERE, tunnels=(SITE, other), problems=(beyond,))
    assert check(replace(CASE, here=host), "configuration").verdict is Verdict.OK
    host = replace(host, problems=(Problem(place, "a time that charon does not read"),))
    said = check(replace(CASE, here=host), "configuration")
    assert said.verdict is Verdict.WRONG
    assert str(place) in said.next_step


def test_of_several_things_that_are_wrong_the_log_decides() -> None:
    networks = tunnel(
        "site",
        local_auth="psk",
        remote_auth="psk",
        local_addrs="192.0.2.2",
        remote_addrs="192.0.2.1",
        net_local_ts="10.9.0.0/24",
    )
    peer = Host((networks,), secrets={"site": "two"})
    case = replace(CASE, peer=peer, peer_tunnel=networks)
    first = examine(case).first
    assert first is not None
    assert first.name == "secret"
    failed = Log(failures=(SaEvent("ts_unacceptable", 7),), ike_came_up=True, tried=True)
    first = examine(replace(case, log=failed)).first
    assert first is not None
    assert first.name == "selectors"


def test_files_that_could_not_be_read_are_told() -> None:
    host = replace(HERE, problems=(Problem(Place("/etc/ipsec.secrets", 0), "not permitted"),))
    said = check(replace(CASE, here=host), "readable")
    assert "/etc/ipsec.secrets: not permitted" in said.evidence
