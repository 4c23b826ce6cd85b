"""What the daemons do with what the audit says of it: charon answers for a policy, pluto takes any certificate."""

import pytest
from cryptography import x509

from tests.lab import Gateway, Lab, LabError, Pluto, Refused
from tests.lab.handmade import Authority
from tests.lab.test_pluto import conn

_SHUNT = {"mode": "pass", "local_ts": "10.1.0.0/16", "remote_ts": "10.1.0.0/16"}
_PSK = "secrets {\n ike-1 {\n secret = kJ8vTyLq3Nd6hB7pQ2xW\n }\n}\n"
_BY_PSK = {"local": {"auth": "psk"}, "remote": {"auth": "psk"}}


def asked(lab: Lab, version: int, remote: str) -> tuple[Gateway, str]:
    """A gateway with a connection that only lets traffic pass, and what it said when a peer asked for one."""
    left, right = lab.gateway("left"), lab.gateway("right")
    for each in (left, right):
        (each.swanctl_folder / "conf.d" / "psk.conf").write_text(_PSK)
    right.add_connection("bypass", {"remote_addrs": remote, **_BY_PSK, "children": {"lan": _SHUNT}})
    left.add_connection(
        "tunnel",
        {
            "version": version,
            "proposals": "aes128-sha1-modp2048",
            "remote_addrs": right.outside,
            **_BY_PSK,
            "children": {"tunnel": {"remote_ts": "10.2.0.0/16"}},
        },
    )
    for each in (left, right):
        each.load_all()
    with pytest.raises((Refused, LabError)):
        left.initiate(timeout=5)
    return right, right.log.text()


@pytest.mark.parametrize("version", [1, 2])
def test_charon_makes_an_ike_sa_for_what_is_only_passed_by(lab: Lab, version: int) -> None:
    right, _ = asked(lab, version, "%any")
    [found] = right.list_sas()
    assert (found.name, found.state) == ("bypass", "ESTABLISHED")


def test_charon_answers_nobody_by_the_hosts_own_address(lab: Lab) -> None:
    right, said = asked(lab, 2, "127.0.0.1")
    assert not right.list_sas()
    assert "no IKE config found" in said


@pytest.mark.usefixtures("needs_pluto")
@pytest.mark.parametrize(
    ("more", "taken"),
    [
        ({"rightid": "%fromcert"}, True),
        ({"rightid": "%any"}, True),
        ({"rightid": "%fromcert", "rightca": "%same"}, False),
    ],
)
def test_pluto_takes_the_name_from_any_certificate(
    lab: Lab, more: dict[str, str], taken: bool
) -> None:
    left, right = lab.pluto("left"), lab.pluto("right")
    ours, theirs = Authority("Ours"), Authority("Theirs")
    for here, own, other in ((left, ours, theirs), (right, theirs, ours)):
        leaf = own.leaf(f"{here.name}.lab.test", serial=0xA7)
        here.install(leaf.key_pem, leaf.pem, [own.pem])
        here.trust(x509.load_pem_x509_certificate(other.pem))
    section = {**conn(left, right), "right": "%any", "auto": "add", **more}
    if "rightca" not in more:
        del section["rightca"]
    left.add_connection("everyone", section)
    right.add_connection("tunnel", {**conn(right, left), "rightca": "%any", "leftid": "%fromcert"})
    for each in (left, right):
        each.childless()
    if taken:
        right.initiate()
        assert right.established()
    else:
        with pytest.raises((Refused, LabError)):
            right.initiate()


@pytest.mark.usefixtures("needs_pluto")
def test_pluto_loads_what_is_advised_for_ah(lab: Lab) -> None:
    pluto: Pluto = lab.pluto("left")
    base = {"left": pluto.outside, "right": "192.0.2.9", "authby": "secret", "auto": "add"}
    fixed = "aes_gcm256;dh20"
    for name, section, loads in (
        ("before", {**base, "phase2": "ah", "phase2alg": "sha2_512"}, True),
        ("half", {**base, "phase2": "ah", "esp": fixed}, False),
        ("after", {**base, "phase2": "esp", "esp": fixed}, True),
    ):
        try:
            pluto.add_connection(name, section)
        except LabError:
            pass
        assert (f'"{name}":' in str(pluto.whack("--status"))) == loads
