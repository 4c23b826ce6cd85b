"""What reports count of certificates in the database is what one counts by hand, whatever serial numbers they have."""

import random
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from fleet.reporting import controls, expiring, inventory, periods
from pki.desk import Desk
from store.tables import certificates
from tests.fixtures.desk import NOW
from tests.pki.acts import issue
from tests.reporting.scene import AUDITOR

STATUSES = ("valid", "valid", "valid", "held", "revoked", "pending", "abandoned")
PROFILES = ("gateway", "host", "ocsp-responder")
IN_FORCE = {"valid", "held"}


def rows(desk: Desk, seed: int) -> list[Any]:
    """Some certificates of every status and time; most succeed another one, some the same, some one that is unknown."""
    chance = random.Random(seed)
    issue(desk, ["dns:first.example"])
    with desk.store.read() as connection:
        first = dict(connection.execute(select(certificates)).mappings().all()[-1])
    serials = [f"{chance.getrandbits(128):032x}" for _ in range(300)]
    made = [
        {
            **first,
            "id": first["id"] + 1 + number,
            "serial": serial,
            "status": chance.choice(STATUSES),
            "profile": chance.choice(PROFILES),
            # Few moments, so that some end at the same one; each edge of the periods is among them.
            "not_after": NOW + timedelta(days=chance.choice((-40, -1, 0, 1, 29, 30, 31, 90))),
            "issued_at": chance.choice((None, NOW - timedelta(days=chance.randint(0, 120)))),
            "renewed_from": chance.choice((None, *serials[:200], "ff" * 16)),
        }
        for number, serial in enumerate(serials)
    ]
    with desk.store.write() as connection:
        connection.execute(insert(certificates), made)
    with desk.store.read() as connection:
        return list(connection.execute(select(certificates)))


def soonest(those: list[Any]) -> list[str]:
    return [each.serial for each in sorted(those, key=lambda each: (each.not_after, each.id))]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_certificates_are_counted_as_by_hand(desk: Desk, seed: int) -> None:
    every = rows(desk, seed)
    renewed = {each.renewed_from for each in every if each.status == "valid"}

    period = periods.parse("next-30d", NOW)
    ends = [
        each
        for each in every
        if each.status in IN_FORCE and period.since <= each.not_after < period.until
    ]
    told = expiring.figures(desk, AUDITOR, period, 20, now=NOW)
    assert told.total == len(ends) > 20
    assert told.renewed == sum(each.serial in renewed for each in ends) > 0
    assert told.held == sum(each.status == "held" for each in ends) > 0
    assert [each.serial for each in told.certificates] == soonest(ends)[:20]
    assert [each.renewed for each in told.certificates] == [
        each.serial in renewed for each in told.certificates
    ]
    assert told.more == len(ends) - 20
    assert expiring.figures(desk, AUDITOR, period, 0, now=NOW).more == len(ends)

    force = [each for each in every if each.status in IN_FORCE and each.not_after > NOW]
    there = inventory.figures(desk, AUDITOR, 20, now=NOW)
    assert (there.in_force.total, there.in_force.more) == (len(force), len(force) - 20)
    assert [each.serial for each in there.in_force.items] == soonest(force)[:20]
    assert there.profiles == Counter(each.profile for each in force)
    assert there.certificates == by_status(every, NOW)

    facts = controls.figures(desk, AUDITOR, periods.parse("last-90d", NOW), now=NOW).facts
    valid = [each for each in force if each.status == "valid"]
    soon = [each for each in valid if each.not_after <= NOW + timedelta(days=30)]
    unrenewed = [e for e in soon if e.serial not in renewed and e.profile != "ocsp-responder"]
    counted = facts["certificates"].values
    assert (counted["in_force"], counted["ending_unrenewed"]) == (len(valid), len(unrenewed))


def by_status(every: list[Any], now: datetime) -> dict[str, int]:
    found = {"valid": 0, "pending": 0, "held": 0, "revoked": 0, "expired": 0}
    for each in every:
        over = each.not_after <= now
        if each.status in found and not (each.status == "valid" and over):
            found[each.status] += 1
        found["expired"] += over and each.status != "abandoned"
    return found


def test_nothing_ends(desk: Desk) -> None:
    told = expiring.figures(desk, AUDITOR, periods.parse("1999", NOW), 20, now=NOW)
    assert (told.total, told.renewed, told.held, told.certificates) == (0, 0, 0, ())
