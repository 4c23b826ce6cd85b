"""Shared primes: the tree against plain arithmetic, over each kind of numbers."""

import decimal
import random
import sys
from itertools import combinations
from math import gcd, prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ike.audit import shared_primes
from ike.audit.shared_primes import Binary, Decimals, Tree, common_divisors, shared


def odd(bits: int, chance: random.Random) -> int:
    """A number that stands for a prime: its common divisors with others are what is tested."""
    while True:
        value = chance.getrandbits(bits) | 1 | 1 << (bits - 1)
        if all(value % n for n in (3, 5, 7, 11, 13)) and pow(2, value - 1, value) == 1:
            return value


def plainly(moduli: list[int]) -> list[int]:
    whole = prod(moduli)
    return [gcd(whole // n, n) for n in moduli]


def with_decimals(moduli: list[int]) -> list[int]:
    with decimal.localcontext(Decimals.EXACT):
        return Tree(Decimals()).divisors(moduli)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(2, 2**300), unique=True, max_size=40))
def test_each_arithmetic_gives_what_plain_division_gives(moduli: list[int]) -> None:
    expected = plainly(moduli)
    assert with_decimals(moduli) == expected
    assert Tree(Binary()).divisors(moduli) == expected
    assert common_divisors(moduli) == expected


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 100])
def test_a_tree_of_any_shape_agrees_on_keys_of_the_usual_size(count: int) -> None:
    chance = random.Random(count)
    moduli = [chance.getrandbits(2048) | 1 | 1 << 2047 for _ in range(count)]
    expected = plainly(moduli)
    assert with_decimals(moduli) == expected
    assert Tree(Binary()).divisors(moduli) == expected


def test_keys_that_share_primes_are_grouped_by_what_they_share() -> None:
    chance = random.Random(5)
    p, q, r, s, t, u, v, w = (odd(256, chance) for _ in range(8))
    moduli = [p * q, r * s, p * t, u * v, u * w, odd(512, chance)]
    assert shared(moduli) == ((0, 2), (3, 4))


def test_a_key_of_which_both_primes_are_shared_is_in_both_groups() -> None:
    chance = random.Random(6)
    p, q, r, s = (odd(256, chance) for _ in range(4))
    assert shared([p * q, q * r, r * p]) == ((0, 1), (0, 2), (1, 2))
    assert shared([p * q, q * r, r * s]) == ((0, 1), (1, 2))


def test_the_same_key_twice_shares_nothing_but_itself() -> None:
    chance = random.Random(7)
    p, q, r = (odd(256, chance) for _ in range(3))
    assert shared([p * q, p * q]) == ()
    assert shared([p * q, p * q, p * r]) == ((0, 1, 2),)


def test_no_keys_and_one_key() -> None:
    assert shared([]) == ()
    assert shared([35]) == ()


def test_without_gmpy2_the_result_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(8)
    primes = [odd(128, chance) for _ in range(60)]
    moduli = [one * other for one, other in list(combinations(primes, 2))[::40]]
    expected = shared(moduli)
    assert expected
    monkeypatch.setitem(sys.modules, "gmpy2", None)
    assert shared(moduli) == expected


def test_very_many_that_share_both_primes_do_not_take_forever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_primes, "_MAX_COMPARED", 2)
    p, q, r, s = (odd(64, random.Random(n)) for n in range(4))
    found = shared([p * q, q * r, r * s, s * p])
    assert {at for group in found for at in group} == {0, 1, 2, 3}


def test_no_prime_is_told() -> None:
    p, q, r = (odd(64, random.Random(n)) for n in range(10, 13))
    assert not {p, q, r} & {at for group in shared([p * q, p * r]) for at in group}
