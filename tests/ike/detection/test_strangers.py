"""Failures, per identity and per source; floods, scans, certificates, the clock."""

from datetime import UTC, datetime
from typing import Any

import pytest

from ike.detection.bounds import Planned
from ike.detection.watch import Watch
from ike.events.reader import Reader
from tests.events.recordings import recorded
from tests.ike.detection.lines import PEER, START, Log, alerts, kinds

FOE = {"name": None, "source": "192.0.2.66"}


def failures(times: int, pause: float, log: Log | None = None, **fields: Any) -> Log:
    log = log or Log()
    for step in range(times):
        ike = 50 + step
        fields.setdefault("identity", "gw.example")
        log.add(100 + pause * step, "auth_failed", ike_id=ike, **fields)
        log.add(100 + pause * step, "auth_failed", ike_id=ike, **fields)
    return log


def test_one_identity_fails() -> None:
    (alert,) = alerts(failures(3, 60))
    assert (alert.kind, alert.evidence["attempts"], alert.identity) == (
        "auth_failures",
        3,
        "gw.example",
    )
    assert kinds(failures(2, 60)) == []
    assert kinds(failures(4, 400)) == []


def test_success_ends_it() -> None:
    (alert,) = alerts(failures(3, 60).up(400))
    assert alert.end == START + 400


def test_without_times() -> None:
    assert kinds(failures(3, 60, Log(timed=False))) == []
    assert kinds(failures(6, 60, Log(timed=False))) == ["auth_failures"]
    up = Log(timed=False).up(0)
    assert kinds(failures(25, 1, up, **FOE))[-1] == "auth_guessing"


def test_guessing() -> None:
    """One identity, and the peer that has it is up elsewhere."""
    found = alerts(failures(30, 5, Log().up(0), **FOE))
    assert [each.kind for each in found if each.end is None] == ["auth_guessing"]
    assert found[-1].peer == "192.0.2.66"


@pytest.mark.parametrize(("times", "pause"), [(25, 23), (30, 30), (300, 1)])
def test_a_peer_that_tries_again_with_a_wrong_secret_does_not_guess(
    times: int, pause: float
) -> None:
    assert kinds(failures(times, pause, **FOE)) == ["auth_failures"]
    # Nor does it where it has another address than before, and is up no more.
    moved = Log().up(0).add(50, "ike_deleted", ike_id=1)
    assert kinds(failures(times, pause, moved, **FOE)) == ["auth_failures"]
    assert kinds(failures(25, 1, Log(timed=False), **FOE)) == ["auth_failures"]


def test_guessing_faster_than_any_daemon_tries_or_with_several_identities() -> None:
    found = alerts(failures(30, 0.3, **FOE))
    assert [each.kind for each in found if each.end is None] == ["auth_guessing"]
    log = Log()
    for step in range(24):
        log.add(20 * step, "auth_failed", ike_id=step, identity=f"user{step % 3}", **FOE)
    found = alerts(log)
    assert [each.kind for each in found if each.end is None] == ["auth_guessing"]


def branch(log: Log, at: float, kind: str, number: int, ike: int, **fields: Any) -> None:
    fields = {"identity": f"branch-{number}", "source": f"198.51.100.{number}", **fields}
    log.add(at, kind, name="branches", ike_id=ike, **fields)


@pytest.mark.parametrize(
    ("kind", "alerted"),
    [
        ("auth_failed", "auth_failures"),
        ("cert_invalid", "certificate_rejected"),
        ("proposal_mismatch", "proposal_mismatch"),
    ],
)
@pytest.mark.parametrize("identified", [True, False])
def test_of_many_peers_another_ones_success_ends_nothing(
    kind: str, alerted: str, identified: bool
) -> None:
    log, who = Log(), {} if identified else {"identity": None}
    for number in range(3, 9):
        branch(log, number, "ike_established", number, number)
    for step in range(30):
        branch(log, 100 + 60 * step, kind, 7, 100 + step, **who)
        branch(log, 130 + 60 * step, "ike_established", 9, 300 + step)
        branch(log, 140 + 60 * step, "ike_deleted", 9, 300 + step)
        if step >= 15:
            branch(log, 110 + 60 * step, kind, 8, 200 + step, **who)
    branch(log, 1950, "ike_established", 8, 500)
    found = [each for each in alerts(log) if each.kind == alerted]
    assert [(each.peer, each.end and each.end - START) for each in found] == [
        ("198.51.100.7", None),
        ("198.51.100.8", 1950),
    ]
    if identified:
        assert [each.identity for each in found] == ["branch-7", "branch-8"]
    assert [each.evidence["attempts"] for each in found] == [30, 15]
    assert len({each.key for each in found}) == 2


def test_a_peer_that_comes_up_with_another_address_is_over_it() -> None:
    log = Log()
    for number in (7, 8):
        branch(log, number, "ike_established", number, number)
    for step in range(6):
        branch(log, 100 + 60 * step, "auth_failed", 7, 100 + step, source=f"203.0.113.{step}")
    branch(log, 600, "ike_established", 7, 500, source="203.0.113.99")
    (alert,) = alerts(log)
    assert (alert.kind, alert.end) == ("auth_failures", START + 600)


def test_the_only_peer_is_over_it_with_its_right_identity() -> None:
    log = Log()
    for step in range(6):
        branch(log, 100 + 60 * step, "auth_failed", 7, 100 + step, identity="brnach-7")
    branch(log, 600, "ike_established", 7, 500)
    (alert,) = alerts(log)
    assert (alert.identity, alert.end) == ("brnach-7", START + 600)


def test_a_whole_fleet_that_fails_is_one_alert() -> None:
    log = Log()
    for number in range(200):
        branch(log, 0, "ike_established", number, number)
    for step in range(4):
        for number in range(200):
            branch(log, 100 + 100 * step + number / 10, "auth_failed", number, 1000 * step + number)
    (alert,) = alerts(log)
    assert alert.evidence["identities"] == 200


