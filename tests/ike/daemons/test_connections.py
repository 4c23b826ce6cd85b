"""What may be written into a daemon's configuration, and what not."""

from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from ike.daemons.connections import require_valid
from ike.daemons.libreswan import sections
from ike.daemons.port import Child, Connection, ConnectionInvalid, fingerprint
from ike.daemons.strongswan import names
from ike.daemons.strongswan.managed import sections as charon_sections
from ike.daemons.strongswan.settings import render
from tests.lab.handmade import Authority

CA = "ab" * 32
CHILD = Child("net", ("10.1.0.0/24",), ("10.2.0.0/24", "2001:db8::/32"))
GOOD = Connection(
    "gw-a_gw-b",
    ("192.0.2.1",),
    ("gw-b.example", "192.0.2.0/24", "%any"),
    "dns:gw-a.example",
    "dn:CN=gw-b,O=Example Ltd",
    CA,
    (CHILD,),
    ("aes256gcm16-prfsha384-ecp384",),
    7200,
)
BAD: list[dict[str, Any]] = [
    *({"name": bad} for bad in ("", "a b", "a.b", "a\n", "-a", "ä", "a{", "x" * 64, "include")),
    *({"local_addresses": (bad,)} for bad in ("", "a b", "a,b", "192.0.2.1\n", "$(x)", "a#b")),
    {"remote_addresses": ()},
    *(
        {"local_id": bad}
        for bad in (
            "gw",
            "dns:",
            "dns:a b",
            "dns:a\tb",
            'dns:a"b',
            "ip:gw",
            "dn:gw",
            "key:x",
            "dns:a\\",
        )
    ),
    {"remote_authority": "00"},
    {"revocation": "no"},
    {"proposals": ("aes256; x",)},
    {"rekey_seconds": -1},
    {"children": ()},
    {"children": (CHILD, CHILD)},
    {"children": (Child("a b", ("10.0.0.0/8",), ("10.0.0.0/8",)),)},
    {"children": (Child("include", ("10.0.0.0/8",), ("10.0.0.0/8",)),)},
    {"children": (Child("a", ("everything",), ("10.0.0.0/8",)),)},
    {"children": (Child("a", (), ("10.0.0.0/8",)),)},
    {"children": (Child("a", ("10.0.0.0/8",), ("10.0.0.0/8",), start_action="go"),)},
    {"children": (Child("a", ("10.0.0.0/8",), ("10.0.0.0/8",), esp_proposals=("x y",)),)},
]


def test_a_good_one_passes() -> None:
    require_valid(GOOD, {CA})


@pytest.mark.parametrize("changes", BAD, ids=str)
def test_a_bad_one_is_refused_with_its_fault(changes: dict[str, Any]) -> None:
    with pytest.raises(ConnectionInvalid) as refused:
        require_valid(Connection(**{**vars(GOOD), **changes}), {CA})
    assert "\n" not in refused.value.message


@given(
    st.sampled_from(["name", "local_id", "remote_id", "address", "proposal", "child", "network"]),
    st.text(max_size=20),
)
def test_what_passes_is_one_value_of_the_file(where: str, text: str) -> None:
    changes: dict[str, Any] = {where: text}
    if where == "address":
        changes = {"remote_addresses": (text,)}
    elif where == "proposal":
        changes = {"proposals": (text,)}
    elif where in {"child", "network"}:
        child = Child(
            text if where == "child" else "a",
            (text,) if where == "network" else ("10.0.0.0/8",),
            ("10.0.0.0/8",),
        )
        changes = {"children": (child,)}
    elif where.endswith("_id"):
        changes = {where: f"dns:{text}"}
    connection = Connection(**{**vars(GOOD), **changes})
    try:
        require_valid(connection, {CA})
    except ConnectionInvalid:
        return
    lines = render(charon_sections(connection, ["/ca.pem"], ())).splitlines()
    for line in lines:
        key, _, value = line.strip().partition(" = ")
        assert line.endswith(("{", "}")) or (value[0], value[-1], value.count('"')) == ('"', '"', 2)
        assert key.replace("_", "").replace("-", "").rstrip(" {}").isalnum() or key == "}"


def test_a_dn_is_handed_over_by_its_bytes() -> None:
    assert names.for_charon("dn:CN=a,O=b").startswith("asn1dn:#30")


@pytest.mark.parametrize(
    "name", ['x"\n\tleftupdown="/bin/sh -c id', "x\n\tauto=start", 'x"', "x\u2028y", "x\\"]
)
def test_the_subject_of_an_authority_ends_no_value_of_ipsec_conf(name: str) -> None:
    authority = Authority(name).certificate
    known: dict[str, x509.Certificate] = {fingerprint(authority): authority}
    connection = replace(
        GOOD, remote_addresses=("192.0.2.2",), remote_authority=fingerprint(authority)
    )
    with pytest.raises(ConnectionInvalid):
        sections.render(connection, sections.Around("own", "ecdsa", known))
