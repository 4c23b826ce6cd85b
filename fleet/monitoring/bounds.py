"""What the records know of the timing of a gateway's tunnels, so that the rules need not learn it.

Only of managed tunnels between gateways of ours whose daemons are known: what an outside peer's administrator chose,
and what a daemon does where nothing is said, nobody told us.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, bindparam, func, or_, select

from fleet.definitions import Definition, from_document
from ike.detection.bounds import Bounds, Lifetime
from store.fleet_tables import gateway_reports, gateways, tunnels
from store.types import BigKey

# charon draws the instant of a rekey from the last tenth before `rekey_time` (rand_time).
_TENTH: Final = 0.1
# pluto takes the time as the end of life, and rekeys up to two margins before. A margin is nine minutes, and where the
# shortest lifetime of a connection is less than half an hour, we set it to a tenth of that.
_MARGIN: Final = 540
_SHORT: Final = 1800
_DAEMONS: Final = ("strongswan", "libreswan")
# charon lets an SA live for a tenth longer than `rekey_time`.
_LONGER: Final = 1.1
# Names that are asked for at once.
_AT_ONCE: Final = 500

_LEFT, _RIGHT = gateways.alias("left_end"), gateways.alias("right_end")
_LEFT_REPORT, _RIGHT_REPORT = (
    gateway_reports.alias("left_report"),
    gateway_reports.alias("right_report"),
)
_GATEWAY: Final = bindparam("gateway", type_=BigKey)
# Put together once: it is asked with every batch of events, for the connections that these name.
_MANAGED: Final = (
    select(
        tunnels.c.name,
        tunnels.c.definition,
        func.coalesce(_LEFT_REPORT.c.daemon_kind, _LEFT.c.daemon).label("left"),
        func.coalesce(_RIGHT_REPORT.c.daemon_kind, _RIGHT.c.daemon).label("right"),
    )
    .join_from(tunnels, _LEFT, _LEFT.c.id == tunnels.c.left_id)
    .join(_RIGHT, _RIGHT.c.id == tunnels.c.right_id)
    .outerjoin(_LEFT_REPORT, _LEFT_REPORT.c.gateway_id == _LEFT.c.id)
    .outerjoin(_RIGHT_REPORT, _RIGHT_REPORT.c.gateway_id == _RIGHT.c.id)
    .where(or_(tunnels.c.left_id == _GATEWAY, tunnels.c.right_id == _GATEWAY))
    .where(tunnels.c.managed == 1)
    .where(tunnels.c.name.in_(bindparam("names", expanding=True)))
)


class AtGateway(Mapping[str, Bounds]):
    """By connection, as the gateway calls it; read when it is asked for, so that a gateway may have any number of them.

    `names` are read together. It is never empty: nobody knows before he asks.
    """

    def __init__(self, connection: Connection, gateway_id: int, names: Iterable[str]) -> None:
        self._connection, self._gateway_id = connection, gateway_id
        self._known: dict[str, Bounds | None] = {}
        wanted = sorted(set(names))
        for begin in range(0, len(wanted), _AT_ONCE):
            self._read(wanted[begin : begin + _AT_ONCE])

    def _read(self, names: Sequence[str]) -> None:
        self._known |= dict.fromkeys(names)
        asked = {"gateway": self._gateway_id, "names": names}
        for row in self._connection.execute(_MANAGED, asked):
            if row.left in _DAEMONS and row.right in _DAEMONS:
                self._known[row.name] = of(from_document(row.definition), (row.left, row.right))

    def __getitem__(self, name: str) -> Bounds:
        if name not in self._known:
            self._read([name])
        found = self._known[name]
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return (name for name, found in self._known.items() if found is not None)

    def __len__(self) -> int:
        return 1


def of(definition: Definition, daemons: Sequence[str]) -> Bounds:
    """What a tunnel's definition says, if these daemons carry it out."""
    earlier = 2 * _margin(definition) if "libreswan" in daemons else 0
    children = [child.rekey_seconds for child in definition.children]
    told = [seconds for seconds in children if seconds is not None]
    # One that nobody told may be the shortest.
    child = min(told) if len(told) == len(children) else None
    made, rest = definition.rekey_seconds, _lifetime(child, earlier)
    if definition.ike_version == 1 and made is not None:
        # IKEv1 cannot rekey an IKE SA: both daemons make a new one, with a fresh authentication, at that time.
        return Bounds(child=rest, reauth_time=float(made))
    return Bounds(_lifetime(made, earlier), rest)


def _margin(definition: Definition) -> int:
    """The largest of any child."""
    shortest = [
        min(filter(None, (definition.rekey_seconds, child.rekey_seconds)), default=_SHORT)
        for child in definition.children
    ]
    return max(_MARGIN if each >= _SHORT else each // 10 + 1 for each in shortest)


def _lifetime(seconds: int | None, earlier: int) -> Lifetime | None:
    if seconds is None:
        return None
    rand_time = min(float(seconds), max(_TENTH * seconds, earlier))
    return Lifetime(float(seconds), rand_time, _LONGER * seconds)