def test_many_peers_that_fail_while_others_succeed_are_a_limited_number_of_alerts() -> None:
    log = Log()
    for number in range(200):
        branch(log, 0, "ike_established", number, number)
    for step in range(4):
        for number in range(200):
            at = 100 + 100 * step + number / 10
            branch(log, at, "auth_failed", number, 1000 * step + number)
            if number % 10 == 0:
                branch(log, at, "ike_established", 250, 9000 + 1000 * step + number)
    found = [each for each in alerts(log) if each.kind == "auth_failures"]
    assert len(found) == 65
    assert found[-1].evidence["sources"] == 136


def test_without_numbers_threads_tell_attempts_apart() -> None:
    """A daemon gives each packet to a thread, and its lines about one attempt follow each other there."""
    log = Log()
    for step in range(30):
        for _ in range(2):
            log.add(step / 50, "auth_failed", identity="gw.example", thread=f"{step % 5:02}", **FOE)
    (alert,) = [each for each in alerts(log) if each.end is None]
    assert (alert.kind, alert.evidence["attempts"]) == ("auth_guessing", 30)


def test_one_secret_for_many_identities() -> None:
    log = Log()
    for step in range(6):
        log.add(10 * step, "auth_failed", ike_id=step, identity=f"user{step}", **FOE)
    assert kinds(log) == ["auth_guessing"]


def test_a_known_peer_with_an_old_secret_does_not_guess() -> None:
    log = failures(60, 5, Log().up(0).add(50, "ike_deleted", ike_id=1))
    assert kinds(log) == ["auth_failures"]


def test_many_sources_that_try_little_each_are_a_guesser() -> None:
    log = Log()
    for step in range(300):
        log.add(
            step / 2, "auth_failed", ike_id=step, name="branches",
            source=f"203.0.113.{step}", identity=f"u{step}",
        )  # fmt: skip
    (alert,) = alerts(log)
    assert (alert.kind, alert.connection, alert.peer) == ("auth_guessing", "branches", None)
    told = {name: alert.evidence[name] for name in ("attempts", "sources", "identities")}
    assert told == {"attempts": 300, "sources": 300, "identities": 300}
    assert alert.start == START


def test_a_guesser_whose_address_the_log_does_not_show() -> None:
    log = Log()
    for step in range(60):
        who = f"u{step}"
        log.add(step, "auth_failed", ike_id=step, source=None, peer=who, identity=who)
    (alert,) = alerts(log)
    assert (alert.kind, alert.connection, alert.evidence["attempts"]) == (
        "auth_guessing",
        "site",
        60,
    )


def test_many_addresses_try_one_identity() -> None:
    log = Log().up(0)
    for step in range(40):
        log.add(100 + 5 * step, "auth_failed", ike_id=50 + step, source=f"203.0.113.{step}",
                identity="gw.example")  # fmt: skip
    assert "auth_guessing" in kinds(log)


def test_a_valid_account_does_not_hide_guesses() -> None:
    """A good login after each four identities that fail."""
    log, ike = Log(), 0
    for turn in range(100):
        for step in range(5):
            ike += 1
            kind = "auth_failed" if step < 4 else "ike_established"
            who = f"user{4 * turn + step}" if step < 4 else "mallory"
            log.add(72 * turn + step, kind, ike_id=ike, identity=who, source="203.0.113.9")
        log.add(72 * turn + 70, "ike_deleted", ike_id=ike, source="203.0.113.9")
    (alert,) = [each for each in alerts(log) if each.kind == "auth_guessing"]
    assert (alert.start, alert.raised) == (START, START + 72 * 2 + 1)
    assert (alert.evidence["attempts"], alert.end) == (400, None)


@pytest.mark.parametrize("identified", [True, False])
def test_many_clients_behind_one_address_that_mistype_once(identified: bool) -> None:
    log = Log()
    for step in range(120):
        who = f"user{step}"
        one: dict[str, Any] = {"source": "192.0.2.200", "name": "clients"}
        if identified or step % 3 == 0:
            log.add(6 * step, "auth_failed", ike_id=1000 + step, identity=who, **one)
        log.add(6 * step + 15, "ike_established", ike_id=step,
                identity=who if identified else f"10.0.0.{step}", **one)  # fmt: skip
    log.events.sort(key=lambda each: each.time or 0.0)
    assert "auth_guessing" not in kinds(log)


def test_clients_that_come_first_to_a_new_address_and_mistype_do_not_guess() -> None:
    log = Log()
    for step in range(5):
        one: dict[str, Any] = {"source": "192.0.2.200", "name": "clients", "identity": f"u{step}"}
        log.add(5 * step, "auth_failed", ike_id=step, **one)
        log.add(5 * step + 20, "ike_established", ike_id=100 + step, **one)
    log.events.sort(key=lambda each: each.time or 0.0)
    assert kinds(log) == []


@pytest.mark.parametrize(("number", "pause"), [(6, 0.5), (5, 12.0), (5, 100.0)])
def test_a_stranger_tries_a_few_identities(number: int, pause: float) -> None:
    log = Log()
    for step in range(number):
        log.add(pause * step, "auth_failed", ike_id=step, identity=f"user{step}", **FOE)
    assert kinds(log) == ["auth_guessing"]


@pytest.mark.parametrize("times", [2, 6])
def test_clients_that_mistype_and_then_come_up_do_not_guess_together(times: int) -> None:
    """Each with an address of its own that nobody has seen before."""
    log = Log()
    for step in range(15 * times):
        who, source = f"user{step}", f"203.0.113.{step}"
        one: dict[str, Any] = {"source": source, "name": "clients", "identity": who}
        log.add(10 * step, "auth_failed", ike_id=1000 + step, **one)
        log.add(10 * step + 5, "ike_established", ike_id=step, **one)
    assert "auth_guessing" not in kinds(log)


