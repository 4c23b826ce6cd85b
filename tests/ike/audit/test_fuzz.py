"""Whatever stands in files: no crash, and no time without end."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ike.audit import accounts, attributes, leads, shapes
from ike.audit.discovery import discover
from ike.audit.ground import Ground
from ike.secrets.values import Source
from tests.ike.audit.conftest import Files

WORDS = st.lists(
    st.sampled_from(
        [
            "conn ",
            "\n",
            "\n\t",
            "cert=",
            "/a",
            " : ",
            "RSA ",
            "{",
            "}",
            '"',
            "include ",
            "*",
            "secret = ",
            "nssdir=",
            "path certificate ",
            ";",
            "\0",
            "#",
            "x",
            "::",
            "://",
            "@",
            "\udcff",
            "\\",
            "service-type=",
        ]
    ),
    max_size=60,
).map("".join)


@given(st.binary(max_size=300))
def test_octets(content: bytes) -> None:
    shapes.shape(content)
    attributes.acl(content)
    attributes.capabilities(content)
    text = content.decode("utf-8", "replace")
    accounts.parse(text, text)


@given(WORDS)
def test_leads(text: str) -> None:
    source = Source("/etc/x.conf", text)
    for read in (leads.of_secrets, leads.of_connections, leads.folders, leads.of_racoon):
        for lead in read(source):
            assert lead.place.line >= 1


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(WORDS, min_size=6, max_size=6))
def test_a_host_of_junk(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    files = Files(tmp_path_factory.mktemp("host"))
    names = (
        "/etc/ipsec.conf",
        "/etc/ipsec.secrets",
        "/etc/swanctl/swanctl.conf",
        "/etc/strongswan.conf",
        "/etc/racoon/racoon.conf",
        "/config/config.boot",
    )
    for name, text in zip(names, texts, strict=True):
        files.put(name, text.encode("utf-8", "surrogateescape"))
    discover(Ground(files.root))
    files.findings()


@pytest.mark.parametrize(
    "unit",
    [
        "\n",
        " ",
        "a",
        "cert=/a\n",
        "ipsec ",
        ":",
        ": RSA x\n",
        "://a:",
        "\0",
        "secret=x\n",
        "pin = 1\n",
        "# : PSK x\n",
    ],
)
def test_a_file_of_one_thing_takes_no_time(files: Files, unit: str) -> None:
    content = unit * (2**18 // len(unit))
    for name in (
        "/etc/ipsec.conf",
        "/etc/ipsec.secrets",
        "/etc/swanctl/swanctl.conf",
        "/etc/strongswan.conf",
        "/etc/racoon/racoon.conf",
        "/config/config.boot",
        "/etc/NetworkManager/system-connections/a",
        "/etc/swanctl/private/a.key",
        "/etc/security/limits.conf",
        "/etc/passwd",
        "/etc/group",
    ):
        files.put(name, content)
    before = time.monotonic()
    files.findings()
    assert time.monotonic() - before < 120
