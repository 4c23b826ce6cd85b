"""Shared primes: a hundred thousand RSA moduli of 2048 bits compared with each other, within a minute.

The peer is the batch GCD that is written everywhere: a tree of products, then remainders by squares, over the same
gmpy2. The moduli are random odd numbers, as long and as hard to multiply as real ones; twenty pairs of them have a
prime of 1024 bits in common, and each of these must be found. Beside it, without a peer: a tenth of them without gmpy2.
"""

import decimal
import random
import time
from collections.abc import Callable, Sequence

from gmpy2 import gcd, mpz, next_prime

from bench.load import LoadFailed
from bench.rounds import Bench, Row, alone, compare
from ike.audit.shared_primes import Decimals, Tree, common_divisors

_MODULI = 100_000
_QUICK = 2_000
_PAIRS = 20
_LIMIT = 60.0
_MAX_ROUNDS = 3


def run(bench: Bench) -> list[Row]:
    """Compare all with all, by ours and by the peer."""
    count = _QUICK if bench.options.quick else _MODULI
    bench.say(f"making {count:,} moduli")
    moduli, shared = _moduli(count)
    ours, peer = [], []
    for number in range(1, min(bench.options.rounds, _MAX_ROUNDS) + 1):
        ours.append(_timed(common_divisors, moduli, shared))
        if not bench.options.ours_only:
            peer.append(_timed(_plain, moduli, shared))
        bench.say(
            f"round {number}: {', '.join(f'{each[-1]:.1f} s' for each in (ours, peer) if each)}"
        )
    note = f"{count:,} moduli of 2048 bits, of which {2 * _PAIRS} share a prime with another"
    what = ("primes", "all_compared", "s")
    rows = [compare(what, ours, "limit", [_LIMIT], less_is_better=True, note=note)]
    if peer:
        named = ("primes", "all_compared_by_fractions", "s")
        squares = "remainders by squares, gmpy2"
        rows.append(compare(named, ours, squares, peer, less_is_better=True, note=note))
    part = count // 10
    bench.say(f"and {part:,} without gmpy2")
    taken = _timed(_without, moduli[-part:], {})
    rows.append(alone(("primes", "without_gmpy2", "s"), [taken], note=f"{part:,} moduli"))
    return rows


def _moduli(count: int) -> tuple[list[int], dict[int, int]]:
    """Numbers, and by position the prime that some of them share."""
    chance = random.Random(count)
    moduli = [chance.getrandbits(2048) | 1 << 2047 | 1 for _ in range(count)]
    shared = {}
    for pair in range(_PAIRS):
        prime = int(next_prime(chance.getrandbits(1024) | 1 << 1023))
        for at in (pair, count // 2 + pair):
            moduli[at] = prime * (chance.getrandbits(1024) | 1 << 1023 | 1)
            shared[at] = prime
    return moduli, shared


def _timed(
    find: Callable[[Sequence[int]], Sequence[int]], moduli: Sequence[int], shared: dict[int, int]
) -> float:
    """Seconds. Raises LoadFailed where a prime was not found."""
    begun = time.perf_counter()
    divisors = find(moduli)
    taken = time.perf_counter() - begun
    if any(divisors[at] % prime for at, prime in shared.items()):
        raise LoadFailed("a shared prime was not found")
    return taken


def _plain(moduli: Sequence[int]) -> list[int]:
    levels = [[mpz(modulus) for modulus in moduli]]
    while len(levels[-1]) > 1:
        last = levels[-1]
        pairs = (last[at : at + 2] for at in range(0, len(last), 2))
        levels.append([pair[0] * pair[-1] if len(pair) > 1 else pair[0] for pair in pairs])
    rest = levels.pop()
    while levels:
        rest = [rest[at // 2] % (modulus * modulus) for at, modulus in enumerate(levels.pop())]
    return [int(gcd(left // n, n)) for left, n in zip(rest, moduli, strict=True)]


def _without(moduli: Sequence[int]) -> list[int]:
    with decimal.localcontext(Decimals.EXACT):
        return Tree(Decimals()).divisors(moduli)