def users(number: int, log: Log | None = None) -> Log:
    """Each came up once, at its own address."""
    log = log or Log()
    for step in range(number):
        source = f"100.64.{step}.7"
        log.up(step, step, name="clients", source=source, identity=f"u{step}")
    return log


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_a_fleet_with_old_secrets_does_not_guess(moved: int) -> None:
    """Known by their addresses; some roam, of each three so many, but not all."""
    log = users(60)
    for step in range(180):
        one = step % 60
        source = f"198.{one}.100.9" if one % 3 < moved else f"100.64.{one}.{7 + step // 60}"
        log.add(1000 + step, "auth_failed", ike_id=1000 + step, name="clients",
                source=source, identity=f"u{one}")  # fmt: skip
    assert "auth_guessing" not in kinds(log)


def spray(log: Log, number: int, pause: float, each: int) -> Log:
    """Of existing users, from addresses that were never seen, `each` times in a row from one."""
    for step in range(3 * number):
        one = step // each
        log.add(4000 + pause * step, "auth_failed", ike_id=5000 + step, name="clients",
                source=f"203.{one >> 8}.{one & 255}.9", identity=f"u{step % number}")  # fmt: skip
    return log


@pytest.mark.parametrize("pause", [0.1, 1.0, 20.0])
@pytest.mark.parametrize("each", [1, 4])
def test_existing_users_that_are_tried_from_foreign_addresses(pause: float, each: int) -> None:
    log = users(100)
    if pause > 1:  # most of them are asleep
        for step in range(90):
            log.add(3000, "ike_deleted", ike_id=step, name="clients", source=f"100.64.{step}.7")
    found = [one for one in alerts(spray(log, 100, pause, each)) if one.kind == "auth_guessing"]
    assert [one.connection for one in found] == ["clients"]
    assert int(str(found[0].evidence["attempts"])) >= 250


def test_existing_users_are_tried_while_a_few_of_them_mistype_at_home() -> None:
    log = spray(users(100), 100, 1.0, 1)
    for step in range(5):
        log.add(4000 + 50 * step, "auth_failed", ike_id=9000 + step, name="clients",
                source=f"100.64.{step}.7", identity=f"u{step}")  # fmt: skip
    log.events.sort(key=lambda one: one.time or 0.0)
    assert "auth_guessing" in kinds(log)


def test_our_own_rotation_explains_those_that_roam() -> None:
    plan = (Planned(START + 3990, START + 9000, "clients"),)
    assert "auth_guessing" not in kinds(spray(users(100), 100, 1.0, 1), None, plan)


@pytest.mark.parametrize("logins", [False, True])
@pytest.mark.parametrize("pause", [1.0, 20.0])
def test_who_has_an_account_guesses_that_of_one_other(pause: float, logins: bool) -> None:
    log = Log().up(0, 1, identity="mallory", source="203.0.113.9").up(1, 2, identity="ceo")
    for step in range(90):
        own = logins and step % 3 == 2
        log.add(100 + pause * step, "ike_established" if own else "auth_failed", ike_id=10 + step,
                identity="mallory" if own else "ceo", source="203.0.113.9")  # fmt: skip
    found = [one for one in alerts(log) if one.kind == "auth_guessing"]
    assert [(one.peer, one.end) for one in found] == [("203.0.113.9", None)]


def test_a_user_at_the_office_whose_password_is_old_does_not_guess() -> None:
    """He was up at home, and is so no more; others are up behind the office's address."""
    log = Log().up(0, 1, identity="colleague", source="203.0.113.9").up(1, 2, identity="u")
    log.add(50, "ike_deleted", ike_id=2, identity="u")
    for step in range(60):
        log.add(100 + 10 * step, "auth_failed", ike_id=10 + step, identity="u",
                source="203.0.113.9")  # fmt: skip
    assert kinds(log) == ["auth_failures"]


def test_forged_senders_are_one_condition() -> None:
    log = Log()
    for step in range(4500):
        log.add(step / 20, "proposal_mismatch", name=None, source=f"203.0.{step % 1500}")
    (alert,) = alerts(log)
    assert (alert.kind, alert.peer, alert.evidence["attempts"]) == ("unknown_peers", None, 4500)
    assert alert.evidence["sources"] in (1400, 1500, 1600)
    peers = alert.evidence["peers"]
    assert isinstance(peers, list)
    assert len(peers) == 16


def test_forged_senders_that_offer_one_unfit_proposal_each() -> None:
    """And each of them is told in two lines."""
    log = Log()
    for step in range(20_000):
        for _ in range(2):
            log.add(step / 7000, "proposal_mismatch", ike_id=step, name=None,
                    source=f"10.{step // 250}.{step % 250}.7")  # fmt: skip
    (alert,) = alerts(log)
    assert (alert.kind, alert.evidence["attempts"]) == ("unknown_peers", 20_000)
    assert alert.start == START


@pytest.mark.parametrize("pause", [0.001, 0.3, 30.0])
def test_forged_senders_at_a_connection_that_is_open_to_all(pause: float) -> None:
    """pluto with %any, the default group of an ASA, IKEv1: the name is known before anybody authenticates."""
    log = Log().up(0, name="branches")
    for step in range(1000):
        log.add(100 + pause * step, "proposal_mismatch", ike_id=10 + step, name="branches",
                source=f"203.{step >> 8}.{step & 255}.7")  # fmt: skip
    (alert,) = alerts(log)
    assert (alert.kind, alert.connection, alert.peer) == ("unknown_peers", None, None)
    assert alert.evidence["attempts"] == 1000 - 9


def test_a_known_peer_at_such_a_connection_keeps_its_name() -> None:
    log = Log().up(0, name="branches")
    for step in range(40):
        log.add(100 + 10 * step, "proposal_mismatch", ike_id=100 + step, name="branches",
                source=f"203.0.{step}.7")  # fmt: skip
        if step % 10 == 0:
            log.add(105 + 10 * step, "proposal_mismatch", ike_id=10 + step, name="branches")
    found = {each.kind: (each.connection, each.peer) for each in alerts(log)}
    assert found == {"unknown_peers": (None, None), "proposal_mismatch": ("branches", PEER)}


def test_some_new_sites_with_an_unfit_proposal_are_named() -> None:
    log = Log()
    for step in range(36):
        log.add(30 * step, "proposal_mismatch", ike_id=step, name="branches",
                source=f"203.0.113.{step % 6}")  # fmt: skip
    assert {(each.kind, each.connection) for each in alerts(log)} == {
        ("proposal_mismatch", "branches")
    }


