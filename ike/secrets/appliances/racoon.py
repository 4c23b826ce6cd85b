"""racoon's psk.txt: on each line an identity and, up to its end, the key. Pure."""

from typing import Final

from core.secret import Secret
from ike.secrets import forms, identities
from ike.secrets.values import Dialect, Entry, Form, Kind, Parsed, Place, Problem, Source

_MAX_PROBLEMS: Final = 20


def parse(source: Source) -> Parsed:
    """The keys, each of one peer; `*` is everybody."""
    entries: list[Entry] = []
    problems: list[Problem] = []
    for number, line in enumerate(source.text.split("\n"), 1):
        words = line.strip("\r").split(maxsplit=1)
        if not words or words[0].startswith("#"):
            continue
        place = Place(source.path, number)
        try:
            value, form = _value(words[1] if len(words) > 1 else "")
        except ValueError as error:
            if len(problems) < _MAX_PROBLEMS:
                problems.append(Problem(place, str(error)))
            continue
        owners = (identities.strongswan(words[0]),)
        entries.append(Entry(Kind.PSK, owners, Secret(value), form, place, Dialect.STRONGSWAN))
    return Parsed(tuple(entries), (), tuple(problems))


def _value(text: str) -> tuple[bytes, Form]:
    if not text:
        raise ValueError("an identity without a key")
    if not text.startswith("0x"):
        return forms.octets(text), Form.PLAIN
    try:
        return bytes.fromhex(text[2:]), Form.HEX
    except ValueError:
        raise ValueError("the value after 0x is not pairs of hexadecimal digits") from None
