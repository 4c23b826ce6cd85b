"""No text makes the reading of a configuration, or its judgement, fail or hang."""

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ike.audit.configuration import Configuration, look
from ike.audit.configuration.baselines import BASELINES
from ike.audit.values import Policy
from ike.secrets.tree import Tree
from ike.secrets.values import Dialect
from tests.ike.audit.configuration import test_opnsense, test_tunnel_settings, test_vyos
from tests.ike.audit.configuration.test_rules import (
    LIBRESWAN,
    RACOON,
    STRONGSWAN,
    Start,
    keyfile,
    swanctl,
)

NOW = datetime(2026, 11, 29, tzinfo=UTC)
CHARON = "charon {\n filelog {\n x {\n default = 4\n }\n }\n}\n"
KINDS = {
    "swanctl": swanctl(),
    "strongswan.conf": CHARON,
    "ipsec.conf": STRONGSWAN + LIBRESWAN,
    "racoon": RACOON,
    "networkmanager": keyfile("libreswan", "ike=aes256-sha2;dh14", "leftid=x"),
    "vyos-config": test_vyos.CONFIG,
    "opnsense-xml": test_tunnel_settings.config("opnsense").replace(
        "</opnsense>", test_opnsense.CONFIG.partition("<opnsense>")[2]
    ),
}


def judged(folder: Path, kind: str, content: bytes) -> Configuration:
    (folder / "file").write_bytes(content)
    found = Configuration()
    for dialect in Dialect:
        found = look(Tree(folder), [Start("/file", kind)], dialect)
        for baseline in BASELINES:
            for each in found.judge(Policy(baseline=baseline, certificates_only=True), NOW):
                assert each.id
    return found


@st.composite
def spoiled(draw: st.DrawFn) -> tuple[str, bytes]:
    """A configuration of some kind with a part of it replaced, doubled or gone."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    text = KINDS[kind].encode()
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 40)))
        other = draw(
            st.one_of(
                st.binary(max_size=8),
                st.sampled_from(
                    [b"{", b"}", b"=", b":", b'"', b"\n", b",", b"-", b"include file\n"]
                ),
                st.sampled_from([b"0" * 5000, b"9" * 5000, b"aes128-" * 50, text[start:end] * 2]),
            )
        )
        text = text[:start] + other + text[end:]
    return kind, text


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(spoiled())
def test_nothing_fails(tmp_path_factory: pytest.TempPathFactory, given: tuple[str, bytes]) -> None:
    judged(tmp_path_factory.getbasetemp(), *given)


def _doubling() -> str:
    """Each section takes over two, which take over the same two: a tree of 2 to the power of 60."""
    levels = [
        f"{side}{level} : a{level + 1}, b{level + 1} {{\n x = 1\n}}\n"
        for level in range(60)
        for side in "ab"
    ]
    return "".join(levels) + "connections : a0 {\n c : a0 {\n }\n}\n"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("swanctl", _doubling()),
        ("swanctl", "a : " + "b, " * 300_000 + " {\n}\n"),
        ("swanctl", "connections {\n c {\n proposals = " + "aes128-" * 100_000 + "\n }\n}\n"),
        ("swanctl", "connections {\n" + "c { include file\n }\n" * 1000 + "}\n"),
        (
            "ipsec.conf",
            "conn a\n\talso=" + "b " * 400_000 + "\n" + "conn c\n\talso=a\n\tleft=x\n" * 3000,
        ),
        ("ipsec.conf", "conn a\n\tleft=x\n\tike=" + "aes+" * 200_000 + "\n"),
        ("racoon", "remote x {" * 50_000),
        ("racoon", "remote x { }" * 30_000 + "sainfo y { }" * 30_000),
        ("networkmanager", "[vpn]\n" + "x=y\n" * 200_000),
    ],
)
def test_nothing_hangs(tmp_path: Path, kind: str, text: str) -> None:
    (tmp_path / "file").write_text(text)
    before = time.monotonic()
    found = look(Tree(tmp_path), [Start("/file", kind)], Dialect.LIBRESWAN)
    assert all(each.id for each in found.judge(Policy(), NOW))
    assert time.monotonic() - before < 120  # seconds, on a machine that does other things too
