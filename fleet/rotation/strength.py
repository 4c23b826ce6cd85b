"""How strong an imported shared secret is, as far as its octets tell. Pure."""

import itertools
import math
from collections import Counter
from dataclasses import dataclass

from core.secret import Secret

# Octets, and bits of an estimate that is generous: a random secret of 16 letters and digits has both.
SHORTEST = 16
FEWEST_BITS = 64
# Values from the daemons' own examples and from lists of what people choose; compared in lower case.
_KNOWN = frozenset(
    {
        b"0sv+niqvubizozzjnagojuqnj02",
        b"changeme",
        b"changeit",
        b"cisco123",
        b"cisco12345",
        b"correct horse battery staple",
        b"ipsec",
        b"myfirstpresharedkey",
        b"mypresharedkey",
        b"mysecret",
        b"password",
        b"password1",
        b"passw0rd",
        b"presharedkey",
        b"pre-shared-key",
        b"psk",
        b"sample",
        b"secret",
        b"secretsharedkey",
        b"sharedsecret",
        b"strongswan",
        b"test",
        b"testing",
        b"thisisasecret",
        b"vpn",
        b"vpnpassword",
        b"whatever",
        b"your_psk_here",
        b"yourpresharedkey",
        b"yoursecret",
    }
)


@dataclass(frozen=True)
class Strength:
    """An estimate in whole bits, and what is wrong: `short`, `guessable`, `known`. None of it is the value."""

    octets: int
    bits: int
    problems: tuple[str, ...]


def assess(value: Secret) -> Strength:
    """How hard a secret is to guess, at most; a person's secret may be weaker than it looks."""
    raw = value.reveal()
    bits = _bits(raw)
    found = []
    if len(raw) < SHORTEST:
        found.append("short")
    if bits < FEWEST_BITS:
        found.append("guessable")
    if raw.strip().lower() in _KNOWN:
        found.append("known")
    return Strength(len(raw), bits, tuple(found))


def _bits(raw: bytes) -> int:
    """Shannon's entropy of the octets as they are spread, at most that of the alphabet they seem to be drawn from; a
    step of a run or of a sequence (aaaa, 1234) counts for nothing.
    """
    if not raw:
        return 0
    surprising = 1 + sum(
        (later - earlier) not in (-1, 0, 1) for earlier, later in itertools.pairwise(raw)
    )
    counts = Counter(raw)
    spread = -sum(n / len(raw) * math.log2(n / len(raw)) for n in counts.values())
    # What few octets show of their spread is less than what they were drawn from.
    each = min(spread + 1, math.log2(_alphabet(raw)))
    repeated = len(raw) / _period(raw)
    return int(each * surprising / repeated)


def _alphabet(raw: bytes) -> int:
    sizes = (
        (b"0123456789", 10),
        (b"abcdef", 6),
        (b"ghijklmnopqrstuvwxyz", 20),
        (b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", 26),
    )
    known = b"".join(letters for letters, _ in sizes)
    size = sum(count for letters, count in sizes if any(octet in letters for octet in raw))
    rest = [octet for octet in raw if octet not in known]
    if any(not 0x20 <= octet < 0x7F for octet in rest):
        return 256
    return max(size + (33 if rest else 0), 2)


def _period(raw: bytes) -> int:
    """The length of the shortest piece that the whole is a repetition of."""
    return (raw + raw).find(raw, 1)
