"""Whatever stands in a dump, or comes over a socket: it is read or passed over, and never breaks."""

from datetime import datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ike.agent.watching.threads import document
from ike.daemons.strongswan import happenings
from ike.sas import charon, pluto, windows, xfrm
from ike.sas.association import document as shown
from ike.sas.combining import combined
from ike.sas.text import lines

_NOW = datetime(2026, 11, 29)  # noqa: DTZ001 - the kernel prints its own time
_WORDS = st.sampled_from(
    [
        *("src 192.0.2.1 dst 192.0.2.2\n", "\tproto esp spi 0xc1 reqid 1 mode tunnel\n", "src a dst b\n"),
        *("\tproto ah spi 0x1(1) reqid 0 mode transport\n", "\tauth-trunc hmac(sha256) 0x", "\n", " "),
        *("\t  expire add: soft 9(sec), hard 99999999999(sec)\n", "\t  add 2026-11-29 00:00:00 use -\n"),
        *("\t  add 2026-99-29 00:00:00\n", "anti-replay context: seq 0x1, oseq 0x0\n", "encap type espinudp\n"),
        *("Main Mode SA at 1\n", "Quick Mode SA at 1\n", "QM Offer: ESP:SHA1-AES128+99999999999min\n"),
        *('006 #1: "a", type=ESP, add_time=1, inBytes=1, outBytes=', "id='", "', "),
        *('000 #2: "a":500 STATE_V2_ESTABLISHED_CHILD_SA (x); REKEY in -1s; IKE SA #1;\n',),
        *('000 #1: "a":500 STATE_V2_ESTABLISHED_IKE_SA (established IKE SA); idle;\n',),
    ]
)  # fmt: skip
_TEXTS = st.lists(_WORDS | st.text(max_size=20), max_size=25).map("".join)
_NAMES = st.sampled_from(
    [
        *("site", "up", "type", "ike-sa", "child-sas", "old", "new", "uniqueid", "version"),
        *("state", "remote-host", "remote-id", "name", "spi-in", "bytes-in", "rekey-time"),
        *("InitiatorCookie", "FirstTransformType", "SPI", "LocalEndpoint", "value", "GroupId"),
    ]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=6),
    max_leaves=20,
)


@given(_TEXTS, _TEXTS)
def test_text(one: str, other: str) -> None:
    kernel = xfrm.associations(xfrm.states(one.splitlines(keepends=True)), now=_NOW)
    told = pluto.associations(one, other, now=1.0) + windows.of_netsh(other)
    found = combined(told, kernel)
    assert list(map(shown, found)) is not None
    assert list(lines(found))


@given(_JSON)
def test_objects_of_powershell(value: Any) -> None:
    assert list(lines(windows.of_powershell(value)))


@given(
    st.sampled_from([*happenings.EVENTS, happenings.ALERT]),
    st.dictionaries(_NAMES, st.dictionaries(_NAMES, st.text(max_size=8)) | st.text(max_size=8)),
)
def test_events_of_charon(name: str, message: dict[str, Any]) -> None:
    for event in happenings.events_of(name, message, 1.0):
        assert document(event)["event"] == event.kind


@given(st.dictionaries(_NAMES, st.dictionaries(_NAMES, st.text(max_size=8))))
def test_lists_of_charon(message: dict[str, Any]) -> None:
    assert list(lines(charon.associations([message])))
