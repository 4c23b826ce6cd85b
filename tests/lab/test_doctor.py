"""`ikewarden doctor` over broken tunnels of real daemons: what was broken is the one thing to do next."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

import pytest
from cryptography.x509 import ReasonFlags
from cryptography.x509.oid import ExtendedKeyUsageOID

from ike.events.reader import Reader
from tests.lab import Lab
from tests.lab.broken import SECRET, TRANSLATED, Said, Scene, leaf
from tests.lab.broken_pluto import PlutoScene
from tests.lab.handmade import HOUR, Authority, Leaf

pytestmark = pytest.mark.usefixtures("needs_lab")

ROOT: Final = Authority("Lab Root")
ISSUING: Final = Authority("Lab Issuing", ROOT)
LEFT, RIGHT = "left.example.net", "right.example.net"


@pytest.fixture(scope="module")
def stage() -> Iterator[Scene]:
    with Lab() as lab:
        yield Scene(lab)


@pytest.fixture
def scene(stage: Scene, needs_lab: None) -> Scene:
    stage.restore()
    return stage


def pair(**left: object) -> tuple[Leaf, Leaf]:
    """Certificates of both ends; what is said is of the left one."""
    made = leaf(ROOT, LEFT, serial=0xA0, **left)  # type: ignore[arg-type]
    return made, leaf(ROOT, RIGHT, serial=0xB0)


def certified(scene: Scene, leaves: tuple[Leaf, Leaf], **more: object) -> None:
    scene.certified(leaves, (ROOT, ROOT), **more)  # type: ignore[arg-type]


# each breaks the tunnel, lets it be tried, and examines it


def daemon_down(scene: Scene) -> Said:
    scene.shared()
    scene.attempt()
    scene.left.stop()
    return scene.examine(scene.left)


def not_loaded(scene: Scene) -> Said:
    scene.shared()
    with scene.left.session() as session:
        session.unload_conn({"name": "site"})
    scene.attempt()
    return scene.examine(scene.left)


def wrong_secret(scene: Scene) -> Said:
    scene.shared(keys=("one", "two"))
    scene.attempt()
    return scene.examine(scene.left)


def expired(scene: Scene) -> Said:
    certified(scene, pair(valid=(-48 * HOUR, -HOUR)))
    scene.attempt()
    return scene.examine(scene.left)


def slow_clock(scene: Scene) -> Said:
    certified(scene, pair(valid=(2 * HOUR, 48 * HOUR)))
    scene.attempt()
    return scene.examine(scene.left)


def revoked(scene: Scene) -> Said:
    certified(scene, pair())
    scene.right.install_crl(ROOT.crl(1, [(0xA0, ReasonFlags.key_compromise)]))
    scene.attempt()
    return scene.examine(scene.left)


def missing_authority(scene: Scene) -> Said:
    other = Authority("Other Root")
    leaves = leaf(ROOT, LEFT, serial=0xA0), leaf(ROOT, RIGHT, serial=0xB0)
    scene.certified(leaves, (other, ROOT))
    scene.attempt()
    return scene.examine(scene.left)


def missing_root(scene: Scene) -> Said:
    """The peer has the CA that issued the certificate, and not the root above it."""
    leaves = leaf(ISSUING, LEFT, serial=0xA0), leaf(ROOT, RIGHT, serial=0xB0)
    scene.certified(leaves, (ROOT, ISSUING))
    scene.attempt()
    return scene.examine(scene.left)


def authority_not_loaded(scene: Scene) -> Said:
    """It was put into the folder, and nobody told the daemon."""
    certified(scene, pair())
    file = next((scene.left.swanctl_folder / "x509ca").iterdir())
    content = file.read_bytes()
    file.unlink()
    scene.left.swanctl("--load-all", "--clear", "--noprompt")
    scene.left.flush_certs()
    file.write_bytes(content)
    scene.attempt()
    return scene.examine(scene.left)


def wrong_key(scene: Scene) -> Said:
    leaves = pair()
    other = Leaf(leaf(ROOT, LEFT, serial=0xA1).key, leaves[0].certificate)
    certified(scene, (other, leaves[1]))
    scene.attempt()
    return scene.examine(scene.left)


def name_not_certified(scene: Scene) -> Said:
    leaves = leaf(ROOT, "old.example.net", serial=0xA0), leaf(ROOT, RIGHT, serial=0xB0)
    certified(scene, leaves)
    scene.attempt()
    return scene.examine(scene.left)


def crl_unreachable(scene: Scene) -> Said:
    url = f"http://{scene.lab.service_address}:81/ca.crl"  # nobody listens there
    certified(
        scene,
        pair(crl_url=url),
        at_right={"remote": {"revocation": "strict"}},
    )
    scene.attempt()
    return scene.examine(scene.right)


def refused_by_windows(scene: Scene) -> Said:
    certified(scene, pair(purposes=(ExtendedKeyUsageOID.EMAIL_PROTECTION,)))
    scene.attempt()
    return scene.examine(scene.left, "--peer-kind", "windows")


def wrong_identity(scene: Scene) -> Said:
    scene.shared(at_right={"remote": {"id": "branch.example.net"}})
    scene.attempt()
    return scene.examine(scene.left)


def no_common_proposal(scene: Scene) -> Said:
    scene.shared(
        at_left={"proposals": "aes256-sha256-ecp256"},
        at_right={"proposals": "aes128gcm16-prfsha384-x25519"},
    )
    scene.attempt()
    return scene.examine(scene.left)


def no_common_child_proposal(scene: Scene) -> Said:
    scene.shared(
        at_left={"children": {"net": {"esp_proposals": "aes256-sha256"}}},
        at_right={"children": {"net": {"esp_proposals": "aes128gcm16"}}},
    )
    scene.attempt()
    return scene.examine(scene.left)


def other_networks(scene: Scene) -> Said:
    scene.shared(at_right={"children": {"net": {"local_ts": "10.77.0.0/24"}}})
    scene.attempt()
    return scene.examine(scene.left)


def other_method(scene: Scene) -> Said:
    scene.shared(at_right={"remote": {"auth": "pubkey"}})
    scene.attempt()
    return scene.examine(scene.left)


def other_local_address(scene: Scene) -> Said:
    """The peer's connection is for an address that the peer does not have."""
    scene.shared(at_right={"local_addrs": "192.0.2.99"})
    scene.attempt()
    return scene.examine(scene.left)


