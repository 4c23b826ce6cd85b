"""ipsec.secrets: the same lines as strongSwan and as Libreswan read them."""

import pytest

from ike.secrets.ipsec_secrets import parse
from ike.secrets.values import Dialect, Form, Kind, Parsed, Source

STRONGSWAN, LIBRESWAN = Dialect.STRONGSWAN, Dialect.LIBRESWAN


def read(text: str, dialect: Dialect) -> Parsed:
    return parse(Source("/etc/ipsec.secrets", text), dialect)


def only(text: str, dialect: Dialect) -> tuple[Kind, list[str], bytes, Form]:
    parsed = read(text, dialect)
    assert not parsed.problems
    [entry] = parsed.entries
    return entry.kind, [str(owner) for owner in entry.owners], entry.value.reveal(), entry.form


@pytest.mark.parametrize(
    ("line", "owners", "value", "form"),
    [
        ('gw1.example gw2.example : PSK "a b"', ["dns:gw1.example", "dns:gw2.example"], b"a b", Form.QUOTED),
        (': PSK "for all"', [], b"for all", Form.QUOTED),
        ("%any 192.0.2.1 : PSK 'it''s'", ["%any", "ip:192.0.2.1"], b"it", Form.QUOTED),
        ("@gw : PSK as#it-stands # a remark", ["dns:gw"], b"as#it-stands", Form.PLAIN),
        ("@gw : PSK 0x6162", ["dns:gw"], b"ab", Form.HEX),
        ("@gw : PSK 0X61:62", ["dns:gw"], b"ab", Form.HEX),
        ("@gw : PSK 0sYWJj", ["dns:gw"], b"abc", Form.BASE64),
        ("@gw : PSK 0tabc", ["dns:gw"], b"0tabc", Form.PLAIN),
        ('@#6162 : PSK "x"', ["keyid:#6162"], b"x", Form.QUOTED),
        ('a@b.example @@c@d.example : PSK "x"', ["email:a@b.example", "email:c@d.example"], b"x", Form.QUOTED),
        ('"C=CH, O=Some One, CN=gw" : PSK "x"', ["dn:C=CH, O=Some One, CN=gw"], b"x", Form.QUOTED),
        ('2001:db8::1 :\tPSK "x"', None, b"", Form.QUOTED),
        ('2001:db8::1 : PSK\t"x"', ["ip:2001:db8::1"], b"x", Form.QUOTED),
        ('  @indented : PSK "x"\r', ["dns:indented"], b"x", Form.QUOTED),
        ("@gw : PSK \"with # and : PSK\"", ["dns:gw"], b"with # and : PSK", Form.QUOTED),
        ("@gw : PSK \"Zürich\"", ["dns:gw"], "Zürich".encode(), Form.QUOTED),
    ],
)  # fmt: skip
def test_a_line_of_strongswan(
    line: str, owners: list[str] | None, value: bytes, form: Form
) -> None:
    if owners is None:
        assert not read(line, STRONGSWAN).entries
    else:
        assert only(line, STRONGSWAN) == (Kind.PSK, owners, value, form)


@pytest.mark.parametrize(
    ("text", "owners", "value", "form"),
    [
        ('@gw1 @gw2 : PSK "a b"', ["dns:gw1", "dns:gw2"], b"a b", Form.QUOTED),
        ('@gw1 @gw2: psk "a b"', ["dns:gw1", "dns:gw2"], b"a b", Form.QUOTED),
        ("@gw1\n\t@gw2\n\t# between\n\n  :\n PSK 'x'\n", ["dns:gw1", "dns:gw2"], b"x", Form.QUOTED),
        (": PSK 0x6162_6364", [], b"abcd", Form.HEX),
        ("192.0.2.1 %any : PSK 0sYWJj", ["ip:192.0.2.1", "%any"], b"abc", Form.BASE64),
        ("@gw : PSK 0tsome text # and this  ", ["dns:gw"], b"some text # and this", Form.TEXT),
        ('@#6162 @[ab] : PSK "x" # a remark', ["keyid:#6162", "keyid:#6162"], b"x", Form.QUOTED),
        ('gw.example.com a@b.example : PSK "x"', ["host:gw.example.com", "email:a@b.example"], b"x", Form.QUOTED),
        ('"C=CH, O=Some One, CN=gw" : PSK \'x\'', ["dn:C=CH, O=Some One, CN=gw"], b"x", Form.QUOTED),
        ('2001:db8::1 @v6 : PSK "x"', ["ip:2001:db8::1", "dns:v6"], b"x", Form.QUOTED),
    ],
)  # fmt: skip
def test_an_entry_of_libreswan(text: str, owners: list[str], value: bytes, form: Form) -> None:
    assert only(text, LIBRESWAN) == (Kind.PSK, owners, value, form)


