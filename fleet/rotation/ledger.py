"""What rotations come to, put on record: states, lists, bumps of gateways, trails and alerts, many at a time."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, Update, bindparam, select, update

from core.errors import IkewardenError
from fleet.bumps import bump, chunks
from fleet.rotation import begin, claims, records, retire, turns
from fleet.rotation.claims import Worker
from fleet.rotation.course import Course, advance
from fleet.rotation.custody import Job, Made
from fleet.rotation.machine import Work
from fleet.rotation.records import Slot
from fleet.rotation.retire import Leftover
from fleet.rotation.values import ENDED, End, Rotation, Side, State
from pki.desk import Desk, RotationRules
from pki.trail import leave
from store import outbox
from store.engine import Unit
from store.fleet_tables import gateways, tunnels
from store.rotation_tables import rotations, secret_slots, secrets

# Its handler tells people.
FAILED = "rotation.failed"
_LONGEST_PAUSE = timedelta(minutes=1)
# So often the store of secrets may fail, about a minute, before people are told.
_PATIENCE = 5


@dataclass(frozen=True)
class Outcome:
    """What became of work in the store of secrets: `made`, or the error that kept it from being done."""

    job: Job
    made: Made | None = None
    error: IkewardenError | None = None


@dataclass(frozen=True)
class Case:
    """A rotation with its slot and ends, as they are on record."""

    row: Row[Any]
    rotation: Rotation
    slot: Slot
    ends: tuple[End, End]

    def course(self, rules: RotationRules, now: datetime, done: Work = Work.NONE) -> Course:
        """How far it goes."""
        return advance(self.rotation, self.ends, self.slot.policy, rules, now, done=done)


def cases(connection: Connection, rows: Sequence[Row[Any]]) -> list[Case]:
    """These rotations, those that have ended left out."""
    alive = [row for row in rows if row.state not in ENDED]
    slots = records.slots(connection, {row.slot_id for row in alive})
    ends = records.ends_of_all(connection, list(slots.values()))
    return [
        Case(row, records.rotation_of(row), slots[row.slot_id], ends[row.slot_id])
        for row in alive
        if row.slot_id in slots
    ]


def jobs(connection: Connection, found: Mapping[int, Work], of: Iterable[Case]) -> list[Job]:
    """The work that these rotations wait for, with what the records know of the store."""
    wanted = [case for case in of if case.rotation.id in found]
    numbers: dict[int, dict[int, int]] = {}
    for some in chunks([case.slot.id for case in wanted]):
        query = select(secrets.c.slot_id, secrets.c.version, secrets.c.store_version)
        for row in connection.execute(query.where(secrets.c.slot_id.in_(some))):
            if row.store_version is not None:
                numbers.setdefault(row.slot_id, {})[row.version] = row.store_version
    return [
        Job(
            rotation_id=case.rotation.id,
            slot_id=case.slot.id,
            work=found[case.rotation.id],
            path=case.slot.path,
            version=case.rotation.to_version or 0,
            after=max(numbers.get(case.slot.id, {}).values(), default=0),
            old=numbers.get(case.slot.id, {}).get(case.rotation.from_version or 0),
            new=numbers.get(case.slot.id, {}).get(case.rotation.to_version or 0),
        )
        for case in wanted
    ]


def waits(desk: Desk, job: Job) -> bool:
    """Whether the rotation is under way still, and no value of its version is on record."""
    query = (
        select(secrets.c.id)
        .join_from(secrets, rotations, rotations.c.slot_id == secrets.c.slot_id)
        .where(
            rotations.c.id == job.rotation_id,
            rotations.c.ended_at.is_(None),
            secrets.c.version == job.version,
            secrets.c.store_version.is_(None),
        )
    )
    with desk.store.read() as connection:
        return connection.execute(query).first() is not None


@dataclass(frozen=True)
class Seen:
    """What a look at rotations came to: how many moved, and the work that others wait for, still claimed."""

    moved: int = 0
    jobs: tuple[Job, ...] = ()


def look(worker: Worker, ids: Sequence[int], now: datetime) -> Seen:
    """Let these rotations go as far as they can without work in the store of secrets, and put that on record.

    Whoever waits for something else than work is given back. May be done again.
    """

    def work(unit: Unit) -> Seen:
        page = _Page(unit, worker, now)
        moved = page.settle(ids, {})
        return Seen(moved, tuple(jobs(unit.connection, page.work, page.kept)))

    return worker.desk.store.together(work)


def settle(worker: Worker, outcomes: Sequence[Outcome], now: datetime) -> int:
    """Put on record what comes of work, decided anew on what is on record by then, and give the claims back.

    Tells how many moved. May be done again.
    """
    found = {each.job.rotation_id: each for each in outcomes}
    return worker.desk.store.together(
        lambda unit: _Page(unit, worker, now).settle(sorted(found), found)
    )


@dataclass
class _Page:
    """One transaction's changes, collected by kind so that each kind is one statement."""

    unit: Unit
    worker: Worker
    now: datetime
    rotations: list[dict[str, Any]] = field(default_factory=list)
    lists: list[dict[str, Any]] = field(default_factory=list)
    ended: list[dict[str, Any]] = field(default_factory=list)
    secrets: list[dict[str, Any]] = field(default_factory=list)
    bumped: set[int | None] = field(default_factory=set)
    # Who waits for which work, and stays claimed for it.
    kept: list[Case] = field(default_factory=list)
    # How many rotations change by which key a gateway proves itself.
    turning: Counter[int] = field(default_factory=Counter)
    work: dict[int, Work] = field(default_factory=dict)

    def settle(self, ids: Sequence[int], outcomes: Mapping[int, Outcome]) -> int:
        connection = self.unit.connection
        # Gateways before slots before rotations: the order of those who report and of those who remove tunnels.
        _lock_gateways(connection, ids)
        found = cases(connection, claims.rows(connection, ids, lock=True))
        self._take(found, outcomes)
        self._count_turning(found)
        moved = sum(self._settle(case, outcomes.get(case.rotation.id)) for case in found)
        bumped = {each for each in self.bumped if each is not None}
        bump(connection, bumped, self.now)
        self._write(_versions(connection, bumped))
        return moved

    def _count_turning(self, found: Sequence[Case]) -> None:
        """Look who is in the way of those that are about to be promoted; their gateways are locked by now."""
        staged = [case for case in found if case.rotation.state is State.STAGED]
        if staged:
            ends = {end for case in staged for end in case.slot.gateway_ids}
            rules = self.worker.desk.rules.rotation
            self.turning = turns.turning(self.unit.connection, ends, rules, self.now)

    def _in_turn(self, case: Case) -> Case:
        """The case with what others of this transaction do at its gateways meanwhile."""
        most = self.worker.desk.rules.rotation.per_gateway
        ids = {Side.LEFT: case.slot.left_id, Side.RIGHT: case.slot.right_id}
        left, right = (
            replace(each, taken=self.turning[ids[each.side] or 0] >= most) for each in case.ends
        )
        return replace(case, ends=(left, right))

    def _settle(self, case: Case, outcome: Outcome | None) -> bool:
        if case.rotation.state is State.STAGED:
            case = self._in_turn(case)
        error = None if outcome is None else outcome.error
        done = Work.NONE if outcome is None or error is not None else outcome.job.work
        course = case.course(self.worker.desk.rules.rotation, self.now, done)
        final, wake_at = course.rotation, course.wake_at
        keeps = course.pending is not Work.NONE and outcome is None
        if course.pending is not Work.NONE:
            wake_at = self.now
            if outcome is not None and error is not None and course.pending is outcome.job.work:
                final, wake_at = self._failed(case, final, error)
        if keeps:
            self.kept.append(case)
            self.work[case.rotation.id] = course.pending
            if final == case.rotation and not course.told:
                return False  # there is nothing to note before the work is done
        self._note_lists(case, course)
        for each in course.passed:
            self._note_passed(case, each, course.rotation)
            if each.state is State.PROMOTED:
                self.turning.update(case.slot.gateway_ids)
        self._note_rotation(case, course, final, wake_at, keeps=keeps)
        return final != case.rotation

    def _note_rotation(
        self,
        case: Case,
        course: Course,
        final: Rotation,
        wake_at: datetime | None,
        *,
        keeps: bool,
    ) -> None:
        self.rotations.append(
            {
                **_fields(final),
                "of": case.rotation.id,
                "new_wake_at": wake_at,
                "new_ended_at": self.now if final.state in ENDED else None,
                "left": case.slot.left_id if Side.LEFT in course.told else None,
                "right": case.slot.right_id if Side.RIGHT in course.told else None,
                "new_left_mark": case.row.left_mark,
                "new_right_mark": case.row.right_mark,
                "new_left_since": case.row.left_since,
                "new_right_since": case.row.right_since,
                "changed": course.changed,
                "new_claimed_by": case.row.claimed_by if keeps else None,
                "new_claimed_until": case.row.claimed_until if keeps else None,
            }
        )

    def _failed(
        self, case: Case, rotation: Rotation, error: IkewardenError
    ) -> tuple[Rotation, datetime]:
        """It stays where it is, says why, and is tried again after a pause, for ever."""
        tries = rotation.tries + 1
        told = replace(
            rotation,
            tries=tries,
            error_code=error.code,
            error=error.message,
            next_step=error.next_step,
        )
        if rotation.back and rotation.error:
            # Why it is undone is still what people want to know first.
            note = f"{error.message} {error.next_step}"
            told = replace(rotation, tries=tries, next_step=note)
        if tries == _PATIENCE:
            self._alert(case, told)
        return told, self.now + min(outbox.pause(rotation.id, tries), _LONGEST_PAUSE)

    def _note_made(self, case: Case, made: Made) -> None:
        self.secrets.append(
            _secret(
                case,
                case.rotation.to_version,
                state="stored",
                store_version=made.number,
                fingerprint=made.fingerprint,
            )
        )
        self._leave(
            case, "rotation.stored", version=case.rotation.to_version, intruded=made.intruded
        )

    def _note_lists(self, case: Case, course: Course) -> None:
        if course.changed:
            self.lists.append(
                {"of": case.slot.id, "left": list(course.left), "right": list(course.right)}
            )
        ends = {Side.LEFT: case.slot.left_id, Side.RIGHT: case.slot.right_id}
        self.bumped |= {ends[side] for side in course.told}

    def _note_passed(self, case: Case, passed: Rotation, final: Rotation) -> None:
        to, old, now = passed.to_version, passed.from_version, self.now
        if passed.state is State.PROVEN:
            self.secrets.append(_secret(case, to, state="current", current_at=now))
            self.secrets.append(_secret(case, old, state="old"))
        elif passed.state is State.RETIRED:
            self.secrets.append(_secret(case, old, state="destroyed", destroyed_at=now))
        elif passed.state is State.ROLLED_BACK:
            self.secrets.append(_secret(case, to, state="destroyed", destroyed_at=now))
        if passed.state is not State.STORED:
            why = passed.error_code or None
            self._leave(case, f"rotation.{passed.state}", version=to, error=why)
        if passed.state in {State.STUCK, State.ROLLED_BACK} and passed.error_code not in {
            "",
            begin.CANCELLED,
        }:
            self._alert(case, passed)
        if passed.state in ENDED:
            due = begin.due_after(case.slot, final, now)
            self.ended.append({"of": case.slot.id, "due": due})

    def _leave(self, case: Case, action: str, **detail: Any) -> None:
        about, detail["rotation"] = f"secret:{case.slot.name}", case.rotation.id
        leave(self.unit, self.worker.actor, action, about, now=self.now, **detail)

    def _alert(self, case: Case, rotation: Rotation) -> None:
        payload = {
            "secret": case.slot.name,
            "tunnel": case.slot.tunnel,
            "rotation": rotation.id,
            "state": rotation.state,
            "code": rotation.error_code,
            "error": rotation.error,
            "next_step": rotation.next_step,
        }
        outbox.put(self.unit, topic=FAILED, key=case.slot.name, payload=payload, now=self.now)

    def _take(self, found: Iterable[Case], outcomes: Mapping[int, Outcome]) -> None:
        """Put values that were made on record; those that no record will name are destroyed.

        A version has the first value that is told of. Who was slow, while another worker made one, or undid the
        rotation, or somebody removed the tunnel, made a second.
        """
        made = {number: each.made for number, each in outcomes.items() if each.made is not None}
        known = _numbers(self.unit.connection, [outcomes[number].job for number in made])
        for case in found:
            number = case.rotation.id
            if number in made and known.get(number) is None:
                self._note_made(case, made[number])
                known[number] = made[number].number
        for number, value in made.items():
            named, job = known.get(number), outcomes[number].job
            # What was undone although nobody knew its number: whoever was to make it may do so even now, unseen.
            unseen = job.work is not Work.MAKE
            if named != value.number or unseen:
                kept = () if named is None or unseen else (named,)
                path, by = job.path, self.worker.actor.name
                left = Leftover(path, (value.number,), (number,), by, kept)
                retire.queue(self.unit, left, self.now)

    def _write(self, versions: Mapping[int, int]) -> None:
        connection = self.unit.connection
        for row in self.rotations:
            changed = row.pop("changed")
            for side in Side:
                if (gateway := row.pop(side)) is not None:
                    row[f"new_{side}_mark"] = versions[gateway]
                    if side in changed:
                        row[f"new_{side}_since"] = versions[gateway]
        for statement, rows in (
            (_ROTATIONS, self.rotations),
            (_LISTS, self.lists),
            (_ENDED, self.ended),
        ):
            if rows:
                connection.execute(statement, rows)
        for state in _IN_TURN:
            if rows := [row for row in self.secrets if row["state"] == state]:
                connection.execute(_change_of_version(tuple(rows[0])), rows)


