"""RSA moduli that have a prime in common: whoever sees two of them has both private keys. Pure.

Bad entropy at the first boot made them by the thousand (Heninger, Durumeric, Wustrow, Halderman 2012: "Mining Your Ps
and Qs"). All of a set are compared at once, by products and remainders in a tree (Bernstein 2004, "Scaled remainder
trees").

With P the product of all moduli and D the sum of P/n over all n, D mod n is P/n mod n, and shares with n what any other
modulus shares with it. D and P go up the tree together; going down, a node keeps the fraction D/(its product) without
its whole part, so each step is one multiplication and never a division. Whole numbers of Python multiply too slowly for
that where they are long; its decimal numbers do not (they use number-theoretic transforms), and gmpy2 is six times as
fast again: the extra `primes`. Ten thousand keys take seconds either way, a hundred thousand minutes without it.
"""

import decimal
from collections.abc import Iterable, Iterator, Sequence
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from math import gcd
from typing import Final, Generic, Protocol, TypeVar

_GUARD: Final = 64  # digits, or bits, beside those of the product; each level of the tree loses one
_MAX_COMPARED: Final = 1000

N = TypeVar("N")


class Arithmetic(Protocol[N]):
    """Numbers of some kind. A fraction is at least 0 and less than 1, and has as many places as it is said to have."""

    def number(self, value: int) -> N:
        """A whole number."""

    def multiply(self, one: N, other: N) -> N:
        """Their product."""

    def cross(self, one: N, two: N, three: N, four: N) -> N:
        """one · two + three · four."""

    def fraction(self, above: N, below: N) -> tuple[N, int]:
        """above / below without its whole part, and its places."""

    def step(self, fraction: N, places: int, factor: N) -> tuple[N, int]:
        """fraction · factor without its whole part, and without the places that mean nothing any more."""

    def whole(self, fraction: N, places: int, factor: N) -> int:
        """fraction · factor, rounded."""


class Binary:
    """Whole numbers of Python, or those of gmpy2. A fraction is counted in units of its last bit."""

    def __init__(self, number: type[int] = int) -> None:
        self.number = number

    def multiply(self, one: int, other: int) -> int:
        """See `Arithmetic`."""
        return one * other

    def cross(self, one: int, two: int, three: int, four: int) -> int:
        """See `Arithmetic`."""
        return one * two + three * four

    def fraction(self, above: int, below: int) -> tuple[int, int]:
        """See `Arithmetic`."""
        places = below.bit_length() + _GUARD
        return ((above % below) << places) // below, places

    def step(self, fraction: int, places: int, factor: int) -> tuple[int, int]:
        """See `Arithmetic`."""
        lost = factor.bit_length()
        rest = (fraction * factor) & ((self.number(1) << places) - 1)
        return rest >> lost, places - lost

    def whole(self, fraction: int, places: int, factor: int) -> int:
        """See `Arithmetic`."""
        return int((fraction * factor + (self.number(1) << (places - 1))) >> places)


class Decimals:
    """Decimal numbers as exact ones: to be used where `decimal` has the context EXACT."""

    EXACT: Final = decimal.Context(
        prec=decimal.MAX_PREC, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, traps=[]
    )

    def number(self, value: int) -> Decimal:
        """See `Arithmetic`."""
        return Decimal(value)

    def multiply(self, one: Decimal, other: Decimal) -> Decimal:
        """See `Arithmetic`."""
        return one * other

    def cross(self, one: Decimal, two: Decimal, three: Decimal, four: Decimal) -> Decimal:
        """See `Arithmetic`."""
        return one * two + three * four

    def fraction(self, above: Decimal, below: Decimal) -> tuple[Decimal, int]:
        """See `Arithmetic`."""
        places = below.adjusted() + 1 + _GUARD
        whole = max(0, above.adjusted() - below.adjusted() + 1)
        with decimal.localcontext(self.EXACT) as context:
            context.prec = places + whole
            context.rounding = ROUND_FLOOR
            divided = above / below
        return self._cut(divided, places)

    def step(self, fraction: Decimal, places: int, factor: Decimal) -> tuple[Decimal, int]:
        """See `Arithmetic`."""
        return self._cut(fraction * factor, places - factor.adjusted() - 1)

    def _cut(self, value: Decimal, places: int) -> tuple[Decimal, int]:
        rest = value - value.to_integral_value(ROUND_FLOOR)
        return rest.quantize(Decimal((0, (1,), -places)), ROUND_FLOOR), places

    def whole(self, fraction: Decimal, _places: int, factor: Decimal) -> int:
        """See `Arithmetic`."""
        return int((fraction * factor).to_integral_value(ROUND_HALF_EVEN))


