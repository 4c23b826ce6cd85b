"""`ikewarden doctor` over broken tunnels of real daemons: what was broken is the one thing to do next."""

from collections.abc import Callable, Iterator
from typing import Final

import pytest
from cryptography.x509 import ReasonFlags
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.lab import Lab
from tests.lab.broken import SECRET, TRANSLATED, Said, Scene, leaf
from tests.lab.handmade import HOUR, Authority, Leaf

pytestmark = pytest.mark.usefixtures("needs_lab")

ROOT: Final = Authority("Lab Root")
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
