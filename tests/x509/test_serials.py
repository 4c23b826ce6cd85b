"""Serial numbers: always positive and of one length; one way to write them; what people type is understood."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from pki.x509 import der, serials
from pki.x509.serials import BadSerial

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
_octets = st.binary(min_size=serials.BYTES, max_size=serials.BYTES)
_times = st.datetimes(datetime(2000, 1, 1), datetime(2500, 1, 1)).map(  # noqa: DTZ001 - made aware here
    lambda at: at.replace(tzinfo=UTC)
)


@given(_octets, _times)
def test_any_random_octets_make_a_positive_number_of_sixteen_octets(
    octets: bytes, at: datetime
) -> None:
    serial = serials.from_random(octets, at)
    assert serial.bit_length() == 127
    # RFC 5280 §4.1.2.2: positive, at most 20 octets; here always 16 without padding.
    assert der.integer(serial)[:2] == b"\x02\x10"
    assert len(serials.to_hex(serial)) == 32


@given(_octets, _octets)
def test_82_random_bits_are_kept(one: bytes, other: bytes) -> None:
    same = (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")) % (1 << 82) == 0
    assert (serials.from_random(one, AT) == serials.from_random(other, AT)) is same


@given(_octets, _octets, _times, st.timedeltas(timedelta(milliseconds=1), timedelta(days=9000)))
def test_later_numbers_are_greater_as_numbers_and_as_text(
    one: bytes, other: bytes, at: datetime, gap: timedelta
) -> None:
    earlier, later = serials.from_random(one, at), serials.from_random(other, at + gap)
    assert earlier < later
    assert serials.to_hex(earlier) < serials.to_hex(later)


@pytest.mark.parametrize("count", [0, 15, 17])
def test_too_little_or_too_much_randomness_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="16 random octets"):
        serials.from_random(bytes(count), AT)


@given(st.integers(min_value=0, max_value=(1 << 160) - 1))
def test_hexadecimal_reads_back(serial: int) -> None:
    text = serials.to_hex(serial)
    assert len(text) % 2 == 0
    assert text == text.lower()
    assert serials.from_hex(text) == serial
    assert serials.normal(text) == text


@pytest.mark.parametrize(
    "typed",
    ["0A1B2C", "0a:1b:2c", " 0x0a1b2c ", "0A 1B 2C", "a1b2c", "0X0A1B2C", "00000a1b2c"],
)
def test_what_people_type_is_understood(typed: str) -> None:
    assert serials.normal(typed) == "0a1b2c"


@pytest.mark.parametrize("typed", ["", "0x", "xyz", "-1", "12g4", "1" * 41, "١٢", "0a\x00", "1_0"])
def test_what_is_no_serial_number_is_refused(typed: str) -> None:
    with pytest.raises(BadSerial) as caught:
        serials.normal(typed)
    assert caught.value.code == "serial_malformed"


@given(st.text(max_size=50))
def test_any_text_is_a_serial_number_or_our_error(text: str) -> None:
    try:
        normal = serials.normal(text)
    except InvalidInput:
        return
    assert serials.normal(normal) == normal
    assert serials.to_hex(serials.from_hex(text)) == normal


def test_serial_numbers_have_room_in_certificates() -> None:
    # cryptography refuses more than 159 bits.
    x509.CertificateBuilder().serial_number(serials.from_random(b"\xff" * 16, AT))
