"""Shared secrets in rounds: fetched, held, given to the daemon, proven, told; and nowhere seen."""

import base64
import io
import json
import logging
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from core.secret import Secret
from ike.agent import sharing
from ike.agent.desired import DesiredKey, DesiredSlot, StateUnusable, connection
from ike.agent.errors import HomeInUse
from ike.agent.proofs import Proofs
from ike.agent.status import status
from ike.daemons.port import DaemonEvent, EventKind, SharedKey
from tests.fixtures.served import run
from tests.ike.agent import fate
from tests.ike.agent.conftest import Place
from tests.ike.agent.fate import Fate
from tests.ike.agent.miniservice import NAMES, MiniService
from tests.ike.agent.test_round import CONNECTION
from tests.ike.agent.test_served import until
from tests.ike.daemons.fake import Foreign

SITE = "gw1-gw2.psk"
CANARY = b"canary-of-the-test-7f3a"


class Slots:
    """The slots of a service, as a rotation changes them."""

    def __init__(self, service: MiniService) -> None:
        self.service = service
        self.slots: dict[str, dict[str, Any]] = {}

    def value(self, number: int) -> bytes:
        return CANARY + str(number).encode()

    def set(self, *versions: int, name: str = SITE, first_id: int = 40, **members: Any) -> None:
        """Want these versions of a slot; the id of a version is `first_id` and it."""
        tunnel, _, kind = name.rpartition(".")
        keys = []
        for version in versions:
            number = first_id + version
            ppk_id = f"{tunnel}-v{version}" if kind == "ppk" else None
            shown = {"id": number, "version": version, "fingerprint": f"{number:032x}"}
            keys.append({**shown, "ppk_id": ppk_id})
            self.service.values[number] = {
                **shown,
                "slot": name,
                "kind": kind,
                "ppk_id": ppk_id,
                "value": base64.b64encode(self.value(number)).decode(),
            }
        self.slots[name] = {
            "name": name,
            "kind": kind,
            "tunnel": tunnel,
            "connection": tunnel,
            "local_id": NAMES[0],
            "remote_id": "dns:gw2.example.com",
            "ike_version": 2,
            "keys": keys,
            "prove": None,
            **members,
        }
        self.service.change(secrets=list(self.slots.values()))

    def prove(self, version: int, *, start: bool = True, gap: bool = False) -> None:
        self.slots[SITE]["prove"] = {"version": version, "start": start, "gap": gap}
        self.service.change(secrets=list(self.slots.values()))

    def drop(self, name: str) -> None:
        del self.slots[name]
        self.service.change(secrets=list(self.slots.values()))

    @property
    def told(self) -> dict[str, dict[str, Any]]:
        """What was reported last, by slot."""
        return {each["name"]: each for each in self.service.applied[-1]["secrets"]}


@pytest.fixture
def slots(service: MiniService) -> Slots:
    return Slots(service)


@pytest.fixture
def enrolled(place: Place, slots: Slots) -> Place:
    slots.set(1)
    answer(place, slots)
    place.enroll()
    place.once()
    assert loaded(place) == {SITE: [1]}
    return place


def answer(place: Place, slots: Slots) -> None:
    """Have the peer know what it must to authenticate."""
    keys = [SharedKey(version, Secret(slots.value(40 + version))) for version in (1, 2)]
    place.daemon.peer_keys = {"psk": keys}


def loaded(place: Place) -> dict[str, list[int]]:
    found = place.daemon.shared([]).slots
    return {each.name: list(each.versions) for each in found if each.versions}


def on_disk(place: Place) -> list[str]:
    return sorted(path.name for path in (place.path / "secrets").iterdir())


def asked_for(service: MiniService) -> list[int]:
    paths = (path for _, path, _ in service.requests)
    return [int(path.rpartition("/")[2]) for path in paths if "/secrets/" in path]


def refuse(service: MiniService, number: int, status: int = 403) -> None:
    problem = {"code": "not_permitted", "detail": "Not yours."}
    service.answer_with(f"/v1/gateways/self/secrets/{number}", status, problem)


# --- a rotation, step by step -----------------------------------------------------------------------------------


def test_a_rotation_step_by_step(enrolled: Place, service: MiniService, slots: Slots) -> None:
    for versions in ([1, 2], [2, 1], [1, 2], [2, 1], [2]):
        slots.set(*versions)
        enrolled.once()
        assert loaded(enrolled) == {SITE: versions}
        assert slots.told[SITE]["versions"] == versions
        assert slots.told[SITE]["held"] == versions
        assert slots.told[SITE]["error_code"] == ""
        assert on_disk(enrolled) == sorted(str(40 + version) for version in versions)
    (held,) = enrolled.daemon.loaded.slots[SITE].keys
    assert held.value.reveal() == slots.value(42)
    assert asked_for(service) == [41, 42], "each value is fetched once"
    assert service.applied[-1]["abilities"] == {
        "overlap": True,
        "ppk": True,
        "gapless": True,
        "beside": False,
    }
    assert service.applied[-1]["errors"] == []
    assert enrolled.codes() == []


