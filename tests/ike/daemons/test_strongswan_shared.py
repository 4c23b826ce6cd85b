"""The contract of shared secrets on live charon daemons, and what is charon's own."""

import random
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from ike.daemons.port import (
    Child,
    Connection,
    DaemonRefused,
    EventKind,
    SharedKey,
    SharedSlot,
)
from ike.daemons.strongswan import StrongSwan
from tests.ike.daemons.charon_rig import adapter
from tests.ike.daemons.contract import OWN, PEER, watching
from tests.ike.daemons.shared_charon_rig import SharedCharonRig, by_secret
from tests.ike.daemons.sharedcontract import (
    PPK,
    PSK,
    SHARED,
    OverlapContract,
    PpkContract,
    SharedRig,
    key,
    ppk_slot,
    slot,
    versions,
    wait_established,
)
from tests.lab import Gateway, Lab
from tests.lab.traffic import Ping, pinging, strays

_REFUSALS = r"MAC mismatched|AUTH(ENTICATION)?_FAILED|no shared key|PPK required|require '"


class TestStrongSwan(PpkContract, OverlapContract):
    @pytest.fixture
    def rig(self, lab: Lab) -> SharedRig:
        return SharedCharonRig(lab)


# --- two charons, each with its adapter ---------------------------------------------------------------------------


