"""Several processes at work on the same certificates: nothing is lost, nobody waits for ever."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial

from core.crew import Crew
from core.errors import Conflict
from pki import issuance, ocsp_answers, publication, revocation
from pki.desk import Desk
from pki.ocsp_responder import OcspResponder
from pki.refusals import NotRenewable
from store.engine import Store
from store.tables import certificates
from store.tables import ocsp_answers as answers_table
from tests.fixtures.desk import CLOCKWORK, OPERATOR, drain, reopened
from tests.pki.acts import at_once, count, crl, issue, listed, ocsp_status
from tests.pki.requests import issue_request
from tests.pki.test_intent import one_time, uses_left


def test_revoking_while_answers_are_signed_in_advance(
    desk: Desk, second_store: Store, now: datetime
) -> None:
    # Both lock the same rows, in different orders, many at a time.
    other = reopened(desk, store=second_store)
    made = [issue(desk).serial for _ in range(120)]
    halves = [made[:60], made[60:][::-1]]

    def revoke(serials: list[str]) -> None:
        for serial in serials:
            revocation.revoke(desk, OPERATOR, serial, "superseded", now=now)

    def presign() -> None:
        for _ in range(12):
            ocsp_answers.presign(other, CLOCKWORK, limit=500, now=now)

    _all_of(lambda: revoke(halves[0]), lambda: revoke(halves[1]), presign, presign)
    drain(desk, now)
    assert set(listed(crl(desk))) == set(made)
    ocsp_answers.presign(other, CLOCKWORK, limit=500, now=now)
    assert ocsp_answers.presign(other, CLOCKWORK, limit=500, now=now) == 0


def test_two_processes_that_revoke_the_same_in_opposite_order(
    desk: Desk, second_store: Store, now: datetime
) -> None:
    desks = [desk, reopened(desk, store=second_store)]
    made = [issue(desk).serial for _ in range(40)]

    def revoke(number: int, serials: list[str]) -> None:
        todo = list(serials)
        while todo:
            try:
                revocation.revoke(desks[number % 2], OPERATOR, todo[0], "superseded", now=now)
            except Conflict:
                pass  # the other one was quicker
            todo.pop(0)

    _all_of(
        *(
            lambda n=n: revoke(n, made if n % 2 else made[::-1])  # type: ignore[misc]  # bound here
            for n in range(8)
        )
    )
    publication.publish_full(desk, CLOCKWORK, "issuing", now=now)
    assert set(listed(crl(desk))) == set(made)


def test_two_processes_that_use_the_same_tokens_in_opposite_order(
    desk: Desk, second_store: Store, now: datetime
) -> None:
    rounds = 12
    made = [one_time(desk, 1000) for _ in range(6)]
    together = threading.Barrier(2, timeout=120)

    def enroll(own: Desk, order: list[int]) -> None:
        with Crew() as crew:
            for _ in range(rounds):
                together.wait()
                for number in order:
                    actor = made[number][0]
                    crew.start(partial(issuance.issue, own, actor, issue_request(), now=now))
                while crew.waiting:
                    crew.settle()

    other = reopened(desk, store=second_store)
    _all_of(lambda: enroll(desk, [0, 1, 2, 3, 4, 5]), lambda: enroll(other, [5, 4, 3, 2, 1, 0]))
    assert [uses_left(desk, token) for _, token in made] == [1000 - 2 * rounds] * 6


def test_what_is_revoked_while_its_renewal_waits_is_not_renewed(desk: Desk, now: datetime) -> None:
    old = issue(desk)
    refused: list[str] = []

    def renew() -> None:
        try:
            issuance.renew(desk, OPERATOR, old.serial, None, now=now)
        except NotRenewable as error:
            refused.append(error.message)

    with Crew() as crew:
        crew.start(renew)
        assert crew.waiting == 1
        revocation.revoke(desk, OPERATOR, old.serial, "keyCompromise", now=now)
        while crew.waiting:
            crew.settle()
    assert len(refused) == 1
    assert count(desk, certificates, certificates.c.renewed_from == old.serial) == 0


def test_many_who_ask_the_same_of_two_processes_get_an_answer(
    desk: Desk, second_store: Store, now: datetime
) -> None:
    desks = [desk, reopened(desk, store=second_store)]
    for _ in range(10):
        one = issue(desk)
        responders = [OcspResponder(each) for each in desks]
        answers = at_once(*(partial(ocsp_status, responders[n % 2], one, now) for n in range(8)))
        assert set(answers) == {"good"}


def test_two_processes_that_sign_answers_in_advance(
    desk: Desk, second_store: Store, now: datetime
) -> None:
    other = reopened(desk, store=second_store)
    made = [issue(desk).serial for _ in range(60)]
    at_once_all = at_once(
        *(
            partial(ocsp_answers.presign, each, CLOCKWORK, limit=500, now=now)
            for each in (desk, other) * 2
        )
    )
    assert [each for each in at_once_all if isinstance(each, Exception)] == []
    ocsp_answers.presign(desk, CLOCKWORK, limit=500, now=now)
    kept = count(desk, answers_table, answers_table.c.serial.in_(made))
    assert kept == len(made)


def _all_of(*works: Callable[[], None]) -> None:
    start = threading.Barrier(len(works))

    def run(work: Callable[[], None]) -> None:
        start.wait(30)
        work()

    with ThreadPoolExecutor(len(works)) as pool:
        for each in [pool.submit(run, work) for work in works]:
            each.result(120)
