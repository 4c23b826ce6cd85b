"""Whatever stands in the files: nothing breaks, nothing hangs, and no value is shown."""

import io
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.secret import Secret
from ike.secrets import ipsec_conf, ipsec_secrets, swanctl_conf
from ike.secrets.looking import Overview, look
from ike.secrets.reading import Found
from ike.secrets.values import Dialect, Parsed, Source
from ikewarden.cli.commands import tunnel_import
from ikewarden.cli.screen import Screen
from ikewarden.cli.session import Session

SAMPLES = Path(__file__).parent / "samples"
CANARY = "K7!canary of a test$"
CANARY_HEX = CANARY.encode().hex()
# Where a value begins, and how far it goes.
_VALUES = re.compile(
    r"""((?:PSK|EAP|XAUTH|PPKS\s+"[^"]+"|gw1\.key|secret\s*=)[ \t]+)("[^"\n]*"|[^\s]+)"""
)
_PIECES = [
    '"',
    "'",
    ":",
    " : ",
    "{",
    "}",
    "=",
    "#",
    "\n",
    "\t",
    " ",
    "\\",
    ",",
    "0x",
    "0s",
    "0t",
    "@",
]
_PIECES += [
    "include ",
    "conn ",
    "PSK",
    "%any",
    "secret = ",
    "id = ",
    "\r\n",
    "\udcff",
    "\ufeff",
    "\x1b[31m",
]


def planted() -> list[str]:
    """The samples with the canary in the place of each value: as text, and as hexadecimal digits."""
    texts = []
    for path in sorted(SAMPLES.rglob("*")):
        if path.suffix in (".conf", ".secrets") and path.is_file():
            for form in (f'"{CANARY}"', f"0x{CANARY_HEX}"):
                texts.append(_VALUES.sub(rf"\g<1>{form}", path.read_text()))
    return texts


PLANTED = planted()


def parsed(text: str) -> list[Parsed]:
    source = Source("/etc/some.file", text)
    return [
        swanctl_conf.parse(source),
        *(ipsec_secrets.parse(source, dialect) for dialect in Dialect),
        *(ipsec_conf.parse(source, dialect) for dialect in Dialect),
    ]


def overviews(text: str) -> list[Overview]:
    key = Secret(b"k" * 32)
    return [
        look(Found(each.entries, each.connections, each.problems, {}), key) for each in parsed(text)
    ]


def shown(overview: Overview) -> str:
    """All that the command writes of it, in both formats."""
    out = io.StringIO()
    for kind in ("text", "json"):
        session = Session({}, lambda: datetime(2027, 1, 1, tzinfo=UTC), out, out, format=kind)
        tunnel_import._show(session, overview)
    Screen("text", out, out).line(repr(overview))
    return out.getvalue()


def test_the_canary_is_planted() -> None:
    assert (
        sum(CANARY in text for text in PLANTED) == sum(CANARY_HEX in text for text in PLANTED) > 6
    )
    values = [
        entry.value.reveal() for text in PLANTED for each in parsed(text) for entry in each.entries
    ]
    assert values.count(CANARY.encode()) >= 20


@settings(max_examples=400)
@given(
    text=st.sampled_from(PLANTED),
    edits=st.lists(
        st.tuples(st.integers(0, 3000), st.integers(0, 12), st.sampled_from(["", *_PIECES])),
        max_size=4,
    ),
    end=st.integers(0, 4000),
)
@example(
    f': RSA gw1.key "{CANARY}"\n', [(6, 9, "")], 17
)  # the passphrase is where the file's name was
def test_no_value_is_shown_however_a_file_is_damaged(
    text: str, edits: list[tuple[int, int, str]], end: int
) -> None:
    for at, length, piece in edits:
        place = at % (len(text) + 1)
        text = text[:place] + piece + text[place + length :]
    for overview in overviews(text[:end]):
        told = shown(overview)
        assert "canary" not in told
        assert CANARY_HEX not in told


@settings(max_examples=300)
@given(st.lists(st.sampled_from([*_PIECES, "a", "left=1", "config setup", "x"]), max_size=60))
@example(["include "])
def test_no_text_breaks_the_parsers(pieces: list[str]) -> None:
    for overview in overviews("".join(pieces)):
        shown(overview)


@given(st.binary(max_size=400))
def test_no_octets_break_the_parsers(octets: bytes) -> None:
    for overview in overviews(octets.decode("utf-8", "surrogateescape")):
        shown(overview)


@pytest.mark.parametrize(
    "piece",
    [
        "{",
        ":",
        '"',
        "#",
        "\n",
        "=",
        " : ",
        "a",
        '@a : PSK "x"\n',
        "a {",
        "conn a\n also=a\n",
        "\\\n",
    ],
)
def test_large_files_come_to_an_end(piece: str) -> None:
    # What grows with the square of the length would take hours.
    parsed((piece * (2**20 // len(piece)))[: 2**18])
