"""Rounds: the daemon becomes what the service wants, in the right order, and what fails is told and mended later."""

import ssl
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from ike.agent.schedule import due_at
from ike.daemons.port import DaemonRefused, fingerprint
from tests.ike.agent.conftest import Place
from tests.ike.agent.miniservice import NAMES, MiniService
from tests.ike.agent.test_served import until
from tests.lab.handmade import Authority

_KEY_USAGE = bytes.fromhex("0603551d0f")
_BASIC_CONSTRAINTS = bytes.fromhex("0603551d13")
PEER = Authority("Peer CA").leaf("gw2.example.com", serial=77).certificate
CONNECTION: dict[str, Any] = {
    "name": "site",
    "local_addresses": ["192.0.2.1"],
    "remote_addresses": ["192.0.2.2"],
    "local_id": NAMES[0],
    "remote_id": "dns:gw2.example.com",
    "remote_authority": None,
    "children": [{"name": "net", "local_ts": ["10.1.0.0/24"], "remote_ts": ["10.2.0.0/24"]}],
}


@pytest.fixture
def enrolled(place: Place) -> Place:
    place.enroll()
    place.once()
    place.in_order()
    return place


def cut_command(**members: Any) -> dict[str, Any]:
    peer = {
        "fingerprint": fingerprint(PEER),
        "serial": "4d",
        "identities": ["dns:gw2.example.com"],
        "good": [],
    }
    crl = {"authority": "issuing", "number": 2}
    return {"id": "c1", "kind": "cut", "peer": peer, "crl": crl, **members}


def test_the_first_round_gives_the_daemon_everything(place: Place, service: MiniService) -> None:
    service.connections = [CONNECTION]
    place.enroll()
    place.once()
    place.in_order()
    held = place.daemon.loaded
    assert set(held.authorities.values()) == {
        service.root.certificate,
        service.issuing.certificate,
    }
    assert len(held.crls) == 1
    assert list(held.connections) == ["site"]
    looks = ("describe", "inventory", "abilities", "shared", "sas")
    calls = [c for c in place.daemon.calls if c not in looks]
    assert calls == ["trust", "load_crls", "stage", "check", "apply", "prove", "share", "connect"]
    (report,) = service.applied
    assert report["certificate"] == place.daemon.in_use()
    assert (report["version"], report["errors"], report["proof"]) == (1, [], "loaded")
    assert report["daemon"]["kind"] == "strongswan"
    assert report["inventory"]["connections"] == ["site"]


def test_the_same_state_again_touches_no_key(enrolled: Place) -> None:
    enrolled.daemon.calls.clear()
    enrolled.once()
    assert not {"stage", "apply", "undo", "retire"} & set(enrolled.daemon.calls)


def test_a_renewal_changes_key_and_certificate_and_the_service_sees_the_new_one(
    enrolled: Place, service: MiniService
) -> None:
    before = enrolled.home.generations.all()[0]
    enrolled.once(renew=True)
    enrolled.in_order()
    after = enrolled.home.generations.all()[0]
    assert after.key.reveal() != before.key.reveal()
    assert service.applied[-1]["certificate"] == fingerprint(after.certified)
    enrolled.once()
    assert service.seen_certificates[-1] == after.serial.lstrip("0")


def test_a_renewal_comes_at_two_thirds_and_not_before(
    enrolled: Place, service: MiniService
) -> None:
    current = enrolled.home.generations.all()[0]
    due = due_at(current, enrolled.home.settings().gateway)
    start, end = enrolled.watch.wall(), current.certified.not_valid_after_utc
    assert 0.59 < (due - start) / (end - start) <= 2 / 3
    service.date_offset = enrolled.watch.offset = due - start - timedelta(minutes=5)
    enrolled.once()
    assert len(service.issued) == 1
    service.date_offset = enrolled.watch.offset = due - start + timedelta(minutes=5)
    enrolled.once()
    assert len(service.issued) == 2


