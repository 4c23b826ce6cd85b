"""What a gateway's audit says, and the states that its findings go through. Pure."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from core.errors import Conflict, InvalidInput, NotFound
from ike.audit.values import Area, Severity


class State(StrEnum):
    """Where a finding stands."""

    OPEN = "open"
    ACCEPTED = "accepted"  # by a person, until a time, for a reason
    FIXED = "fixed"  # a complete report of the gateway does not hold it any more


class FindingNotFound(NotFound):
    """No finding has this number."""

    code = "finding_not_found"
    next_step = "List the findings to see their numbers."


class FindingFixed(Conflict):
    """The finding is fixed: there is nothing to accept."""

    code = "finding_fixed"
    next_step = "Look at the finding; if it comes back it is open again."


class FindingChanged(Conflict):
    """The finding is not any more as it was when somebody looked at it; nothing was done."""

    code = "finding_changed"
    next_step = "Look at the finding as it is now, and decide again."


class FindingNotAccepted(Conflict):
    """The finding is not accepted, so that no acceptance can be taken back."""

    code = "finding_not_accepted"
    next_step = "Look at the finding: it is open or fixed already."


class AcceptanceRefused(InvalidInput):
    """An acceptance without a reason, or until a time that is over or too far away."""

    code = "acceptance_refused"
    next_step = "Say why, and until when: a time to come, within three years."


class PathIsPattern(InvalidInput):
    """A pattern where the service takes one path: what it would accept is not to be seen at once."""

    code = "finding_path_pattern"
    next_step = (
        "Name one path as the finding has it; the file for `audit --accepted` takes patterns."
    )


@dataclass(frozen=True)
class ReportedFinding:
    """A finding as a gateway reports it. `finding` are sixteen hexadecimal digits, the same in each of its reports."""

    finding: str
    rule: str
    area: str
    severity: Severity
    path: str
    line: int | None
    subject: str
    title: str
    evidence: str
    why: str
    fix: str
    references: tuple[str, ...]


@dataclass(frozen=True)
class AuditReport:
    """What an audit of a gateway came to. `started` is the gateway's time.

    `complete`: nothing was left out for want of room. `errors` are documents with `path`, `line` and `error`; `figures`
    and `policy` documents as they are shown again.
    """

    started: datetime
    baseline: str
    complete: bool
    findings: tuple[ReportedFinding, ...]
    errors: tuple[Mapping[str, Any], ...] = ()
    policy: Mapping[str, Any] | None = None
    figures: Mapping[str, Any] | None = None

    @property
    def digest(self) -> str:
        """The same for reports that say the same, whenever they were made and however many files were looked at."""
        said = (
            self.baseline,
            self.complete,
            dict(self.policy or {}),
            sorted(json.dumps(dict(each), sort_keys=True) for each in self.errors),
            sorted(json.dumps(asdict(each), sort_keys=True) for each in self.findings),
        )
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def hides(self, path: str, area: str) -> bool:
        """Whether something kept the audit from looking at this path, so that not finding it says nothing.

        A line that was not understood hides what the file says, not who may read it.
        """
        if not self.complete or any(each in self._unread for each in _upwards(path)):
            return True
        return area != Area.ACCESS and _plain(path) in self._garbled

    @cached_property
    def _unread(self) -> frozenset[str]:
        return frozenset(_plain(str(e.get("path", ""))) for e in self.errors if not e.get("line"))

    @cached_property
    def _garbled(self) -> frozenset[str]:
        return frozenset(_plain(str(e.get("path", ""))) for e in self.errors if e.get("line"))


def _upwards(path: str) -> Iterator[str]:
    """The path, and all folders above it."""
    path = _plain(path)
    yield path
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _plain(path: str) -> str:
    """Without slashes at its end; the root is empty."""
    return path.rstrip("/")