def test_the_disk_is_private(enrolled: Place) -> None:
    folder = enrolled.path / "secrets"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == {0o600}


def test_secrets_come_before_the_connections_that_refer_to_them(
    enrolled: Place, slots: Slots
) -> None:
    enrolled.daemon.calls.clear()
    slots.set(1, 2)
    enrolled.once()
    calls = enrolled.daemon.calls
    assert calls.index("share") < calls.index("connect")


def test_a_daemon_that_knows_one_has_the_first_and_the_disk_all(
    enrolled: Place, slots: Slots
) -> None:
    enrolled.daemon.overlaps = False
    slots.set(1, 2)
    enrolled.once()
    assert loaded(enrolled) == {SITE: [1]}
    assert (slots.told[SITE]["versions"], slots.told[SITE]["held"]) == ([1], [1, 2])
    assert enrolled.home.notes().drift == []
    slots.set(2, 1)
    enrolled.once()
    assert (slots.told[SITE]["versions"], slots.told[SITE]["held"]) == ([2], [2, 1])
    assert enrolled.home.notes().drift == []


def test_a_slot_for_ike_version_1_is_held_to_its_first(enrolled: Place, slots: Slots) -> None:
    slots.set(2, 1, ike_version=1)
    enrolled.once()
    assert (slots.told[SITE]["versions"], slots.told[SITE]["held"]) == ([2], [2, 1])
    assert enrolled.home.notes().drift == []


def test_a_value_may_be_without_a_fingerprint(
    enrolled: Place, service: MiniService, slots: Slots
) -> None:
    slots.set(2, 1)
    slots.slots[SITE]["keys"][0]["fingerprint"] = service.values[42]["fingerprint"] = None
    service.change()
    for _ in range(2):
        enrolled.once()
    assert loaded(enrolled) == {SITE: [2, 1]}
    assert asked_for(service) == [41, 42]


def test_ppks_have_their_ids(enrolled: Place, slots: Slots) -> None:
    slots.set(1, name="gw1-gw2.ppk", first_id=60)
    enrolled.once()
    (held,) = enrolled.daemon.loaded.slots["gw1-gw2.ppk"].keys
    assert held.ppk_id == "gw1-gw2-v1"


def test_a_slot_that_is_no_longer_named_is_taken_out(enrolled: Place, slots: Slots) -> None:
    slots.drop(SITE)
    enrolled.once()
    assert loaded(enrolled) == {}
    assert on_disk(enrolled) == []
    assert slots.told == {}


@pytest.mark.parametrize("missing", [True, False])
def test_a_service_that_does_not_know_of_secrets_has_none_touched(
    enrolled: Place, service: MiniService, missing: bool
) -> None:
    document = service.state()
    document["secrets"] = None
    if missing:
        del document["secrets"]
    service.answer_with("/v1/gateways/self/state", 200, document, headers={"ETag": '"old"'})
    enrolled.daemon.calls.clear()
    enrolled.once()
    assert {"share", "shared", "abilities"}.isdisjoint(enrolled.daemon.calls)
    assert loaded(enrolled) == {SITE: [1]}
    assert on_disk(enrolled) == ["41"]
    assert {"abilities", "secrets"}.isdisjoint(service.applied[-1])


def test_a_service_that_refuses_what_it_does_not_know_is_told_the_rest(
    enrolled: Place, service: MiniService
) -> None:
    service.knows_secrets = False
    service.change()
    enrolled.once()
    assert service.applied[-1]["version"] == service.version
    assert {"abilities", "secrets"}.isdisjoint(service.applied[-1])
    assert enrolled.codes() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "../x"},
        {"name": ""},
        {"kind": "rsa"},
        {"connection": None},
        {"remote_id": ""},
        {"remote_id": "%any"},
        {"remote_id": "dns:"},
        {"remote_id": "dns:%any"},
        {"remote_id": "dns:*.example.com"},
        {"ike_version": 3},
        {"keys": {}},
        {"keys": [{"id": "41", "version": 1, "fingerprint": "0" * 32}]},
        {"keys": [{"id": 41, "version": -1, "fingerprint": "0" * 32}]},
        {"keys": [{"id": 41, "version": 1, "fingerprint": "0"}]},
        {"keys": [{"id": 41, "version": 1, "fingerprint": "0" * 32, "ppk_id": "x"}]},
        {"keys": [{"id": 41, "version": 1, "fingerprint": "0" * 32}] * 2},
        {"kind": "ppk", "keys": [{"id": 41, "version": 1, "fingerprint": "0" * 32}]},
        {"prove": 2},
        {"prove": {"start": True}},
    ],
)
def test_slots_that_cannot_be_understood_change_nothing(
    enrolled: Place, service: MiniService, slots: Slots, wrong: dict[str, Any]
) -> None:
    service.change(secrets=[{**slots.slots[SITE], **wrong}])
    enrolled.once()
    assert "state_unusable" in enrolled.codes()
    assert loaded(enrolled) == {SITE: [1]}
    assert on_disk(enrolled) == ["41"]
    service.change(secrets=[slots.slots[SITE]] * 2)
    enrolled.once()
    assert "state_unusable" in enrolled.codes()


