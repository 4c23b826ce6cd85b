"""swanctl.conf: strongSwan's settings syntax, and what is in it."""

import pytest

from ike.secrets import settings_syntax
from ike.secrets.swanctl_conf import parse
from ike.secrets.values import Entry, Form, Kind, Parsed, Source


def read(text: str) -> Parsed:
    return parse(Source("/etc/swanctl/swanctl.conf", text))


def secret(lines: str, name: str = "ike-a") -> Entry:
    parsed = read(f"secrets {{\n {name} {{\n{lines}\n}}\n}}\n")
    assert not parsed.problems
    [entry] = parsed.entries
    return entry


@pytest.mark.parametrize(
    ("written", "value", "form"),
    [
        ('"a b"', b"a b", Form.QUOTED),
        ("plain # remark", b"plain", Form.PLAIN),
        ("two  words", b"two words", Form.PLAIN),
        ('"one"   "two"', b"one two", Form.QUOTED),
        ("0x6162", b"ab", Form.HEX),
        ('"0x6162"', b"ab", Form.HEX),
        ("0sYWJj", b"abc", Form.BASE64),
        ("0SYWI", b"ab", Form.BASE64),
        ('"say \\"it\\" \\\\ \\t\\x"', b'say "it" \\ \tx', Form.QUOTED),
        ('"on\\\ne"', b"one", Form.QUOTED),
        ('"#{}="', b"#{}=", Form.QUOTED),
        ("a{b=c", b"a{b=c", Form.PLAIN),
        ("cut#off", b"cut", Form.PLAIN),
    ],
)
def test_a_value(written: str, value: bytes, form: Form) -> None:
    entry = secret(f"  secret = {written}")
    assert (entry.value.reveal(), entry.form) == (value, form)


def test_owners_and_kinds() -> None:
    entry = secret(
        'id = a.example\n id-2 = "C=CH, CN=b"\n idx = "@#6162"\n id3 = fqdn:x\n secret = "s"'
    )
    owners = [str(owner) for owner in entry.owners]
    assert owners == ["dns:a.example", "dn:C=CH, CN=b", "keyid:#6162", "dns:x"]
    assert (entry.name, entry.place.line) == ("ike-a", 7)  # of the secret, not of its section
    for name, kind in {
        "ike1": Kind.PSK,
        "ppk-x": Kind.PPK,
        "eap-carol": Kind.USER,
        "xauth": Kind.USER,
        "ntlm-x": Kind.USER,
        "private-gw": Kind.PASSPHRASE,
        "pkcs12-gw": Kind.PASSPHRASE,
    }.items():
        assert secret("secret = x", name).kind is kind
    [pin] = read("secrets { token-x { pin = 1234\n} }").entries
    assert (pin.kind, pin.name, pin.value.reveal()) == (Kind.PIN, "token-x", b"1234")
    assert read("secrets { token-x { handle = 11\n} }") == Parsed()
    assert read("secrets { other { secret = x\n} }").problems


def test_sections_go_on_and_are_taken_over() -> None:
    parsed = read(
        """
base.connections = no
connections {
  one : basis, more.inner {
    remote_addrs = 192.0.2.2, 2001:db8::2
  }
}
connections
{ one { local { id = me.example
  } } }
basis { version = 1
  local-1 { auth = psk
    id = other.example
  }
  remote { auth = psk }
}
more { inner { version = 2
  remote { id = you.example
  } } }
""".replace("base.connections = no\n", "")
    )
    assert not parsed.problems
    [found] = parsed.connections
    assert (found.name, found.versions) == ("one", (1,))
    assert found.remote.addresses == ("192.0.2.2", "2001:db8::2")
    assert str(found.remote.identity) == "dns:you.example"
    # Of several rounds the one with the PSK.
    assert (str(found.local.identity), found.local.psk) == ("dns:other.example", True)


def test_circles_of_sections_end() -> None:
    parsed = read("connections : a { }\na : b { x : a { } }\nb : a { y : connections { } }\n")
    assert {each.name for each in parsed.connections} == {"x", "y"}


CANARY = "hunter2-canary"


