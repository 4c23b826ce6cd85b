"""Each form of a list of SAs, as a real daemon or kernel printed it in the lab; Windows' by its documentation."""

import json
import re
from datetime import datetime
from pathlib import Path

import pytest

from ike.sas import charon, pluto, windows, xfrm
from ike.sas.association import MANUAL, NEGOTIATED, UNCLAIMED, UNKNOWN, Association
from ike.sas.combining import combined
from ike.sas.text import lines, span

SAMPLES = Path(__file__).parent / "samples"
STATUS = Path(__file__).parents[1] / "daemons/samples/pluto-status.txt"
DUMPED = datetime(2026, 11, 29, 12, 35, 15)  # noqa: DTZ001 - the kernel prints its own time
KEY = re.compile(r"[0-9a-f]{32,}")


def of_kernel(name: str = "xfrm.txt", *local: str) -> list[Association]:
    found = xfrm.states((SAMPLES / name).read_text().splitlines())
    return xfrm.associations(found, now=DUMPED, local=local)


def of_charon(name: str = "vici.json") -> list[Association]:
    return charon.associations(json.loads((SAMPLES / name).read_text()))


def test_charon_tells_an_ike_sa_with_its_children() -> None:
    (found,) = of_charon()
    assert (found.connection, found.number, found.version) == ("site", "1", "IKEv2")
    assert (found.local, found.remote) == ("192.0.2.1", "192.0.2.2")
    assert (found.local_id, found.remote_id) == ("left.example.net", "right.example.net")
    assert found.algorithms == "AES_CBC-128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/CURVE_25519"
    assert (found.age_seconds, found.rekey_seconds, found.reauth_seconds) == (2, 14132, None)
    assert (found.initiator, found.nat_t) == (True, False)
    tunnel, host = found.children
    assert (tunnel.protocol, tunnel.mode, tunnel.nat_t) == ("ESP", "tunnel", False)
    assert (tunnel.spi_in, tunnel.spi_out) == ("c61f8d81", "cdd645c9")
    assert (tunnel.local_ts, tunnel.remote_ts) == (("10.1.0.0/24",), ("10.2.0.0/24",))
    assert (tunnel.rekey_seconds, tunnel.expire_seconds, tunnel.lifetime_seconds) == (
        3255,
        3958,
        3960,
    )
    assert (host.protocol, host.mode, host.algorithms) == (
        "AH",
        "transport",
        "HMAC_SHA2_256_128/CURVE_25519",
    )


def test_charon_tells_of_an_encapsulation() -> None:
    (found,) = of_charon("vici-encap.json")
    assert found.nat_t
    assert found.children[0].nat_t


def test_the_kernel_tells_both_directions_of_each_sa() -> None:
    by_spi = {each.children[0].spi_out: each for each in of_kernel("xfrm.txt", "192.0.2.1")}
    tunnel = by_spi["cdd645c9"]
    (child,) = tunnel.children
    assert (tunnel.local, tunnel.remote, tunnel.origin) == ("192.0.2.1", "192.0.2.2", UNKNOWN)
    assert (child.protocol, child.mode, child.spi_in) == ("ESP", "tunnel", "c61f8d81")
    assert (child.bytes_in, child.bytes_out) == (252, 252)
    assert (child.age_seconds, child.rekey_seconds, child.expire_seconds) == (5, 3252, 3955)
    host = by_spi["c665c4f3"].children[0]
    assert (host.protocol, host.mode, host.algorithms) == ("AH", "transport", "hmac(sha256)")
    assert host.local_ts == ("192.0.2.1/32",)


def test_sas_by_hand_are_named_as_such() -> None:
    manual = [each for each in of_kernel("xfrm.txt", "192.0.2.1") if each.origin == MANUAL]
    told = {(each.local, each.remote, each.children[0].protocol): each for each in manual}
    assert set(told) == {
        ("192.0.2.1", "203.0.113.9", "AH"),
        ("192.0.2.1", "203.0.113.9", "ESP"),
    }
    esp = told["192.0.2.1", "203.0.113.9", "ESP"].children[0]
    assert (esp.spi_in, esp.spi_out, esp.expire_seconds) == ("00002002", "", None)
    assert esp.algorithms == "cbc(aes)/hmac(sha256)"