def test_the_moment_differs_between_gateways_and_not_between_restarts(enrolled: Place) -> None:
    current = enrolled.home.generations.all()[0]
    moments = {due_at(current, f"gw{number}") for number in range(50)}
    assert len(moments) == 50
    assert due_at(current, "gw1") == due_at(enrolled.home.generations.all()[0], "gw1")


def test_the_service_can_ask_for_a_renewal_and_gets_one_only(
    enrolled: Place, service: MiniService
) -> None:
    enrolled.watch.offset = timedelta(hours=2)
    service.date_offset = timedelta(hours=2)
    service.change(renew=True)
    enrolled.once()
    assert len(service.issued) == 2
    for _ in range(3):
        enrolled.once()
    service.change(renew=True)  # a service that goes on asking is not served in a tight loop
    enrolled.once()
    assert len(service.issued) == 2


def test_commands_to_renew_are_done_once_each(enrolled: Place, service: MiniService) -> None:
    for number in range(3):
        service.change(commands=[{"id": f"r{number}", "kind": "renew"}])
        enrolled.once()
        enrolled.once()
    assert len(service.issued) == 4
    done = [each["id"] for report in service.applied for each in report["commands"]]
    assert done == ["r0", "r1", "r2"]
    enrolled.in_order()


@pytest.mark.parametrize("switch", ["refuse_key", "refuse_check", "refuse_proof"])
def test_a_refusal_keeps_the_old_one_says_so_and_tries_the_same_again_later(
    enrolled: Place, service: MiniService, switch: str
) -> None:
    settings = replace(enrolled.home.settings(), proof="reauthenticate")
    with enrolled.home.locked():
        enrolled.home.write_settings(settings)
    enrolled.daemon.establish("tunnel", "gw2.example.com", PEER)
    old = enrolled.daemon.in_use()
    setattr(enrolled.daemon, switch, True)
    enrolled.daemon._sas["1"] = replace(enrolled.daemon._sas["1"], local_id=NAMES[0][4:])
    enrolled.once(renew=True)
    assert enrolled.daemon.in_use() == old
    assert enrolled.daemon.certificates == [old]
    (refused,) = service.applied[-1]["errors"]
    assert (refused["code"], set(refused)) == ("daemon_refused", {"code", "message"})
    (noted,) = enrolled.home.notes().errors
    assert noted == {**refused, "next_step": DaemonRefused.next_step}
    calls = len(enrolled.daemon.calls)
    enrolled.once()  # too soon
    assert "stage" not in enrolled.daemon.calls[calls:]
    setattr(enrolled.daemon, switch, False)
    enrolled.watch.offset = timedelta(minutes=4)
    enrolled.once()
    enrolled.in_order()
    assert len(service.issued) == 2
    assert service.applied[-1]["proof"] == "authenticated"


def test_proof_by_authentication_moves_the_tunnels_to_the_new_certificate(
    enrolled: Place,
) -> None:
    with enrolled.home.locked():
        enrolled.home.write_settings(replace(enrolled.home.settings(), proof="reauthenticate"))
    sa = enrolled.daemon.establish("site", "gw2.example.com", PEER)
    enrolled.daemon._sas[sa.id] = replace(sa, local_id=NAMES[0][4:])
    enrolled.daemon.establish("others", "gw3.example.com", PEER)  # under a name that is not ours
    enrolled.once(renew=True)
    shown = {each.connection: each.local_certificate for each in enrolled.daemon.sas()}
    assert shown["site"] == enrolled.daemon.in_use()
    assert shown["others"] != enrolled.daemon.in_use()


