"""Shared secrets put under management, their values delivered and handed over, and the traces that these leave."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from core.errors import IkewardenError
from core.secret import Secret
from fleet import gateways, inventory, tunnels
from fleet.definitions import ChildDefinition, Definition, TunnelRefused
from fleet.gateways import GatewayRequest
from fleet.rotation import (
    begin,
    delivery,
    due,
    handover,
    imports,
    intake,
    orders,
    records,
    shown,
    slots,
)
from fleet.rotation.begin import ImportUnderWay
from fleet.rotation.binding import Binding, BindingRefused
from fleet.rotation.delivery import CertificateOnly, ValueNotFound
from fleet.rotation.handover import HandoverNotFound, HandoverRefused, NothingToHandOver
from fleet.rotation.imports import Import, SecretWeak, SlotExists, SlotRefused
from fleet.rotation.intake import SecretReport, Secrets
from fleet.rotation.orders import Order
from fleet.rotation.policies import PolicyChange, PolicyRefused
from fleet.rotation.records import SlotNotFound
from fleet.rotation.shown import RotationQuery, SlotView
from fleet.rotation.slots import SlotRequest
from fleet.rotation.values import Authentication, EndAbilities, Kind, Policy, Window
from fleet.tunnels import Peer, TunnelNotFound, TunnelRequest
from hsm.fingerprint import Fingerprints
from hsm.secretstore import SecretStoreUnavailable, VersionState
from pki.actors import Actor, OutsideScope, Role, Scope
from pki.desk import Desk
from store.columns import metadata
from store.rotation_tables import secret_reports, secret_slots
from store.rotation_tables import secrets as secrets_table
from tests.fixtures.desk import ADMIN, CLOCKWORK, NOW, OPERATOR, drain, vault
from tests.fleet.crew import Member, connect, enlist, later

STRONG = Secret(b"kX9#vT2!qLm7@Rz4^wPc8&Yb1*Nd5$Hs")


def by_certificate(member: Member) -> Actor:
    return replace(member.actor, credential="certificate:issuing:1")


def imported(
    desk: Desk, tunnel: str, value: Secret = STRONG, *, weak: bool = False, **more: Any
) -> SlotView:
    request = SlotRequest(imported=Import(value, accept_weak=weak), **more)
    return slots.create(desk, OPERATOR, tunnel, request, now=NOW)


@pytest.fixture
def pair(desk: Desk) -> tuple[Member, Member]:
    """Two gateways with an unmanaged tunnel between them, t."""
    left, right = enlist(desk, "a.example"), enlist(desk, "b.example")
    connect(desk, "t", left, right)
    return left, right


def managed(desk: Desk, name: str, left: Member, right: Member | Peer, **more: Any) -> None:
    child = ChildDefinition("net", ("10.1.0.0/16",), ("10.2.0.0/16",))
    definition = Definition(("192.0.2.1",), ("192.0.2.2",), (child,), **more)
    end = right if isinstance(right, Peer) else right.name
    tunnels.create(desk, OPERATOR, TunnelRequest(name, left.name, end, definition), now=NOW)


def test_an_imported_secret_is_the_first_version_at_both_ends(
    desk: Desk, pair: tuple[Member, Member]
) -> None:
    versions = [each.state().mark.version for each in pair]
    made = imported(desk, "t", policy=Policy(interval_days=30, jitter=0))
    assert (made.version, made.current_at, made.rotation) == (1, NOW, None)
    assert made.due_at == NOW + timedelta(days=30)
    [version] = made.versions
    assert (version.state, version.source) == ("current", "import")
    assert version.fingerprint
    assert vault(desk).get("ikewarden/t/psk").value.reveal() == STRONG.reveal()
    left, right = (each.state() for each in pair)
    assert [left.mark.version, right.mark.version] == [number + 1 for number in versions]
    [here], [there] = left.secrets, right.secrets
    assert (here.local_id, here.remote_id) == ("dns:a.example", "dns:b.example")
    assert (there.local_id, there.remote_id) == ("dns:b.example", "dns:a.example")
    assert here.connection == there.connection == "t"
    assert [key.version for key in here.keys] == [key.version for key in there.keys] == [1]
    with pytest.raises(SlotExists):
        imported(desk, "t")


def test_an_imported_key_is_as_old_as_it_is_said_to_be(
    desk: Desk, pair: tuple[Member, Member]
) -> None:
    for since in (NOW + timedelta(seconds=1), NOW - timedelta(days=51 * 365)):
        request = SlotRequest(imported=Import(STRONG, since=since))
        with pytest.raises(SlotRefused):
            slots.create(desk, OPERATOR, "t", request, now=NOW)
    since = NOW - timedelta(days=400)
    request = SlotRequest(imported=Import(STRONG, since=since))
    made = slots.create(desk, OPERATOR, "t", request, now=NOW)
    assert made.current_at == since
    assert made.due_at is not None
    assert made.due_at <= since + timedelta(days=90)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"Kx93#zq", "shorter"),
        (b"a" * 32, "repeats"),
        (b"1234567890123456", "line|sequence|keyboard|count|row"),
        (b"MyFirstPreSharedKey", "word"),
    ],
)
def test_a_weak_secret_is_refused_with_its_reason_and_taken_when_that_is_accepted(
    desk: Desk, pair: tuple[Member, Member], value: bytes, reason: str
) -> None:
    with pytest.raises(SecretWeak, match=reason) as refused:
        imported(desk, "t", Secret(value))
    assert refused.value.details["problems"] == ["weak"]
    assert value.decode() not in f"{refused.value.message} {refused.value.details}"
    assert shown.of_tunnel(desk, OPERATOR, "t") == []
    made = imported(desk, "t", Secret(value), weak=True)
    [version] = made.versions
    assert version.strength is not None
    assert version.strength["verdict"] == "weak"


def test_a_value_of_another_tunnel_is_refused_and_shows_as_drift(
    desk: Desk, pair: tuple[Member, Member]
) -> None:
    third = enlist(desk, "c.example")
    connect(desk, "u", pair[0], third)
    imported(desk, "t")
    with pytest.raises(SecretWeak, match=r"t\.psk has the same value"):
        imported(desk, "u")
    imported(desk, "u", weak=True)
    found = inventory.look(desk, OPERATOR, "c.example", now=NOW)
    assert found.drift == ()  # it has reported nothing yet
    third.report()
    found = inventory.look(desk, OPERATOR, "c.example", now=NOW)
    assert ("secret", "u.psk", "reused") in {
        (each.kind, each.what, each.problem) for each in found.drift
    }


PATH = "ikewarden/t/psk"
OTHER = Secret(b"another value that is long enough 93Zq")


def states_in_store(desk: Desk) -> list[VersionState]:
    return [each.state for each in vault(desk).versions(PATH)]


class _Died(BaseException):
    """The process ends here."""


def cut_off(desk: Desk, *, after_put: bool = True) -> None:
    """An import whose process dies around its write."""
    store = vault(desk)
    put = store.put

    def die(path: str, value: Secret, **named: Any) -> int:
        if path != PATH:  # the key of the fingerprints
            return put(path, value, **named)
        if after_put:
            put(path, value, **named)
        raise _Died

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "put", die)
        with pytest.raises(_Died):
            imported(desk, "t")


@pytest.mark.parametrize("written", [False, True], ids=["not-written", "written"])
def test_an_import_that_fails_is_taken_back_at_once(
    desk: Desk, pair: tuple[Member, Member], written: bool
) -> None:
    store = vault(desk)
    put = store.put

    def fall(path: str, value: Secret, **named: Any) -> int:
        if written or path != PATH:
            number = put(path, value, **named)
        if path != PATH:  # the key of the fingerprints
            return number
        raise SecretStoreUnavailable("It fell over, and nobody knows when.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "put", fall)
        with pytest.raises(SecretStoreUnavailable):
            imported(desk, "t")
    assert shown.of_tunnel(desk, OPERATOR, "t") == []
    drain(desk, NOW)
    assert states_in_store(desk) == [VersionState.DESTROYED] * written
    assert imported(desk, "t", OTHER).version == 1
    drain(desk, NOW + timedelta(hours=1))
    assert states_in_store(desk)[-1:] == [VersionState.LIVE]
    assert store.get(PATH).value.reveal() == OTHER.reveal()


@pytest.mark.parametrize("after_put", [False, True])
def test_an_import_whose_process_died_blocks_the_place_until_it_is_taken_back(
    desk: Desk, pair: tuple[Member, Member], after_put: bool
) -> None:
    cut_off(desk, after_put=after_put)
    [left] = shown.of_tunnel(desk, OPERATOR, "t")
    assert (left.version, left.versions[0].state) == (None, "intended")
    for attempt in (
        lambda: imported(desk, "t", OTHER),
        lambda: slots.create(desk, OPERATOR, "t", SlotRequest(), now=NOW),
        lambda: orders.rotate(desk, OPERATOR, Order("t"), now=NOW),
        lambda: orders.rotate(desk, OPERATOR, Order("t", emergency=True), now=NOW),
    ):
        with pytest.raises(ImportUnderWay):
            attempt()
    drain(desk, NOW + timedelta(minutes=4))
    assert len(shown.of_tunnel(desk, OPERATOR, "t")) == 1
    for minutes in (5, 10):
        drain(desk, NOW + timedelta(minutes=minutes))
    assert shown.of_tunnel(desk, OPERATOR, "t") == []
    assert states_in_store(desk) == [VersionState.DESTROYED] * after_put
    assert imported(desk, "t", OTHER).version == 1


def test_an_import_that_was_cut_off_can_be_taken_off_at_once(
    desk: Desk, pair: tuple[Member, Member]
) -> None:
    cut_off(desk)
    slots.remove(desk, OPERATOR, "t.psk", now=NOW)
    imported(desk, "t", OTHER)
    for minutes in (0, 5, 10):
        drain(desk, NOW + timedelta(minutes=minutes))
    assert states_in_store(desk) == [VersionState.DESTROYED, VersionState.LIVE]
    [kept] = shown.of_tunnel(desk, OPERATOR, "t")
    assert (kept.version, kept.versions[0].state) == (1, "current")


@pytest.mark.parametrize("removed", [False, True], ids=["beside", "removed-meanwhile"])
@pytest.mark.parametrize("before_put", [False, True])
def test_of_two_imports_at_once_one_is_refused_and_leaves_nothing(
    desk: Desk, pair: tuple[Member, Member], before_put: bool, removed: bool
) -> None:
    store = vault(desk)
    put = store.put
    inside: list[str] = []

    def meanwhile() -> None:
        if removed:
            slots.remove(desk, OPERATOR, "t.psk", now=NOW)
        try:
            imported(desk, "t", OTHER)
        except IkewardenError as refused:
            inside.append(refused.code)

    def slow(path: str, value: Secret, **named: Any) -> int:
        if value.reveal() != STRONG.reveal():
            return put(path, value, **named)
        if before_put:
            meanwhile()
        made = put(path, value, **named)
        if not before_put:
            meanwhile()
        return made

    outcome = "done"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "put", slow)
        try:
            imported(desk, "t")
        except IkewardenError as refused:
            outcome = refused.code
    lost = "secret_conflict" if before_put else "import_taken_back"
    assert (outcome, inside) == ((lost, []) if removed else ("done", ["import_under_way"]))
    for minutes in (0, 5, 10):
        drain(desk, NOW + timedelta(minutes=minutes))
    kept = OTHER if removed else STRONG
    live = [each for each in store.versions(PATH) if each.state is VersionState.LIVE]
    assert [store.get(PATH, each.number).value.reveal() for each in live] == [kept.reveal()]
    [slot] = shown.of_tunnel(desk, OPERATOR, "t")
    assert slot.versions[0].fingerprint == Fingerprints(store).of(kept)
    [key] = pair[0].state().secrets[0].keys
    value = delivery.value(desk, by_certificate(pair[0]), key.id, now=NOW).value
    assert value.reveal() == kept.reveal()


def test_of_one_value_imported_twice_at_once_none_is_taken_unseen(
    desk: Desk, pair: tuple[Member, Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(desk, "u", *pair)
    looked, look = threading.Barrier(2), imports._check_weak
    first = threading.local()

    def together(*args: Any, **named: Any) -> None:
        look(*args, **named)
        if not hasattr(first, "done"):
            first.done = True
            looked.wait(30)

    monkeypatch.setattr(imports, "_check_weak", together)

    def attempt(tunnel: str) -> str:
        try:
            imported(desk, tunnel)
        except SecretWeak:
            return "refused"
        return "taken"

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(attempt, ("t", "u")))
    assert outcomes.count("taken") <= 1
    drain(desk, NOW + timedelta(minutes=10))
    live = [
        each
        for path in (PATH, PATH.replace("/t/", "/u/"))
        for each in vault(desk).versions(path)
        if each.state is VersionState.LIVE
    ]
    assert len(live) == outcomes.count("taken")


def test_a_tunnel_that_goes_while_its_secret_is_imported_is_not_found(
    desk: Desk, pair: tuple[Member, Member]
) -> None:
    def remove(method: str, path: str) -> None:
        vault(desk).before = None
        tunnels.remove(desk, OPERATOR, "t", now=NOW)

    vault(desk).before = remove  # while the fingerprint is made
    with pytest.raises(TunnelNotFound):
        imported(desk, "t")


def test_an_import_touches_nothing_that_others_keep_there(
    desk: Desk, pair: tuple[Member, Member]
) -> None:
    vault(desk).put(PATH, OTHER, after=0, tags={})
    imported(desk, "t")
    assert states_in_store(desk) == [VersionState.LIVE] * 2
    slots.remove(desk, OPERATOR, "t.psk", now=NOW)
    drain(desk, NOW)
    assert states_in_store(desk) == [VersionState.LIVE, VersionState.DESTROYED]


def test_both_ends_have_identities_of_their_own(desk: Desk, pair: tuple[Member, Member]) -> None:
    for binding in (
        Binding(right_identity="dns:a.example"),
        Binding(left_identity="dns:b.example"),
        Binding(left_identity="dns:c.example", right_identity="dns:c.example"),
    ):
        with pytest.raises(BindingRefused):
            imported(desk, "t", binding=binding)
    bank = Peer("bank", ("dns:vpn.bank.example",))
    both = ("dns:c.example", "dns:other.example")
    gateways.create(desk, OPERATOR, GatewayRequest("c.example", both), now=NOW)
    tunnels.create(desk, OPERATOR, TunnelRequest("to-bank", "c.example", bank), now=NOW)
    with pytest.raises(BindingRefused, match=r"other\.example"):
        imported(desk, "to-bank", binding=Binding(right_identity="dns:other.example"))
    imported(
        desk, "t", binding=Binding(left_identity="dns:d.example", right_identity="dns:e.example")
    )


@pytest.mark.parametrize("authentication", ["psk", "certificate"])
def test_an_outside_peer_of_a_managed_tunnel_has_none_of_our_identities(
    desk: Desk, pair: tuple[Member, Member], authentication: str
) -> None:
    for names in (("dns:a.example",), ("dns:vpn.bank.example", "dns:a.example")):
        with pytest.raises(TunnelRefused, match=r"a\.example"):
            managed(desk, "m", pair[0], Peer("bank", names), authentication=authentication)
    managed(desk, "m", pair[0], Peer("bank", ("dns:vpn.bank.example",)))


def test_nothing_is_kept_without_a_store(desk: Desk, pair: tuple[Member, Member]) -> None:
    without = replace(desk, secrets=None)
    with pytest.raises(IkewardenError) as refused:
        slots.create(without, OPERATOR, "t", SlotRequest(), now=NOW)
    assert refused.value.code == "no_secret_store"
    with pytest.raises(IkewardenError) as refused:
        managed(without, "m", *pair, authentication="psk")
    assert refused.value.code == "no_secret_store"
    assert [each.name for each in tunnels.search(desk, ADMIN, tunnels.TunnelQuery())] == ["t"]


def test_a_managed_tunnel_begins_its_first_rotations_by_itself(
    desk: Desk, pair: tuple[Member, Member]
) -> None:
    managed(desk, "m", *pair, authentication="psk", ppk="required")
    found = shown.of_tunnel(desk, OPERATOR, "m")
    assert sorted(each.kind for each in found) == ["ppk", "psk"]
    assert {each.rotation.method for each in found if each.rotation} == {"first"}
    view = tunnels.get(desk, OPERATOR, "m")
    assert [(each.kind, each.state) for each in view.secrets] == [
        ("psk", "scheduled"),
        ("ppk", "scheduled"),
    ]
    state = pair[0].state()
    assert [each.keys for each in state.secrets] == [(), ()]
    [connection] = state.connections
    assert (connection["authentication"], connection["ppk"]) == ("psk", "required")
    with pytest.raises(SlotRefused):
        slots.remove(desk, OPERATOR, "m.psk", now=NOW)
    with pytest.raises(SlotExists):
        slots.create(desk, OPERATOR, "m", SlotRequest(), now=NOW)


def test_what_a_tunnel_has_no_use_for_is_refused(desk: Desk, pair: tuple[Member, Member]) -> None:
    managed(desk, "m", *pair)
    for tunnel, request in (
        ("m", SlotRequest()),
        ("t", SlotRequest(kind=Kind.PPK)),
        ("t", SlotRequest(imported=Import(Secret(b"")))),
        ("t", SlotRequest(kind=Kind.PPK, imported=Import(STRONG))),
    ):
        with pytest.raises(SlotRefused):
            slots.create(desk, OPERATOR, tunnel, request, now=NOW)
    for change in (
        {"jitter": 0.9},
        {"zone": "Mars/Olympus"},
        {"windows": (Window((), 0, 60),)},
        {"windows": (Window((7,), 0, 60),)},
        {"windows": (Window((1,), 60, 60),)},
        {"interval_days": -1},
        {"proof_hours": 0},
    ):
        request = SlotRequest(policy=replace(Policy(), **change))
        with pytest.raises(PolicyRefused):
            slots.create(desk, OPERATOR, "t", request, now=NOW)


def test_an_operators_own_connection_keeps_its_names(
    desk: Desk, pair: tuple[Member, Member]
) -> None:
    bound = Binding("to-b", "to-a", "email:a@example.com", ike_version=1)
    imported(desk, "t", binding=bound)
    [here], [there] = (each.state().secrets for each in pair)
    assert (here.connection, there.connection) == ("to-b", "to-a")
    assert (here.local_id, here.remote_id) == ("email:a@example.com", "dns:b.example")
    assert (there.remote_id, there.ike_version) == ("email:a@example.com", 1)


def test_a_policy_changes_and_freezes(desk: Desk, pair: tuple[Member, Member]) -> None:
    imported(desk, "t", policy=Policy(jitter=0))
    window = Window((5, 6), 120, 240)
    change = PolicyChange(interval_days=10, windows=(window,), zone="Europe/Berlin")
    found = slots.change(desk, OPERATOR, "t.psk", change, now=later(60))
    assert (found.policy.windows, found.policy.jitter) == ((window,), 0)
    assert found.due_at is not None
    assert found.due_at >= NOW + timedelta(days=10)
    found = slots.change(desk, OPERATOR, "t.psk", PolicyChange(frozen=True), now=later(60))
    assert (found.policy.frozen, found.policy.interval_days) == (True, 10)
    found = slots.change(desk, OPERATOR, "t.psk", PolicyChange(interval_days=0), now=later(60))
    assert found.due_at is None
    with pytest.raises(SlotNotFound):
        slots.change(desk, OPERATOR, "t.ppk", change, now=NOW)


def test_a_due_date_stays_where_nothing_that_it_was_found_by_changes(
    desk: Desk, pair: tuple[Member, Member]
) -> None:
    due = imported(desk, "t", policy=Policy(interval_days=40, jitter=0.5)).due_at
    assert due is not None
    for number, change in enumerate(
        (
            PolicyChange(frozen=True),
            PolicyChange(frozen=False),
            PolicyChange(zone="Asia/Tokyo"),
            PolicyChange(interval_days=40, gap=True, proof_hours=5),
        )
    ):
        found = slots.change(desk, OPERATOR, "t.psk", change, now=later(number))
        assert found.due_at == due
    found = slots.change(desk, OPERATOR, "t.psk", PolicyChange(interval_days=400), now=later(9))
    assert found.due_at is not None
    assert found.due_at > due + timedelta(days=100)


def test_what_came_due_while_it_was_frozen_is_due_when_it_is_unfrozen(
    desk: Desk, pair: tuple[Member, Member]
) -> None:
    imported(desk, "t", policy=Policy(interval_days=1, jitter=0, frozen=True))
    at = later(2 * 86400)
    assert due.begin_due(desk, CLOCKWORK, now=at) == 0
    found = slots.change(desk, OPERATOR, "t.psk", PolicyChange(frozen=False), now=at)
    assert found.due_at == NOW + timedelta(days=1)
    assert due.begin_due(desk, CLOCKWORK, now=at) == 1


def test_a_value_goes_to_the_gateways_own_certificate_alone(
    desk: Desk, pair: tuple[Member, Member]
) -> None:
    outsider = enlist(desk, "c.example")
    imported(desk, "t")
    [slot] = pair[0].state().secrets
    number = slot.keys[0].id
    for member in pair:
        found = delivery.value(desk, by_certificate(member), number, now=NOW)
        assert found.value.reveal() == STRONG.reveal()
        assert (found.slot, found.version) == ("t.psk", 1)
    with pytest.raises(CertificateOnly):
        delivery.value(desk, replace(pair[0].actor, credential="token:1"), number, now=NOW)
    with pytest.raises(ValueNotFound):
        delivery.value(desk, by_certificate(outsider), number, now=NOW)
    with desk.store.write() as connection:
        connection.execute(secret_slots.update().values(left_keys=[]))
    with pytest.raises(ValueNotFound):
        delivery.value(desk, by_certificate(pair[0]), number, now=NOW)
    assert _actions(desk, "secret.fetch") == 2


def test_removed_secrets_are_destroyed_in_the_store(
    desk: Desk, pair: tuple[Member, Member]
) -> None:
    imported(desk, "t")
    slots.remove(desk, OPERATOR, "t.psk", now=NOW)
    assert pair[0].state().secrets == ()
    drain(desk, NOW)
    assert [each.state for each in vault(desk).versions("ikewarden/t/psk")] == [
        VersionState.DESTROYED
    ]
    imported(desk, "t")
    tunnels.remove(desk, OPERATOR, "t", now=NOW)
    drain(desk, NOW)
    states = {each.state for each in vault(desk).versions("ikewarden/t/psk")}
    assert states == {VersionState.DESTROYED}


def test_a_credential_of_one_gateway_stays_with_its_tunnels(
    desk: Desk, pair: tuple[Member, Member]
) -> None:
    imported(desk, "t")
    tied = Actor("olga", Role.OPERATOR, scope=Scope(gateway="c.example"))
    for act in (
        lambda: slots.change(desk, tied, "t.psk", PolicyChange(frozen=True), now=NOW),
        lambda: slots.remove(desk, tied, "t.psk", now=NOW),
        lambda: orders.rotate(desk, tied, Order("t"), now=NOW),
        lambda: orders.plan(desk, tied, Order("t")),
        lambda: handover.create(desk, tied, "t", Kind.PSK, 1, now=NOW),
    ):
        with pytest.raises(OutsideScope):
            act()
    slots.change(
        desk,
        replace(tied, scope=Scope(gateway="a.example")),
        "t.psk",
        PolicyChange(gap=True),
        now=NOW,
    )


def _actions(desk: Desk, action: str) -> int:
    table = metadata.tables["audit_events"]
    with desk.store.read() as connection:
        return len(connection.execute(select(table).where(table.c.action == action)).all())


# handing over


@pytest.fixture
def bank(desk: Desk) -> Member:
    """A gateway with a tunnel to an outside peer, out."""
    member = enlist(desk, "a.example")
    connect(desk, "out", member, Peer("bank", ("dns:vpn.bank.example",)))
    return member


def _claim(desk: Desk, token: Secret) -> handover.Claimed:
    return handover.claim(desk, token, "203.0.113.7", request_id="r", now=later(60))


def test_a_handover_is_good_once(desk: Desk, bank: Member) -> None:
    imported(desk, "out")
    made = handover.create(desk, OPERATOR, "out", Kind.PSK, 8, now=NOW)
    found = _claim(desk, made.token)
    assert found.value.reveal() == STRONG.reveal()
    assert (found.tunnel, found.version, found.fingerprint) == ("out", 1, made.fingerprint)
    with pytest.raises(HandoverNotFound):
        _claim(desk, made.token)
    with pytest.raises(HandoverNotFound):
        _claim(desk, Secret(b"iwh1_nobodys"))
    assert _actions(desk, "secret.handover") == _actions(desk, "secret.claim") == 1


def test_a_handover_ends_and_is_not_lost_with_the_store(desk: Desk, bank: Member) -> None:
    imported(desk, "out")
    made = handover.create(desk, OPERATOR, "out", Kind.PSK, 1, now=NOW)
    vault(desk).fail()
    with pytest.raises(SecretStoreUnavailable):
        handover.claim(desk, made.token, "", request_id="", now=NOW)
    vault(desk).heal()
    with pytest.raises(HandoverNotFound):
        handover.claim(desk, made.token, "", request_id="", now=later(3600))
    handover.claim(desk, made.token, "", request_id="", now=later(3599))


def test_what_cannot_be_handed_over(desk: Desk, pair: tuple[Member, Member]) -> None:
    imported(desk, "t")
    with pytest.raises(HandoverRefused, match="gateways of the fleet"):
        handover.create(desk, OPERATOR, "t", Kind.PSK, 1, now=NOW)
    connect(desk, "out", pair[0], Peer("bank", ("dns:vpn.bank.example",)))
    with pytest.raises(SlotNotFound):
        handover.create(desk, OPERATOR, "out", Kind.PSK, 1, now=NOW)
    slots.create(desk, OPERATOR, "out", SlotRequest(), now=NOW)
    with pytest.raises(NothingToHandOver):
        handover.create(desk, OPERATOR, "out", Kind.PSK, 1, now=NOW)
    with pytest.raises(HandoverRefused):
        handover.create(desk, OPERATOR, "out", Kind.PSK, 0, now=NOW)


# what agents report


def said(name: str = "t.psk", **changes: Any) -> SecretReport:
    """A report of a slot that is as it should be."""
    return replace(SecretReport(name, (1,), (1,), (), None, "", ""), **changes)


def report(member: Member, *reports: SecretReport, seconds: float = 1) -> None:
    told = Secrets(EndAbilities(overlap=True, gapless=True), reports)
    member.report(secrets=told, now=later(seconds))


def test_a_report_is_kept_and_wakes_its_rotation_when_it_is_news(
    desk: Desk, pair: tuple[Member, Member]
) -> None:
    imported(desk, "t")
    report(pair[0], said())
    [slot] = shown.of_tunnel(desk, OPERATOR, "t")
    end = slot.ends[0].end
    assert end.report is not None
    assert (end.report.versions, end.report.abilities.overlap) == ((1,), True)
    assert slot.ends[1].end.report is None
    [rotation] = orders.rotate(desk, OPERATOR, Order("t"), now=NOW)
    table = metadata.tables["rotations"]

    def sleep() -> None:
        with desk.store.write() as connection:
            connection.execute(table.update().values(wake_at=later(9999)))

    def is_awake() -> bool:
        with desk.store.read() as connection:
            return bool(connection.execute(select(table.c.wake_at)).scalar_one() < later(9999))

    sleep()
    report(pair[0], said(), seconds=2)
    assert not is_awake()
    seen = Authentication(1, "0" * 16, "1" * 16, NOW)
    report(pair[0], said(authenticated=seen), seconds=3)
    assert is_awake()
    sleep()
    report(pair[0], said(authenticated=seen), seconds=4)
    assert not is_awake()
    with desk.store.write() as connection:  # a list that came again is news when it is applied
        connection.execute(metadata.tables["gateways"].update().values(version=99))
    report(pair[0], said(authenticated=seen), seconds=5)
    assert is_awake()
    assert rotation.state == "scheduled"


@pytest.mark.parametrize(
    ("ike_version", "gapless"), [(2, True), (1, False), (None, False)], ids=["2", "1", "unmanaged"]
)
def test_what_can_be_authenticated_beside_its_sas_is_gapless(
    desk: Desk, pair: tuple[Member, Member], ike_version: int | None, gapless: bool
) -> None:
    if ike_version is None:
        imported(desk, "t")
    else:
        managed(desk, "m", *pair, authentication="psk", ike_version=ike_version)
    told = said("t.psk" if ike_version is None else "m.psk")
    pair[0].report(secrets=Secrets(EndAbilities(beside=True), (told,)), now=later(1))
    with desk.store.read() as connection:
        reports = metadata.tables["secret_reports"]
        kept = connection.execute(select(reports.c.abilities)).scalar_one()
    assert (kept["gapless"], kept["beside"]) == (gapless, True)


def test_drift_of_shared_secrets(desk: Desk, pair: tuple[Member, Member]) -> None:
    imported(desk, "t")
    foreign = ({"where": "/etc/ipsec.secrets:3", "same_as": None, "shadows": True},)
    report(pair[0], said(versions=(1, 7), foreign=foreign), said("gone.psk"))
    report(pair[1], said(versions=()))
    left, right = (
        {
            (each.what, each.problem)
            for each in inventory.look(desk, OPERATOR, member.name, now=NOW).drift
            if each.kind == "secret"
        }
        for member in pair
    )
    assert left == {
        ("t.psk", "outdated"),
        ("t.psk: /etc/ipsec.secrets:3", "shadowed"),
        ("gone.psk", "unknown"),
    }
    assert right == {("t.psk", "not_loaded")}


def test_a_report_of_others_slots_is_not_kept(desk: Desk, pair: tuple[Member, Member]) -> None:
    stranger = enlist(desk, "c.example")
    imported(desk, "t")
    report(stranger, said())
    with desk.store.read() as connection:
        assert connection.execute(select(secret_reports)).all() == []
        assert intake.unknown(connection, stranger.number, ["t.psk"]) == ["t.psk"]


# what operators order


def test_rotations_are_ordered_planned_and_cancelled(
    desk: Desk, pair: tuple[Member, Member]
) -> None:
    imported(desk, "t")
    for member in pair:
        report(member, said())
    [plan] = orders.plan(desk, OPERATOR, Order("t"))
    assert plan.plan.steps
    assert shown.search(desk, OPERATOR, RotationQuery()) == []
    [begun] = orders.rotate(desk, OPERATOR, Order("t", why="an administrator left"), now=NOW)
    assert (begun.state, begun.method, begun.from_version) == ("scheduled", "overlap", 1)
    with pytest.raises(begin.RotationUnderWay) as refused:
        orders.rotate(desk, OPERATOR, Order("t"), now=NOW)
    told = f"t.psk is being rotated already: rotation {begun.id}, scheduled."
    assert refused.value.message == told
    [same] = orders.rotate(desk, OPERATOR, Order("t", emergency=True), now=NOW)
    assert (same.id, same.method) == (begun.id, "emergency")
    assert shown.search(desk, OPERATOR, RotationQuery(state="running", tunnel="t")) == [same]
    ended = orders.cancel(desk, OPERATOR, begun.id, now=NOW)
    assert ended.state == "cancelled"
    assert shown.search(desk, OPERATOR, RotationQuery(state="running")) == []
    with pytest.raises(begin.NothingToConfirm):
        orders.confirm(desk, OPERATOR, begun.id, now=NOW)
    with pytest.raises(records.RotationNotFound):
        orders.cancel(desk, OPERATOR, 999, now=NOW)
    with pytest.raises(SlotNotFound) as missing:
        orders.rotate(desk, OPERATOR, Order("t", Kind.PPK), now=NOW)
    assert "--managed --ppk" in missing.value.next_step


def test_an_outside_peer_has_no_name_of_ours(desk: Desk, pair: tuple[Member, Member]) -> None:
    with pytest.raises(TunnelRefused) as refused:
        connect(desk, "x", pair[0], Peer("b.example", ("dns:x.example",)))
    assert "'b.example' is a gateway of ours" in refused.value.message


def test_figures(desk: Desk, pair: tuple[Member, Member]) -> None:
    imported(desk, "t", policy=Policy(interval_days=1, jitter=0))
    found = shown.figures(desk, ADMIN, now=NOW + timedelta(days=2))
    assert (found.all, found.due, found.frozen, found.oldest_at) == (1, 1, 0, NOW)
    orders.rotate(desk, OPERATOR, Order("t"), now=NOW)
    found = shown.figures(desk, ADMIN, now=NOW + timedelta(days=2))
    assert (found.due, found.states) == (0, {"scheduled": 1})


def test_a_value_stands_in_no_table(desk: Desk, bank: Member) -> None:
    canary = Secret(b"Canary-4f81c0de-7Q!xZ9mK2pLw5RtV")
    imported(desk, "out", canary)
    made = handover.create(desk, OPERATOR, "out", Kind.PSK, 1, now=NOW)
    handover.claim(desk, made.token, "203.0.113.7", request_id="r", now=NOW)
    [slot] = bank.state().secrets
    delivery.value(desk, by_certificate(bank), slot.keys[0].id, now=NOW)
    words = [canary.reveal(), canary.reveal().hex().encode(), made.token.reveal()]
    with desk.store.read() as connection:
        for table in metadata.sorted_tables:
            for row in connection.execute(select(table)):
                text = repr(tuple(row)).encode()
                assert not any(word in text for word in words), table.name
        assert connection.execute(select(secrets_table.c.fingerprint)).scalar_one()
