"""How hard a secret is to guess."""

import base64
import hashlib

import pytest

from core.secret import Secret
from ike.secrets.strength import Strength, Verdict, judge
from ike.secrets.values import Form


def of(text: str | bytes, form: Form = Form.QUOTED) -> Strength:
    return judge(Secret(text), form)


def octets(seed: int, length: int = 32) -> bytes:
    return hashlib.shake_128(bytes([seed])).digest(length)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "Secret123!",
        "P@ssw0rd",
        "vpnsecret",
        "changeme2024",
        "strongSwan-strongSwan",
        "my-preshared-key",
        "qwertyuiopasdfgh",
        "1qaz2wsx3edc4rfv",
        "abcdefghijklmnopqrstuvwxyz",
        "9876543210987654321098",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "Xy7!Xy7!Xy7!Xy7!Xy7!Xy7!Xy7!Xy7!",
        "0123456789abcdef0123456789abcdef",
        "correct horse battery staple",
        "The quick brown fox jumps over",
        "Winter2024!",
        "k7",
    ],
)
def test_weak(text: str) -> None:
    found = of(text)
    assert (found.verdict, found.octets) == (Verdict.WEAK, len(text))
    assert found.reasons
    assert not text or text not in repr(found)


@pytest.mark.parametrize(
    "octet", [b"\0" * 32, bytes(range(32)), bytes(range(64, 0, -2)), b"\1\2" * 16]
)
def test_weak_octets(octet: bytes) -> None:
    found = of(octet, Form.HEX)
    assert found.verdict is Verdict.WEAK
    assert "it is too short, even if it is random" not in found.reasons


@pytest.mark.parametrize("seed", range(40))
def test_random_values_are_strong(seed: int) -> None:
    value = octets(seed)
    assert of(value, Form.HEX).verdict is Verdict.STRONG
    assert of(value.hex()).verdict is Verdict.STRONG
    assert of(base64.b64encode(value).decode()).verdict is Verdict.STRONG
    assert of(octets(seed, 16), Form.BASE64).bits >= 112
    assert of(base64.b64encode(octets(seed, 9)).decode()).verdict is not Verdict.STRONG


def test_text_stays_text_whatever_it_is_written_as() -> None:
    plain, coded = of("gateway123"), of("gateway123", Form.BASE64)
    assert plain.bits == coded.bits
    assert "it is text, written as base64" in coded.reasons


def test_a_long_value_takes_no_time() -> None:
    assert of(b"\xff\x00\x01" * 2**18).verdict is Verdict.WEAK
    assert of("ab" * 2**18).verdict is Verdict.WEAK