def test_sas_are_told_and_kept_as_they_come_and_go(enrolled: Place, service: MiniService) -> None:
    def kept() -> list[str]:
        return [each["connection"] for each in enrolled.home.notes().sas]

    def told() -> list[str]:
        return [each["connection"] for each in service.sas[-1]["sas"]]

    with enrolled.running():
        until(lambda: len(service.sas) > 1)
        time.sleep(0.5)
        sa = enrolled.daemon.establish("site", "gw2.example.com", PEER)
        until(lambda: kept() == told() == ["site"])
        enrolled.daemon.lose(sa.id)
        until(lambda: kept() == told() == [])
        busy = {"code": "database_busy", "detail": "The database is busy."}
        service.answer_with("/v1/gateways/self/sas", 503, busy, times=1)
        enrolled.daemon.establish("site", "gw2.example.com", PEER)
        until(lambda: told() == ["site"])  # without another event, and long before the next report


def test_a_daemon_that_is_away_loses_nothing_and_is_served_when_it_is_back(
    enrolled: Place, service: MiniService
) -> None:
    enrolled.daemon.unreachable = True
    enrolled.once(renew=True)
    assert "daemon_unreachable" in enrolled.codes()
    assert len(service.issued) == 2
    enrolled.daemon.unreachable = False
    enrolled.once()
    enrolled.in_order()
    assert len(service.issued) == 2


@pytest.mark.parametrize("reads_files", [True, False])
def test_a_restarted_daemon_gets_everything_again(enrolled: Place, reads_files: bool) -> None:
    enrolled.daemon.restart(reads_files=reads_files)
    enrolled.once()
    enrolled.in_order()
    assert enrolled.daemon.loaded.authorities
    assert enrolled.daemon.loaded.crls


def test_wiped_keys_are_pushed_again(enrolled: Place) -> None:
    enrolled.daemon.wipe()
    assert enrolled.daemon.in_use() is None
    enrolled.once()
    enrolled.in_order()


def test_without_the_service_the_last_state_is_kept_up(
    enrolled: Place, service: MiniService
) -> None:
    service.down()
    enrolled.daemon.restart(reads_files=False)
    enrolled.once()
    enrolled.in_order()
    assert enrolled.daemon.loaded.crls
    assert enrolled.codes() == ["server_unreachable"]
    service.up()
    enrolled.once()
    assert enrolled.codes() == []


def test_an_ended_certificate_is_said_and_kept(enrolled: Place, service: MiniService) -> None:
    service.answer_with(
        "/v1/gateways/self/state",
        401,
        {"code": "client_certificate_expired", "detail": "It is over."},
    )
    enrolled.watch.offset = timedelta(days=100)
    enrolled.once()
    assert "enrollment_needed" in enrolled.codes()
    enrolled.in_order()


def test_a_clock_that_jumps_ahead_does_not_renew_again_and_again(
    enrolled: Place, service: MiniService
) -> None:
    # Beyond the end of the certificate by this clock; the service's Date shows that it is the clock.
    enrolled.watch.offset = timedelta(days=400)
    for _ in range(4):
        enrolled.once()
    assert len(service.issued) == 1
    assert "clock_wrong" in enrolled.codes()
    enrolled.watch.offset = timedelta()
    enrolled.once()
    assert enrolled.codes() == []


def test_a_clock_before_the_certificate_waits(enrolled: Place, service: MiniService) -> None:
    enrolled.watch.offset = timedelta(days=-3)
    enrolled.once(renew=True)
    assert {"certificate_not_yet_valid", "clock_wrong"} <= set(enrolled.codes())
    old, new = enrolled.home.generations.all()
    assert enrolled.daemon.in_use() == fingerprint(old.certified)
    enrolled.once()
    assert len(service.issued) == 2
    enrolled.watch.offset = timedelta()
    enrolled.once()
    assert enrolled.daemon.in_use() == fingerprint(new.certified)
    enrolled.in_order()