def test_other_kinds_of_secrets() -> None:
    assert only('carol : EAP "x"', STRONGSWAN)[0] is Kind.USER
    assert only('@carol : XAUTH "x"', LIBRESWAN)[0] is Kind.USER
    kind, owners, value, _ = only('@a @b : PPKS "id-1" 0x6162', LIBRESWAN)
    assert (kind, owners, value) == (Kind.PPK, ["keyid:id-1"], b"ab")
    assert read("gw : ECDSA gw.key", STRONGSWAN) == Parsed()
    for keys in (': RSA gw.key "phrase"', ": P12 'gw.key' phrase", "gw : PKCS8 gw.key 'phrase'"):
        assert only(keys, STRONGSWAN)[:3] == (Kind.PASSPHRASE, [], b"phrase")
        assert read(keys, STRONGSWAN).entries[0].file == "gw.key"
        assert not read(keys, LIBRESWAN).entries
    assert only(": PIN %smartcard:50 1234", STRONGSWAN) == (Kind.PIN, [], b"1234", Form.PLAIN)
    raw = "@gw : RSA {\n\t# RSA 2048 bits\n\tModulus: 0x61\n\tPublicExponent: 0x03\n\t}\n"
    assert read(raw, LIBRESWAN) == Parsed()


CANARY = "hunter2-canary"


@pytest.mark.parametrize(
    "line",
    [
        f'@gw PSK "{CANARY}"',
        f"@gw : PSK {CANARY} : PSK x",
        f'@gw:PSK "{CANARY}" : PSK "x"',
        f'@gw : PSK "{CANARY}',
        f"@gw : PSK '{CANARY}\"",
        f"@gw : SECRET {CANARY}",
        f"@gw : PSK 0x{CANARY}",
        f"@gw : PSK 0s{CANARY}!",
        f"@gw : PSK `{CANARY}`",
        f'@gw "{CANARY} {CANARY}" : PSK "x"',
        f"PSK {CANARY} : PSK x",
        f'@gw : PPKS {CANARY} "x"',
        f'@gw : PSK "x" {CANARY}',
        "@gw : PSK",
        "@gw :",
        "@gw",
        "include",
    ],
)
@pytest.mark.parametrize("dialect", Dialect)
def test_what_is_broken_is_told_without_a_word_of_it(line: str, dialect: Dialect) -> None:
    parsed = read(line + '\n@next : PSK "next one"\n', dialect)
    assert CANARY not in repr(parsed.problems)
    assert CANARY not in repr([entry.owners for entry in parsed.entries])
    assert parsed.entries[-1].value.reveal() == b"next one"
    assert parsed.problems or len(parsed.entries) == 2 or line == "include"


def test_lines_are_counted() -> None:
    text = "# one\n\n@a : PSK 'first'\n@b\n : PSK 'second'\n@c : PSK\n"
    parsed = read(text, LIBRESWAN)
    assert [entry.place.line for entry in parsed.entries] == [3, 4]
    assert [problem.place.line for problem in parsed.problems] == [6]
    assert str(parsed.problems[0].place) == "/etc/ipsec.secrets:6"


def test_octets_that_are_no_text_stay_what_they_are() -> None:
    octets = b'@gw : PSK "\xff\xfe\xe4"\n'
    text = octets.decode("utf-8", "surrogateescape")
    for dialect in Dialect:
        assert only(text, dialect)[2] == b"\xff\xfe\xe4"
