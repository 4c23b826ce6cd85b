"""The values of a rotation: what is desired at each end, what the ends say, and where a rotation stands.

An end's keys are a list of versions. The first is the one by which the end proves itself, the others are those that
it takes from its peer as well. A rotation is nothing but a series of such lists, and no list is changed before both
ends have confirmed the ones before::

                    left      right
    stored          [1]       [1]
    staged_first    [1,2]     [1]       one end after the other, so that nobody is shown what he does not know
    staged          [1,2]     [1,2]
    promoted        [2,1]     [2,1]     ends that know one key only go first, then the others at once
    proven          [2,1]     [2,1]     a fresh authentication that both ends saw
    retired         [2]       [2]       the old version is destroyed in the store
    rolled_back     [1]       [1]       the new one is

An end without overlap (`Abilities.overlap`) holds the whole list on disk and has the first key in its daemon.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Kind(StrEnum):
    """What a shared secret is for."""

    PSK = "psk"
    PPK = "ppk"  # RFC 8784


class Side(StrEnum):
    """An end of a tunnel as it stands on record."""

    LEFT = "left"
    RIGHT = "right"


class State(StrEnum):
    """Where a rotation stands; the last three are ends, STUCK is not: it goes on when what holds it up is gone."""

    SCHEDULED = "scheduled"  # waits for its turn: window, freeze, limits
    GENERATED = "generated"  # a version is on record, the value is about to be stored
    STORED = "stored"
    STAGED_FIRST = "staged_first"
    STAGED = "staged"
    PROMOTED = "promoted"
    PROVEN = "proven"
    ROLLING_BACK = "rolling_back"
    STUCK = "stuck"
    RETIRED = "retired"
    ROLLED_BACK = "rolled_back"
    CANCELLED = "cancelled"  # before anything was made


ENDED = frozenset({State.RETIRED, State.ROLLED_BACK, State.CANCELLED})


class Method(StrEnum):
    """How the new key takes the place of the old one."""

    OVERLAP = "overlap"  # both ends take both keys
    COORDINATED = (
        "coordinated"  # an end knows one key: new authentications fail for a moment, SAs go on
    )
    MANUAL = (
        "manual"  # the peer is no gateway of ours: the key is handed over, the operator confirms
    )
    EMERGENCY = "emergency"  # the old key is known to others: both ends at once, SAs are made anew
    FIRST = "first"  # there is no old key


class Reason(StrEnum):
    """Why a rotation was begun."""

    SCHEDULED = "scheduled"
    DEMANDED = "demanded"
    EMERGENCY = "emergency"
    FIRST = "first"


@dataclass(frozen=True)
class Window:
    """A maintenance window: days of the week (0 Monday), from and to in minutes of the day, in the policy's zone. `end`
    below `start` reaches into the next day.
    """

    days: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Policy:
    """When and how a slot is rotated. Kept as a document.

    `interval_days` 0: only on demand. `jitter`: the part of the interval by which a rotation may come earlier.
    `windows` empty: at any time. `gap`: SAs may be interrupted to prove a key where the daemon cannot do it without.
    `proof_hours`: how long a promoted key may wait to be proven; then it is undone.
    """

    interval_days: int = 90
    jitter: float = 0.1
    windows: tuple[Window, ...] = ()
    zone: str = "UTC"
    frozen: bool = False
    gap: bool = False
    proof_hours: int = 24


@dataclass(frozen=True)
class EndAbilities:
    """`ike.daemons.port.Abilities` as the agent reported them for this slot (IKEv1: no overlap; one that can be
    authenticated beside its SAs is gapless).
    """

    overlap: bool = False
    ppk: bool = False
    gapless: bool = False
    beside: bool = False


@dataclass(frozen=True)
class Authentication:
    """A fresh IKE_AUTH that an end saw under a version. SPIs are sixteen hexadecimal digits, empty where the daemon
    does not tell them. `at` is the end's own clock and is only shown. `mark` is the version of the gateway's state that
    it had applied when it told of it first: no clock is needed to see whether that was before something else.
    """

    version: int
    spi_initiator: str = ""
    spi_responder: str = ""
    at: datetime | None = None
    mark: int = 0


@dataclass(frozen=True)
class EndReport:
    """What an end last said. `versions` are loaded in its daemon, `held` are on its disk; `error` is what keeps it
    from having what is desired. `mark` is the version of the gateway's state that it had applied by then.
    """

    versions: tuple[int, ...] = ()
    held: tuple[int, ...] = ()
    authenticated: Authentication | None = None
    abilities: EndAbilities = field(default_factory=EndAbilities)
    error_code: str = ""
    error: str = ""
    reported_at: datetime | None = None
    mark: int = 0


@dataclass(frozen=True)
class End:
    """An end of a slot. `report` is None where the agent never spoke of it; an outside peer is not `ours`.

    `initiator`: it started the tunnel's present IKE_SA. `mark` is the version of the gateway's state that brought
    `keys`, or an order to prove them: an earlier report says nothing of them, even where it names the same ones. None:
    the rotation under way has not touched this end. `since` is the version that brought `keys`: an authentication that
    was told of before is no proof of them. `taken`: other rotations are changing by which key this gateway proves
    itself, as many as may.
    """

    side: Side
    ours: bool
    keys: tuple[int, ...]
    report: EndReport | None = None
    initiator: bool = False
    mark: int | None = None
    name: str = ""
    since: int | None = None
    taken: bool = False


@dataclass(frozen=True)
class Rotation:
    """A rotation on record; versions are of the slot, not of the store."""

    id: int
    slot_id: int
    state: State
    back: bool
    method: Method
    reason: Reason
    from_version: int | None
    to_version: int | None
    created_at: datetime
    entered_at: datetime
    deadline_at: datetime | None = None
    confirmed_at: datetime | None = None
    tries: int = 0
    error_code: str = ""
    error: str = ""
    next_step: str = ""