@dataclass
class End:
    """A gateway, its adapter, and whom it talks to."""

    gateway: Gateway
    daemon: StrongSwan
    own: str
    peer: str
    other: Gateway

    def psk(self, *keys: SharedKey, connection: str = SHARED) -> SharedSlot:
        ids = {"local_id": f"dns:{self.own}", "remote_id": f"dns:{self.peer}"}
        return slot(*keys, connection=connection, **ids)

    def ppk(self, *keys: SharedKey) -> SharedSlot:
        ids = {"local_id": f"dns:{self.own}", "remote_id": f"dns:{self.peer}"}
        return ppk_slot(*keys, connection="managed", **ids)

    def managed(self, **changes: object) -> Connection:
        child = Child("net", (str(self.gateway.inside.network),), (str(self.other.inside.network),))
        values: dict[str, object] = {
            "name": "managed",
            "local_addresses": (self.gateway.outside,),
            "remote_addresses": (self.other.outside,),
            "local_id": f"dns:{self.own}",
            "remote_id": f"dns:{self.peer}",
            "remote_authority": None,
            "children": (child,),
            "authentication": "psk",
        }
        return Connection(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture
def ends(lab: Lab) -> tuple[End, End]:
    """Two charons with nothing but their adapters."""
    settings = {"make_before_break": "yes", "filelog": {"lab": {"esp": 2}}}
    a, b = lab.gateway("gw-a", settings=settings), lab.gateway("gw-b", settings=settings)
    one = End(a, adapter(a), OWN, PEER, b)
    return one, End(b, adapter(b), PEER, OWN, a)


def refusals(*ends: End) -> list[str]:
    return [line for end in ends for line in end.gateway.log.words(_REFUSALS)]


def require_none_lost(pings: list[Ping], *ends: End) -> None:
    """But for what charon drops by design on a busy machine."""
    assert pings[0].sent > 10
    assert pings[0].lost <= strays(*(end.gateway for end in ends)), pings[0].output


def steps(old: SharedKey, new: SharedKey) -> Iterator[tuple[int, tuple[SharedKey, ...]]]:
    """A rotation as the service orders it: which end, and its keys."""
    for keys in ((old, new), (new, old)):
        yield 0, keys
        yield 1, keys


def test_rotations_under_traffic_lose_nothing(ends: tuple[End, End]) -> None:
    left, right = ends
    for end in ends:
        by_secret(end.gateway, end.other, end.own, end.peer)
    old = key(1)
    for end in ends:
        end.daemon.share([end.psk(old)])
    assert left.daemon.initiate(SHARED)
    wait_established(left.daemon, SHARED)
    with pinging(left.gateway, right.gateway) as pings:
        for version in range(2, 7):
            new = key(version)
            before = wait_established(left.daemon, SHARED)
            for number, keys in steps(old, new):
                ends[number].daemon.share([ends[number].psk(*keys)])
            prover = ends[version % 2]
            assert prover.daemon.reauthenticate(SHARED, gap=False) == 1
            for end in ends:
                wait_established(end.daemon, SHARED, but=before.spi_initiator)
            for end in ends:
                end.daemon.share([end.psk(new)])
            gone, old = old, new
    require_none_lost(pings, *ends)
    assert refusals(*ends) == []
    # Who has the former secret alone is refused, whoever begins.
    left.gateway.terminate(SHARED)
    right.daemon.share([right.psk(gone)])
    assert left.daemon.initiate(SHARED)
    left.gateway.log.wait_for("AUTHENTICATION_FAILED|MAC mismatched")
    assert right.daemon.initiate(SHARED)
    right.gateway.log.wait_for("AUTHENTICATION_FAILED|MAC mismatched")


def give(end: End, psk: SharedKey, *ppks: SharedKey, start: str = "none") -> None:
    """A round of the agent: secrets, then connections."""
    end.daemon.share([end.psk(psk, connection="managed"), end.ppk(*ppks)])
    children = tuple(replace(each, start_action=start) for each in end.managed().children)
    end.daemon.connect([end.managed(ppk="required", children=children)])


def test_ppks_are_taken_up_by_new_sas_under_traffic(ends: tuple[End, End]) -> None:
    left, right = ends
    psk, old = key(1), key(1, ppk=True)
    give(right, psk, old)
    give(left, psk, old, start="start")
    wait_established(left.daemon, "managed")
    time.sleep(0.2)
    with pinging(left.gateway, right.gateway) as pings:
        for version in range(2, 7):
            new = key(version, ppk=True)
            for number, keys in steps(old, new):
                before = wait_established(left.daemon, "managed")
                give(ends[number], psk, *keys, start="none" if number else "start")
                for end in ends:
                    after = wait_established(end.daemon, "managed")
                    assert after.spi_initiator == before.spi_initiator
            mark = [end.gateway.log.mark() for end in ends]
            prover = ends[version % 2]
            assert prover.daemon.reauthenticate("managed", gap=True) == 1
            for end, since in zip(ends, mark, strict=True):
                wait_established(end.daemon, "managed", but=before.spi_initiator)
                said = end.gateway.log.words("using PPK for PPK_ID", since)
                assert said == [f"using PPK for PPK_ID '{new.ppk_id}'"]
            give(left, psk, new, start="start")
            give(right, psk, new)
            gone, old = old, new
    require_none_lost(pings, *ends)
    assert refusals(*ends) == []
    # One left: nothing stands beside the connection any more.
    for end in ends:
        with end.gateway.session() as session:
            assert session.get_conns()["conns"] == [b"managed"]
    give(right, psk, gone)
    mark_left = left.gateway.log.mark()
    assert left.daemon.reauthenticate("managed", gap=True) == 1
    left.gateway.log.wait_for("initiating IKE_SA", since=mark_left)
    right.gateway.log.wait_for("received PPK_ID '.*-v6', but require '.*-v5'")


def test_between_two_orders_either_end_may_begin(ends: tuple[End, End]) -> None:
    left, right = ends
    psk, old, new = key(1), key(1, ppk=True), key(2, ppk=True)
    give(left, psk, old, new)
    give(right, psk, new, old)
    for _ in range(2):
        for end in ends:
            for each in ends:
                for name in {sa.name for sa in each.gateway.list_sas()}:
                    each.gateway.terminate(name, force=True)
            assert end.daemon.initiate("managed")
            for each in ends:
                sa = wait_established(each.daemon, "managed")
                assert sa.children
            # Either may authenticate what either began.
            for each in ends:
                spi = wait_established(each.daemon, "managed").spi_initiator
                assert each.daemon.reauthenticate("managed", gap=True) == 1
                wait_established(each.daemon, "managed", but=spi)
        for end in ends:
            end.gateway.load_all()
    assert refusals(*ends) == []


def test_a_refused_ppk_leaves_the_connection_as_it_is(ends: tuple[End, End]) -> None:
    left, right = ends
    psk, old, new = key(1), key(1, ppk=True), key(2, ppk=True)
    for end in ends:
        give(end, psk, old)
    with pytest.raises(DaemonRefused, match=PPK):
        give(left, psk, key(2, b"", ppk=True), old)
    left.daemon.connect([left.managed(ppk="required")])
    assert left.daemon.initiate("managed")
    wait_established(right.daemon, "managed")
    # No longer both ends' matter: its companion goes with the PPK.
    give(left, psk, new, old)
    left.daemon.connect([left.managed()])
    with left.gateway.session() as session:
        assert session.get_conns()["conns"] == [b"managed"]


def test_a_companion_is_told_by_the_name_of_its_connection(ends: tuple[End, End]) -> None:
    left, right = ends
    psk, old, new = key(1), key(1, ppk=True), key(2, ppk=True)
    give(left, psk, old, new)
    give(right, psk, old, new)
    with watching(right.daemon) as seen:
        left.daemon.initiate("managed")
        up = seen.wait_for(EventKind.UP).sa
        assert up is not None
        assert up.connection == "managed"
    assert [sa.name for sa in right.gateway.list_sas()] == ["managed+ikewarden"]
    assert right.daemon.inventory().connections == ("managed",)
    assert not right.daemon.initiate("managed")
    right.daemon.connect([])
    assert right.daemon.sas() == ()
    assert right.daemon.inventory().connections == ()


def test_what_is_to_be_up_is_begun_anew_after_a_restart(ends: tuple[End, End]) -> None:
    left, right = ends
    psk, one = key(1), key(1, ppk=True)
    give(right, psk, one)
    give(left, psk, one, start="start")
    before = wait_established(left.daemon, "managed")
    for gateway in (left.gateway,):
        gateway.stop()
        gateway.start()
        gateway.load_all()
    give(left, psk, one, start="start")
    wait_established(left.daemon, "managed", but=before.spi_initiator)


def test_ike_version_1_comes_up(ends: tuple[End, End]) -> None:
    one, other = key(1), key(2)
    for end in ends:
        end.daemon.share([replace(end.psk(one, other, connection="managed"), ike_version=1)])
        end.daemon.connect([end.managed(ike_version=1)])
    assert ends[0].daemon.initiate("managed")
    assert wait_established(ends[0].daemon, "managed").version == 1


# --- files, and what others wrote ---------------------------------------------------------------------------------


@pytest.fixture
def rig(lab: Lab) -> SharedCharonRig:
    return SharedCharonRig(lab)


def test_swanctl_comes_to_the_same(rig: SharedCharonRig) -> None:
    keys = [key(number) for number in (3, 1, 2)]
    wanted = [slot(*keys), ppk_slot(key(2, ppk=True), key(1, ppk=True))]
    rig.daemon.share(wanted)
    held = {PSK: (3, 1, 2), PPK: (2, 1)}
    assert versions(rig.daemon) == held
    for act in (rig.gateway.load_credentials, rig.gateway.load_all, rig.restart):
        act()
        assert versions(rig.daemon) == held
        mark = rig.gateway.log.mark()
        rig.daemon.share(wanted)
        assert rig.gateway.log.words("shared key", mark) == []


def test_the_file_is_for_root_alone_and_names_the_peer_alone(rig: SharedCharonRig) -> None:
    rig.daemon.share([slot(key(1), key(2))])
    path = rig.gateway.swanctl_folder / "conf.d" / "ikewarden.secrets.conf"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert PEER in text
    assert OWN not in text
    # It is no connection's.
    rig.daemon.connect([])
    assert path.exists()
    rig.daemon.share([])
    assert not path.exists()


def test_only_what_is_needed_is_loaded(rig: SharedCharonRig) -> None:
    one, two, three = key(1), key(2), key(3)
    loads = [
        ((one,), 1),
        ((one, two), 2),  # the new one, and the former in front again
        ((two, one), 1),
        ((two,), 0),
        ((two, three), 2),
        ((three, two), 1),
        ((three,), 0),
    ]
    for keys, count in loads:
        mark = rig.gateway.log.mark()
        rig.daemon.share([slot(*keys)])
        assert len(rig.gateway.log.words("^loaded IKE shared key", mark)) == count
        rig.daemon.share([slot(*keys)])
        assert len(rig.gateway.log.words("^loaded IKE shared key", mark)) == count


def test_from_wherever_an_agent_left_it(rig: SharedCharonRig) -> None:
    dice = random.Random(4)
    keys = [key(number) for number in range(1, 5)]
    for _ in range(40):
        # A file of one moment, and what was loaded at another.
        rig.daemon.share([slot(*dice.sample(keys, dice.randint(0, 4)))])
        with rig.gateway.session() as session:
            for each in dice.sample(keys, dice.randint(0, 3)):
                session.load_shared(
                    {
                        "id": f"ikewarden-gw-a-gw-b~psk-v{each.version}",
                        "type": "IKE",
                        "data": each.value.reveal(),
                        "owners": [f"fqdn:{PEER}"],
                    }
                )
            for name in dice.sample(
                held := session.get_shared()["keys"], dice.randint(0, len(held))
            ):
                session.unload_shared({"id": name})
        if dice.random() < 0.2:
            (rig.gateway.swanctl_folder / "conf.d" / "ikewarden.secrets.conf").unlink(
                missing_ok=True
            )
        wanted = dice.sample(keys, dice.randint(1, 4))
        rig.daemon.share([slot(*wanted)])
        assert versions(rig.daemon) == {PSK: tuple(each.version for each in wanted)}
        rig.gateway.load_credentials()
        assert versions(rig.daemon) == {PSK: tuple(each.version for each in wanted)}


def test_a_refused_slot_keeps_what_is_in_use_where_the_file_is_lost(rig: SharedCharonRig) -> None:
    rig.daemon.share([slot(key(1))])
    (rig.gateway.swanctl_folder / "conf.d" / "ikewarden.secrets.conf").unlink()
    with pytest.raises(DaemonRefused, match=PSK):
        rig.daemon.share([slot(key(2), key(3, b""))])
    assert versions(rig.daemon) == {PSK: (1,)}


def write_foreign(rig: SharedCharonRig, text: str, name: str = "zz") -> None:
    (rig.gateway.swanctl_folder / "conf.d" / f"{name}.conf").write_text(text)
    rig.gateway.load_credentials()


def test_a_secret_of_others_that_fits_better_shadows_ours(rig: SharedCharonRig) -> None:
    one = key(1)
    rig.daemon.share([slot(one)])
    write_foreign(
        rig,
        "secrets {\n  ike-both {\n    id-1 = gw-a.example\n    id-2 = @gw-b.example\n"
        f"    secret = 0s{'QUJDRA=='}\n  }}\n"
        "  ike-all {\n    secret = open\n  }\n"
        "  ike-own {\n    id = fqdn:gw-a.example\n    secret = x\n  }\n"
        "  eap-no {\n    id = gw-b.example\n    secret = y\n  }\n}\n",
    )
    rig.daemon.share([slot(one)])
    found = {
        each.where.rpartition(".")[2]: each.shadows
        for each in rig.daemon.shared([slot(one)]).foreign
    }
    assert found == {"ike-both": True, "ike-all": False, "ike-own": False}
    rig.share_with_peer(one)
    assert not rig.bring_up_shared()


def test_one_that_was_only_loaded_later_is_overtaken(rig: SharedCharonRig) -> None:
    one = key(1)
    rig.share_with_peer(one)
    rig.daemon.share([slot(one)])
    write_foreign(
        rig, f"secrets {{\n  ike-later {{\n    id = {PEER}\n    secret = later\n  }}\n}}\n"
    )
    assert [each.shadows for each in rig.daemon.shared([slot(one)]).foreign] == [True]
    assert not rig.bring_up_shared()
    rig.daemon.share([slot(one)])
    assert [each.shadows for each in rig.daemon.shared([slot(one)]).foreign] == [False]
    assert rig.bring_up_shared()


def test_a_wiped_secret_is_told_as_a_restart(rig: SharedCharonRig) -> None:
    rig.daemon.share([slot(key(1))])
    with watching(rig.daemon) as seen:
        with rig.gateway.session() as session:
            session.unload_shared({"id": "ikewarden-gw-a-gw-b~psk-v1"})
        seen.wait_for(EventKind.RESTARTED)


def test_without_make_before_break_it_is_not_gapless(lab: Lab) -> None:
    plain = lab.gateway("gw-a")
    able = adapter(plain, make_before_break=None).abilities()
    assert (able.gapless, able.beside) == (False, True)
    assert adapter(plain, make_before_break=None).abilities().overlap
