"""ipsec.secrets as pluto reads it: no daemon needed. What a live pluto makes of it: test_libreswan_secrets.py."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.secret import Secret
from ike.daemons.libreswan import secretsfile
from ike.daemons.libreswan.secretsfile import EXACT, Begun, Entry
from ike.secrets.pluto_records import Included, Malformed

A, B = "@a.example", "@b.example"
# What the manual page has, and what people write.
SAMPLE = r"""
# sample /etc/ipsec.secrets file for 10.1.0.1
10.1.0.1 10.2.0.1 : PSK "secret shared by two hosts"
%any gateway.corp.com: PSK 'shared "secret"'	# comment
# an entry may be split across lines
www.xs4all.nl @www.kremvax.ru
    10.6.0.1 10.7.0.1 1.8.0.1 : PSK
  # between
	"secret # shared"
10.1.0.1 10.2.0.1 : PPKS "PPK_ID_1" 0xdead_BEEF
@username : XAUTH "password"
: psk 0sc2VjcmV0
@t : PSK 0t all of it # too
"C=DE, O=A B, CN=c" 2001:db8::1 : PSK 0X00
: RSA { Modulus: 0x03 }
include ipsec.*.secrets  # get secrets from other files
"""


def entries(text: str) -> list[Entry]:
    return [each for each in secretsfile.parse(text, "/etc/s") if isinstance(each, Entry)]


def faults(text: str) -> list[int]:
    return [each.line for each in secretsfile.parse(text, "f") if isinstance(each, Malformed)]


def test_records() -> None:
    assert [(each.line, each.kind, each.ids, each.value.reveal()) for each in entries(SAMPLE)] == [
        (3, "psk", ("10.1.0.1", "10.2.0.1"), b"secret shared by two hosts"),
        (4, "psk", ("%any", "gateway.corp.com"), b'shared "secret"'),
        (
            6,
            "psk",
            ("www.xs4all.nl", "@www.kremvax.ru", "10.6.0.1", "10.7.0.1", "1.8.0.1"),
            b"secret # shared",
        ),
        (10, "ppk", ("10.1.0.1", "10.2.0.1"), b"\xde\xad\xbe\xef"),
        (11, "xauth", ("@username",), b"password"),
        (12, "psk", (), b"secret"),
        (13, "psk", ("@t",), b" all of it # too"),
        (14, "psk", ("C=DE, O=A B, CN=c", "2001:db8::1"), b"\x00"),
    ]
    assert [each.ppk_id for each in entries(SAMPLE)].count("PPK_ID_1") == 1
    (include,) = [e for e in secretsfile.parse(SAMPLE, "/etc/s") if isinstance(e, Included)]
    assert include.pattern == "ipsec.*.secrets"
    assert entries(SAMPLE)[0].where == "/etc/s:3"


@pytest.mark.parametrize(
    "text",
    [
        "@a @b : PSK unquoted",
        '@a @b : PSK "not ended',
        "@a @b : PSK 0xabc",
        "@a @b : PSK 0x",
        "@a @b : PSK 0s=",
        "@a @b : PSK 0sYWJjZA",
        "@a @b : FOO 0x00",
        '@a @b : PSK "one" "two"',
        "@a @b : PSK",
        "@a @b :",
        "@a @b",
        '@a @b : PPKS id "value"',
        '@a @b : PPKS "id"',
        'include "a" "b"',
        "include",
    ],
)
def test_what_pluto_passes_over(text: str) -> None:
    assert faults(f"{text}\n") == [1]
    assert entries(f'{text}\n@c : PSK "x"\n')[0].line == 2


def test_indentation_before_the_first_record_belongs_to_none() -> None:
    assert entries('  @a : PSK "x"\n') == []


def test_files_are_read_in_the_order_of_their_includes() -> None:
    files = {
        "/etc/ipsec.secrets": 'include d/*.secrets\n@a : PSK "last"\n',
        "/etc/d/a.secrets": '@a : PSK "1"\ninclude ../e\n',
        "/etc/d/b.secrets": '@a : PSK "3"\n',
        "/etc/d/../e": '@a : PSK "2"\n',
    }

    def load(pattern: str) -> list[tuple[str, str]]:
        return [(name, files[name]) for name in files if fnmatchcase(name, pattern)]

    found = list(secretsfile.gather("/etc/ipsec.secrets", load))
    assert [e.value.reveal() for e in found if isinstance(e, Entry)] == [b"1", b"2", b"3", b"last"]
    assert found[0] == Begun("/etc/ipsec.secrets")


def test_an_include_of_itself_ends() -> None:
    text = '@a : PSK "x"\ninclude /s\n'
    found = list(secretsfile.gather("/s", lambda pattern: [(pattern, text)]))
    assert len([each for each in found if isinstance(each, Entry)]) == secretsfile.NESTING + 1


@pytest.mark.parametrize(
    ("ids", "fit"),
    [
        ((A, B), EXACT),
        ((B, A), EXACT),
        ((A, "@c", B), EXACT),
        (("@A.Example.", "@B.EXAMPLE"), EXACT),
        ((A, "%any"), 10),
        ((A,), 9),
        (("%any", B), 6),
        (("%any",), 2),
        (("::",), 2),
        ((), 2),
        ((B,), 0),
        ((A, "@c"), 0),
        (("%any", A, B), 0),
        (("a.example", "b.example"), 0),
    ],
)
def test_whom_a_record_fits(ids: tuple[str, ...], fit: int) -> None:
    assert secretsfile.rank(ids, A, B) == fit


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:DB8:0::1", "2001:db8::1"),
        ("Me@Site.Example", "me@site.example"),
        ("C=DE,O=A  B,CN=c".replace("  ", " "), "c=de, o=a b, cn=c"),
        ("@C=DE, CN=c", "C=DE, CN=c"),
    ],
)
def test_identities_that_pluto_holds_for_equal(one: str, other: str) -> None:
    assert secretsfile.normal(one) == secretsfile.normal(other)


@given(st.binary(min_size=1, max_size=400))
def test_a_value_is_read_as_it_was_written(value: bytes) -> None:
    for ppk_id in (None, "gw1-gw2-v2"):
        line = secretsfile.record((A, "CN=b, O=Lab"), Secret(value), ppk_id)
        (read,) = entries(line)
        assert read.value.reveal() == value
        assert (read.ids, read.ppk_id) == ((A, "CN=b, O=Lab"), ppk_id)


@pytest.mark.parametrize("ids", [('@a"', B), ("@a\n", B), ("@a\t", B), ("@ä", B)])
def test_an_identity_that_would_end_too_early_is_not_written(ids: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        secretsfile.record(ids, Secret(b"value"))


def test_no_fault_tells_the_value() -> None:
    for value, ppk_id in ((b"", None), (b"value" * 500, None), (b"value", 'i"d'), (b"value", "")):
        with pytest.raises(ValueError) as told:  # noqa: PT011 - any words but the value
            secretsfile.record((A, B), Secret(value), ppk_id)
        assert "value" not in str(told.value).replace("the value", "").replace("and value", "")
        assert b"value".hex() not in str(told.value)


@given(st.text(st.characters(codec="utf-8"), max_size=300), st.integers(0, len(SAMPLE)))
def test_nothing_breaks_the_reader(rubbish: str, cut: int) -> None:
    for text in (rubbish, SAMPLE[:cut] + rubbish + SAMPLE[cut:]):
        assert "Secret(…)" in repr([*entries(text), Secret(b"")])
