"""What people think of is called guessable: each key with the most bits that it may be given."""

import hashlib
import uuid

import pytest

from core.secret import Secret
from ike.secrets.strength import COMMON, judge

MOST = {
    # words, by language
    "Donaudampfschifffahrtsgesellschaft": 70,
    "Rechtsschutzversicherungsgesellschaften": 75,
    "IchLiebeMeineKatzeUndMeinenHund": 79,
    "unemontagnedansleciel": 50,
    "LaVieEstBelleEtLeCielEstBleu": 90,
    "contrasenamuysegura2022": 55,
    "wachtwoordvoordetunnel": 50,
    "zhongguobeijing888": 50,
    "woaizhongguo1314520": 60,
    "thisismyverylongpassphraseforthevpntunnel": 79,
    "TheQuickBrownFoxJumpsOverTheLazyDog": 100,
    "MyFirstPreSharedKey": 50,
    "quokka-marble-thicket-runway": 60,
    "Gecko Plinth Waffle Mosaic Tundra": 75,
    # digits and signs for letters
    "H4uptstr4ss3-M0nch3n": 50,
    "P@ssw0rd-Fuer-Standort-Hamburg": 60,
    "Vpn$ecret4Branch0ffice!": 60,
    # places, firms, devices, years
    "Gw1ToLyon#2024!Vpn": 70,
    "HauptstrasseMuenchen42!": 60,
    "Siemens2023!Nuernberg": 50,
    "AcmeCorp-2024-VPN!": 60,
    "JuanPerez1985Madrid": 60,
    "site-to-site-hq-branch17": 75,
    "fortigate-to-paloalto-ipsec-psk-2021": 75,
    "ciscoASA5506-Lyon-vpn": 79,
    # again and mirrored
    "Sommer2023Sommer2024": 40,
    "Berlin-Hamburg-2024-Berlin-Hamburg": 55,
    "Lyon2Paris2024Lyon2Paris2024": 50,
    "Xk7!pq9Z9qp!7kX": 60,
    # the keyboard and the alphabet
    "1qaz@WSX3edc$RFV": 60,
    "!QAZ2wsx#EDC4rfv%TGB": 70,
    "qwertzuiopasdfghjkl123": 45,
    "abcd1234efgh5678ijkl9012": 79,
    "12345678901234567890": 20,
    "aaaabbbbccccddddeeeeffff": 79,
    # numbers of something
    "00:1a:2b:3c:4d:5e": 48,
    "001a2b3c4d5e": 64,
    "192.168.10.1-192.168.20.1": 50,
    "+49 30 1234567": 40,
    "+33 6 12 34 56 78": 40,
    "01.02.1998-Anna": 40,
    str(uuid.UUID("8f14e45f-1ceb-11ee-be56-0242ac120002")): 60,
    hashlib.md5(b"password", usedforsecurity=False).hexdigest(): 20,
    hashlib.sha256(b"Lyon\n").hexdigest(): 20,
}


@pytest.mark.parametrize("text", MOST)
def test_what_people_think_of_has_few_bits(text: str) -> None:
    found = judge(Secret(text))
    assert found.bits <= MOST[text]
    assert found.reasons
    assert text not in repr(found)


def test_a_digest_is_one_however_it_is_written() -> None:
    digest = hashlib.sha1(b"secret", usedforsecurity=False).digest()
    for written in (digest, digest.hex(), digest.hex().upper()):
        assert judge(Secret(written)).reasons == ("it is the digest of a common word",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Password1", COMMON),
        ("HauptstrasseMuenchen", "it is made of words or names"),
        ("+49 30 1234567", "it is made of addresses or telephone numbers"),
        ("Sommer2023Sommer2023", "it repeats itself"),
    ],
)
def test_the_reason_is_what_it_is(text: str, reason: str) -> None:
    assert reason in judge(Secret(text)).reasons
