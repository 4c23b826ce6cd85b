"""One holder at a time, and a number that tells an old holder from the present one."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

from store import leases
from store.engine import Store
from store.leases import Lease
from tests.store.writers import NOW

TTL = timedelta(seconds=30)
SECOND = timedelta(seconds=1)


def test_first_taker_gets_it_and_others_do_not(store: Store) -> None:
    assert leases.take(store, "job", "a", TTL, NOW) == Lease("job", "a", NOW + TTL, 1)
    assert leases.take(store, "job", "b", TTL, NOW + TTL - SECOND) is None
    assert leases.take(store, "other", "b", TTL, NOW) == Lease("other", "b", NOW + TTL, 1)


def test_holder_that_takes_it_again_keeps_its_fence(store: Store) -> None:
    leases.take(store, "job", "a", TTL, NOW)
    assert leases.take(store, "job", "a", TTL, NOW + SECOND) == Lease(
        "job", "a", NOW + SECOND + TTL, 1
    )


def test_lease_of_a_dead_process_can_be_taken_when_it_ends(store: Store) -> None:
    leases.take(store, "job", "dead", TTL, NOW)
    assert leases.take(store, "job", "b", TTL, NOW + TTL) == Lease("job", "b", NOW + 2 * TTL, 2)


def test_fence_rises_with_every_new_turn(store: Store) -> None:
    fences = []
    now = NOW
    for owner in ("a", "b", "b", "a"):
        lease = leases.take(store, "job", owner, TTL, now)
        assert lease is not None
        fences.append(lease.fence)
        now += TTL
    assert fences == [1, 2, 3, 4]


def test_renewal_prolongs_until_somebody_else_has_it(store: Store) -> None:
    lease = leases.take(store, "job", "a", TTL, NOW)
    assert lease is not None
    renewed = leases.renew(store, lease, TTL, NOW + SECOND)
    assert renewed == replace(lease, until=NOW + SECOND + TTL)
    # It ended, but nobody took it: still ours.
    assert leases.renew(store, lease, TTL, NOW + 3 * TTL) is not None
    leases.take(store, "job", "b", TTL, NOW + 5 * TTL)
    assert leases.renew(store, lease, TTL, NOW + 5 * TTL) is None


def test_old_holder_with_the_same_name_cannot_renew(store: Store) -> None:
    old = leases.take(store, "job", "a", TTL, NOW)
    assert old is not None
    leases.take(store, "job", "a", TTL, NOW + 2 * TTL)
    assert leases.renew(store, old, TTL, NOW + 2 * TTL) is None


def test_released_lease_is_free_at_once(store: Store) -> None:
    lease = leases.take(store, "job", "a", TTL, NOW)
    assert lease is not None
    leases.release(store, lease)
    assert leases.take(store, "job", "b", TTL, NOW) == Lease("job", "b", NOW + TTL, 2)
    leases.release(store, lease)  # too late: not ours any more
    assert leases.take(store, "job", "c", TTL, NOW) is None


def test_one_of_many_that_ask_at_once_gets_it(store: Store) -> None:
    for turn in range(5):
        with ThreadPoolExecutor(8) as pool:
            got = list(
                pool.map(
                    lambda n, t=turn: leases.take(store, f"job{t}", str(n), TTL, NOW), range(8)
                )
            )
        assert len([lease for lease in got if lease is not None]) == 1


def test_a_lease_taken_by_a_clock_that_was_far_ahead_ends_when_it_is_right_again(
    store: Store,
) -> None:
    leases.take(store, "right", "a", TTL, NOW)
    leases.take(store, "wrong", "a", TTL, NOW + timedelta(days=40))
    assert leases.take(store, "wrong", "b", TTL, NOW) is None
    assert leases.put_right(store, NOW) == 1
    assert leases.take(store, "wrong", "b", TTL, NOW) == Lease("wrong", "b", NOW + TTL, 2)
    assert leases.take(store, "right", "b", TTL, NOW) is None