def other_local_address_here(scene: Scene) -> Said:
    """The same, seen by the peer."""
    scene.shared(at_right={"local_addrs": "192.0.2.99"})
    scene.attempt()
    return scene.examine(scene.right, "--no-probe")


def other_version(scene: Scene) -> Said:
    scene.shared(at_right={"version": 1})
    scene.attempt()
    return scene.examine(scene.left)


def blocked(scene: Scene) -> Said:
    scene.shared()
    scene.rules(scene.right, "udp dport { 500, 4500 } drop")
    scene.attempt()
    return scene.examine(scene.left)


def nat_port_blocked(scene: Scene) -> Said:
    scene.shared()
    scene.rules(scene.right, "udp dport 4500 drop")
    scene.attempt()
    return scene.examine(scene.left)


def peer_down(scene: Scene) -> Said:
    scene.shared()
    scene.right.stop()
    scene.attempt()
    return scene.examine(scene.left)


def behind_nat(scene: Scene) -> Said:
    """The peer expects the address that this end has, and sees the one that NAT gives it."""
    scene.shared()
    scene.rules(
        scene.left,
        f"udp dport {{ 500, 4500 }} snat ip to {TRANSLATED}",
        hook="nat hook postrouting priority 100",
    )
    scene.attempt()
    return scene.examine(scene.left)


def peer_behind_nat(scene: Scene) -> Said:
    """The same, seen by the peer, whose log tells."""
    scene.shared()
    scene.rules(
        scene.left,
        f"udp dport {{ 500, 4500 }} snat ip to {TRANSLATED}",
        hook="nat hook postrouting priority 100",
    )
    scene.attempt()
    return scene.examine(scene.right, "--no-probe")


def fragments_lost(scene: Scene) -> Said:
    names = [f"name-{number}.of.a.long.certificate.example.net" for number in range(40)]
    certified(scene, pair(more=names), both={"fragmentation": "no"})
    scene.rules(
        scene.right,
        "ip frag-off & 0x3fff != 0 drop",
        hook="filter hook prerouting priority -450",
    )
    scene.attempt()
    return scene.examine(scene.left)


