"""Revocation in live charons: which certificate authenticated an SA, the end of SAs, lists of any size."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ike.daemons import matching
from ike.daemons.port import Credential, DaemonRefused, EventKind, IkeSa, fingerprint
from ike.daemons.strongswan.session import MAX_VALUE
from ike.daemons.strongswan.trusting import crl_name
from tests.ike.daemons.charon_rig import TUNNEL, CharonRig, adapter, add_tunnel, in_cache
from tests.ike.daemons.contract import OWN, PEER, install, revoked, wait_for, watching
from tests.lab import Gateway, Lab, LabError
from tests.lab.handmade import Authority

SPARE = "spare"


@dataclass
class Twins:
    """Two peers of one name under two certificates, both with a tunnel to `gw-a`."""

    charon: CharonRig
    twin: Gateway
    twin_certificate: x509.Certificate

    def bring_up(self, *, one_by_one: bool = False) -> None:
        for name in (TUNNEL, SPARE):
            self.charon.gateway.initiate(name)
            if one_by_one:
                wait_for_flush(self.charon)


@pytest.fixture
def twins(lab: Lab, charon: CharonRig, first: Credential) -> Twins:
    twin = lab.gateway("gw-c")
    leaf = charon.pki.leaf(PEER)
    twin.install(leaf.key_pem, leaf.pem, charon.pki.issuing.chain)
    add_tunnel(twin, charon.gateway, PEER, OWN, name=SPARE)
    # Both may stay: the gateway does not take the second for the first that comes back.
    add_tunnel(charon.gateway, charon.peer, OWN, PEER, unique="never")
    add_tunnel(charon.gateway, twin, OWN, PEER, name=SPARE, unique="never")
    return Twins(charon, twin, leaf.certificate)


def by_connection(sas: tuple[IkeSa, ...]) -> dict[str, str | None]:
    return {sa.connection: sa.remote_certificate for sa in sas if sa.established}


def wait_for_flush(charon: CharonRig) -> None:
    """Until the watch has emptied the cache."""
    deadline = time.monotonic() + 60
    while in_cache(charon.gateway, PEER):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.3)  # it looks once more who is coming up


def wait_for_record(charon: CharonRig, count: int) -> None:
    """Until the watch has noted that many SAs."""
    path = charon.gateway.swanctl_folder / "ikewarden" / "sightings.json"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(FileNotFoundError, ValueError):
            if len(json.loads(path.read_bytes())["sas"]) == count:
                return
        time.sleep(0.01)
    raise AssertionError(path.read_text() if path.exists() else "no record")


# which certificate it was


def test_of_two_peers_of_one_name_the_revoked_one_is_cut(twins: Twins) -> None:
    charon = twins.charon
    bad, good = charon.peer_certificate, twins.twin_certificate
    with watching(charon.daemon):
        twins.bring_up(one_by_one=True)
        wait_for_record(charon, 2)
    seen = {TUNNEL: fingerprint(bad), SPARE: fingerprint(good)}
    assert by_connection(charon.daemon.sas()) == seen

    (cut,) = charon.daemon.cut(revoked(bad, good))

    assert (cut.sa.connection, cut.matched_by, cut.ended) == (TUNNEL, "certificate", True)
    assert by_connection(charon.daemon.sas()) == {SPARE: fingerprint(good)}


def test_two_peers_of_one_name_at_the_same_moment_are_not_told_apart(twins: Twins) -> None:
    charon = twins.charon
    with watching(charon.daemon):
        twins.bring_up()
        wait_for_record(charon, 2)
    told = by_connection(charon.daemon.sas())
    assert told[TUNNEL] in {fingerprint(charon.peer_certificate), None}
    assert told[SPARE] in {fingerprint(twins.twin_certificate), None}


def test_where_nobody_watched_the_identity_decides(twins: Twins) -> None:
    charon = twins.charon
    twins.bring_up()
    assert by_connection(charon.daemon.sas()) == {TUNNEL: None, SPARE: None}
    cuts = charon.daemon.cut(revoked(charon.peer_certificate, twins.twin_certificate))
    assert {(cut.sa.connection, cut.matched_by) for cut in cuts} == {
        (TUNNEL, "identity"),
        (SPARE, "identity"),
    }


def test_what_was_seen_survives_the_agent(charon: CharonRig, first: Credential) -> None:
    with watching(charon.daemon):
        charon.bring_up()
        wait_for_record(charon, 1)
    charon.gateway.flush_certs()
    (sa,) = adapter(charon.gateway).sas()
    assert sa.remote_certificate == fingerprint(charon.peer_certificate)
    assert sa.local_certificate == first.fingerprint


def test_an_sa_from_before_is_told_by_the_only_one_that_can_be(
    charon: CharonRig, first: Credential
) -> None:
    charon.bring_up()
    (sa,) = charon.daemon.sas()
    assert sa.remote_certificate == fingerprint(charon.peer_certificate)
    assert sa.local_certificate is None
    # But it does not spare the SA: nobody saw it.
    other = charon.pki.leaf(PEER).certificate
    (cut,) = charon.daemon.cut(revoked(other, charon.peer_certificate))
    assert cut.matched_by == "identity"


def test_a_rekeyed_sa_inherits(charon: CharonRig, first: Credential) -> None:
    with watching(charon.daemon) as seen:
        charon.bring_up()
        up = seen.wait_for(EventKind.UP).sa
        seen.events.clear()
        with charon.gateway.session() as session:
            session.rekey({"ike": TUNNEL})
        wait_for(
            lambda: (
                [each for each in seen.events if each.sa and each.sa.id != (up and up.id)] != []
            ),
            "the rekeyed SA is told",
        )
    assert up is not None
    (sa,) = [sa for sa in charon.daemon.sas() if sa.established]
    assert sa.spi_initiator != up.spi_initiator
    assert sa.remote_certificate == fingerprint(charon.peer_certificate)
    changed = [event.sa for event in seen.events if event.kind is EventKind.CHANGED]
    assert sa.spi_initiator in {each.spi_initiator for each in changed if each}
    (cut,) = charon.daemon.cut(revoked(charon.peer_certificate))
    assert cut.matched_by == "certificate"


def test_reauthentication_under_another_certificate_is_seen(
    charon: CharonRig, first: Credential
) -> None:
    with watching(charon.daemon) as seen:
        charon.bring_up()
        old = seen.wait_for(EventKind.UP).sa
        wait_for_flush(charon)
        new = charon.renew_peer()
        seen.events.clear()
        charon.daemon.reauthenticate(TUNNEL)
        up = seen.wait_for(EventKind.UP).sa
    assert old is not None
    assert up is not None
    assert old.remote_certificate != up.remote_certificate == fingerprint(new)


def test_a_certificate_that_somebody_else_showed_is_not_taken_for_the_one(
    charon: CharonRig, first: Credential
) -> None:
    """A certificate is public: showing it without its key gets it into the cache, but no further."""
    innocent = charon.pki.leaf(PEER).certificate
    with charon.gateway.session() as session:
        session.load_cert({"type": "X509", "flag": "NONE", "data": der(innocent)})
    with watching(charon.daemon) as seen:
        charon.bring_up()
        up = seen.wait_for(EventKind.UP).sa
    assert up is not None
    assert up.remote_certificate is None
    (cut,) = charon.daemon.cut(revoked(charon.peer_certificate, innocent))
    assert cut.matched_by == "identity"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"sas": {"a:b": 7}}', b'{"sas": 1}'])
def test_a_damaged_record_counts_as_none(
    charon: CharonRig, first: Credential, content: bytes
) -> None:
    path = charon.gateway.swanctl_folder / "ikewarden" / "sightings.json"
    path.write_bytes(content)
    daemon = adapter(charon.gateway)
    with watching(daemon) as seen:
        charon.bring_up()
        seen.wait_for(EventKind.UP)
    (sa,) = adapter(charon.gateway).sas()
    assert sa.remote_certificate == fingerprint(charon.peer_certificate)


# the end of an SA


def test_a_silent_peer_is_not_waited_for(lab: Lab) -> None:
    charon = CharonRig(lab, settings={"retransmit_tries": 20})  # charon itself would wait for days
    charon.daemon.trust(charon.pki.authorities)
    install(charon.daemon, charon.pki.credential())
    charon.bring_up()
    charon.peer.namespace.run(["ip", "link", "set", "eth0", "down"])
    (cut,) = charon.daemon.cut(revoked(charon.peer_certificate))
    assert cut.ended
    assert charon.daemon.sas() == ()


def test_a_half_open_sa_is_cut(charon: CharonRig, first: Credential) -> None:
    charon.peer.namespace.run(["ip", "link", "set", "eth0", "down"])
    with half_open(charon) as states:
        assert states == ["CONNECTING"]
        (cut,) = charon.daemon.cut(revoked(charon.peer_certificate))
    assert (cut.ended, cut.sa.established) == (True, False)
    assert charon.daemon.sas() == ()


class half_open:  # noqa: N801 - used as a function
    """An SA that gets no answer; gives the states listed."""

    def __init__(self, charon: CharonRig) -> None:
        self._charon = charon
        self._thread = threading.Thread(target=self._initiate)

    def __enter__(self) -> list[str]:
        self._thread.start()
        deadline = time.monotonic() + 60
        while not self._charon.daemon.sas() and time.monotonic() < deadline:
            time.sleep(0.01)
        return [sa.state for sa in self._charon.daemon.sas()]

    def __exit__(self, *_: object) -> None:
        self._thread.join(90)
        assert not self._thread.is_alive()

    def _initiate(self) -> None:
        with suppress(LabError):
            self._charon.gateway.initiate(TUNNEL)


def test_a_revoked_peer_does_not_come_back(charon: CharonRig, first: Credential) -> None:
    charon.daemon.load_crls([charon.pki.crl(1)])
    charon.bring_up()
    charon.daemon.load_crls([charon.pki.crl(2, charon.peer_certificate)])
    assert len(charon.daemon.cut(revoked(charon.peer_certificate))) == 1
    charon.peer.wait_until(TUNNEL, up=False)
    with pytest.raises(LabError, match="AUTHENTICATION_FAILED"):
        charon.peer.initiate(TUNNEL)
    assert charon.daemon.sas() == ()


# revocation lists


def filler(count: int) -> Iterator[x509.Certificate]:
    """Certificates to be revoked: all that counts is that their serial numbers differ."""

    @dataclass
    class Numbered:
        serial_number: int

    for number in range(count):
        yield Numbered(0x1000000 + number)  # type: ignore[misc]


def test_a_list_that_is_too_large_for_vici_counts_all_the_same(
    charon: CharonRig, first: Credential
) -> None:
    small = charon.pki.crl(1)
    large = charon.pki.crl(2, charon.peer_certificate, *filler(3000))
    larger = charon.pki.crl(3, charon.peer_certificate, *filler(3001))
    assert len(der(small)) < MAX_VALUE < len(der(large))
    charon.daemon.load_crls([small])
    assert not charon.peer_is_refused()
    for crl, number in ((large, 2), (large, 2), (larger, 3)):
        charon.daemon.load_crls([crl])
        assert charon.peer_is_refused()
        assert number in {each.number for each in charon.daemon.inventory().crls}
    charon.restart()
    assert charon.peer_is_refused()
    assert "exceeds" not in charon.gateway.swanctl("--load-creds", "--noprompt")
    charon.daemon.trust(charon.pki.authorities)  # nothing is lost by it
    assert charon.peer_is_refused()

    charon.daemon.load_crls([charon.pki.crl(4)])
    assert not charon.peer_is_refused()
    charon.restart()
    assert not charon.peer_is_refused()
    folder = charon.gateway.swanctl_folder / "ikewarden"
    assert list(folder.glob("crl-*")) == []


def test_a_list_that_was_forgotten_is_loaded_again(charon: CharonRig, first: Credential) -> None:
    crl = charon.pki.crl(2, charon.peer_certificate)
    charon.daemon.load_crls([crl])
    charon.wipe()
    charon.daemon.trust(charon.pki.authorities)
    charon.daemon.load_crls([charon.pki.crl(1)])  # even if an older one is handed over
    assert [each.number for each in charon.daemon.inventory().crls] == [2]


def test_the_lists_of_two_keys_of_one_name_count_side_by_side(
    charon: CharonRig, first: Credential
) -> None:
    # As in a rollover. Of two that are loaded charon would keep that with the higher number, whoever signed it.
    mine = charon.pki.crl
    charon.daemon.load_crls([mine(3)])
    successor = Authority("Contract Issuing", charon.pki.root, serial=9)
    charon.daemon.trust((*charon.pki.authorities, successor.certificate))
    for number, its in ((3, 1), (4, 9)):
        charon.daemon.load_crls([mine(number), x509.load_der_x509_crl(successor.crl(its))])
        assert not charon.peer_is_refused()  # it would be without its list
        assert {number, its} <= {each.number for each in charon.daemon.inventory().crls}
    charon.daemon.load_crls([mine(5, charon.peer_certificate)])
    assert charon.peer_is_refused()
    charon.restart()
    assert charon.peer_is_refused()


def test_lists_that_no_trusted_ca_signed_are_refused(charon: CharonRig, first: Credential) -> None:
    good = charon.pki.crl(1, charon.peer_certificate)
    stranger = x509.load_der_x509_crl(Authority("Stranger").crl(9))
    impostor = x509.load_der_x509_crl(Authority("Contract Issuing").crl(9))
    for bad in (stranger, impostor):
        with pytest.raises(DaemonRefused, match="no CA that this gateway trusts"):
            charon.daemon.load_crls([bad, good])
        assert [each.number for each in charon.daemon.inventory().crls] == [1]
    assert charon.peer_is_refused()


def der(each: x509.Certificate | x509.CertificateRevocationList) -> bytes:
    return each.public_bytes(Encoding.DER)


@pytest.mark.parametrize("place", ["x509crl/ikewarden-{}.crl", "ikewarden/crl-{}.crl"])
def test_a_list_that_was_damaged_on_disk_is_replaced(charon: CharonRig, place: str) -> None:
    charon.daemon.trust(charon.pki.authorities)
    authority = charon.pki.issuing.certificate
    path = charon.gateway.swanctl_folder / place.format(crl_name(authority))
    path.write_bytes(b"no list")
    charon.daemon.inventory()
    crl = x509.load_der_x509_crl(charon.pki.issuing.crl(7, []))
    charon.daemon.load_crls([crl])
    assert 7 in {each.number for each in charon.daemon.inventory().crls}


# identities that are meant to be overlooked


@pytest.mark.parametrize("identity", ['"keyid:#{key}"', "fqdn:*.example", "CN=*"])
def test_a_peer_under_a_pattern_or_the_id_of_its_key_is_seen_and_cut(
    charon: CharonRig, first: Credential, identity: str
) -> None:
    key = matching.key_id(charon.peer_certificate.public_key())
    add_tunnel(charon.gateway, charon.peer, OWN, "%any")
    own = identity.format(key=key)
    add_tunnel(charon.peer, charon.gateway, own, OWN, local={"certs": "own.pem"})
    with watching(charon.daemon):
        charon.peer.initiate(TUNNEL)
        wait_for_record(charon, 1)
    (cut,) = charon.daemon.cut(revoked(charon.peer_certificate))
    assert (cut.matched_by, cut.ended) == ("certificate", True)
    assert cut.sa.remote_id not in {PEER, f"CN={PEER}"}