def test_a_few_unfit_proposals_of_strangers_are_the_noise_of_the_internet() -> None:
    log = Log()
    for step in range(30):
        log.add(500 * step, "proposal_mismatch", ike_id=step, name=None, source=f"10.0.0.{step}")
    assert kinds(log) == []


def left_out(log: Log, at: float, number: int) -> Log:
    return log.add(at, "counted", name=None, source=None, reason="left_out", number=number)


def test_what_an_agent_left_out_of_a_flood_of_strangers_is_of_strangers_too() -> None:
    log = Log()
    for step in range(200):
        log.add(step / 20, "proposal_mismatch", ike_id=step, name=None, source=f"10.0.0.{step}")
    left_out(log, 10.0, 3900)
    left_out(log, 20.0, 5100)
    (alert,) = alerts(log)
    assert (alert.kind, alert.evidence["attempts"]) == ("unknown_peers", 200 + 3000)


def test_what_an_agent_left_out_where_no_stranger_was_refused_is_a_fleet_that_comes_back() -> None:
    log = Log().add(0, "unknown_peer", name=None, source="203.0.113.9")
    left_out(log, 5.0, 4000)
    assert kinds(log) == []


def test_connections_that_never_came_up_are_bounded() -> None:
    """Where a peer chooses the name of the group that it asks for, there is no end of names."""
    log = Log().up(0, name="real", source="198.51.100.9")
    for step in range(900):
        log.add(
            100 + step / 10,
            "auth_failed",
            ike_id=step,
            name=f"g{step % 300}",
            source=f"203.0.113.{step % 250}",
        )
    for step in range(4):
        log.add(300 + step, "auth_failed", ike_id=2000 + step, name="real", source="198.51.100.9")
    found = alerts(log)
    assert len(found) < 3 * 66
    assert "real" in {each.connection for each in found}
    assert None in {each.connection for each in found}


def test_a_flood_of_strangers_does_not_push_out_who_guesses() -> None:
    log = Log().up(0, 9999)
    for step in range(24):
        log.add(20 * step, "auth_failed", ike_id=step, identity="gw.example", **FOE)
        for other in range(300):
            log.add(20 * step + other / 20, "proposal_mismatch", name=None,
                    source=f"203.0.{step}.{other}")  # fmt: skip
    assert "auth_guessing" in kinds(log)


def test_it_is_over_where_the_only_stranger_comes_up() -> None:
    log = Log()
    for step in range(4):
        log.add(60 * step, "proposal_mismatch", ike_id=step, **FOE)
    log.up(400, 9, name=None, source=FOE["source"])
    (alert,) = alerts(log)
    assert (alert.peer, alert.end) == (FOE["source"], START + 400)


@pytest.mark.parametrize("identity", ["attacker", "gw.example", None])
def test_a_stranger_does_not_undo_a_rotation(identity: str | None) -> None:
    log = failures(8, 20, Log().up(0), source="203.0.113.66", identity=identity)
    plan = (Planned(START + 90, START + 900, "site"),)
    assert "rotation_failed" not in kinds(log, None, plan)


def test_behind_the_address_of_the_peer_another_identity_does_not_undo_it() -> None:
    log = failures(8, 20, Log().up(0), identity="attacker")
    assert "rotation_failed" not in kinds(log, None, (Planned(START + 90, START + 900, "site"),))


def test_whom_we_ask_ourselves_is_the_peer() -> None:
    log = Log().add(95, "ike_initiate", ike_id=50)
    log = failures(3, 20, log, identity=None)
    assert kinds(log, None, (Planned(START + 90, START + 900, "site"),)) == ["rotation_failed"]


@pytest.mark.parametrize(
    "peer", ["192.0.2.2' does not match", "gw.example", "192.0.2.*", "x 1.2.3.4"]
)
def test_what_is_no_address_is_nobody_whom_we_ask(peer: str) -> None:
    log = Log().add(95, "ike_initiate", ike_id=50, source=peer)
    log = failures(3, 20, log, identity=None, source=peer)
    plan = (Planned(START + 90, START + 900, "site"),)
    assert "rotation_failed" not in kinds(log, None, plan)


def test_one_line_tells_who_and_the_next_one_where() -> None:
    log = Log().up(0)
    for step in range(3):
        at, ike = 100 + 20 * step, 50 + step
        log.add(at, "auth_failed", ike_id=ike, source=None, peer="@gw", identity="@gw")
        log.add(at, "auth_failed", ike_id=ike)
    found = {each.kind: each.evidence["attempts"] for each in alerts(log)}
    assert found == {"auth_failures": 3}
    assert "rotation_failed" in kinds(log, None, (Planned(START + 90, START + 900, "site"),))


@pytest.mark.parametrize("name", ["wrong_psk.left", "pluto_wrong_psk.left"])
def test_a_daemon_that_asks_tells_that_its_peer_has_another_secret(name: str) -> None:
    reader = Reader(START)
    watch = Watch(None, (Planned(0.0, 4e9, "site"),))
    watch.observe_all(reader.feed(recorded(name).read_bytes()) + reader.close())
    watch.settle()
    assert [each.kind for each in watch.alerts()] == ["rotation_failed"]


@pytest.mark.parametrize("times", [1, 2])
def test_our_own_rotation_fails(times: int) -> None:
    log = failures(times, 20, Log().up(0)).add(250, "unknown_peer", **FOE)
    plan = (Planned(START + 90, START + 300, "site"),)
    assert kinds(log, None, plan) == ["rotation_failed"]


def test_our_own_rotation_works() -> None:
    log = failures(1, 1, Log().up(0)).up(120, 99, 99).add(250, "unknown_peer", **FOE)
    assert kinds(log, None, (Planned(START + 90, START + 300, "site"),)) == []


ROTATIONS = tuple(Planned(START + at, START + at + 600, "site") for at in (90, 290, 490))