def test_cut_loads_the_named_list_first_then_cuts_then_does_the_rest(
    enrolled: Place, service: MiniService
) -> None:
    enrolled.daemon.establish("site", "gw2.example.com", PEER)
    enrolled.daemon.establish("other", "gw3.example.com", Authority("X").certificate)
    enrolled.daemon.calls.clear()
    service.crl_number, service.revoked = 2, [77]
    service.change(commands=[cut_command()])
    enrolled.once()
    calls = enrolled.daemon.calls
    assert calls[:2] == ["load_crls", "cut"]
    assert calls.index("cut") < calls.index("trust")
    assert [each.connection for each in enrolled.daemon.sas()] == ["other"]
    told = [each for report in service.applied for each in report["commands"]]
    assert [each["outcome"] for each in told] == ["done"]
    assert told[0]["cuts"][0] == {
        "connection": "site",
        "remote_id": "gw2.example.com",
        "matched_by": "certificate",
        "ended": True,
        "error": "",
        "sa_id": "1",
    }
    enrolled.once()
    assert enrolled.daemon.calls.count("cut") == 1


def test_cut_when_the_list_cannot_be_had_cuts_and_tries_again(
    enrolled: Place, service: MiniService
) -> None:
    enrolled.daemon.establish("site", "gw2.example.com", PEER)
    service.answer_with("/v1/authorities/issuing/crl", 503, {"code": "x", "detail": "Later."})
    service.crl_number = 2
    service.change(commands=[cut_command()])
    enrolled.once()
    assert enrolled.daemon.sas() == ()
    told = [each for report in service.applied for each in report["commands"]]
    assert told[-1]["outcome"] == "failed"
    assert "CRL was not loaded" in told[-1]["error"]
    service.as_usual()
    enrolled.once()
    told = [each for report in service.applied for each in report["commands"]]
    assert told[-1]["outcome"] == "done"


def test_an_expired_command_and_an_unknown_one_are_told_as_failed(
    enrolled: Place, service: MiniService
) -> None:
    enrolled.daemon.establish("site", "gw2.example.com", PEER)
    old = cut_command(expires_at="2020-01-01T00:00:00Z")
    service.change(commands=[old, {"id": "x1", "kind": "dance"}])
    enrolled.once()
    assert len(enrolled.daemon.sas()) == 1
    told = {each["id"]: each for report in service.applied for each in report["commands"]}
    assert told["c1"]["outcome"] == told["x1"]["outcome"] == "failed"


def test_a_command_that_was_done_is_told_until_the_service_heard_it(
    enrolled: Place, service: MiniService
) -> None:
    enrolled.daemon.establish("site", "gw2.example.com", PEER)
    service.answer_with("/v1/gateways/self/applied", 503, {"code": "x", "detail": "Later."})
    service.crl_number = 2
    service.change(commands=[cut_command()])
    enrolled.once()
    service.as_usual()
    enrolled.once()
    told = [each for report in service.applied for each in report["commands"]]
    assert [each["outcome"] for each in told] == ["done"]
    assert len(told[0]["cuts"]) == 1


def test_a_command_that_was_done_and_is_opened_again_is_done_again(
    enrolled: Place, service: MiniService
) -> None:
    service.crl_number = 2
    service.change(commands=[cut_command()])
    enrolled.once()
    # The peer came back before this gateway heard that its command was closed.
    enrolled.daemon.establish("site", "gw2.example.com", PEER)
    enrolled.once()
    assert len(enrolled.daemon.sas()) == 1, "the same state: nothing new was commanded"
    service.change()
    enrolled.once()
    assert enrolled.daemon.sas() == ()
    told = [each for report in service.applied for each in report["commands"]]
    assert [(each["outcome"], len(each["cuts"])) for each in told] == [("done", 0), ("done", 1)]


def test_a_certificate_that_is_malformed_in_a_state_does_not_end_the_agent(
    enrolled: Place, service: MiniService
) -> None:
    issuer = service.root.certificate
    der = issuer.public_bytes(Encoding.DER)
    # basicConstraints in the place of the other extensions: there twice
    assert der.count(_KEY_USAGE) == 1
    twice = der.replace(_KEY_USAGE, _BASIC_CONSTRAINTS)
    service.extra_authorities = [ssl.DER_cert_to_PEM_cert(twice)]
    service.change()
    enrolled.once()
    assert "state_unusable" in enrolled.codes()
    enrolled.in_order()