def test_without_addresses_packets_tell_the_direction_and_else_nothing_does() -> None:
    by_spi = {each.children[0].spi_out: each for each in of_kernel()}
    assert by_spi["cdd645c9"].directed  # three packets each way
    assert not by_spi["c665c4f3"].directed


def test_the_kernel_tells_of_an_encapsulation() -> None:
    behind = [each for each in of_kernel("xfrm-encap.txt") if each.nat_t]
    assert [each.children[0].spi_out for each in behind] == ["cedc31ec"]


@pytest.mark.parametrize("local", [(), ("192.0.2.1",)])
def test_a_dump_without_keys_tells_the_same_and_no_key_is_kept(local: tuple[str, ...]) -> None:
    assert of_kernel("xfrm.txt", *local) == of_kernel("xfrm-nokeys.txt", *local)
    dump = (SAMPLES / "xfrm.txt").read_text()
    assert len(KEY.findall(dump)) > 5
    kept = list(xfrm.states(dump.splitlines()))
    assert not KEY.search(repr(kept))


def test_a_rekeyed_pair_is_two_pairs() -> None:
    dump = (SAMPLES / "xfrm.txt").read_text()
    block = dump[dump.index("src 192.0.2.1 dst 192.0.2.2\n\tproto esp") :]
    newer = block.replace("cdd645c9", "c0000001").replace("c61f8d81", "c0000002")
    states = xfrm.states((block + newer.replace("12:35:10", "12:35:12")).splitlines())
    found = [each.children[0] for each in xfrm.associations(states)]
    assert [(each.spi_in, each.spi_out) for each in found] == [
        ("c0000002", "c0000001"),
        ("c61f8d81", "cdd645c9"),
    ]


def test_any_text_is_no_dump() -> None:
    for text in ("src a dst b", "src a dst b\n\tproto esp", "\x00" * 100, "src  dst \n" * 9):
        xfrm.associations(xfrm.states(text.splitlines()))
        windows.of_netsh(text)
        pluto.associations(text, text)


def test_the_daemon_and_the_kernel_together() -> None:
    found = combined(of_charon(), of_kernel("xfrm.txt", "192.0.2.1"))
    assert [each.origin for each in found] == [NEGOTIATED, MANUAL, MANUAL]


def test_a_daemon_that_forgot_its_sas() -> None:
    left = combined([], of_kernel("xfrm.txt", "192.0.2.1"))
    assert sorted(each.origin for each in left) == [MANUAL, MANUAL, UNCLAIMED, UNCLAIMED]


def test_pluto_with_its_status_and_the_kernel() -> None:
    traffic = "006 #2: \"tunnel\", type=ESP, add_time=1000, inBytes=2520, outBytes=3276, maxBytes=2^63B, id='@b'\n"
    found = pluto.associations(traffic, STATUS.read_text(), now=1060.0)
    tunnel = found[0]
    assert (tunnel.connection, tunnel.version, tunnel.state) == ("tunnel", "IKEv2", "established")
    assert (tunnel.local_id, tunnel.remote_id) == ("right.lab.test", "left.lab.test")
    assert tunnel.rekey_seconds == 28074
    (child,) = tunnel.children
    assert (child.protocol, child.mode) == ("ESP", "tunnel")
    assert (child.spi_in, child.spi_out) == ("fe707589", "cf5995b3")
    assert (child.bytes_in, child.bytes_out, child.age_seconds) == (2520, 3276, 60)
    assert (child.rekey_seconds, child.expire_seconds) == (27841, 28786)
    assert found[1].state == "state_v2_parent_r1"


def test_pluto_by_its_traffic_alone() -> None:
    text = "#4: \"road\"[2] 198.51.100.7, type=AH, add_time=100, inBytes=1, outBytes=2, id='C=DE, CN=a'\n"
    (found,) = pluto.associations(text, now=160.0)
    assert (found.connection, found.remote, found.remote_id) == (
        "road",
        "198.51.100.7",
        "C=DE, CN=a",
    )
    assert (found.children[0].protocol, found.children[0].age_seconds) == ("AH", 60)


