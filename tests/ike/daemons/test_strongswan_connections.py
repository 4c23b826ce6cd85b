"""Managed connections in live charons: what is equal is left alone, what others have is left alone."""

import time

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from ike.daemons.port import Child, Connection, Credential, DaemonRefused, fingerprint
from tests.ike.daemons.charon_rig import CharonRig, adapter
from tests.ike.daemons.contract import OWN, PEER, install
from tests.lab.handmade import Authority

NAME = "managed"


@pytest.fixture
def managed(charon: CharonRig, first: Credential) -> Connection:
    """As the peer's own connection expects it; comes up by itself."""
    here, there = charon.gateway, charon.peer
    networks = (str(here.inside.network),), (str(there.inside.network),)
    return Connection(
        name=NAME,
        local_addresses=(here.outside,),
        remote_addresses=(there.outside,),
        local_id=f"dns:{OWN}",
        remote_id=f"dns:{PEER}",
        remote_authority=fingerprint(charon.pki.root.certificate),
        children=(Child("net", *networks, start_action="start"),),
        revocation="relaxed",
    )


def wait_up(charon: CharonRig, *, but: str = "") -> str:
    """The id of the connection's established SA, another one than `but`."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for sa in charon.daemon.sas():
            if (
                sa.connection == NAME
                and sa.established
                and sa.children
                and sa.spi_initiator != but
                and sa.children[0].state == "INSTALLED"
            ):
                return sa.spi_initiator
        time.sleep(0.02)
    raise AssertionError(f"{NAME} did not come up: {charon.daemon.sas()}")


def still_up(charon: CharonRig, spi: str) -> bool:
    time.sleep(0.3)
    found = [sa for sa in charon.daemon.sas() if sa.connection == NAME]
    return [sa.spi_initiator for sa in found if sa.established] == [spi]


def with_rekey(connection: Connection, seconds: int) -> Connection:
    return Connection(**{**vars(connection), "rekey_seconds": seconds})


def test_an_equal_connection_keeps_its_sa(charon: CharonRig, managed: Connection) -> None:
    charon.daemon.connect([managed])
    spi = wait_up(charon)
    charon.daemon.connect([managed])
    second = Connection(**{**vars(managed), "name": "second", "remote_addresses": ("192.0.2.9",)})
    charon.daemon.connect([managed, second])
    charon.daemon.connect([managed])
    assert still_up(charon, spi)


def test_swanctl_agrees_with_what_is_loaded(charon: CharonRig, managed: Connection) -> None:
    charon.daemon.connect([managed])
    spi = wait_up(charon)
    mark = charon.gateway.log.mark()
    said = charon.gateway.load_all()
    assert f"loaded connection '{NAME}'" in said
    assert still_up(charon, spi)
    assert charon.gateway.log.words(f"replaced vici connection: {NAME}", mark) == []
    assert charon.gateway.log.words(f"updated vici connection: {NAME}", mark) != []


def test_after_a_restart_it_waits_for_traffic_or_the_agent(
    charon: CharonRig, managed: Connection
) -> None:
    charon.daemon.connect([managed])
    spi = wait_up(charon)
    charon.restart()
    with charon.gateway.session() as session:
        waiting = {name for entry in session.list_policies({"trap": "yes"}) for name in entry}
    assert f"{NAME}/net" in waiting
    charon.daemon.connect([managed])
    wait_up(charon, but=spi)


def test_a_changed_one_is_replaced_and_comes_up_anew(
    charon: CharonRig, managed: Connection
) -> None:
    charon.daemon.connect([managed])
    spi = wait_up(charon)
    charon.daemon.connect([with_rekey(managed, 7200)])
    wait_up(charon, but=spi)


def with_authorities(connection: Connection, *more: Authority) -> Connection:
    prints = tuple(fingerprint(each.certificate) for each in more)
    return Connection(**{**vars(connection), "more_authorities": prints})


def test_another_authority_of_the_peer_makes_nothing_anew(
    charon: CharonRig, managed: Connection
) -> None:
    """In a rollover: published, gone back, published again, finished."""
    old, new = charon.pki.root, Authority("Next Root")
    charon.daemon.connect([managed])
    spi = wait_up(charon)
    child = charon.daemon.sas()[0].children[0].spi_in
    both, finished = with_authorities(managed, new), with_authorities(managed)
    mark = charon.gateway.log.mark()
    for wanted, roots in ((both, [old, new]), (finished, [old]), (both, [old, new])):
        charon.daemon.trust([each.certificate for each in roots])
        charon.daemon.connect([wanted])
        assert still_up(charon, spi)
    assert len(charon.gateway.log.words(f"replaced vici connection: {NAME}", mark)) == 3
    assert [each.spi_in for each in charon.daemon.sas()[0].children] == [child]
    # An agent that comes anew knows what is in the files.
    again = adapter(charon.gateway)
    again.connect([both])
    again.connect([finished])
    assert still_up(charon, spi)
    assert [each.spi_in for each in charon.daemon.sas()[0].children] == [child]


def test_one_no_longer_named_ends_with_its_sas(charon: CharonRig, managed: Connection) -> None:
    charon.daemon.connect([managed])
    wait_up(charon)
    charon.daemon.connect([])
    assert [sa for sa in charon.daemon.sas() if sa.connection == NAME] == []
    assert NAME not in charon.daemon.inventory().connections
    charon.restart()
    assert NAME not in charon.daemon.inventory().connections


def test_a_swap_does_not_touch_it(charon: CharonRig, managed: Connection) -> None:
    charon.daemon.connect([managed])
    spi = wait_up(charon)
    install(charon.daemon, charon.pki.credential())
    charon.daemon.connect([managed])
    assert still_up(charon, spi)


def test_one_that_charon_refuses_does_not_hinder_the_others(
    charon: CharonRig, managed: Connection
) -> None:
    odd = Connection(**{**vars(managed), "name": "odd", "proposals": ("aes999-md4",)})
    with pytest.raises(DaemonRefused, match="proposals"):
        charon.daemon.connect([odd, managed])
    assert NAME in charon.daemon.inventory().connections
    assert "odd" not in charon.daemon.inventory().connections
    # It is not in the files either: they would not load.
    assert "odd" not in charon.gateway.load_all()
    charon.daemon.connect([managed])


def test_a_refused_change_keeps_the_old_one(charon: CharonRig, managed: Connection) -> None:
    charon.daemon.connect([managed])
    spi = wait_up(charon)
    with pytest.raises(DaemonRefused):
        charon.daemon.connect([Connection(**{**vars(managed), "proposals": ("aes999-md4",)})])
    assert still_up(charon, spi)
    charon.gateway.load_all()
    assert still_up(charon, spi)


def test_one_that_was_being_loaded_when_the_agent_died_is_ours(
    charon: CharonRig, managed: Connection
) -> None:
    with charon.gateway.session() as session:
        session.load_conn({NAME: {"version": "2", "remote_addrs": ["192.0.2.2"]}})
    loading = charon.gateway.swanctl_folder / "ikewarden" / "loading.json"
    loading.write_text(f'["{NAME}"]')
    charon.daemon.connect([managed])
    wait_up(charon)
    assert not loading.exists()


def test_identities_of_every_kind_are_read_as_they_are(
    charon: CharonRig, managed: Connection
) -> None:
    subject = charon.pki.root.certificate.subject
    kinds = {
        "ip:192.0.2.7": "192.0.2.7",
        "ip:2001:DB8::7": "2001:db8::7",
        "email:gw@example.com": "gw@example.com",
        "dns:192.0.2.7": "192.0.2.7",
        "dn:CN=gw-b,O=Example Ltd,C=CH": "C=CH, O=Example Ltd, CN=gw-b",
        f"dn:{subject.rfc4514_string()}": "CN=Contract Root",
    }
    for number, (identity, printed) in enumerate(kinds.items()):
        name = f"kind{number}"
        each = Connection(
            **{**vars(managed), "name": name, "remote_id": identity, "children": quiet(managed)}
        )
        charon.daemon.connect([each])
        charon.gateway.load_all()
        with charon.gateway.session() as session:
            (entry,) = list(session.list_conns({"ike": name}))
        assert entry[name]["remote-1"]["id"].decode() == printed


def quiet(connection: Connection) -> tuple[Child, ...]:
    return tuple(Child(each.name, each.local_ts, each.remote_ts) for each in connection.children)


def test_the_ca_that_it_asks_for_is_the_one(charon: CharonRig, managed: Connection) -> None:
    charon.daemon.connect([managed])
    with charon.gateway.session() as session:
        (entry,) = list(session.list_conns({"ike": NAME}))
    assert entry[NAME]["remote-1"]["cacerts"] == [b"CN=Contract Root"]
    pem = charon.pki.root.certificate.public_bytes(Encoding.PEM)
    folder = charon.gateway.swanctl_folder / "ikewarden"
    assert pem in [path.read_bytes() for path in folder.glob("ca-*.pem")]