def test_what_grew_too_large_in_the_home_does_not_keep_the_agent_from_starting(
    enrolled: Place,
) -> None:
    for name in ("state.json", "desired.json"):
        (enrolled.path / name).write_bytes(b" " * (17 * 2**20))
    enrolled.once()
    enrolled.in_order()


def test_a_list_that_goes_back_or_is_signed_by_nobody_is_not_believed(
    enrolled: Place, service: MiniService
) -> None:
    service.crl_number = 5
    service.change()
    enrolled.once()
    service.crl_number = 3
    service.change()
    enrolled.once()
    assert "crl_unusable" not in enrolled.codes()  # the newer one is kept without a word
    before = enrolled.home.crl("issuing")
    mine, service.issuing.key = service.issuing.key, Authority("Stranger").key
    service.crl_number = 9
    service.change()
    enrolled.once()
    assert "crl_unusable" in enrolled.codes()
    assert enrolled.home.crl("issuing") == before
    service.issuing.key = mine


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"gateway": "gw2.example.com", "version": 1},
        {"gateway": "gw1.example.com", "version": "x"},
        {"gateway": "gw1.example.com", "version": 1, "authorities": ["no"]},
        {"gateway": "gw1.example.com", "version": 1, "commands": [{"id": "1", "kind": "cut"}]},
    ],
)
def test_a_state_that_cannot_be_understood_changes_nothing(
    enrolled: Place, service: MiniService, state: dict[str, Any]
) -> None:
    before = enrolled.home.desired()
    service.answer_with("/v1/gateways/self/state", 200, state, headers={"ETag": '"x"'})
    enrolled.once()
    assert "state_unusable" in enrolled.codes()
    assert enrolled.home.desired() == before
    assert "state_unusable" in {each["code"] for each in service.applied[-1]["errors"]}
    enrolled.in_order()


def test_answers_that_are_cut_off_change_nothing(enrolled: Place, service: MiniService) -> None:
    service.cut_off = True
    enrolled.once(renew=True)
    service.cut_off = False
    enrolled.watch.offset = service.date_offset = timedelta(hours=1)
    enrolled.once()
    enrolled.once()
    enrolled.in_order()
    assert enrolled.codes() == []


def test_drift_is_told(enrolled: Place, service: MiniService) -> None:
    enrolled.daemon.foreign_connections.add("site")
    service.change(connections=[CONNECTION])
    enrolled.once()
    assert "connection_foreign" in enrolled.codes()
    enrolled.daemon.disk_full = True
    enrolled.daemon.restart(reads_files=False)
    enrolled.once()
    codes = {each["code"] for each in service.applied[-1]["errors"]}
    assert {"daemon_files_unwritable", "authority_not_loaded", "certificate_not_loaded"} <= codes


def test_another_agent_of_the_same_gateway_is_noticed(
    enrolled: Place, service: MiniService
) -> None:
    other = Place(service, enrolled.path.with_name("other"))
    service.uses = 1
    service.backdate = timedelta()
    other.enroll()
    service.change()
    enrolled.once()
    assert "certificate_foreign" in enrolled.codes()


def test_another_kind_of_key_is_made_when_the_operator_wants_it(enrolled: Place) -> None:
    from ike.agent.keys import kind_of

    with enrolled.home.locked():
        enrolled.home.write_settings(replace(enrolled.home.settings(), key_type="ec-p384"))
    enrolled.once(renew=True)
    enrolled.in_order()
    assert kind_of(enrolled.home.generations.all()[0].key) == "ec-p384"


def test_no_secret_is_in_notes_reports_or_state(enrolled: Place, service: MiniService) -> None:
    enrolled.once(renew=True)
    sent = repr(service.requests)
    for path in ("state.json", "desired.json", "agent.toml"):
        assert "PRIVATE" not in (enrolled.path / path).read_text()
    assert "PRIVATE" not in sent