def test_each_rotation_that_fails_is_an_alert_of_its_own() -> None:
    log = failures(3, 20, Log().up(0))
    for step, at in enumerate((300, 320, 340, 500)):
        log.add(at, "auth_failed", ike_id=70 + step, identity="gw.example")
    log.add(600, "unknown_peer", **FOE)
    found = [each for each in alerts(log, None, ROTATIONS) if each.kind == "rotation_failed"]
    assert [(each.start, each.end, each.raised) for each in found] == [
        (START + 100, START + 140, START + 120),
        (START + 300, START + 340, START + 320),
        (START + 500, None, START + 500),
    ]


def test_what_failed_before_a_rotation_is_no_sign_of_it() -> None:
    log = failures(3, 20, Log().up(0))
    log.add(300, "auth_failed", ike_id=70, identity="gw.example").up(310, 99, 99)
    log.add(600, "unknown_peer", **FOE)
    (alert,) = (each for each in alerts(log, None, ROTATIONS) if each.kind == "rotation_failed")
    assert (alert.start, alert.end) == (START + 100, START + 310)


def test_a_peer_that_we_cut_while_something_else_is_planned() -> None:
    log = Log().up(0)
    for step in range(4):
        log.add(100 + 30 * step, "cert_revoked", ike_id=10 + step, reason="revoked")
    plans = [Planned(START + 90, START + 300, "site", purpose=each) for each in ("renewal", "cut")]
    assert kinds(log, None, tuple(plans)) == []
    assert kinds(log, None, tuple(plans[:1])) == ["certificate_rejected"]


def test_maintenance_is_silence() -> None:
    plan = (Planned(START, START + 3600, purpose="maintenance"),)
    assert kinds(failures(10, 20), None, plan) == []


def test_a_flood() -> None:
    log = Log()
    for step in range(200):
        log.add(0.5 * step, "half_open_limit", **FOE)
    (alert,) = alerts(log)
    assert (alert.kind, alert.evidence["source"]) == ("half_open_flood", "192.0.2.66")
    assert alert.evidence["refused"] == 200


def test_attempts_are_counted_beyond_the_window() -> None:
    (alert,) = alerts(failures(300, 5, Log().up(0)))
    assert (alert.kind, alert.evidence["attempts"]) == ("auth_failures", 300)


def test_half_open_sas_that_time_out() -> None:
    log = Log()
    for step in range(60):
        log.add(step, "ike_respond", name=None, source=f"203.0.113.{step}", ike_id=step)
        log.add(step + 30, "ike_timeout", name=None, source=f"203.0.113.{step}", ike_id=step)
    assert kinds(log) == ["half_open_flood"]


def test_a_fleet_comes_back() -> None:
    log = Log()
    for step in range(100):
        log.add(0.1 * step, "half_open_limit", name=None, source="192.0.2.9")
        log.up(20 + 0.2 * step, step, step, name="clients", source="192.0.2.9", identity=f"u{step}")
    assert kinds(log) == []


def half_open(number: int, minutes: int, log: Log | None = None) -> Log:
    log = log or Log()
    for step in range(6 * minutes):
        fields: dict[str, Any] = {"name": None, "source": None, "number": number, "seconds": 10.0}
        log.add(10 * step, "half_open", **fields)
    return log


def test_half_open_sas_that_are_only_counted() -> None:
    """Cookies keep them at ten, and the daemon tells nothing of whom it asks for one."""
    (alert,) = alerts(half_open(10, 3))
    assert (alert.kind, alert.evidence["refused"], alert.peer) == ("half_open_flood", 0, None)
    assert alert.evidence["timed_out"] >= 20
    assert kinds(half_open(6, 1)) == []


def test_half_open_sas_of_a_fleet_that_comes_back() -> None:
    log = Log()
    for step in range(100):
        log.up(0.2 * step, step, step, name="clients", source="192.0.2.9", identity=f"u{step}")
    log.events.extend(half_open(60, 1).events)
    assert kinds(log) == []


def test_requests_that_are_only_counted() -> None:
    fields: dict[str, Any] = {"name": None, "source": None, "reason": "refused"}
    log = Log().add(0, "counted", number=12, **fields).add(60, "counted", number=9, **fields)
    (alert,) = alerts(log)
    assert (alert.kind, alert.evidence["attempts"]) == ("unknown_peers", 21)
    apart = Log().add(0, "counted", number=12, **fields).add(900, "counted", number=9, **fields)
    assert kinds(apart) == []
    other = Log().add(0, "counted", number=99, **{**fields, "reason": "unknown_spi"})
    assert kinds(other) == []


def test_what_was_counted_in_days_is_no_scan() -> None:
    fields: dict[str, Any] = {"name": None, "source": None, "reason": "refused"}
    assert kinds(Log().add(0, "counted", number=60, seconds=2 * 86_400.0, **fields)) == []
    assert kinds(Log().add(0, "counted", number=60, seconds=900.0, **fields)) == ["unknown_peers"]


def test_requests_that_are_counted_beside_their_events_count_once() -> None:
    log = Log().add(0, "unknown_peer", **FOE)
    fields: dict[str, Any] = {"name": None, "source": None, "reason": "refused"}
    assert kinds(log.add(5, "counted", number=50, **fields)) == []


@pytest.mark.parametrize("kind", ["proposal_mismatch", "ts_unacceptable"])
def test_no_agreement(kind: str) -> None:
    log = Log()
    for step in range(4):
        log.add(100 * step, kind, ike_id=step)
    assert kinds(log) == ["proposal_mismatch"]


def test_one_wrong_group_each_time_is_normal() -> None:
    log = Log()
    for step in range(4):
        log.add(60 * step, "invalid_ke", ike_id=step).up(60 * step + 1, step, step)
        log.add(60 * step + 40, "ike_deleted", ike_id=step)
    assert kinds(log) == []
    loop = Log()
    for step in range(6):
        loop.add(60 * step, "invalid_ke", ike_id=step)
    assert kinds(loop) == ["proposal_mismatch"]