@pytest.mark.parametrize(
    "text",
    [
        f"secrets {{ ike-a {{ id = x secret = {CANARY}\n}} }}",
        f'secrets {{ ike-a {{ id = "x\n secret = "{CANARY}"\n}} }}',
        f"secrets {{ ike-a {{ secret = 0x{CANARY}\n}} }}",
        f"secrets {{ ike-a {{ secret = 0s*{CANARY}\n}} }}",
        f'secrets {{ ike-a {{ "secret" = {CANARY}\n}} }}',
        f'secrets {{ ike-a {{ secret = "{CANARY}\n}} }}',
        f"secrets {{ ike-a {{ secret {CANARY}\n}} }}",
        f"secrets {{ ppk-a {{ id = y secret = {CANARY}\n}} }}",
        f"secrets {{ ike-a {{ id = x\n }} secret = {CANARY}",
        f"secrets {{ ike-a {{ secret = x\n}} }} }} {CANARY}",
        "secrets { ike-a { id = x\n",
        "secrets { ike-a.b { id = x\n secret = y\n} }",
        "{ { {",
        "= = =",
        'include "',
    ],
)
def test_what_is_broken_is_told_without_a_word_of_it(text: str) -> None:
    parsed = read(text)
    assert parsed.problems
    assert CANARY not in repr(parsed.problems)
    assert CANARY not in repr([(entry.owners, entry.name) for entry in parsed.entries])


def test_an_unreadable_owner_makes_no_secret_for_everybody() -> None:
    parsed = read('secrets { ike-a {\n id = "two\\nlines"\n secret = x\n} }')
    assert not parsed.entries
    assert [problem.place.line for problem in parsed.problems] == [2]


def test_includes_stand_where_they_are() -> None:
    files = {"inner": 'id = "a"\nsecret = "s"\n', 'two words"': "x { y = 1\n}"}
    asked: list[str] = []

    def include(pattern: str, _source: Source) -> list[Source]:
        asked.append(pattern)
        return [Source(pattern, files[pattern])] if pattern in files else []

    text = 'secrets { ike-a {\n include inner\n} }\ninclude "two words\\""\ninclude a\\ b # no\ninclude = x\n'
    top, problems = settings_syntax.parse(Source("x", text), include)
    assert not problems
    assert asked == ["inner", 'two words"', "a b"]
    assert top.sections["secrets"].sections["ike-a"].values["secret"].place.path == "inner"
    assert top.sections["x"].values["y"].text == "1"
    assert top.values["include"].text == "x"


def test_deep_nesting_ends() -> None:
    top, problems = settings_syntax.parse(Source("x", "a {" * 5000 + "}" * 5000))
    assert problems
    assert settings_syntax.resolved(top, top).sections["a"]


def size(section: settings_syntax.Section) -> int:
    return 1 + len(section.values) + sum(map(size, section.sections.values()))


def test_sections_that_double_with_each_reference_are_given_up_and_told() -> None:
    doubling = "".join(
        f"s{n} {{ l : s{n - 1} {{ }}\n r : s{n - 1} {{ }} }}\n" for n in range(1, 40)
    )
    text = f"s0 {{ a = b }}\n{doubling}connections : s39 {{ }}\nsecrets : s39 {{ }}\n"
    parsed = read(text)
    told = [each for each in parsed.problems if each.message == settings_syntax.TOO_LARGE]
    assert len(told) == 2
    top, _ = settings_syntax.parse(Source("x", text))
    assert size(settings_syntax.resolved(top, top.sections["connections"])) < 25_000


def test_so_are_those_that_are_merged_again_and_again() -> None:
    doubling = "".join(
        f"s{n} : s{n - 1} {{ l : s{n - 1} {{ }}\n r : s{n - 1} {{ }} }}\n" for n in range(1, 40)
    )
    parsed = read(f"s0 {{ a = b }}\n{doubling}connections : s39, s38 {{ }}\n")
    assert settings_syntax.TOO_LARGE in {each.message for each in parsed.problems}


def test_a_hub_whose_connections_share_a_template_is_read_as_a_whole() -> None:
    count = 10_000
    template = "gw {\n" + "".join(f" v{n} = {n}\n" for n in range(12))
    template += "".join(
        f" {name} {{\n a = 1\n b = 2\n c = 3\n }}\n" for name in ("local", "remote", "children")
    )
    own = "remote_addrs = 192.0.2.1\n local { id = a\n auth = psk }\n remote { id = gw2 }"
    hub = "".join(f" c{n} : gw {{\n {own}\n }}\n" for n in range(count))
    parsed = read(f"{template}}}\nconnections {{\n{hub}}}\n")
    assert len(parsed.connections) == count
    assert not parsed.problems