MAIN = """
Main Mode SA at 11/29/2026 12:00:00
----------------------------------------------------------------------
Local IP Address:                     192.0.2.1
Remote IP Address:                    198.51.100.2
Auth1:                                ComputerCert
Auth2:                                None
MM Offer:                             ECDHP384-AES256-SHA384
Cookie Pair:                          203d5750505d0870:0102030405060708
Health Cert:                          No
Ok.
"""
QUICK = """
Quick Mode SA at 11/29/2026 12:00:00
----------------------------------------------------------------------
Local IP Address:                     192.0.2.1
Remote IP Address:                    198.51.100.2
Local Port:                           Any
Remote Port:                          Any
Protocol:                             Any
Direction:                            Both
QM Offer:                             AH:SHA256+ESP:AESGCM256-AESGCM256+60min +100000kb
PFS:                                  None
Ok.
"""


def test_netsh() -> None:
    (found,) = windows.of_netsh(MAIN + QUICK)
    assert (found.local, found.remote) == ("192.0.2.1", "198.51.100.2")
    assert (found.authentication, found.algorithms) == ("ComputerCert", "ECDHP384-AES256-SHA384")
    assert (found.spi_initiator, found.spi_responder) == ("203d5750505d0870", "0102030405060708")
    (child,) = found.children
    assert (child.protocol, child.lifetime_seconds) == ("AH+ESP", 3600)
    assert child.algorithms == "AH:SHA256+ESP:AESGCM256-AESGCM256"


def test_netsh_quick_mode_alone() -> None:
    (found,) = windows.of_netsh(QUICK)
    assert (found.algorithms, len(found.children)) == ("", 1)


def test_powershell() -> None:
    ends = {"LocalEndpoint": "192.0.2.1", "RemoteEndpoint": "198.51.100.2"}
    main = {
        **ends,
        "KeyModule": 2,
        "CipherAlgorithm": 65003,
        "HashAlgorithm": 65002,
        "GroupId": 20,
        "InitiatorCookie": 0x203D5750505D0870,
        "ResponderCookie": 0,
        "LocalFirstId": "gw1.example.net",
        "RemoteFirstId": "C=DE, CN=gw2",
        "RemoteUdpEncapsulationPort": 4500,
    }
    quick = {
        **ends,
        "FirstTransformType": 4,
        "FirstCipherAlgorithm": 65006,
        "FirstIntegrityAlgorithm": 65005,
        "SecondTransformType": 0,
        "EncapsulationMode": 2,
        "RemoteUdpEncapsulationPort": 4500,
    }
    both = [
        {**quick, "InboundDirection": True, "SPI": 0xC1},
        {**quick, "InboundDirection": False, "SPI": 0xC2},
    ]
    (found,) = windows.of_powershell([main, *both])
    assert (found.version, found.algorithms) == ("IKEv2", "AES-256/SHA-384/DH20")
    assert (found.local_id, found.remote_id) == ("gw1.example.net", "C=DE, CN=gw2")
    (child,) = found.children
    assert (child.protocol, child.mode, child.nat_t) == ("ESP", "tunnel", True)
    assert (child.spi_in, child.spi_out) == ("000000c1", "000000c2")
    assert child.algorithms == "AES-GCM-256/AES-GMAC-256"
    assert windows.of_powershell(main)[0].children == ()
    assert windows.of_powershell({"value": both, "Count": 2})[0].children == (child,)
    for odd in (None, 1, "text", [[]], {"FirstTransformType": "x"}, {"InitiatorCookie": []}):
        windows.of_powershell(odd)


def test_text_fits_into_eighty_columns() -> None:
    shown = list(lines(combined(of_charon(), of_kernel("xfrm.txt", "192.0.2.1"))))
    assert max(map(len, shown)) <= 80
    assert shown[0] == "site  #1  IKEv2  established"
    assert shown[-1] == "1 IKE SA, 4 child SAs, 2 manual."
    assert "manual: keys given by hand, never renewed" in shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0 s"), (59, "59 s"), (3600, "1 h"), (14132, "3 h 55 min")]
)
def test_spans(seconds: int, shown: str) -> None:
    assert span(seconds) == shown