@pytest.mark.parametrize("pause", [0.1, 60.0])
def test_whoever_fails_to_authenticate_has_found_a_group(pause: float) -> None:
    log = Log()
    for step in range(24):
        log.add(pause * step, "invalid_ke", ike_id=2 * step)
        log.add(pause * step, "auth_failed", ike_id=2 * step + 1)
    assert "proposal_mismatch" not in kinds(log)


def test_strangers() -> None:
    one, many, daily = Log(), Log(), Log()
    for step in range(12):
        one.add(30 * step, "unknown_peer", ike_id=step, **FOE)
        many.add(60 * step, "unknown_peer", ike_id=step, name=None, source=f"203.0.113.{step}")
        daily.add(8000 * step, "unknown_peer", ike_id=step, name=None, source=f"203.0.113.{step}")
    assert [each.peer for each in alerts(one)] == ["192.0.2.66"]
    assert [each.evidence["sources"] for each in alerts(many)] == [12]
    assert alerts(daily) == []


@pytest.mark.parametrize("known", [False, True])
def test_an_unknown_peer_is_named_by_what_it_claims(known: bool) -> None:
    """One address of its own, or that of a peer which came up there by another name."""
    log = Log().up(0, name="site", source="192.0.2.66") if known else Log()
    for step in range(6):
        log.add(10 * step, "unknown_peer", ike_id=9 + step, identity="old-name.example", **FOE)
    (alert,) = alerts(log)
    assert (alert.kind, alert.identity) == ("unknown_peers", "old-name.example")
    assert alert.evidence["claimed_identities"] == ["old-name.example"]


def test_of_many_identities_that_are_claimed_a_few_are_named() -> None:
    for kind in ("unknown_peer", "auth_failed"):
        log = Log()
        for step in range(40):
            who = f"user{step}" + "x" * 4_000
            log.add(10 * step, kind, ike_id=step, identity=who, **FOE)
        (alert,) = alerts(log)
        told = alert.evidence["claimed_identities"]
        assert isinstance(told, list)
        assert 4 < len(told) < 20
        assert all(len(each) < 300 for each in told)
        assert alert.identity is None


def test_certificates() -> None:
    revoked = Log().add(0, "cert_revoked", ike_id=1).add(0, "auth_failed", ike_id=1)
    assert kinds(revoked) == ["certificate_rejected"]
    assert kinds(Log().add(0, "cert_invalid", ike_id=1, reason="issuer")) == []
    log = Log()
    for step in range(4):
        log.add(100 * step, "cert_invalid", ike_id=step, reason="issuer")
        log.add(100 * step, "auth_failed", ike_id=step)
    assert kinds(log) == ["certificate_rejected"]


@pytest.mark.parametrize(
    ("reason", "step"),
    [
        ("revocation", "CRL and OCSP addresses"),
        ("expired", "Renew"),
        ("not_yet_valid", "time server"),
        ("issuer", "Install the authority"),
        ("constraint", "Look at the certificate"),
    ],
)
def test_what_to_do_about_a_certificate_goes_by_the_reason(reason: str, step: str) -> None:
    log = Log()
    for each in range(3):
        log.add(100 * each, "cert_invalid", ike_id=each, reason=reason)
    found = next(each for each in alerts(log) if each.kind == "certificate_rejected")
    assert found.evidence["reason"] == reason
    assert step in found.next_step


def test_attempts_with_bad_certificates_may_be_told_in_one_another() -> None:
    """Of two clients behind one address, or where the clock was put back by a minute."""
    log = Log()
    for step in range(6):
        for at, kind in ((0.0, "cert_revoked"), (0.2, "auth_failed")):
            for ike in (2 * step, 2 * step + 1):
                log.add(30 * step + at, kind, ike_id=ike, identity="gw.example", source="192.0.2.9")
    plan = (Planned(START - 10, START + 600, "site", purpose="cut"),)
    assert kinds(log, None, plan) == []


def test_revocation_unchecked() -> None:
    assert kinds(Log().add(0, "crl_fetch_failed", ike_id=1, reason="crl").up(2)) == [
        "revocation_unchecked"
    ]
    assert kinds(Log().add(0, "crl_fetch_failed", ike_id=1, reason="ocsp").up(2)) == []
    assert kinds(Log().add(0, "crl_fetch_failed", ike_id=1, reason="crl")) == []


def test_the_clock_goes_back() -> None:
    log = Log().up(10_000).add(5_000, "ike_reauth", ike_id=1).add(5_100, "ike_reauth", ike_id=1)
    (alert,) = alerts(log)
    assert (alert.kind, alert.evidence) == ("clock", {"went_back_seconds": 5000})


def test_the_clock_by_certificates() -> None:
    log = Log()
    for step in range(3):
        log.add(
            60 * step, "cert_invalid", name=f"s{step}", source=f"203.0.113.{step}", reason="expired"
        )
    assert kinds(log) == ["clock"]


def test_daylight_saving_time_is_no_wrong_clock() -> None:
    sunday = datetime(2025, 10, 26, 2, 55, tzinfo=UTC).timestamp() - START
    log = Log().up(sunday - 600)
    log.add(sunday, "ike_reauth", ike_id=1).add(sunday - 3300, "ike_reauth", ike_id=1)
    assert kinds(log) == []
    monday = sunday + 86_400
    log = Log().up(monday - 600)
    log.add(monday, "ike_reauth", ike_id=1).add(monday - 3300, "ike_reauth", ike_id=1)
    assert kinds(log) == ["clock"]


NUMBERLESS = {"daemon": "asa", "name": None, "source": "192.0.2.66"}


@pytest.mark.parametrize("pause", [0.2, 1.0, 1.9, 5.0])
def test_without_numbers_fast_guessing_is_seen(pause: float) -> None:
    log = Log()
    for step in range(100):
        log.add(pause * step, "auth_failed", identity=f"user{step}", **NUMBERLESS)
    (alert,) = alerts(log)
    assert (alert.kind, alert.evidence["attempts"]) == ("auth_guessing", 100)


