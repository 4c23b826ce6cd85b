"""Is the clock of this host right: what here is from the future, and what other clocks say. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from ike.audit.certificates import Held
from ike.doctor.policy import OK, UNKNOWN, WRONG
from ike.doctor.proof import called, chain, crls, ends
from ike.doctor.values import Case, Check

_NAME: Final = "clock"
_LEEWAY: Final = timedelta(minutes=5)
_DAY: Final = timedelta(days=1)
_STEP: Final = (
    "Set the clock on both ends and at the CA (`timedatectl`, `chronyc tracking`), then load"
    " the credentials again."
)


def clock(case: Case) -> Check:
    """Whether something here is from the future, or another clock says that what ended here has not."""
    slow = next(_from_the_future(case), None)
    if slow is not None:
        said = (
            f"By the clock here it is {_minute(case.now)}, and {slow}: the clock is slow, or that of"
            " the issuer is fast."
        )
        return Check(_NAME, WRONG, said, _STEP)
    doubts = []
    for name, moment in case.clocks.items():
        said = f"By the clock here it is {_minute(case.now)}, by {name} {_minute(moment)}"
        ended = [held for held in _judged(case) if held.parts.not_after < case.now]
        if ended and abs(case.now - moment) > _LEEWAY and all(_is_valid(h, moment) for h in ended):
            said += f", when {called(ended[0])} is valid: the clock may be fast."
            return Check(_NAME, WRONG, said, _STEP)
        if abs(case.now - moment) > _DAY:  # a hardware clock may be set to any zone
            doubts.append(f"{said}: the clock may be wrong.")
    if doubts:
        return Check(_NAME, UNKNOWN, doubts[0], "Compare it with another clock: timedatectl")
    kept = " Nothing keeps it right, though." if case.unkept else ""
    said = f"Nothing here is from the future; it is {_minute(case.now)} here.{kept}"
    return Check(_NAME, OK, said)


def _from_the_future(case: Case) -> Iterator[str]:
    late = case.now + _LEEWAY
    for held in _judged(case):
        if held.parts.not_before > late:
            yield f"{called(held)} is valid from {_minute(held.parts.not_before)}"
    for crl in crls(case):
        if crl.last_update_utc > late:
            yield f"a CRL was issued at {_minute(crl.last_update_utc)}"
    newest = case.log.newest if case.log is not None else None
    if newest is not None and newest > (late + _DAY).timestamp():
        # A log without a zone may be a day off by itself.
        yield f"the log goes up to {_minute(datetime.fromtimestamp(newest, UTC))}"
    if case.here.written is not None and case.here.written > late:
        yield f"a file of the configuration was written at {_minute(case.here.written)}"


def _judged(case: Case) -> list[Held]:
    return [held for end in ends(case) for held in chain(case, end)]


def _is_valid(held: Held, moment: datetime) -> bool:
    return held.parts.not_before <= moment <= held.parts.not_after


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