@pytest.mark.parametrize(
    ("members", "wanted"),
    [
        ({}, ("certificate", 2, "none")),
        ({"authentication": "psk", "ike_version": 1, "ppk": "required"}, ("psk", 1, "required")),
    ],
)
def test_connections_say_how_they_are_authenticated(
    members: dict[str, Any], wanted: tuple[str, int, str]
) -> None:
    found = connection({**CONNECTION, **members})
    assert (found.authentication, found.ike_version, found.ppk) == wanted
    for wrong in ({"authentication": "eap"}, {"ike_version": 0}, {"ppk": True}):
        with pytest.raises(StateUnusable):
            connection({**CONNECTION, **wrong})


# --- what cannot be had -----------------------------------------------------------------------------------------


def test_without_the_service_what_is_held_is_given_again(
    enrolled: Place, service: MiniService
) -> None:
    service.down()
    enrolled.daemon.restart(reads_files=False)
    enrolled.once()
    assert loaded(enrolled) == {SITE: [1]}


def test_a_value_that_cannot_be_had_leaves_the_slot_as_it_was(
    enrolled: Place, service: MiniService, slots: Slots
) -> None:
    slots.set(1, 2)
    enrolled.once()
    slots.set(7, name="gw1-gw3.psk", first_id=50)
    slots.set(3, 2)
    refuse(service, 43)
    enrolled.once()
    assert loaded(enrolled) == {SITE: [1, 2], "gw1-gw3.psk": [7]}
    told = slots.told[SITE]
    assert (told["versions"], told["held"]) == ([1, 2], [2, 1])
    assert told["error_code"] == "secret_unavailable"
    assert "Not yours" in told["error"]
    assert slots.told["gw1-gw3.psk"]["error_code"] == ""
    assert "41" in on_disk(enrolled), "what the daemon uses is not destroyed"
    assert "secret_unavailable" in enrolled.codes()
    assert {each["code"] for each in enrolled.home.notes().drift} == {
        "secret_not_loaded",
        "secret_not_desired",
    }
    service.as_usual()
    enrolled.once()
    assert loaded(enrolled)[SITE] == [3, 2]
    assert on_disk(enrolled) == ["42", "43", "57"]
    assert slots.told[SITE]["error_code"] == ""


def test_the_service_breaks_off_between_state_and_value(
    enrolled: Place, service: MiniService, slots: Slots
) -> None:
    slots.set(2, 1)
    service.answer_with("/v1/gateways/self/secrets/42", 503, {"code": "x", "detail": "Later."})
    enrolled.once()
    assert loaded(enrolled) == {SITE: [1]}
    service.down()
    enrolled.daemon.restart(reads_files=False)  # and the daemon forgets what it had
    enrolled.once()
    assert loaded(enrolled) == {SITE: [1]}
    notes = enrolled.home.notes()
    assert notes.secrets[SITE]["error_code"] == "secret_unavailable"
    assert "server_unreachable" in enrolled.codes()
    service.up()
    service.as_usual()
    enrolled.once()
    assert loaded(enrolled) == {SITE: [2, 1]}


def test_a_wiped_daemon_whose_slot_is_all_new_keeps_the_old_one(
    enrolled: Place, service: MiniService, slots: Slots
) -> None:
    slots.set(2)
    refuse(service, 42)
    enrolled.daemon.wipe()
    enrolled.once()
    assert loaded(enrolled) == {SITE: [1]}
    assert on_disk(enrolled) == ["41"]


def test_a_value_lost_from_the_disk_is_fetched_again_and_never_withdrawn(
    enrolled: Place, service: MiniService, slots: Slots
) -> None:
    slots.set(2, 1)
    enrolled.once()
    (enrolled.path / "secrets/42").unlink()
    refuse(service, 42)
    enrolled.once()
    assert loaded(enrolled) == {SITE: [2, 1]}
    assert slots.told[SITE]["error_code"] == "secret_unavailable"
    service.as_usual()
    enrolled.once()
    assert on_disk(enrolled) == ["41", "42"]
    assert slots.told[SITE]["held"] == [2, 1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"slot": "gw1-gw3.psk"},
        {"version": 3},
        {"kind": "ppk"},
        {"id": 43},
        {"fingerprint": "0" * 32},
        {"ppk_id": "x"},
        {"value": ""},
        {"value": None},
        {"value": "no base64!"},
        {"value": "YWJj\n"},
        {"value": base64.b64encode(b"x" * 4097).decode()},
        {"value": base64.b64encode(b"x" * 40_000).decode()},
        {"value": ["YWJj"]},
        {"version": None},
    ],
)
def test_an_answer_that_is_not_what_was_asked_for_is_not_used(
    enrolled: Place, service: MiniService, slots: Slots, wrong: dict[str, Any]
) -> None:
    slots.set(2, 1)
    service.values[42] |= wrong
    enrolled.once()
    assert loaded(enrolled) == {SITE: [1]}
    assert on_disk(enrolled) == ["41"]
    assert slots.told[SITE]["error_code"] in ("secret_unusable", "secret_unavailable")
    assert "canary" not in json.dumps(service.applied[-1])