@pytest.mark.parametrize(
    ("kind", "alerted"),
    [
        ("auth_failed", "auth_failures"),
        ("unknown_peer", "unknown_peers"),
        ("proposal_mismatch", "unknown_peers"),
        ("invalid_ke", "proposal_mismatch"),
    ],
)
def test_without_numbers_a_steady_stream_is_no_single_attempt(kind: str, alerted: str) -> None:
    log = Log()
    for step in range(600):
        log.add(0.1 * step, kind, **NUMBERLESS)
    assert [each.kind for each in alerts(log) if each.end is None] == [alerted]


def test_without_numbers_several_lines_are_one_attempt() -> None:
    log = Log()
    for step in range(6):
        for after, who in ((0.0, f"user{step}"), (0.3, None), (0.9, f"user{step}")):
            log.add(300 * step + after, "auth_failed", identity=who, **NUMBERLESS)
    assert kinds(log) == []


def test_a_peer_without_numbers_that_tries_each_second_fails_in_our_rotation() -> None:
    log = Log().up(0)
    for step in range(40):
        log.add(100 + step, "auth_failed", identity="gw.example", daemon="asa")
    plan = (Planned(START + 90, START + 900, "site"),)
    (alert,) = alerts(log, None, plan)
    assert (alert.kind, alert.raised) == ("rotation_failed", START + 102)


@pytest.mark.parametrize("other", ["203.0.113.9", PEER])
def test_the_success_of_another_peer_does_not_end_a_failed_rotation(other: str) -> None:
    """Nor where it comes from behind the same address."""
    plan = (Planned(START + 90, START + 4000, "site"),)
    log = failures(4, 20, Log().up(0)).up(300, 900, 9, identity="mallory", source=other)
    (alert,) = alerts(log, None, plan)
    assert (alert.kind, alert.end) == ("rotation_failed", None)
    log = Log().up(0)
    for step in range(4):
        failures(1, 0, log, identity="gw.example")
        log.events[-2:] = [
            one._replace(ike_id=100 + step, time=START + 100 + 700 * step)
            for one in log.events[-2:]
        ]
        log.up(120 + 700 * step, 900 + step, identity="mallory", source=other)
    (alert,) = [each for each in alerts(log, None, plan) if each.kind == "rotation_failed"]
    assert (alert.start, alert.end) == (START + 100, None)


def test_a_peer_that_was_away_for_a_week_is_still_the_tunnels_own() -> None:
    week = 8 * 86_400
    plan = (Planned(START + week - 10, START + week + 900, "site"),)
    watch = Watch(None, plan)
    watch.observe_all(Log().up(0).add(60, "ike_deleted", ike_id=1).events)
    for day in range(1, 8):
        watch.advance(START + day * 86_400)
    log = Log()
    for step in range(4):
        log.add(week + 20 * step, "auth_failed", ike_id=50 + step, identity="gw.example")
    watch.observe_all(log.events)
    (gateway,) = watch.gateways()
    assert not gateway.tunnels
    watch.settle()
    assert [each.kind for each in watch.alerts()] == ["rotation_failed"]


@pytest.mark.parametrize("source", [PEER, "203.0.113.9"])
def test_its_own_success_ends_a_failed_rotation(source: str) -> None:
    plan = (Planned(START + 90, START + 900, "site"),)
    log = failures(4, 20, Log().up(0)).up(300, 900, source=source)
    (alert,) = alerts(log, None, plan)
    assert (alert.kind, alert.end) == ("rotation_failed", START + 300)


def test_a_rotation_that_fails_at_two_peers_is_over_when_both_are_up() -> None:
    log = Log().up(0).up(1, 2, 2, identity="b", source="203.0.113.9")
    log = failures(4, 20, log)
    for step in range(4):
        log.add(
            110 + 20 * step, "auth_failed", ike_id=70 + step, identity="b", source="203.0.113.9"
        )
    log.up(300, 900, 9).up(500, 901, 10, identity="b", source="203.0.113.9")
    log.events.sort(key=lambda one: one.time or 0.0)
    (alert,) = alerts(log, None, (Planned(START + 90, START + 900, "site"),))
    assert (alert.kind, alert.end) == ("rotation_failed", START + 500)


@pytest.mark.parametrize("source", ["203.0.113.9", "2001:db8::%x"])
def test_logins_of_one_account_do_not_hide_a_flood(source: str) -> None:
    log = Log()
    for step in range(120):
        for n in range(20):
            log.add(step + n / 100, "half_open_limit", name=None, source=f"203.{step}.{n}.1")
        for n in range(8):
            ike = 8 * step + n
            address = source % ike if "%" in source else source
            log.add(step + 0.5 + n / 100, "ike_established", ike_id=ike, identity="mallory",
                    source=address)  # fmt: skip
    assert "half_open_flood" in kinds(log)


@pytest.mark.parametrize("identity", [None, "group", "user%d"])
def test_a_fleet_that_comes_back_is_no_flood(identity: str | None) -> None:
    """Behind one address each with an identity, or with one for all or none that is told, each at its own."""
    log = Log()
    for step in range(2000):
        source = f"100.{step >> 8}.{step & 255}.7" if identity != "user%d" else "192.0.2.200"
        who = identity % step if identity == "user%d" else identity
        for _ in range(2):
            log.add(0.02 * step, "half_open_limit", name=None, source=source)
        log.add(0.02 * step + 5, "ike_established", name=f"c{step}" if who is None else "clients",
                ike_id=step, identity=who, source=source)  # fmt: skip
    log.events.sort(key=lambda one: one.time or 0.0)
    assert "half_open_flood" not in kinds(log)


def test_where_everybody_fails_it_is_one_alert() -> None:
    """The AAA server is out of reach: of those who roam as well."""
    log = users(60)
    for step in range(180):
        one = step % 60
        source = f"198.{one}.100.9" if one % 4 == 1 else f"100.64.{one}.7"
        log.add(1000 + step, "auth_failed", ike_id=1000 + step, name="clients",
                source=source, identity=f"u{one}")  # fmt: skip
    (alert,) = alerts(log)
    assert (alert.kind, alert.connection, alert.peer) == ("auth_failures", "clients", None)
    assert (alert.identity, alert.start) == (None, START + 1000)
    assert "AAA" in alert.cause


