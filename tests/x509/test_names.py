"""Names: one spelling each, and what a pattern covers."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from pki.x509.names import (
    NAME_KINDS,
    GeneralName,
    InvalidName,
    InvalidNamePattern,
    NamePattern,
)
from tests.x509 import workshop

_label = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True).filter(
    lambda text: text[2:4] != "--"
)
_letter_label = _label.filter(lambda text: not text.isdigit())
_hosts = st.builds(
    lambda labels, last: ".".join([*labels, last]), st.lists(_label, max_size=4), _letter_label
)
_values = {
    "dns": _hosts,
    "ip": st.one_of(
        st.integers(1, 0xDFFFFFFF).map(IPv4Address), st.integers(1, 2**120).map(IPv6Address)
    ).map(str),
    "email": st.builds(
        "{}@{}".format, st.from_regex(r"[a-zA-Z0-9+_-]{1,20}", fullmatch=True), _hosts
    ),
    "uri": st.builds(
        "spiffe://{}/{}".format, _hosts, st.from_regex(r"[a-zA-Z0-9_/-]{0,20}", fullmatch=True)
    ),
    "dn": st.builds(
        lambda o, cn: workshop.name(o=o, cn=cn).rfc4514_string(),
        st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=30),
        st.text(st.characters(categories=("L", "N", "P", "Zs")), min_size=1, max_size=30),
    ),
}
_names = st.sampled_from(NAME_KINDS).flatmap(
    lambda kind: st.builds("{}:{}".format, st.just(kind), _values[kind])
)


@given(_names)
def test_a_name_survives_text_and_certificate(text: str) -> None:
    try:
        name = GeneralName.parse(text)
    except InvalidName:
        assert text.startswith("dn:")  # unprintable blanks, a lone asterisk
        return
    assert GeneralName.parse(str(name)) == name
    assert GeneralName.from_x509(name.to_x509()) == name
    assert name.matches(str(name))
    assert name.matches("*")


@given(
    st.one_of(
        st.text(max_size=60), st.builds("{}:{}".format, st.sampled_from(NAME_KINDS), st.text())
    )
)
def test_any_text_is_a_name_with_one_spelling_or_refused(text: str) -> None:
    try:
        name = GeneralName.parse(text)
    except InvalidName:
        return
    assert GeneralName.parse(str(name)) == name


@given(
    st.one_of(
        st.text(max_size=60), st.builds("{}:{}".format, st.sampled_from(NAME_KINDS), st.text())
    )
)
def test_any_text_is_a_pattern_with_one_spelling_or_refused(text: str) -> None:
    try:
        pattern = NamePattern.parse(text)
    except InvalidNamePattern:
        return
    assert NamePattern.parse(str(pattern)) == pattern


@given(host=_hosts, below=_hosts)
def test_one_asterisk_is_one_label_and_two_are_any_depth(host: str, below: str) -> None:
    name = GeneralName.of("dns", f"{below}.{host}"[-253:].lstrip("-."))
    base = GeneralName.of("dns", host)
    assert name.matches(f"dns:**.{host}")
    assert name.matches(f"dns:*.{host}") == ("." not in name.value.removesuffix("." + host))
    assert not base.matches(f"dns:**.{host}")
    assert not base.matches(f"dns:*.{host}")


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("dns:GW1.Example.COM", "dns:gw1.example.com"),
        ("dns:gw1", "dns:gw1"),
        ("dns:xn--bcher-kva.example", "dns:xn--bcher-kva.example"),
        ("dns:192.0.2.1", "dns:192.0.2.1"),
        ("dns:1a.2", None),
        ("ip:2001:DB8:0::1", "ip:2001:db8::1"),
        ("email:Carol@Example.COM", "email:Carol@example.com"),
        ("uri:SPIFFE://Example.com/GW1", "uri:spiffe://example.com/GW1"),
        ("uri:https://[2001:DB8::1]:443/a", "uri:https://[2001:db8::1]:443/a"),
        ("uri:urn:example:gw1", "uri:urn:example:gw1"),
        ("dn:CN=gw1,O=Example", "dn:CN=gw1,O=Example"),
    ],
)
def test_spelling(text: str, spelled: str | None) -> None:
    if spelled is None:
        with pytest.raises(InvalidName):
            GeneralName.parse(text)
    else:
        assert str(GeneralName.parse(text)) == spelled


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gw1.example.com",
        "other:x",
        "dns:",
        "dns:.",
        "dns:a..b",
        "dns:gw1.example.com.",
        "dns:-gw.example",
        "dns:gw-.example",
        "dns:gw_1.example",
        "dns:gw 1.example",
        "dns:gw1\x00.example",
        "dns:gw1.example\n",
        "dns:*.example.com",
        "dns:gw*.example.com",
        "dns:büro.example",
        "dns:\u212a.example",  # a Kelvin sign becomes k in lower case
        "dns:xn--zz.example",
        "dns:xn--a-.example",
        "dns:ab--cd.example",
        "dns:1.2.3",
        "dns:1.2.3.256",
        "dns:" + "a" * 64 + ".example",
        "dns:" + "a." * 127 + "aa",
        "ip:",
        "ip:192.0.2.1/32",
        "ip:192.0.2.01",
        "ip:fe80::1%eth0",
        "ip:0.0.0.0",
        "ip:::",
        "ip:224.0.0.1",
        "ip:ff02::1",
        "email:carol",
        "email:@example.com",
        "email:carol@",
        "email:a..b@example.com",
        "email:*@example.com",
        "email:carol smith@example.com",
        'email:"carol"@example.com',
        "email:cärol@example.com",
        "email:" + "a" * 65 + "@example.com",
        "uri:gw1",
        "uri:/relative",
        "uri:spiffe://",
        "uri:https://exa mple/",
        "uri:https://example.com/*",
        "uri:https://example.com/a/../b",
        "uri:https://example.com/./b",
        "uri:https://example.com/%41",
        "uri:https://example.com/%zz",
        "uri:https://example.com:port/",
        "uri:https://[::1/",
        "uri:https://example.com/" + "a" * 2048,
        "dn:",
        "dn:gw1",
        "dn:CN=*",
        "dn:CN=" + "a" * 65,
        "dn:O=a\x00b",
    ],
)
def test_refused_names(text: str) -> None:
    with pytest.raises(InvalidName) as refused:
        GeneralName.parse(text)
    assert refused.value.code == "invalid_name"
    assert refused.value.next_step
    assert refused.value.message.isprintable()
    assert len(refused.value.message) < 300


def test_kinds_of_names_that_are_not_carried() -> None:
    for name in (
        x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
        x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"),
        x509.DNSName("*.example.com"),
        x509.DirectoryName(x509.Name([])),
    ):
        with pytest.raises(InvalidName):
            GeneralName.from_x509(name)


@pytest.mark.parametrize(
    ("name", "pattern", "covered"),
    [
        ("dns:gw1.example.com", "dns:GW1.example.com", True),
        ("dns:gw1.example.com", "dns:*", True),
        ("dns:gw1.example.com", "ip:*", False),
        ("dns:gw1.example.com", "email:*@example.com", False),
        ("dns:gw1.example.com", "dns:*.example.com", True),
        ("dns:a.gw1.example.com", "dns:*.example.com", False),
        ("dns:a.gw1.example.com", "dns:**.example.com", True),
        ("dns:gw1.badexample.com", "dns:**.example.com", False),
        ("dns:gw1.example.com.evil.test", "dns:**.example.com", False),
        # An address in a dNSName is an address: only address permissions reach it.
        ("dns:192.0.2.9", "ip:192.0.2.0/24", True),
        ("dns:192.0.2.9", "dns:*", False),
        ("dns:192.0.2.9", "dns:192.0.2.9", True),
        ("ip:192.0.2.9", "ip:192.0.2.0/24", True),
        ("ip:192.0.2.9", "ip:192.0.2.9", True),
        ("ip:192.0.3.9", "ip:192.0.2.0/24", False),
        ("ip:2001:db8::9", "ip:2001:db8::/32", True),
        ("ip:2001:db8::9", "ip:192.0.2.0/24", False),
        ("email:carol@example.com", "email:*@example.com", True),
        ("email:carol@example.com", "email:carol@Example.com", True),
        ("email:carol@example.com", "email:Carol@example.com", False),
        ("email:carol@a.example.com", "email:*@example.com", False),
        ("email:carol@a.example.com", "email:*@*.example.com", True),
        ("email:carol@a.b.example.com", "email:*@**.example.com", True),
        ("uri:spiffe://example.com/gw/1", "uri:spiffe://example.com/gw/*", True),
        ("uri:spiffe://example.com/hq/1", "uri:spiffe://example.com/gw/*", False),
        ("uri:spiffe://example.com/gw/1", "uri:spiffe:*", True),
        ("uri:spiffe://example.com/gw/1", "uri:spiffe://example.com/gw/1", True),
        ("dn:CN=gw1,O=Example", "dn:*,O=Example", True),
        ("dn:CN=gw1,OU=North,O=Example", "dn:*,O=Example", True),
        ("dn:O=Example", "dn:*,O=Example", False),
        ("dn:CN=gw1\\,O=Example,O=Other", "dn:*,O=Example", False),
        ("dn:CN=gw1,O=Example", "dn:*", True),
    ],
)
def test_what_a_pattern_covers(name: str, pattern: str, covered: bool) -> None:
    assert GeneralName.parse(name).matches(pattern) is covered


@pytest.mark.parametrize(
    "text",
    [
        "",
        "**",
        "gw1",
        "other:*",
        "dns:**",
        "dns:gw*.example.com",
        "dns:*.*.example.com",
        "dns:example.*",
        "dns:*.0.2.9",
        "ip:192.0.2.1/24",
        "ip:192.0.2.0/33",
        "ip:192.0.2.*",
        "email:c*@example.com",
        "email:*@*",
        "uri:https://example.com*",
        "uri:https://*",
        "uri:https:/*",
        "uri:https://example.com:*",
        "uri:*/x",
        "dn:O=Example,*",
    ],
)
def test_refused_patterns(text: str) -> None:
    with pytest.raises(InvalidNamePattern) as refused:
        NamePattern.parse(text)
    assert refused.value.code == "invalid_name_pattern"
    assert refused.value.next_step
