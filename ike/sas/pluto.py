"""What pluto says of its SAs (`ipsec trafficstatus`, `ipsec whack --status`), as associations. Pure."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from ike.daemons.libreswan import status
from ike.daemons.libreswan.status import Conn, State, Status
from ike.sas import proofs
from ike.sas.association import Association, Child

TRAFFIC: Final = re.compile(
    r'(?:006 )?#(?P<number>\d+): "(?P<name>[^"]*)"(?:\[\d+\] (?P<peer>[^\s,]+))?(?:, reqid=\d+)?'
    r"(?:, username=[^,]*)?, type=(?P<type>\w+),(?P<rest>.*)"
)
_FIELD: Final = re.compile(r"(inBytes|outBytes|add_time|id)=(?:'([^']*)'|([^,\s]*))")
_NOTHING: Final = proofs.Pluto()
_UNKNOWN: Final = Conn("", 0, "", "", "", "")


def associations(
    traffic: str, state: str = "", held: proofs.Pluto = _NOTHING, *, now: float | None = None
) -> list[Association]:
    """The SAs of `--trafficstatus`, and of `--status` where that is given too: that alone knows IKE SAs and SPIs.

    `held` tells more of the proofs. `now`, POSIX seconds, for ages.
    """
    carried = _carried(traffic, now)
    if not state:
        return [
            Association("pluto", "", peer, connection=name, remote_id=identity, children=(child,))
            for name, peer, identity, child in carried
        ]
    heard = status.parse(state)
    children = {child.number: child for *_, child in carried}
    return [
        _proven(_association(each, heard, children), heard.conn_of(each), held)
        for each in heard.states
        if not each.child
    ]


def _proven(association: Association, conn: Conn | None, held: proofs.Pluto) -> Association:
    local, remote = proofs.of_pluto(conn, held)
    return replace(association, local_proof=local, remote_proof=remote)


def _carried(text: str, now: float | None) -> list[tuple[str, str, str, Child]]:
    """Lines of `--trafficstatus`: name, the peer's address where it is told, its identity, and the child."""
    found = []
    for line in filter(None, map(TRAFFIC.search, text.splitlines())):
        told = {each[1]: each[2] or each[3] or "" for each in _FIELD.finditer(line["rest"])}
        made = _number(told.get("add_time"))
        child = Child(
            name=line["name"],
            number=line["number"],
            protocol=line["type"].upper(),
            bytes_in=_number(told.get("inBytes")),
            bytes_out=_number(told.get("outBytes")),
            age_seconds=max(0, int(now - made)) if made and now is not None else None,
        )
        found.append((line["name"], line["peer"] or "", told.get("id", "").lstrip("@"), child))
    return found


def _association(state: State, heard: Status, carried: Mapping[str, Child]) -> Association:
    conn = heard.conn_of(state) or _UNKNOWN
    children = tuple(
        _child(each, heard, carried.get(str(each.number), Child()))
        for each in heard.states
        if each.child and each.parent == state.number and each.established
    )
    return Association(
        source="pluto",
        connection=state.name,
        number=str(state.number),
        version=f"IKEv{state.version}",
        state="established" if state.established else state.state.lower(),
        local=conn.local_address,
        remote=state.peer or conn.remote_address,
        local_id=conn.local_id.removeprefix("@"),
        remote_id=conn.remote_id.removeprefix("@"),
        algorithms=conn.algorithms,
        rekey_seconds=state.left.get("REKEY"),
        reauth_seconds=heard.reauth_seconds(state),
        children=children,
    )


def _child(state: State, heard: Status, known: Child) -> Child:
    conn = heard.conn_of(state) or _UNKNOWN
    return Child(
        name=state.name,
        number=str(state.number),
        state="established",
        protocol=state.protocol or known.protocol,
        mode=state.mode,
        algorithms=conn.child_algorithms,
        spi_in=state.spi_in,
        spi_out=state.spi_out,
        local_ts=(conn.local_net,) if conn.local_net else (),
        remote_ts=(conn.remote_net,) if conn.remote_net else (),
        bytes_in=known.bytes_in,
        bytes_out=known.bytes_out,
        age_seconds=known.age_seconds,
        rekey_seconds=state.left.get("REKEY"),
        expire_seconds=state.left.get("EXPIRE", state.left.get("REPLACE")),
        lifetime_seconds=conn.child_life,
    )


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 20 else None