def two_with_one_identity(scene: Scene) -> Said:
    """Another host with the left one's identity and key: the peer takes one of them at a time."""
    networks = "10.1.0.0/24, 10.3.0.0/24"
    scene.shared(at_right={"remote_addrs": "%any", "children": {"net": {"remote_ts": networks}}})
    twin = scene.lab.gateway("twin")
    try:
        secret = {"id-1": LEFT, "id-2": RIGHT, "secret": f"{SECRET}one"}
        section = {
            "version": 2,
            "local_addrs": twin.outside,
            "remote_addrs": scene.right.outside,
            "local": {"auth": "psk", "id": LEFT},
            "remote": {"auth": "psk", "id": RIGHT},
            "children": {
                "net": {"local_ts": twin.inside.network, "remote_ts": scene.right.inside.network}
            },
        }
        scene.attempt()
        scene.tell(twin, section, {"ike-site": secret})
        twin.initiate("net")
        scene.left.terminate("site", force=True)
        scene.attempt()
    finally:
        twin.stop()
    return scene.examine(scene.right)


CASES: Final[tuple[tuple[Callable[[Scene], Said], str], ...]] = (
    (daemon_down, "daemon"),
    (not_loaded, "loaded"),
    (wrong_secret, "secret"),
    (expired, "certificate_valid"),
    (slow_clock, "clock"),
    (revoked, "revoked"),
    (missing_authority, "trust"),
    (missing_root, "trust"),
    (authority_not_loaded, "trust"),
    (wrong_key, "certificate_key"),
    (name_not_certified, "certificate_identity"),
    (crl_unreachable, "revocation_source"),
    (refused_by_windows, "accepted"),
    (wrong_identity, "identities"),
    (no_common_proposal, "ike_proposals"),
    (no_common_child_proposal, "child_proposals"),
    (other_networks, "selectors"),
    (other_method, "authentication"),
    (other_local_address, "nat"),
    (other_local_address_here, "nat"),
    (other_version, "versions"),
    (blocked, "reachable"),
    (nat_port_blocked, "nat_port"),
    (peer_down, "reachable"),
    (behind_nat, "nat"),
    (peer_behind_nat, "nat"),
    (fragments_lost, "fragments"),
    (two_with_one_identity, "duplicate"),
)


@pytest.mark.parametrize(("broken", "cause"), CASES, ids=[each.__name__ for each, _ in CASES])
def test_what_was_broken_is_the_next_thing_to_do(
    scene: Scene, broken: Callable[[Scene], Said], cause: str
) -> None:
    said = broken(scene)
    assert (said.code, said.next) == (1, cause), said.brief
    assert said.document["next"]["next_step"]
    assert SECRET not in said.text