def test_who_is_up_elsewhere_fails_with_all_others() -> None:
    """Phones that changed their network while the AAA server is away, and whose old SAs stand."""
    log = users(60)
    for step in range(600):
        one = step % 60
        source = f"198.{one}.100.9" if one % 4 == 1 else f"100.64.{one}.7"
        for half in (0, 10):
            log.add(1000 + 20 * (step // 60) + one / 10 + half, "auth_failed", ike_id=1000 + 2 * step + half // 10,
                    name="clients", source=source, identity=f"u{one}")  # fmt: skip
    log.events.sort(key=lambda each: each.time or 0.0)
    assert "auth_guessing" not in kinds(log)


@pytest.mark.parametrize("away", [6, 15, 22])
def test_a_small_fleet_fails_together_in_part_away_from_home(away: int) -> None:
    """So does who seems to be up at home, as the end of his SA was not logged."""
    log = users(30)
    for step in range(1200):
        one = step % 30
        source = f"198.{one}.100.9" if one * away % 30 < away else f"100.64.{one}.7"
        log.add(1000 + step / 2, "auth_failed", ike_id=1000 + step, name="clients",
                source=source, identity=f"u{one}")  # fmt: skip
    assert "auth_guessing" not in kinds(log)


def test_colleagues_who_share_an_address_away_from_home_fail_with_all_others() -> None:
    log = users(30)
    for step in range(600):
        one = step % 30
        source = "198.51.100.200" if one % 4 == 1 else f"100.64.{one}.7"
        log.add(1000 + step, "auth_failed", ike_id=1000 + step, name="clients",
                source=source, identity=f"u{one}")  # fmt: skip
    assert "auth_guessing" not in kinds(log)


@pytest.mark.parametrize("locked", [4, 8])
def test_accounts_that_are_locked_by_guesses_fail_at_home(locked: int) -> None:
    log = users(30)
    for step in range(120):
        log.add(1000 + 5 * step, "auth_failed", ike_id=1000 + step, name="clients",
                source="198.51.100.200", identity=f"u{step % 12}")  # fmt: skip
    for step in range(100, 600, 20):
        log.add(1000 + step, "auth_failed", ike_id=3000 + step, name="clients",
                source=f"100.64.{step // 20 % locked}.7", identity=f"u{step // 20 % locked}")  # fmt: skip
    log.events.sort(key=lambda each: each.time or 0.0)
    assert "auth_guessing" in kinds(log)


@pytest.mark.parametrize("moves", [False, True])
def test_who_comes_and_goes_is_at_home_in_both_places(moves: bool) -> None:
    """In the evening they were at home, and in the morning all of the office fail."""
    log = Log()
    for step in range(24):
        one: dict[str, Any] = {"name": "clients", "identity": f"u{step}", "ike_id": step}
        office, home = f"203.0.112.{step if moves else 200}", f"100.64.{step}.7"
        log.add(step, "ike_established", source=office, **one)
        if moves:
            log.add(30_000 + step, "address_changed", source=home, **one)
        else:
            log.add(29_000 + step, "ike_deleted", source=office, **one)
            log.add(30_000 + step, "ike_established", source=home, **one)
        log.add(40_000 + step, "ike_deleted", source=home, **one)
        for again in range(2):
            one["ike_id"] = 200 + 2 * step + again
            log.add(80_000 + 10 * step + 250 * again, "auth_failed", source=office, **one)
    log.events.sort(key=lambda each: each.time or 0.0)
    assert "auth_guessing" not in kinds(log)


def office(up: bool) -> Log:
    """Forty users behind one address fail, each twice."""
    log = Log()
    for step in range(40):
        one: dict[str, Any] = {"name": "clients", "source": "192.0.2.200", "identity": f"u{step}"}
        log.add(step, "ike_established", ike_id=step, **one)
        if not up:
            log.add(3000 + step, "ike_deleted", ike_id=step, **one)
        for again in range(2):
            log.add(
                4000 + 5 * step + 250 * again, "auth_failed", ike_id=100 + 2 * step + again, **one
            )
    log.events.sort(key=lambda each: each.time or 0.0)
    return log


def test_an_office_whose_users_all_fail_does_not_guess() -> None:
    assert "auth_guessing" not in kinds(office(up=False))


def test_who_tries_those_that_are_up_behind_his_own_address_guesses() -> None:
    assert "auth_guessing" in kinds(office(up=True))


def test_where_somebody_succeeds_not_everybody_fails() -> None:
    log = users(60)
    for step in range(180):
        one = step % 60
        log.add(1000 + step, "auth_failed", ike_id=1000 + step, name="clients",
                source=f"100.64.{one}.7", identity=f"u{one}")  # fmt: skip
        if step % 10 == 0:
            log.add(1000.5 + step, "ike_established", ike_id=9000 + step, name="clients",
                    source="100.64.99.7", identity="other")  # fmt: skip
    assert kinds(log).count("auth_failures") == 60


def in_turn(times: int) -> Log:
    """An account that fails three times and then comes up, again and again."""
    log = Log()
    for step in range(times):
        one: dict[str, Any] = {"identity": "mallory@example.com", "name": "branches"}
        for attempt in range(3):
            log.add(20 * step + attempt, "auth_failed", ike_id=10 * step + attempt, **one)
        log.add(20 * step + 9, "ike_established", ike_id=10 * step + 9, **one)
        log.add(20 * step + 10, "ike_deleted", ike_id=10 * step + 9, **one)
    return log


def test_who_fails_and_succeeds_in_turn_is_one_alert() -> None:
    told = [each for each in alerts(in_turn(60)) if each.kind == "auth_failures"]
    assert len(told) == 1
    assert told[0].end == START + 20 * 59 + 9


def test_what_is_cleared_ends_when_it_does_not_come_back() -> None:
    watch = Watch()
    watch.observe_all(in_turn(1).events)
    watch.advance(START + 200)
    (alert,) = watch.alerts()
    assert alert.end is None
    watch.advance(START + 400)
    (alert,) = watch.alerts()
    assert alert.end == START + 9