def test_a_damaged_file_counts_as_none(enrolled: Place, service: MiniService) -> None:
    for content in (b"", b"{}", b"[1]", b"\xff", b"{" * 20_000):
        (enrolled.path / "secrets/41").write_bytes(content)
        enrolled.once()
        assert loaded(enrolled) == {SITE: [1]}
        assert enrolled.codes() == []
    assert asked_for(service) == [41] * 6


def test_a_full_disk_gives_the_daemon_nothing_that_is_not_kept(
    enrolled: Place, slots: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots.set(2, 1)
    folder = enrolled.path / "secrets"
    folder.rename(enrolled.path / "elsewhere")
    folder.touch(0o600)  # nothing can be written in it
    enrolled.once()
    assert loaded(enrolled) == {SITE: [1]}
    assert "agent_home_not_writable" in enrolled.codes()
    folder.unlink()
    (enrolled.path / "elsewhere").rename(folder)
    enrolled.once()
    assert loaded(enrolled) == {SITE: [2, 1]}


# --- what the daemon does ---------------------------------------------------------------------------------------


def test_one_slot_of_three_that_is_refused(enrolled: Place, slots: Slots) -> None:
    for number, name in enumerate(("gw1-gw3.psk", "gw1-gw4.psk")):
        slots.set(1, name=name, first_id=50 + 10 * number)
    enrolled.daemon.refuse_slot = SITE
    slots.set(1, 2)
    enrolled.once()
    assert loaded(enrolled) == {SITE: [1], "gw1-gw3.psk": [1], "gw1-gw4.psk": [1]}
    errors = {name: each["error_code"] for name, each in slots.told.items()}
    assert errors == {SITE: "daemon_refused", "gw1-gw3.psk": "", "gw1-gw4.psk": ""}
    enrolled.daemon.refuse_slot = ""
    enrolled.once()
    assert slots.told[SITE]["versions"] == [1, 2]
    assert slots.told[SITE]["error_code"] == ""


def test_a_daemon_that_is_away_has_nothing_loaded(enrolled: Place, slots: Slots) -> None:
    slots.set(1, 2)
    enrolled.daemon.unreachable = True
    enrolled.once()
    told = slots.told[SITE]
    assert (told["versions"], told["held"]) == ([], [1, 2])
    assert told["error_code"] == "", "it is no fault of the slot"
    assert "daemon_unreachable" in enrolled.codes()
    enrolled.daemon.unreachable = False
    enrolled.once()
    assert slots.told[SITE]["versions"] == [1, 2]


def test_a_daemon_whose_files_cannot_be_written(enrolled: Place, slots: Slots) -> None:
    slots.set(1, 2)
    enrolled.daemon.disk_full = True
    enrolled.once()
    assert slots.told[SITE]["error_code"] == "daemon_files_unwritable"
    assert slots.told[SITE]["versions"] == [1]
    enrolled.daemon.disk_full = False
    enrolled.once()
    assert slots.told[SITE]["versions"] == [1, 2]


@pytest.mark.parametrize("how", ["restart", "wipe", "silent wipe", "order"])
def test_what_the_daemon_forgets_it_is_given_again(enrolled: Place, slots: Slots, how: str) -> None:
    with enrolled.home.locked():
        enrolled.home.write_settings(replace(enrolled.home.settings(), check_seconds=1))
    slots.set(2, 1)
    daemon = enrolled.daemon
    with enrolled.running():
        until(lambda: loaded(enrolled) == {SITE: [2, 1]})
        time.sleep(0.3)
        if how == "restart":
            daemon.restart(reads_files=False)
        elif how == "wipe":
            daemon.wipe()
        elif how == "silent wipe":
            daemon.loaded.slots.clear()  # seen at the next look
        else:
            slot = daemon.loaded.slots[SITE]
            daemon.loaded.slots[SITE] = replace(slot, keys=slot.keys[::-1])
        until(lambda: loaded(enrolled) == {SITE: [2, 1]})


def test_what_others_loaded_is_told_and_makes_no_round_of_its_own(
    enrolled: Place, service: MiniService, slots: Slots
) -> None:
    with enrolled.home.locked():
        enrolled.home.write_settings(replace(enrolled.home.settings(), check_seconds=1))
    peer = "dns:gw2.example.com"
    enrolled.daemon.foreign_secrets = [
        Foreign("/etc/ipsec.secrets:3", peer, slots.value(41)),
        Foreign("/etc/ipsec.secrets:9", peer, b"another", shadows=True),
    ]
    with enrolled.running():
        until(lambda: bool(service.applied) and bool(slots.told[SITE]["foreign"]))
        until(lambda: _is_quiet(service))
    assert slots.told[SITE]["foreign"] == [
        {"where": "/etc/ipsec.secrets:3", "same_as": 1, "shadows": False},
        {"where": "/etc/ipsec.secrets:9", "same_as": None, "shadows": True},
    ]
    codes = [each["code"] for each in enrolled.home.notes().drift]
    assert codes == ["secret_foreign", "secret_shadowed"]
    assert codes == [each["code"] for each in service.applied[-1]["errors"]]


def _is_quiet(service: MiniService) -> bool:
    """Whether nothing is reported for two looks at the daemon."""
    reports = len(service.applied)
    time.sleep(2.5)
    return len(service.applied) == reports


# --- proof ------------------------------------------------------------------------------------------------------


def seen(slots: Slots) -> int | None:
    """The version of the authentication that was told last."""
    told = slots.told.get(SITE, {}).get("authenticated")
    return None if told is None else int(told["version"])


@pytest.fixture
def at_work(enrolled: Place, slots: Slots) -> Iterator[Place]:
    with enrolled.running():
        until(lambda: bool(enrolled.daemon._events) and len(slots.service.applied) > 1)
        yield enrolled


def calls(place: Place, *names: str) -> list[str]:
    return [each for each in place.daemon.calls if each in names]


def test_an_order_to_prove_starts_an_authentication_and_its_end_is_told_at_once(
    at_work: Place, service: MiniService, slots: Slots
) -> None:
    at_work.daemon.establish("gw1-gw2", "gw2.example.com")
    for versions in ([1, 2], [2, 1]):
        slots.set(*versions)
        until(lambda v=versions: slots.told[SITE]["versions"] == v)
    slots.prove(2)
    until(lambda: seen(slots) == 2)
    (sa,) = at_work.daemon.sas()
    told = slots.told[SITE]["authenticated"]
    assert (told["spi_initiator"], told["spi_responder"]) == (sa.spi_initiator, sa.spi_responder)
    assert set(told) == {"version", "at", "spi_initiator", "spi_responder"}
    assert calls(at_work, "reauthenticate", "initiate") == ["reauthenticate"]
    assert at_work.home.notes().secrets[SITE]["order"]["met"] is True
    slots.set(2)
    until(lambda: slots.told[SITE]["versions"] == [2])
    assert seen(slots) == 2
    until(lambda: at_work.home.notes().secrets[SITE]["order"] is None)


@pytest.mark.parametrize("overlap", [True, False], ids=["both", "one"])
def test_what_was_seen_before_the_list_came_answers_no_order(
    enrolled: Place, slots: Slots, overlap: bool
) -> None:
    """An emergency out of an undone rotation wants the same version proven again; this agent missed the undoing."""
    enrolled.daemon.overlaps = overlap
    peer_keys = {"psk": [SharedKey(2, Secret(slots.value(42)))]}
    enrolled.daemon.peer_keys = peer_keys
    enrolled.daemon.establish("gw1-gw2", "gw2.example.com")
    slots.set(2, 1)
    slots.prove(2)
    enrolled.once()
    before = slots.told[SITE]["authenticated"]
    assert before["version"] == 2
    slots.set(2)
    slots.prove(2, gap=True)
    enrolled.daemon.calls.clear()
    enrolled.daemon.peer_keys = {}
    with enrolled.home.locked():
        agent = enrolled.agent()
        agent.settings = replace(agent.settings, proof_seconds=1)
        agent.once()
    assert seen(slots) is None
    assert "reauthenticate" in enrolled.daemon.calls
    enrolled.daemon.peer_keys = peer_keys
    enrolled.once()
    told = slots.told[SITE]["authenticated"]
    assert (told["version"], told["spi_initiator"] != before["spi_initiator"]) == (2, True)


def test_a_connection_without_an_sa_is_started(at_work: Place, slots: Slots) -> None:
    slots.set(2, 1)
    slots.prove(2)
    until(lambda: seen(slots) == 2)
    assert calls(at_work, "reauthenticate", "initiate") == ["reauthenticate", "initiate"]


def test_the_end_that_does_not_start_only_watches(at_work: Place, slots: Slots) -> None:
    old = at_work.daemon.establish("gw1-gw2", "gw2.example.com")
    slots.set(2, 1)
    until(lambda: slots.told[SITE]["versions"] == [2, 1])
    slots.prove(2, start=False)
    until(lambda: at_work.home.notes().secrets[SITE]["order"] is not None)
    at_work.daemon.establish("gw1-gw3", "gw3.example.com")  # another's
    time.sleep(0.5)
    assert seen(slots) != 2
    assert calls(at_work, "reauthenticate", "initiate") == []
    at_work.daemon._reauthenticate(old)
    until(lambda: seen(slots) == 2)


def test_without_an_order_the_latest_authentication_is_noted(at_work: Place, slots: Slots) -> None:
    at_work.daemon.establish("gw1-gw2", "gw2.example.com")
    until(lambda: seen(slots) == 1)
    slots.set(2, 1)
    until(lambda: slots.told[SITE]["versions"] == [2, 1])
    assert seen(slots) == 1
    (sa,) = at_work.daemon.sas()
    at_work.daemon._reauthenticate(sa)
    until(lambda: seen(slots) == 2)


def test_an_authentication_that_was_under_way_when_the_order_changed_is_not_counted(
    at_work: Place, slots: Slots
) -> None:
    half = at_work.daemon.establish("gw1-gw2", "gw2.example.com", established=False)
    slots.set(2, 1)
    until(lambda: slots.told[SITE]["versions"] == [2, 1])
    at_work.daemon._tell(DaemonEvent(EventKind.UP, replace(half, established=True)))
    time.sleep(0.5)
    assert seen(slots) != 2


def test_tries_go_on_with_growing_pauses_until_it_is_seen_or_not_wanted(
    enrolled: Place, slots: Slots
) -> None:
    now = [1000.0]
    place = enrolled
    place.daemon.peer_keys = {}
    place.daemon.establish("gw1-gw2", "gw2.example.com")
    slots.set(2, 1)
    slots.prove(2)
    with place.home.locked():
        agent = place.agent()
        agent.settings = replace(agent.settings, proof_seconds=1)
        agent.proofs = Proofs(lambda: now[0])
        agent.clock = replace(agent.clock, monotonic=lambda: now[0])
        agent._prove_and_wait = lambda: False  # type: ignore[method-assign]
        agent.once()
        tries = []
        for _ in range(1500):
            before = len(calls(place, "reauthenticate"))
            agent._prove()
            if len(calls(place, "reauthenticate")) > before:
                tries.append(now[0])
            now[0] += 1
        gaps = [later - earlier for earlier, later in pairwise(tries)]
        assert gaps == [10, 20, 40, 80, 160, 300, 300, 300]
        slots.set(2, 1)
        agent.once()
        assert agent.proofs.due_at() == float("inf")


def test_one_that_is_half_open_is_waited_for(enrolled: Place, slots: Slots) -> None:
    with enrolled.home.locked():
        enrolled.home.write_settings(replace(enrolled.home.settings(), proof_seconds=1))
    enrolled.daemon.establish("gw1-gw2", "gw2.example.com", established=False)
    slots.set(2, 1)
    slots.prove(2)
    enrolled.once()
    assert calls(enrolled, "reauthenticate", "initiate") == []


def test_what_would_interrupt_is_left_alone_unless_it_may(at_work: Place, slots: Slots) -> None:
    at_work.daemon.reauthenticates = False
    before = at_work.daemon.establish("gw1-gw2", "gw2.example.com")
    slots.set(2, 1)
    slots.prove(2)
    until(lambda: calls(at_work, "reauthenticate") == ["reauthenticate"])
    time.sleep(0.3)
    assert at_work.daemon.sas() == (before,)
    slots.prove(3)  # gone
    until(lambda: at_work.home.notes().version == slots.service.version)
    slots.prove(2, gap=True)
    until(lambda: seen(slots) == 2)


def test_a_restarted_agent_that_did_not_see_it_proves_again(enrolled: Place, slots: Slots) -> None:
    enrolled.daemon.peer_keys = {}
    sa = enrolled.daemon.establish("gw1-gw2", "gw2.example.com")
    slots.set(2, 1)
    slots.prove(2)
    with enrolled.running():
        until(lambda: calls(enrolled, "reauthenticate") == ["reauthenticate"])
    noted = enrolled.home.notes().secrets[SITE]["order"]
    answer(enrolled, slots)
    enrolled.daemon._reauthenticate(sa)  # while no agent is there to see it
    enrolled.daemon.calls.clear()
    with enrolled.running():
        until(lambda: seen(slots) == 2)
    assert calls(enrolled, "reauthenticate") == ["reauthenticate"]
    assert enrolled.home.notes().secrets[SITE]["order"] == {**noted, "met": True}
    enrolled.daemon.calls.clear()
    with enrolled.running():  # what was seen is remembered
        time.sleep(1)
    assert calls(enrolled, "reauthenticate") == []
    assert seen(slots) == 2


def test_an_order_that_stands_after_it_was_met_is_tried_again_without_a_gap(
    enrolled: Place, slots: Slots
) -> None:
    now = [1000.0]
    enrolled.daemon.establish("gw1-gw2", "gw2.example.com")
    slots.set(2, 1)
    slots.prove(2, gap=True)
    for gapless, tries in ((True, 1), (False, 0)):
        enrolled.daemon.reauthenticates = gapless
        with enrolled.home.locked():
            agent = enrolled.agent()
            agent.proofs = Proofs(lambda: now[0])
            # The same for both: the machine's own begins at its start, which may be less than a while ago.
            agent.clock = replace(agent.clock, monotonic=lambda: now[0])
            agent.once()
            enrolled.daemon.calls.clear()
            agent._prove()
            assert calls(enrolled, "reauthenticate") == [], "the other end is given time"
            now[0] += 61
            agent._prove()
            assert len(calls(enrolled, "reauthenticate")) == tries


def test_once_waits_for_the_proof(enrolled: Place, slots: Slots) -> None:
    enrolled.daemon.establish("gw1-gw2", "gw2.example.com")
    slots.set(2, 1)
    slots.prove(2)
    with enrolled.home.locked():
        enrolled.home.write_settings(replace(enrolled.home.settings(), proof_seconds=600))
    began = time.monotonic()
    enrolled.once()
    assert seen(slots) == 2
    assert time.monotonic() - began < 300, "it was seen, only the time ran out"
    reports = len(slots.service.applied)
    enrolled.once()
    assert len(slots.service.applied) == reports + 1
    assert calls(enrolled, "reauthenticate") == ["reauthenticate"]


def test_once_does_not_wait_for_ever(enrolled: Place, slots: Slots) -> None:
    with enrolled.home.locked():
        enrolled.home.write_settings(replace(enrolled.home.settings(), proof_seconds=1))
    enrolled.daemon.peer_keys = {}
    slots.set(2, 1)
    slots.prove(2)
    enrolled.once()
    assert seen(slots) is None


def test_files_prove_nothing(enrolled: Place, slots: Slots) -> None:
    enrolled.daemon.kind = "files"
    slots.set(2, 1)
    slots.prove(2)
    with enrolled.home.locked():
        enrolled.home.write_settings(replace(enrolled.home.settings(), proof_seconds=600))
    began = time.monotonic()
    enrolled.once()
    assert time.monotonic() - began < 300, "it was waited for"
    assert calls(enrolled, "reauthenticate", "initiate") == []


def test_a_slot_made_anew_has_not_seen_what_its_namesake_saw(enrolled: Place, slots: Slots) -> None:
    with enrolled.running():
        until(lambda: bool(enrolled.daemon._events))
        time.sleep(0.3)
        enrolled.daemon.establish("gw1-gw2", "gw2.example.com")
        until(lambda: seen(slots) == 1)
        slots.set(1, first_id=80)
        until(lambda: on_disk(enrolled) == ["81"])
        until(lambda: seen(slots) is None)


def test_two_ends(service: MiniService, slots: Slots, enrolled: Place) -> None:
    """Both ends of a tunnel: what one starts, both see, under the same SPIs."""
    other = Place(service, enrolled.path.with_name("other"))
    service.uses = 1
    other.enroll()
    before = other.daemon.establish("gw1-gw2", "gw1.example.com")
    slots.set(2, 1)
    slots.prove(2, start=False)
    with enrolled.running(), other.running():
        noted = enrolled.home, other.home
        until(lambda: all(_order(home) == 2 for home in noted))
        other.daemon._reauthenticate(before)
        (sa,) = other.daemon.sas()
        enrolled.daemon._tell(_up(sa))
        until(lambda: all(_seen(home) == sa.spi_initiator for home in noted))


def _up(sa: Any) -> Any:
    return DaemonEvent(EventKind.UP, sa)


def _order(home: Any) -> int | None:
    order = home.notes().secrets.get(SITE, {}).get("order")
    return order["version"] if order else None


def _seen(home: Any) -> str | None:
    found = home.notes().secrets[SITE]["authenticated"]
    return found["spi_initiator"] if found else None


def test_two_agents_in_one_home_are_one_too_many(enrolled: Place) -> None:
    with enrolled.home.locked(), pytest.raises(HomeInUse), enrolled.home.locked():
        pass


# --- death ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("versions", [[1, 2], [2, 1], [2]])
def test_killed_at_any_step_a_slot_is_never_without_a_key_and_comes_to_its_list(
    enrolled: Place, slots: Slots, versions: list[int]
) -> None:
    before = {(1, 2): [1], (2, 1): [1, 2], (2,): [2, 1]}[tuple(versions)]
    for at in range(1, 200):
        slots.set(*before)
        enrolled.once()
        assert loaded(enrolled) == {SITE: before}
        slots.set(*versions)
        alive = fate.once(enrolled, Fate(at))
        assert loaded(enrolled)[SITE] in (before, versions)
        held = set(on_disk(enrolled))
        assert {str(40 + version) for version in loaded(enrolled)[SITE]} <= held
        enrolled.once()
        assert loaded(enrolled) == {SITE: versions}
        assert on_disk(enrolled) == sorted(str(40 + version) for version in versions)
        assert slots.told[SITE]["versions"] == versions
        if alive:
            break
    assert alive
    assert at > 20


def test_killed_at_any_step_of_a_proof_it_is_proven_in_the_end(
    enrolled: Place, slots: Slots
) -> None:
    for at in range(1, 200):
        slots.set(1, 2)
        enrolled.once()
        for sa in enrolled.daemon.sas():
            enrolled.daemon.lose(sa.id)
        enrolled.daemon.establish("gw1-gw2", "gw2.example.com")
        slots.set(2, 1)
        slots.prove(2)
        alive = fate.once(enrolled, Fate(at))
        enrolled.once()
        assert seen(slots) == 2
        told = slots.told[SITE]["authenticated"]
        assert told["spi_initiator"] == enrolled.daemon.sas()[0].spi_initiator
        if alive:
            break
    assert alive


# --- status, and what must not be seen --------------------------------------------------------------------------


def test_status_tells_versions_and_the_age_of_the_last_authentication(
    enrolled: Place, slots: Slots
) -> None:
    enrolled.daemon.establish("gw1-gw2", "gw2.example.com")
    slots.set(2, 1)
    slots.prove(2)
    enrolled.once()
    later = enrolled.watch.wall() + timedelta(hours=3)
    (slot,) = status(enrolled.home, later)["secrets"]
    assert (slot["name"], slot["versions"], slot["held"]) == (SITE, [2, 1], [2, 1])
    assert 3 * 3600 <= slot["authenticated_seconds"] < 3 * 3600 + 60
    slots.set(1, 2)
    enrolled.once()
    (slot,) = status(enrolled.home, later)["secrets"]
    assert slot["authenticated_seconds"] is None


def test_notes_that_were_tampered_with_do_not_end_the_agent(enrolled: Place, slots: Slots) -> None:
    for record in ("x", {"order": 1}, {"order": {"version": "2"}}, {"authenticated": []}, {}):
        path = enrolled.path / "state.json"
        notes = json.loads(path.read_text())
        notes["secrets"] = {SITE: record, "other": record}
        path.write_text(json.dumps(notes))
        status(enrolled.home, enrolled.watch.wall())
        slots.set(1)
        slots.prove(1)
        enrolled.daemon.establish("gw1-gw2", "gw2.example.com")
        enrolled.once()
        assert seen(slots) == 1


def test_a_value_is_seen_in_its_file_and_nowhere_else(
    enrolled: Place, service: MiniService, slots: Slots
) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        enrolled.daemon.establish("gw1-gw2", "gw2.example.com")
        slots.set(2, 1)
        slots.prove(2)
        enrolled.once()
        service.values[43] = {**service.values[42], "id": 43}  # another's value
        slots.slots[SITE]["keys"].append({"id": 43, "version": 3, "fingerprint": "0" * 32})
        service.change()
        enrolled.daemon.refuse_slot = SITE
        enrolled.once()
        with enrolled.running():
            until(lambda: "daemon_refused" in enrolled.codes())
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    values = [slots.value(41), slots.value(42)]
    spellings = [CANARY.decode(), CANARY.hex()]
    spellings += [base64.b64encode(value).decode()[:24] for value in values]

    def is_seen(text: str) -> bool:
        return any(spelling.lower() in text.lower() for spelling in spellings)

    places = [path for path in enrolled.path.rglob("*") if path.is_file()]
    told = {path.parent.name for path in places if is_seen(path.read_bytes().decode("latin-1"))}
    assert told == {"secrets"}
    assert not is_seen(written.getvalue())
    assert not is_seen(json.dumps([service.applied, service.sas, repr(service.requests)]))
    assert not is_seen(json.dumps(status(enrolled.home, enrolled.watch.wall())))
    for form in ("text", "json"):
        shown = run("agent", "status", "--home", enrolled.path, "--format", form)
        assert SITE in shown.out
        assert not is_seen(shown.out + shown.err)
    assert not is_seen(repr(enrolled.home.keyring.all()))


def test_a_version_that_came_after_the_first_is_not_put_forward_in_its_place() -> None:
    keys = (DesiredKey(1, 1, None), DesiredKey(2, 2, None))
    slot = DesiredSlot("t.psk", "psk", "t", "t", "dns:a.example", "dns:b.example", keys)
    one, two = SharedKey(1, Secret(b"1" * 32)), SharedKey(2, Secret(b"2" * 32))
    assert sharing._last_known(slot, {2: two}) == []
    assert sharing._last_known(slot, {1: one, 2: two}) == [1, 2]
