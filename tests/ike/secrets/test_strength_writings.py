"""What people think of has few bits in whatever encoding, script and notation it is written."""

# ruff: noqa: RUF001 - other scripts are what this is about

import base64
import random
import string

import pytest

from core.secret import Secret
from ike.secrets.strength import STRONG_BITS, Verdict, judge
from ike.secrets.values import Form

SECRET = "MySecretVPN2024"
MOST = {
    # encodings and blanks
    "geheim\xe4Schl\xfcssel".encode("latin-1"): 50,
    "Stra\xdfe42-2024!".encode("latin-1"): 60,
    "Kennwort\x80f\xfcrM\xfcnchen".encode("latin-1"): 70,
    "Vpn\xa0Password\xa02024!".encode(): 40,
    "Vpn\u2009Pass\u200bword\u30002024!".encode(): 50,
    SECRET.encode() + b"\n": 20,
    SECRET.encode() + b"\0": 20,
    SECRET.encode("utf-16"): 20,
    SECRET.encode("utf-16-le"): 20,
    SECRET.encode("utf-16-be"): 20,
    "Пароль2023".encode("utf-16-le"): 20,
    # scripts
    "geheimäSchlüssel".encode(): 50,
    "Пароль-для-туннеля-2023".encode(): 60,
    "парольдлятуннеля".encode(): 50,
    "κωδικόςπρόσβασης".encode(): 50,
    "Κωδικός-για-το-τούνελ".encode(): 60,
    "כרמלתלאביבירושלים".encode(): 50,
    "पासवर्डबहुतलंबा".encode(): 50,
    "비밀번호는아주길다".encode(): 60,
    # text as hexadecimal and base64
    b"0s" + base64.b64encode(b"password123456789"): 20,
    base64.b64encode(b"password123456789"): 20,
    base64.b64encode(SECRET.encode("utf-16-le")): 20,
    b"0x" + SECRET.encode().hex().encode(): 20,
    SECRET.encode().hex().upper().encode(): 20,
    # by turns, and the columns of the keyboard
    b"A1b2C3d4E5f6G7h8I9j0": 40,
    b"a1b2c3d4e5f6g7h8": 40,
    b"1q2w3e4r5t6y7u8i9o0p": 30,
    b"q1w2e3r4t5y6u7i8o9p0": 30,
    b"1Q2w3E4r5T6y7U8i9O0p": 40,
    b"qazwsxedcrfvtgbyhnujm": 30,
    # sentences without blanks
    b"tobeornottobethatisthequestion": 75,
    b"itwasthebestoftimesitwastheworstoftimes": 75,
    b"theownerofthishouseisnotathome": 79,
}


@pytest.mark.parametrize("octets", MOST, ids=lambda octets: octets.hex())
def test_what_people_think_of_has_few_bits_however_it_is_written(octets: bytes) -> None:
    found = judge(Secret(octets))
    assert found.bits <= MOST[octets]
    assert (found.verdict, found.octets) == (Verdict.WEAK, len(octets))
    assert found.reasons


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("anna", ["anna"]),
        ("anna123", ["anna"]),
        ("Bob123", ["bob"]),
        ("bob2024", ["bob@example.org"]),
        ("Gw1Example2024", ["gw1.example.com"]),
        ("Мария7", ["мария"]),
    ],
)
def test_a_password_that_is_its_owners_name_is_none(value: str, names: list[str]) -> None:
    found = judge(Secret(value), names=names)
    assert found.bits <= 20
    assert "it is made of the name of its owner" in found.reasons


def test_the_notation_is_told() -> None:
    assert "it is text, written as hex" in judge(Secret(SECRET.encode().hex())).reasons
    assert "it is text, written as UTF-16" in judge(Secret(SECRET.encode("utf-16"))).reasons
    assert "it is text, written as base64" in judge(Secret(SECRET), Form.BASE64).reasons


DICE = (  # of 7776 words, some
    "abacus acrobat agility antelope banister blizzard cactus charcoal clover cobweb crayon cubicle"
    " dandelion dugout eggplant envelope fidgety footpath gargle gazebo hacksaw hubcap iguana jawline"
    " kelp kiosk lagoon ligament mascot mulch nectar nuzzle oatmeal outboard paprika pelican quarry"
    " quill rebate rhubarb sandbag scallop tadpole thicket unzip upturned vixen volley washtub wobble"
    " yarn yodel zealous zipfile"
).split()


@pytest.mark.parametrize("count", [4, 5, 6, 7, 8, 10])
def test_words_from_dice_without_blanks_have_their_bits(count: int) -> None:
    dice = random.Random(count)
    for _ in range(300):
        chosen = "".join(word.capitalize() for word in dice.sample(DICE, k=count))
        assert 12.9 * count - 8 <= judge(Secret(chosen)).bits <= 12.9 * count + 8


WESTERN = string.ascii_letters + string.digits + "".join(map(chr, range(0xA1, 0x100)))


def test_random_western_characters_have_their_bits() -> None:
    dice = random.Random(7)
    few = 0
    for _ in range(2000):
        text = "".join(dice.choices(WESTERN, k=20))
        for octets in (text.encode(), text.encode("latin-1")):
            few += judge(Secret(octets)).bits < STRONG_BITS
    assert few <= 1
