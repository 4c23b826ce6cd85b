"""racoon's psk.txt: on each line an identity and, up to its end, the key. Pure."""

import re
from typing import Final

from core.secret import Secret
from ike.secrets import forms, identities, ipsec_secrets
from ike.secrets.identities import Identity
from ike.secrets.values import Dialect, Entry, Form, Kind, Parsed, Place, Problem, Source

_MAX_PROBLEMS: Final = 20
_HOST: Final = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}\Z", re.IGNORECASE)


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
            owner = _owner(*words)
        except ValueError as error:
            if len(problems) < _MAX_PROBLEMS:
                problems.append(Problem(place, str(error)))
            continue
        owners = (owner,)
        entries.append(Entry(Kind.PSK, owners, Secret(value), form, place, Dialect.STRONGSWAN))
    return Parsed(tuple(entries), (), tuple(problems))


def _owner(word: str, key: str) -> Identity:
    """Whose key it is. What may be the key, of a line that was written the wrong way round, is not shown as that."""
    owner = ipsec_secrets.owner(word, Kind.PSK)
    if owner is None:
        raise ValueError("what stands as an identity cannot be one")
    # Many a key looks like a name; but no key is an address, nor the name of a host where the identity is none.
    is_address = identities.strongswan(key.split(maxsplit=1)[0]).kind in ("ip", "net")
    is_host = "." not in word and _HOST.match(key.strip()) is not None
    if owner.kind not in ("ip", "any") and (is_address or is_host):
        raise ValueError("what stands as a key is a peer: identity and key seem to be swapped")
    return owner


def _value(text: str) -> tuple[bytes, Form]:
    if not text:
        raise ValueError("an identity without a key")
    if not text.startswith("0x"):
        return forms.octets(text), Form.PLAIN
    try:
        return bytes.fromhex(text[2:]), Form.HEX
    except ValueError:
        raise ValueError("the value after 0x is not pairs of hexadecimal digits") from None