@pytest.mark.parametrize(
    ("broken", "cause", "words"),
    [
        (wrong_secret, "secret", "different keys"),
        (wrong_identity, "identities", "branch.example.net"),
        (other_method, "authentication", "pubkey"),
        (crl_unreachable, "revocation_source", "The peer insists"),
        (other_local_address, "nat", "192.0.2.99 only"),
        (behind_nat, "nat", TRANSLATED),
        (no_common_proposal, "ike_proposals", "in common"),
        (missing_authority, "trust", "This end has no CA certificate"),
        (missing_root, "trust", "not the root above it, CN=Lab Root"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_the_peers_log_does_not_make_a_stranger_of_this_end(
    scene: Scene, broken: Callable[[Scene], Said], cause: str, words: str
) -> None:
    broken(scene)
    said = scene.examine(scene.left, peers_log=True)
    assert (said.code, said.next) == (1, cause), said.brief
    assert words in said.document["next"]["evidence"]
    assert ("nat" in said.wrong) is (cause == "nat"), said.brief


def test_nothing_is_wrong_with_a_tunnel_that_stands(scene: Scene) -> None:
    scene.shared()
    scene.left.initiate("net")
    said = scene.examine(scene.left)
    assert (said.code, said.wrong, said.document["next"]) == (0, set(), None), said.brief


def test_nothing_is_wrong_with_a_certified_tunnel_that_stands(scene: Scene) -> None:
    certified(scene, pair())
    scene.left.initiate("net")
    for gateway in scene.ends:
        said = scene.examine(gateway)
        assert (said.code, said.wrong, said.document["next"]) == (0, set(), None), said.brief


def test_without_the_peers_files_the_log_says_what_to_do(scene: Scene) -> None:
    scene.shared(keys=("one", "two"))
    scene.attempt()
    said = scene.examine(scene.left, peer=False)
    assert (said.code, said.next) == (1, "negotiation"), said.brief
    assert "--peer-root" in said.document["next"]["next_step"]


def test_the_log_of_the_peer_says_why_it_refused(scene: Scene) -> None:
    scene.shared(keys=("one", "two"))
    scene.attempt()
    said = scene.examine(scene.left, peer=False, peers_log=True)
    assert (said.code, said.next) == (1, "negotiation"), said.brief
    assert "different pre-shared keys" in said.document["next"]["evidence"]


def test_a_certificate_that_the_peer_refused_is_this_ends(scene: Scene) -> None:
    missing_root(scene)
    said = scene.examine(scene.left, peer=False, peers_log=True)
    assert (said.code, said.next) == (1, "negotiation"), said.brief
    assert "certificate of this end" in said.document["next"]["evidence"]
    assert "up to the root" in said.document["next"]["next_step"]


def test_its_own_questions_are_no_failure_in_the_peers_log(scene: Scene) -> None:
    scene.shared(keys=("one", "two"))
    scene.attempt()
    scene.examine(scene.left, peer=False)
    again = scene.examine(scene.left, peer=False, peers_log=True)
    assert "different pre-shared keys" in again.document["next"]["evidence"], again.brief
    marked = scene.right.log.mark()
    scene.examine(scene.left, peer=False)
    asked = scene.right.log.text(marked)
    assert "unsupported IKE version 3.0" in asked
    reader = Reader(datetime.now(UTC).timestamp())
    assert [*reader.feed(asked.encode()), *reader.close()] == []


def test_a_peer_that_is_deaf_to_other_versions_is_asked_in_its_own(scene: Scene) -> None:
    scene.shared()
    scene.rules(scene.right, "udp dport 500 @th,200,4 3 drop")
    said = scene.examine(scene.left)
    assert "reachable" not in said.wrong, said.brief


def test_what_this_host_lets_not_out_is_not_the_routes_fault(scene: Scene) -> None:
    scene.shared()
    scene.rules(scene.left, "udp dport 500 drop", hook="filter hook output priority 0")
    scene.attempt()
    said = scene.examine(scene.left)
    assert (said.code, said.next) == (1, "reachable"), said.brief
    assert "own firewall" in said.document["next"]["evidence"]


def test_a_connection_that_stands_in_no_file(scene: Scene) -> None:
    scene.shared(keys=("one", "two"))
    file = scene.left.swanctl_folder / "conf.d/site.conf"
    file.unlink()
    scene.attempt()
    said = scene.examine(scene.left, peer=False, peers_log=True)
    assert (said.code, said.next) == (1, "negotiation"), said.brief
    assert "different pre-shared keys" in said.document["next"]["evidence"]
    found = {each["check"]: each for each in said.document["checks"]}
    assert found["configuration"]["verdict"] == "unknown"
    assert "The daemon has site" in found["configuration"]["evidence"]
    # It is asked of the peer that the daemon has, and missed although no line of a log names it.
    assert found["reachable"]["verdict"] == "ok", found["reachable"]
    file.write_text("connections {\nother {\n}\n}\n")
    alone = scene.examine(scene.left, "--no-probe", peer=False)
    file.unlink()
    assert (alone.code, alone.wrong) == (1, {"associations", "negotiation"}), alone.brief


# pluto's, in the same way


@pytest.fixture(scope="module")
def plutos() -> Iterator[PlutoScene]:
    with Lab() as lab, pytest.MonkeyPatch.context() as patch:
        made = PlutoScene(lab)
        # Where the doctor finds its programs, as they are not installed.
        patch.setenv("PATH", f"{made.left.programs}:{os.environ['PATH']}")
        yield made


@pytest.fixture
def pluto(needs_pluto: None, request: pytest.FixtureRequest) -> PlutoScene:
    scene: PlutoScene = request.getfixturevalue("plutos")
    scene.restore()
    return scene


CERTIFIED: Final = {"authby": "ecdsa", "leftcert": "own", "rightca": "%same"}


def equip_plutos(scene: PlutoScene, *roots: Authority) -> None:
    """A certificate each, of a root each."""
    for number, (end, root) in enumerate(zip(scene.ends, roots, strict=True)):
        made = root.leaf(f"{end.name}.lab.test", serial=0xC0 + number)
        end.install(made.key_pem, made.pem, [root.pem])


def pluto_down(scene: PlutoScene) -> None:
    scene.tell()
    scene.left.stop()


def pluto_not_loaded(scene: PlutoScene) -> None:
    scene.tell()
    scene.left.whack("--delete", "--name", "site")
    scene.attempt()


def pluto_configuration_unreadable(scene: PlutoScene) -> None:
    scene.tell()
    scene.left.whack("--delete", "--name", "site")
    scene.left.add_connection_file("other", {"left": "192.0.2.9", "no-such-word": "yes"})


def pluto_elsewhere(scene: PlutoScene) -> None:
    scene.tell(at_left={"left": "203.0.113.7"})


def pluto_wrong_secret(scene: PlutoScene) -> None:
    scene.tell(keys=("one", "two"))
    scene.attempt()


def pluto_secret_not_read(scene: PlutoScene) -> None:
    scene.tell()
    held = (scene.left.directory / "ipsec.secrets").read_text()
    scene.left.write_secrets()
    scene.left.whack("--rereadsecrets")
    scene.left.write_secrets(*held.splitlines())
    scene.attempt()


def pluto_wrong_identity(scene: PlutoScene) -> None:
    scene.tell(at_right={"rightid": "@branch.lab.test"})
    scene.attempt()


def pluto_no_common_proposal(scene: PlutoScene) -> None:
    scene.tell(at_left={"ike": "aes256-sha2_256-dh31"}, at_right={"ike": "aes128-sha2_512-dh20"})
    scene.attempt()


def pluto_missing_authority(scene: PlutoScene) -> None:
    equip_plutos(scene, Authority("Left Root"), Authority("Right Root"))
    scene.tell(both=CERTIFIED)
    scene.attempt()


PLUTO_CASES: Final[tuple[tuple[Callable[[PlutoScene], None], str], ...]] = (
    (pluto_down, "daemon"),
    (pluto_not_loaded, "loaded"),
    (pluto_configuration_unreadable, "loaded"),
    (pluto_elsewhere, "loaded"),
    (pluto_wrong_secret, "secret"),
    (pluto_secret_not_read, "secret"),
    (pluto_wrong_identity, "identities"),
    (pluto_no_common_proposal, "ike_proposals"),
    (pluto_missing_authority, "trust"),
)


@pytest.mark.parametrize(
    ("broken", "cause"), PLUTO_CASES, ids=[each.__name__ for each, _ in PLUTO_CASES]
)
def test_what_was_broken_at_pluto_is_the_next_thing_to_do(
    pluto: PlutoScene, broken: Callable[[PlutoScene], None], cause: str
) -> None:
    broken(pluto)
    said = pluto.examine(pluto.left)
    assert (said.code, said.next) == (1, cause), said.brief
    assert SECRET not in said.text


def test_a_pair_of_networks_is_of_its_connection(pluto: PlutoScene) -> None:
    pluto.tell(both={"leftsubnet": None, "leftsubnets": "10.1.0.0/24,10.9.0.0/24"})
    assert '"site/' in pluto.left.whack("--status").text
    said = pluto.examine(pluto.left)
    assert "loaded" not in said.wrong, said.brief


@pytest.mark.parametrize("certified", [False, True], ids=["secret", "certificates"])
def test_pluto_has_what_it_was_told(pluto: PlutoScene, *, certified: bool) -> None:
    if certified:
        equip_plutos(pluto, ROOT, ROOT)
        for end in pluto.ends:  # it looks for CA certificates when it starts
            end.stop()
            end.start()
    pluto.tell(both=CERTIFIED if certified else {})
    pluto.left.initiate("site")
    said = pluto.examine(pluto.left)
    # The lab's kernel may have no ESP: then there is no Child SA.
    assert said.wrong <= {"associations"}, said.brief
    found = {each["check"]: each["verdict"] for each in said.document["checks"]}
    assert {found[each] for each in ("loaded", "ports", "clock", "identities")} == {"ok"}
    assert ("trust" in found) == certified
    daemon = next(each for each in said.document["checks"] if each["check"] == "daemon")
    assert daemon["evidence"].startswith("pluto 4.10 answers through whack")