def shared(moduli: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Which moduli have a prime in common: groups of two and more positions. The primes themselves are told nobody.

    The moduli are greater than 1; equal ones are one key, and stand in a group only for what they share with others.
    """
    where: dict[int, list[int]] = {}
    for position, modulus in enumerate(moduli):
        where.setdefault(modulus, []).append(position)
    different = list(where)
    divisors = common_divisors(different)
    hits = {n: divisor for n, divisor in zip(different, divisors, strict=True) if divisor > 1}
    groups = {tuple(sorted(at for n in group for at in where[n])) for group in _grouped(hits)}
    return tuple(sorted(groups))


def common_divisors(moduli: Sequence[int]) -> list[int]:
    """For each modulus its greatest common divisor with the product of the others."""
    try:
        from gmpy2 import mpz
    except ImportError:
        with decimal.localcontext(Decimals.EXACT):
            return Tree(Decimals()).divisors(moduli)
    return Tree(Binary(mpz)).divisors(moduli)


class Tree(Generic[N]):
    """The tree of products over one kind of numbers."""

    def __init__(self, arithmetic: Arithmetic[N]) -> None:
        self._arithmetic = arithmetic

    def divisors(self, moduli: Sequence[int]) -> list[int]:
        """See `common_divisors`."""
        if not moduli:
            return []
        does = self._arithmetic
        levels, total = self._up([does.number(modulus) for modulus in moduli])
        fractions = [does.fraction(total, levels.pop()[0])]
        del total
        while levels:
            fractions = list(self._down(levels.pop(), fractions))
        return [
            gcd(does.whole(fraction, places, does.number(modulus)), modulus)
            for (fraction, places), modulus in zip(fractions, moduli, strict=True)
        ]

    def _up(self, level: list[N]) -> tuple[list[list[N]], N]:
        """All levels of products, the moduli first, and the sum of the quotients."""
        does = self._arithmetic
        levels = [level]
        sums = [does.number(1)] * len(level)
        while len(level) > 1:
            pairs = range(0, len(level) - 1, 2)
            sums_above = [
                does.cross(sums[at], level[at + 1], sums[at + 1], level[at]) for at in pairs
            ]
            above = [does.multiply(level[at], level[at + 1]) for at in pairs]
            if len(level) % 2:
                above.append(level[-1])
                sums_above.append(sums[-1])
            level, sums = above, sums_above
            levels.append(level)
        return levels, sums[0]

    def _down(
        self, level: Sequence[N], fractions: Sequence[tuple[N, int]]
    ) -> Iterator[tuple[N, int]]:
        for at in range(len(level)):
            fraction, places = fractions[at // 2]
            sibling = at ^ 1
            if sibling < len(level):
                yield self._arithmetic.step(fraction, places, level[sibling])
            else:
                yield fraction, places


def _grouped(hits: dict[int, int]) -> Iterable[set[int]]:
    """Moduli by the divisor that they share. Where it is all of a modulus, it is looked for in each other one."""
    groups: dict[int, set[int]] = {}
    whole = [n for n, divisor in hits.items() if divisor == n]
    for n, divisor in hits.items():
        if divisor != n:
            groups.setdefault(divisor, set()).add(n)
    for n in whole[:_MAX_COMPARED]:
        for other in hits:
            divisor = gcd(n, other)
            if n != other and divisor > 1:
                groups.setdefault(divisor, set()).update((n, other))
    if len(whole) > _MAX_COMPARED:
        groups[0] = set(whole[_MAX_COMPARED:])
    return [group for group in groups.values() if len(group) > 1]