_FIELDS = (
    "state",
    "back",
    "entered_at",
    "deadline_at",
    "confirmed_at",
    "tries",
    "error_code",
    "error",
    "next_step",
)
_ROTATIONS = (
    update(rotations)
    .where(rotations.c.id == bindparam("of"))
    .values(
        **{
            name: bindparam(f"new_{name}")
            for name in (
                *_FIELDS,
                "wake_at",
                "ended_at",
                "left_mark",
                "right_mark",
                "left_since",
                "right_since",
                "claimed_by",
                "claimed_until",
            )
        },
    )
)
_LISTS = (
    update(secret_slots)
    .where(secret_slots.c.id == bindparam("of"))
    .values(left_keys=bindparam("left"), right_keys=bindparam("right"))
)
_ENDED = (
    update(secret_slots)
    .where(secret_slots.c.id == bindparam("of"))
    .values(rotation_id=None, due_at=bindparam("due"))
)


def _fields(rotation: Rotation) -> dict[str, Any]:
    fields = {f"new_{name}": getattr(rotation, name) for name in _FIELDS}
    texts = {
        f"new_{name}": getattr(rotation, name) or None
        for name in ("error_code", "error", "next_step")
    }
    return {**fields, **texts, "new_back": int(rotation.back)}


def _secret(case: Case, version: int | None, **values: Any) -> dict[str, Any]:
    return {_SLOT: case.slot.id, _NUMBER: version, **values}


