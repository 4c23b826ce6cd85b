"""Messages are handled at least once, by one holder at a time, and never silently lost."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise

import pytest
from sqlalchemy import select

from store import outbox
from store.engine import Store
from store.outbox import Message, OutboxDepth
from tests.store.test_processes import start
from tests.store.writers import NOW

LEASE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


def fill(store: Store, count: int) -> None:
    with store.write() as connection:
        for number in range(count):
            outbox.put(connection, topic="t", key=str(number), payload={"n": number}, now=NOW)


def claim(store: Store, owner: str = "a", limit: int = 10, now=NOW) -> list[Message]:
    return outbox.claim(store, owner=owner, limit=limit, lease=LEASE, now=now)


def depth(store: Store, now=NOW) -> OutboxDepth:
    with store.read() as connection:
        return outbox.depth(connection, now)


def test_message_is_claimed_done_and_gone(store: Store) -> None:
    store.together(
        lambda unit: outbox.put(unit, topic="crl", key="ca/1", payload={"shard": 1}, now=NOW)
    )
    (message,) = claim(store)
    assert (message.topic, message.key, message.payload) == ("crl", "ca/1", {"shard": 1})
    assert (message.attempts, message.created_at, message.last_error) == (0, NOW, None)
    assert claim(store, "b") == []
    outbox.done(store, [message.id], owner="a")
    assert depth(store) == OutboxDepth(0, 0, 0, timedelta(0))
    assert claim(store, "b", now=NOW + 2 * LEASE) == []


def test_message_dies_with_the_transaction_that_put_it(store: Store) -> None:
    with pytest.raises(LookupError), store.write() as connection:  # noqa: PT012
        outbox.put(connection, topic="t", key="k", payload={}, now=NOW)
        raise LookupError
    assert claim(store) == []


def test_oldest_first_and_no_more_than_asked(store: Store) -> None:
    fill(store, 5)
    assert [message.payload["n"] for message in claim(store, limit=3)] == [0, 1, 2]
    assert [message.payload["n"] for message in claim(store, "b", limit=3)] == [3, 4]


def test_delayed_message_waits(store: Store) -> None:
    with store.write() as connection:
        outbox.put(connection, topic="t", key="k", payload={}, now=NOW, delay=SECOND)
    assert depth(store) == OutboxDepth(0, 1, 0, timedelta(0))
    assert claim(store) == []
    assert len(claim(store, now=NOW + SECOND)) == 1


def test_messages_of_a_dead_claimer_come_back(store: Store) -> None:
    fill(store, 2)
    assert len(claim(store)) == 2
    assert claim(store, "b", now=NOW + LEASE - SECOND) == []
    assert len(claim(store, "b", now=NOW + LEASE)) == 2


def test_late_claimer_changes_nothing(store: Store) -> None:
    fill(store, 1)
    (message,) = claim(store, "late")
    (again,) = claim(store, "quick", now=NOW + LEASE)
    outbox.done(store, [message.id], owner="late")
    outbox.failed(store, message, owner="late", error="too late", now=NOW + LEASE)
    assert depth(store, NOW + LEASE).waiting == 1
    assert claim(store, "third", now=NOW + LEASE) == []
    outbox.done(store, [again.id], owner="quick")
    assert depth(store, NOW + LEASE) == OutboxDepth(0, 0, 0, timedelta(0))


def test_failed_message_rests_longer_each_time_and_is_given_up(store: Store) -> None:
    fill(store, 1)
    now, waits = NOW, []
    for attempt in range(12):
        (message,) = claim(store, now=now)
        assert message.attempts == attempt
        outbox.failed(store, message, owner="a", error=f"signer\x00 {attempt}", now=now)
        with store.read() as connection:
            due = connection.execute(select(outbox.outbox.c.available_at)).scalar_one()
        waits.append(due - now)
        now = due
    assert all(later > sooner for sooner, later in pairwise(waits[:9]))
    assert max(waits) <= timedelta(hours=1.25)
    assert sum(waits, timedelta(0)) > timedelta(hours=3)
    assert claim(store, now=now + timedelta(days=9)) == []
    assert depth(store, now) == OutboxDepth(0, 0, 1, timedelta(0))
    with store.read() as connection:
        (dead,) = outbox.dead_letters(connection, 10)
    assert dead.attempts == 12
    assert dead.last_error == "signer\ufffd 11"
    assert dead.dead_at is not None


def test_revived_message_starts_anew(store: Store) -> None:
    fill(store, 2)
    for message in claim(store):
        outbox.failed(store, message, owner="a", error="no", now=NOW, max_attempts=1)
    with store.write() as connection:
        dead = outbox.dead_letters(connection, 10)
        revived = outbox.revive(connection, dead[0].id, NOW + SECOND)
        assert revived is not None
        assert (revived.id, revived.attempts, revived.dead_at) == (dead[0].id, 0, None)
        assert outbox.revive(connection, dead[0].id, NOW + SECOND) is None
        assert outbox.revive(connection, 12345, NOW + SECOND) is None
    (message,) = claim(store, now=NOW + SECOND)
    assert (message.id, message.attempts, message.dead_at) == (dead[0].id, 0, None)


def test_depth_tells_how_long_the_oldest_has_been_due(store: Store) -> None:
    fill(store, 3)
    claim(store, limit=1)
    assert depth(store, NOW + 5 * SECOND) == OutboxDepth(3, 0, 0, 5 * SECOND)


def test_pauses_of_messages_that_failed_together_differ() -> None:
    pauses = {outbox.pause(number, 5) for number in range(100)}
    assert len(pauses) == 100
    assert max(pauses) / min(pauses) > 1.5
    assert outbox.pause(1, 10**6) <= timedelta(hours=1.25)


def test_no_two_threads_get_the_same_message(store: Store) -> None:
    fill(store, 200)

    def drain(owner: str) -> list[int]:
        mine: list[int] = []
        while got := claim(store, owner, limit=7):
            mine += [message.id for message in got]
        return mine

    with ThreadPoolExecutor(6) as pool:
        shares = list(pool.map(drain, "abcdef"))
    numbers = [number for share in shares for number in share]
    assert len(numbers) == len(set(numbers))
    # SKIP LOCKED may leave somebody with nothing although a row is about to come free, so one more look is fair.
    assert len(numbers) + len(claim(store, "last", limit=200)) == 200


def test_no_two_processes_get_the_same_message(store: Store, store_url: str) -> None:
    fill(store, 200)
    processes: list[subprocess.Popen[str]] = [
        start("claimer", store_url, f"p{number}", "10") for number in range(3)
    ]
    numbers = [
        line for process in processes for line in process.communicate(timeout=300)[0].splitlines()
    ]
    assert len(numbers) == len(set(numbers))
    assert len(numbers) + len(claim(store, "last", limit=200)) == 200


def test_large_claim_is_done_at_once(store: Store) -> None:
    fill(store, 2000)
    got = claim(store, limit=5000)
    assert len(got) == 2000
    outbox.done(store, [message.id for message in got], owner="a")
    outbox.done(store, [], owner="a")
    assert depth(store).waiting == 0


def test_what_a_clock_wrote_that_was_far_ahead_is_due_when_it_is_right_again(store: Store) -> None:
    fill(store, 2)
    ahead = NOW + timedelta(days=40)
    first, second = claim(store, now=ahead)
    outbox.failed(store, first, owner="a", error="no", now=ahead)
    assert second.attempts == 0  # and its claim lasts until after `ahead`
    with store.write() as connection:
        outbox.put(connection, topic="t", key="soon", payload={"n": 2}, now=ahead)
        outbox.put(connection, topic="t", key="later", payload={"n": 3}, now=ahead, delay=LEASE)
    assert claim(store, "b") == []
    assert outbox.put_right(store, NOW) == 4
    assert {message.payload["n"] for message in claim(store, "b")} == {0, 1, 2}
    assert [m.payload["n"] for m in claim(store, "c", now=NOW + LEASE - SECOND)] == []
    assert 3 in {m.payload["n"] for m in claim(store, "c", now=NOW + LEASE)}


def test_what_is_right_is_left_alone(store: Store) -> None:
    fill(store, 2)
    (message,) = claim(store, limit=1)
    outbox.failed(store, message, owner="a", error="no", now=NOW)
    claim(store, limit=1)
    with store.write() as connection:
        outbox.put(connection, topic="t", key="k", payload={}, now=NOW, delay=timedelta(days=1))
    assert outbox.put_right(store, NOW - 2 * SECOND) == 0
