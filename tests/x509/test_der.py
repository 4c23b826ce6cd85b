"""DER: what is written reads back, here and by others; junk is refused and never crashes."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.codec.der import decoder, encoder
from pyasn1.type import univ, useful

from pki.x509 import der

WHOLE_SECONDS = st.datetimes(
    datetime(1950, 1, 1),  # noqa: DTZ001 - Hypothesis adds the zone
    datetime(9999, 12, 31),  # noqa: DTZ001
    timezones=st.just(UTC),
).map(lambda at: at.replace(microsecond=0))


@given(st.binary(max_size=70_000))
def test_an_element_reads_back(content: bytes) -> None:
    encoded = der.tlv(der.OCTET_STRING, content)
    assert encoded == encoder.encode(univ.OctetString(content))
    element = der.read(encoded, 0)
    assert (element.tag, element.start, element.end) == (der.OCTET_STRING, 0, len(encoded))
    assert encoded[element.content : element.end] == content


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65_535, 65_536, 1 << 24])
def test_lengths_are_the_shortest(size: int) -> None:
    encoded = der.tlv(der.OCTET_STRING, bytes(size))
    assert encoded == encoder.encode(univ.OctetString(bytes(size)))
    assert der.read(encoded, 0).end == len(encoded)


@given(st.integers(min_value=0, max_value=1 << 200))
def test_integers_are_as_pyasn1_writes_them(value: int) -> None:
    assert der.integer(value) == encoder.encode(univ.Integer(value))


def test_bit_strings_are_whole_octets() -> None:
    decoded, rest = decoder.decode(der.bit_string(b"\xa5\x01"), asn1Spec=univ.BitString())
    assert (decoded.asOctets(), rest) == (b"\xa5\x01", b"")


@given(WHOLE_SECONDS)
def test_times_read_back(at: datetime) -> None:
    spec = useful.UTCTime() if at.year < 2050 else useful.GeneralizedTime()
    decoded, rest = decoder.decode(der.time(at), asn1Spec=spec)
    year = f"{at.year % 100:02}" if at.year < 2050 else f"{at.year:04}"
    assert (str(decoded), rest) == (f"{year}{at:%m%d%H%M%S}Z", b"")


@given(WHOLE_SECONDS, st.integers(-12, 12))
def test_times_are_written_in_utc(at: datetime, hours: int) -> None:
    try:
        elsewhere = at.astimezone(timezone(timedelta(hours=hours)))
    except OverflowError:
        return
    assert der.time(elsewhere) == der.time(at)
    assert der.generalized_time(elsewhere) == der.generalized_time(at)


def test_the_year_2050_is_where_the_form_changes() -> None:
    # RFC 5280 §4.1.2.5
    last = datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert der.time(last) == b"\x17\x0d491231235959Z"
    assert der.time(last + timedelta(seconds=1)) == b"\x18\x0f20500101000000Z"


def test_generalized_time_has_no_fraction_and_four_digits_of_the_year() -> None:
    at = datetime(901, 2, 3, 4, 5, 6, 789, tzinfo=UTC)
    assert der.generalized_time(at) == b"\x18\x0f09010203040506Z"


def test_children_are_found() -> None:
    parts = [der.integer(5), der.tlv(der.OCTET_STRING, b"x" * 200), der.tlv(der.SEQUENCE, b"")]
    data = b"\xff" + der.tlv(der.SEQUENCE, b"".join(parts)) + b"rest"
    found = der.children(data, der.read(data, 1))
    assert [data[each.start : each.end] for each in found] == parts


@given(st.binary(max_size=64), st.integers(0, 70))
def test_reading_junk_gives_an_element_inside_it_or_value_error(data: bytes, at: int) -> None:
    try:
        element = der.read(data, at)
    except ValueError:
        return
    assert at == element.start < element.content <= element.end <= len(data)


@given(st.binary(max_size=64))
def test_children_of_junk_fill_their_parent_or_are_refused(data: bytes) -> None:
    try:
        parent = der.read(data, 0)
        found = der.children(data, parent)
    except ValueError:
        return
    ends = [parent.content, *(each.end for each in found)]
    assert ends[-1] == parent.end
    assert [each.start for each in found] == ends[:-1]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30",
        b"\x30\x80\x00\x00",  # indefinite length is BER
        b"\x30\x85\x01\x00\x00\x00\x00",
        b"\x30\x82\x01",
        b"\x30\x05\x00",
    ],
    ids=[
        "nothing",
        "no length",
        "indefinite",
        "five octets of length",
        "cut length",
        "cut content",
    ],
)
def test_malformed_headers_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"DER|early"):
        der.read(data, 0)


def test_a_child_that_reaches_over_its_parents_end_is_refused() -> None:
    data = b"\x30\x03\x02\x02\x00\x00"
    with pytest.raises(ValueError, match="parent"):
        der.children(data, der.read(data, 0))
