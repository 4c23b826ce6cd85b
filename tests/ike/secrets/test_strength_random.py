"""Random keys are not called guessable: measured with fixed seeds, so that the rates are the same each time."""

import base64
import math
import random
import string
import uuid
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.secret import Secret
from ike.secrets.strength import FAIR_BITS, Verdict, judge

DRAWS = 600
ALNUM = string.ascii_letters + string.digits
PRINTABLE = "".join(map(chr, range(33, 127)))
DICE = (  # of 7776 words, some
    "abacus acrobat agility antelope banister blizzard cactus charcoal clover cobweb crayon cubicle"
    " dandelion dugout eggplant envelope fidgety footpath gargle gazebo hacksaw hubcap iguana jawline"
    " kelp kiosk lagoon ligament mascot mulch nectar nuzzle oatmeal outboard paprika pelican quarry"
    " quill rebate rhubarb sandbag scallop tadpole thicket unzip upturned vixen volley washtub wobble"
    " yarn yodel zealous zipfile"
).split()

Draw = Callable[[random.Random], str | bytes]


def letters(alphabet: str, length: int) -> tuple[float, Draw]:
    return length * math.log2(len(alphabet)), lambda dice: "".join(dice.choices(alphabet, k=length))


def coded(length: int, code: Callable[[bytes], bytes]) -> tuple[float, Draw]:
    return 8.0 * length, lambda dice: code(dice.randbytes(length)).decode()


KINDS: dict[str, tuple[float, Draw]] = {
    **{f"hex-{n}": (8.0 * n, lambda dice, n=n: dice.randbytes(n).hex()) for n in (16, 20, 24, 32)},
    **{f"base64-{n}": coded(n, base64.b64encode) for n in (12, 16, 24, 32)},
    **{f"base64url-{n}": coded(n, base64.urlsafe_b64encode) for n in (16, 24)},
    **{f"base32-{n}": coded(n, base64.b32encode) for n in (10, 16, 20)},
    **{f"alnum-{n}": letters(ALNUM, n) for n in (14, 16, 18, 20, 22, 24, 32, 40)},
    **{f"printable-{n}": letters(PRINTABLE, n) for n in (12, 14, 16, 20, 24, 32)},
    **{f"small-{n}": letters(string.ascii_lowercase + string.digits, n) for n in (20, 24)},
    **{f"digits-{n}": letters(string.digits, n) for n in (30, 40)},
    **{f"octets-{n}": (8.0 * n, lambda dice, n=n: dice.randbytes(n)) for n in (16, 32)},
    # as the daemons' files and their tools write them
    "0x": (128.0, lambda dice: "0x" + dice.randbytes(16).hex()),
    "0s": (128.0, lambda dice: "0s" + base64.b64encode(dice.randbytes(16)).decode()),
    "hex-upper": (128.0, lambda dice: dice.randbytes(16).hex().upper()),
    "hex-colons": (128.0, lambda dice: dice.randbytes(16).hex(":")),
    "base32-small": coded(20, lambda octets: base64.b32encode(octets).lower().rstrip(b"=")),
    "base64-bare": coded(16, lambda octets: base64.b64encode(octets).rstrip(b"=")),
    "letters-24": letters(string.ascii_letters, 24),
    "letters-small-28": letters(string.ascii_lowercase, 28),
    "letters-small-40": letters(string.ascii_lowercase, 40),
    "uuid": (122.0, lambda dice: str(uuid.UUID(int=dice.getrandbits(128), version=4))),
    **{
        f"dice-{n}-{sign}": (
            12.9 * n,
            lambda dice, n=n, sign=sign: sign.join(dice.sample(DICE, k=n)),
        )
        for n in (7, 8, 10)
        for sign in "- "
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_random_keys_keep_their_bits(kind: str) -> None:
    true, draw = KINDS[kind]
    dice = random.Random(kind)
    found = [judge(Secret(draw(dice))).bits for _ in range(DRAWS)]
    below = sum(bits < math.floor(true - 8) for bits in found)
    assert below <= DRAWS // 200, sorted(found)[:5]
    assert true < 95 or min(found) >= FAIR_BITS
    if true >= 128:
        assert sum(bits < 112 for bits in found) <= 1


def test_a_short_random_key_is_said_to_be_short() -> None:
    found = judge(Secret("x7Qm2Lw9Za"))
    assert (found.verdict, found.reasons) == (
        Verdict.WEAK,
        ("it is too short, even if it is random",),
    )


@pytest.mark.parametrize("text", ["Winter2024!", "Gw1ToLyon#2024!Vpn", "k7", "a" * 30, "abcd-1999"])
def test_random_characters_behind_do_not_take_bits_away(text: str) -> None:
    dice = random.Random(text)
    few = 0
    for _ in range(100):
        bits = judge(Secret(text + "".join(dice.choices(ALNUM, k=12)))).bits
        assert bits >= judge(Secret(text)).bits - 4
        few += bits < 12 * math.log2(62) - 12
    assert few <= 5


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_octets_have_an_estimate(octets: bytes) -> None:
    found = judge(Secret(octets))
    assert found.octets == len(octets)
    assert 0 <= found.bits <= 8 * len(octets) + 16
    assert found.reasons or found.verdict is not Verdict.WEAK


@given(st.text(st.sampled_from("aA1b-. :+Vpn0e2"), max_size=12), st.integers(1, 2000))
def test_no_value_takes_long(block: str, times: int) -> None:
    """What is quadratic takes seconds for each, and the test would not end."""
    judge(Secret((block * times)[:4096] + "x"))
    judge(Secret("y" * 70 + (block * times)[:4000]))
