"""The lab's pluto: it comes up, talks to charon and to itself, survives a power cut, and leaves nothing behind."""

from collections.abc import Mapping

import pytest

from tests.lab import Gateway, Lab, LabError, Pluto, Refused
from tests.lab.handmade import Authority
from tests.lab.unpacked import Unpacked


def equip(root: Authority, *gateways: Gateway | Pluto) -> None:
    """Give each a certificate for its name."""
    for number, gateway in enumerate(gateways):
        leaf = root.leaf(f"{gateway.name}.lab.test", serial=0xA0 + number)
        gateway.install(leaf.key_pem, leaf.pem, [root.pem])


def conn(here: Pluto, there: Gateway | Pluto, **more: object) -> Mapping[str, object]:
    return {
        "left": here.outside,
        "right": there.outside,
        "leftid": f"@{here.identity}",
        "rightid": f"@{there.identity}",
        "leftcert": here.nickname,
        "rightca": "%same",
        "leftsubnet": here.inside.network,
        "rightsubnet": there.inside.network,
        "authby": "ecdsa",
        "ikev2": "insist",
        "auto": "ignore",
        **more,
    }


def charon(here: Gateway, there: Pluto) -> Mapping[str, object]:
    """charon's end; without children on a kernel that has no ESP."""
    return {
        "version": 2,
        "local_addrs": here.outside,
        "remote_addrs": there.outside,
        "send_cert": "always",
        "local": {"auth": "pubkey", "id": here.identity},
        "remote": {"auth": "pubkey", "id": there.identity, "revocation": "relaxed"},
        "children": {
            "tunnel": {"local_ts": here.inside.network, "remote_ts": there.inside.network}
        },
    }


@pytest.mark.usefixtures("needs_pluto")
def test_two_plutos_authenticate_each_other(lab: Lab) -> None:
    left, right = lab.pluto("left"), lab.pluto("right")
    equip(Authority("Lab Root"), left, right)
    for here, there in ((left, right), (right, left)):
        here.add_connection("tunnel", conn(here, there))
        here.childless()

    words = left.initiate()

    assert any("using peer certificate '@right.lab.test'" in word for word in words)
    assert left.established()
    assert right.established()
    left.terminate()
    right.wait_until(up=False)
    assert right.log.words("received Delete|deleting state")


@pytest.mark.usefixtures("needs_pluto")
def test_charon_and_pluto_authenticate_each_other(lab: Lab) -> None:
    left, right = lab.gateway("left"), lab.pluto("right")
    equip(Authority("Lab Root"), left, right)
    right.add_connection("tunnel", conn(right, left))
    right.childless()
    left.add_connection("tunnel", charon(left, right))
    left.load_credentials()

    right.initiate()

    assert right.established()
    assert left.established() is not None


@pytest.mark.usefixtures("needs_pluto")
def test_a_stranger_is_refused(lab: Lab) -> None:
    left, right = lab.pluto("left"), lab.pluto("right")
    equip(Authority("Lab Root"), left)
    equip(Authority("Other Root"), right)
    for here, there in ((left, right), (right, left)):
        here.add_connection("tunnel", conn(here, there))
        here.childless()
    with pytest.raises(Refused) as refused:
        left.initiate()
    assert any("AUTHENTICATION_FAILED" in word for word in refused.value.words)


@pytest.mark.usefixtures("needs_pluto")
def test_a_pluto_comes_back_after_a_power_cut_and_ends_with_the_lab() -> None:
    with Lab() as lab:
        gateway = lab.pluto("gw")
        first = gateway.pid
        gateway.kill()
        assert not gateway.running
        gateway.start()
        assert gateway.pid != first
        assert "authenticated(0)" in gateway.whack("--briefstatus").text
    assert not gateway.running


@pytest.mark.usefixtures("needs_pluto")
def test_a_pluto_that_does_not_start_says_why(lab: Lab) -> None:
    gateway = lab.pluto("gw", options=["--no-such-option"], start=False)
    with pytest.raises(LabError, match="no-such-option"):
        gateway.start(timeout=3)


def test_what_is_not_unpacked_is_said(tmp_path: object) -> None:
    assert "unpack.sh" in Unpacked(tmp_path).missing()  # type: ignore[arg-type]
