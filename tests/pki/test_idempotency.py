"""Turns: taken once, given back, taken over, fenced."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from core.errors import IkewardenError
from core.secret import Secret
from pki import idempotency
from pki.idempotency import (
    KEPT,
    TAKEN_OVER_AFTER,
    Claim,
    Earlier,
    KeyReused,
    SecretNotReplayable,
    StillRunning,
    Turn,
)
from pki.identity import token_hash
from store.engine import Store
from store.tables import idempotency as idempotency_table
from store.tables import tokens
from store.unit import insert

NOW = datetime(2030, 1, 1, tzinfo=UTC)
CLAIM = Claim("token:1", "key-1", "POST /v1/certificates", "ab" * 32)


def _turn(store: Store, claim: Claim = CLAIM, now: datetime = NOW) -> Turn:
    turn = idempotency.begin(store, claim, now=now)
    assert isinstance(turn, Turn)
    return turn


def test_the_answer_is_kept_for_a_day(store: Store) -> None:
    idempotency.end(store, _turn(store), status=201, body="made")
    later = NOW + KEPT - timedelta(seconds=1)
    assert idempotency.begin(store, CLAIM, now=later) == Earlier(201, "made")
    assert isinstance(idempotency.begin(store, CLAIM, now=NOW + KEPT), Turn)


def test_another_process_that_was_quicker_is_seen(store: Store, second_store: Store) -> None:
    quicker = {"created_at": NOW, "expires_at": NOW + KEPT, "state": "running"}
    named = {"actor": CLAIM.credential, "key": CLAIM.key, "route": CLAIM.route}
    row = {**quicker, **named, "request_sha256": CLAIM.request_sha256}
    with ThreadPoolExecutor(1) as pool:
        with second_store.write() as connection:
            insert(connection, idempotency_table, row)
            # It finds no row, and on PostgreSQL waits for this one when it inserts its own.
            slower = pool.submit(idempotency.begin, store, CLAIM, now=NOW)
            time.sleep(0.3)
        with pytest.raises(StillRunning):
            slower.result(20)


def test_keys_belong_to_a_credential(store: Store) -> None:
    idempotency.end(store, _turn(store), status=201, body="made")
    assert isinstance(idempotency.begin(store, replace(CLAIM, credential="token:2"), now=NOW), Turn)
    assert isinstance(idempotency.begin(store, replace(CLAIM, key="key-2"), now=NOW), Turn)


@pytest.mark.parametrize("change", [{"route": "POST /v1/tokens"}, {"request_sha256": "cd" * 32}])
@pytest.mark.parametrize("done", [True, False])
def test_another_request_with_the_key_is_refused(
    store: Store, change: dict[str, str], done: bool
) -> None:
    turn = _turn(store)
    if done:
        idempotency.end(store, turn, status=201, body="made")
    with pytest.raises(KeyReused):
        idempotency.begin(store, replace(CLAIM, **change), now=NOW)


def test_while_it_runs_nobody_else_may(store: Store) -> None:
    _turn(store)
    with pytest.raises(StillRunning) as caught:
        idempotency.begin(store, CLAIM, now=NOW + TAKEN_OVER_AFTER - timedelta(seconds=1))
    assert caught.value.details["retry_after"]


def test_a_dead_turn_is_taken_over_once_and_its_owner_changes_nothing(store: Store) -> None:
    dead = _turn(store)
    later = NOW + TAKEN_OVER_AFTER
    taken = _turn(store, now=later)
    with pytest.raises(StillRunning):
        idempotency.begin(store, CLAIM, now=later)
    idempotency.end(store, dead, status=201, body="from the grave")
    idempotency.give_up(store, dead)
    with pytest.raises(StillRunning):
        idempotency.begin(store, CLAIM, now=later)
    idempotency.end(store, taken, status=201, body="made")
    assert idempotency.begin(store, CLAIM, now=later) == Earlier(201, "made")


def test_given_up_it_may_be_tried_again(store: Store) -> None:
    idempotency.give_up(store, _turn(store))
    _turn(store)


def test_a_secret_is_not_given_twice(store: Store) -> None:
    idempotency.end(store, _turn(store), status=201, body=None)
    with pytest.raises(SecretNotReplayable):
        idempotency.begin(store, CLAIM, now=NOW)


@pytest.mark.parametrize("left_over", [False, True], ids=["new", "dead turn"])
def test_of_many_at_once_one_gets_the_turn(store: Store, left_over: bool) -> None:
    now = NOW
    if left_over:
        _turn(store)
        now = NOW + TAKEN_OVER_AFTER

    def attempt(_: int) -> object:
        try:
            return idempotency.begin(store, CLAIM, now=now)
        except IkewardenError as error:
            return type(error)

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(attempt, range(24)))
    assert sum(isinstance(outcome, Turn) for outcome in outcomes) == 1
    assert sum(outcome is StillRunning for outcome in outcomes) == 23


SECRET = Secret("iw_spent")


@pytest.fixture
def spent(store: Store) -> Store:
    """A one-time token, used up, and the answer it was used up for."""
    with store.write() as connection:
        connection.execute(
            tokens.insert().values(
                id="1",
                name="gw1",
                hash=token_hash(SECRET),
                role="enroller",
                scope={},
                uses_left=0,
                created_by="me",
                created_at=NOW,
                expires_at=NOW + timedelta(hours=1),
            )
        )
    idempotency.end(store, _turn(store), status=201, body="made")
    return store


def test_a_spent_token_gets_its_own_answer_again(spent: Store) -> None:
    claim = replace(CLAIM, credential="")
    found = idempotency.answer_to_spent_token(spent, SECRET, claim, now=NOW)
    assert found == Earlier(201, "made")


def test_a_spent_token_gets_nothing_else(spent: Store) -> None:
    def ask(secret: Secret = SECRET, now: datetime = NOW, **change: str) -> Earlier | None:
        claim = replace(CLAIM, **change)
        return idempotency.answer_to_spent_token(spent, secret, claim, now=now)

    assert ask(key="another") is None
    assert ask(secret=Secret("iw_unknown")) is None
    assert ask(now=NOW + timedelta(hours=1)) is None, "the token has expired"
    with pytest.raises(KeyReused):
        ask(request_sha256="cd" * 32)
    with spent.write() as connection:
        connection.execute(tokens.update().values(uses_left=1))
    assert ask() is None, "it can still be used"
    with spent.write() as connection:
        connection.execute(tokens.update().values(uses_left=0, revoked_at=NOW))
    assert ask() is None, "the token is revoked"