_SLOT, _NUMBER = "of_slot", "of_number"
# A version goes through these in this order, perhaps several at a time.
_IN_TURN = ("stored", "current", "old", "destroyed")


@cache
def _change_of_version(columns: tuple[str, ...]) -> Update:
    this = (secrets.c.slot_id == bindparam(_SLOT), secrets.c.version == bindparam(_NUMBER))
    own = {_SLOT, _NUMBER}
    return (
        update(secrets)
        .where(*this)
        .values({each: bindparam(each) for each in columns if each not in own})
    )


def _lock_gateways(connection: Connection, ids: Sequence[int]) -> None:
    if connection.dialect.name == "sqlite":
        return
    ends = (
        select(tunnels.c.left_id, tunnels.c.right_id)
        .join_from(rotations, secret_slots, secret_slots.c.id == rotations.c.slot_id)
        .join(tunnels, tunnels.c.id == secret_slots.c.tunnel_id)
        .where(rotations.c.id.in_(ids))
    )
    found = {end for row in connection.execute(ends) for end in row if end is not None}
    for some in chunks(sorted(found)):
        query = select(gateways.c.id).where(gateways.c.id.in_(some)).order_by(gateways.c.id)
        # They are not to be removed or bumped meanwhile; rows that refer to them may come.
        connection.execute(query.with_for_update(key_share=True)).all()


def _versions(connection: Connection, ids: Iterable[int]) -> dict[int, int]:
    return {
        row.id: row.version
        for some in chunks(sorted(ids))
        for row in connection.execute(
            select(gateways.c.id, gateways.c.version).where(gateways.c.id.in_(some))
        )
    }


def _numbers(connection: Connection, of: Iterable[Job]) -> dict[int, int | None]:
    """The number in the store that is on record of each job's version, by rotation."""
    turns = {(job.slot_id, job.version): job.rotation_id for job in of}
    query = select(secrets.c.slot_id, secrets.c.version, secrets.c.store_version)
    return {
        turns[row.slot_id, row.version]: row.store_version
        for some in chunks(sorted({slot for slot, _ in turns}))
        for row in connection.execute(query.where(secrets.c.slot_id.in_(some)))
        if (row.slot_id, row.version) in turns
    }
