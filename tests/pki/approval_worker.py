"""A process that asks, has it approved and acts, from several threads until it is killed; run by
test_approval_kill.py.

Every line on standard output is an acknowledgement, as in tests/pki/kill_worker.py: `ready`, `approved NUMBER NAME`,
`done NUMBER TOKEN`, `ended SERIAL`.
"""

import itertools
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pki import decisions, revocation, tokens
from pki.actors import Actor, Role
from pki.approvals import ApprovalRequired
from pki.desk import Desk
from pki.guarded import Step
from pki.tokens import TokenRequest
from tests.pki.approving import guarded
from tests.pki.kill_worker import open_desk, tell

LIMIT = 3


def ask(desk: Desk, who: Actor, wanted: TokenRequest, now: datetime) -> int:
    """The number of the request."""
    try:
        tokens.create(desk, who, wanted, now=now)
    except ApprovalRequired as refused:
        return int(str(refused.details["approval"]))
    raise AssertionError("done without an approval")


def work(
    desk: Desk, asker: Actor, approver: Actor, prefix: str, clock: Callable[[], datetime]
) -> None:
    """Ask, approve, act, for ever."""
    for number in itertools.count():
        wanted = TokenRequest(f"{prefix}-{number}", Role.OPERATOR)
        approval = ask(desk, asker, wanted, clock())
        decisions.decide(desk, approver, approval, Step.APPROVE, "go on", now=clock())
        tell(f"approved {approval} {wanted.name}")
        made = tokens.create(desk, replace(asker, approval=approval), wanted, now=clock())
        tell(f"done {approval} {made.view.id}")


def end(desk: Desk, asker: Actor, serials: list[str], clock: Callable[[], datetime]) -> None:
    """End certificates one by one, as long as one person may."""
    for serial in serials:
        try:
            revocation.revoke(desk, asker, serial, "superseded", now=clock())
        except ApprovalRequired:
            continue
        tell(f"ended {serial}")


def main(database: str, keys: str, prefix: str, who: list[str]) -> None:
    """Run until killed; `who`: the tokens of the asker and the approver, then serial numbers."""
    desk = guarded(open_desk(database, Path(keys)), mass_revocation=LIMIT)
    asker = Actor("alice", Role.ADMIN, credential=f"token:{who[0]}")
    approver = Actor("bob", Role.APPROVER, credential=f"token:{who[1]}")

    def clock() -> datetime:
        return datetime.now(UTC)

    threads = [
        threading.Thread(target=work, args=(desk, asker, approver, f"{prefix}.{number}", clock))
        for number in range(3)
    ]
    threads += [
        threading.Thread(target=end, args=(desk, asker, who[2 + number :: 2], clock))
        for number in range(2)
    ]
    tell("ready")
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
