"""Tunnels of the lab whose shared secrets are rotated, and what stands around them."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.lab.agents import TUNNEL, Fed, connections, until
from tests.lab.errors import LabError, Refused
from tests.lab.lab import Lab
from tests.lab.traffic import ping_through

SLOT = f"{TUNNEL}.psk"
ENDED = {"retired", "rolled_back", "cancelled"}
# What charon says when a peer did not prove itself.
FAILED = r"MAC mismatched|AUTHENTICATION_FAILED|no shared key found"


def join(left: Fed, right: Fed, *, start_action: str = "none", **more: Any) -> None:
    """Put a managed tunnel with a shared secret on record, and wait until its first key is in force at both ends."""
    definition = {
        "authentication": "psk",
        "left_addresses": [left.gateway.outside],
        "right_addresses": [right.gateway.outside],
        "children": [
            {
                "name": TUNNEL,
                "left_networks": [str(left.gateway.inside.network)],
                "right_networks": [str(right.gateway.inside.network)],
                "start_action": start_action,
            }
        ],
        **more,
    }
    left.warden.call(
        "POST",
        "/v1/tunnels",
        {
            "name": TUNNEL,
            "left": {"gateway": left.name},
            "right": {"gateway": right.name},
            "managed": True,
            "definition": definition,
        },
    )
    for each in (left, right):
        until(lambda each=each: TUNNEL in connections(each.gateway), f"{each.name} has the tunnel")


def slot(fed: Fed, kind: str = "psk") -> dict[str, Any]:
    """What the service tells of the tunnel's secrets of a kind."""
    found = fed.warden.call("GET", f"/v1/tunnels/{TUNNEL}/secrets")["items"]
    (one,) = [each for each in found if each["kind"] == kind]
    return dict(one)


def rotate(fed: Fed, **more: Any) -> int:
    """Have the tunnel's key rotated; gives the number of the rotation."""
    return int(fed.warden.call("POST", f"/v1/tunnels/{TUNNEL}/rotate", more)["id"])


def rotation(fed: Fed, number: int) -> dict[str, Any]:
    """Where a rotation stands."""
    return dict(fed.warden.call("GET", f"/v1/rotations/{number}"))


def rotations(fed: Fed) -> list[dict[str, Any]]:
    """All rotations of the tunnel, the newest first."""
    found = fed.warden.call("GET", f"/v1/rotations?tunnel={TUNNEL}")["items"]
    return sorted(found, key=lambda each: -each["id"])


def ended(fed: Fed, number: int, *, seconds: float = 30) -> dict[str, Any]:
    """Wait for the end of a rotation, through a service that may be away; raises LabError with what it waited for."""
    deadline = time.monotonic() + seconds
    found: dict[str, Any] = {}
    while time.monotonic() < deadline:
        with contextlib.suppress(LabError, OSError):
            found = rotation(fed, number)
            if found["state"] in ENDED:
                return found
        time.sleep(0.05)
    raise LabError(f"rotation {number} has not ended within {seconds} s: {found}")


def shared_ids(fed: Fed) -> list[str]:
    """The ids of the shared secrets that charon has, the newest first."""
    with fed.gateway.session() as session:
        return [key.decode() for key in session.get_shared().get("keys", [])]


def versions(fed: Fed, name: str = SLOT) -> list[int]:
    """The versions of a slot that charon has, that it proves itself by first."""
    head = f"ikewarden-{name}-v"
    return [int(each.removeprefix(head)) for each in shared_ids(fed) if each.startswith(head)]


def bring_up(left: Fed, right: Fed) -> None:
    """Have the tunnel up, whatever was before."""

    def tried() -> bool:
        with contextlib.suppress(Refused, LabError):
            if left.gateway.established(TUNNEL) is None:
                left.gateway.initiate(TUNNEL)
            ping_through(left.gateway, right.gateway, 3)
            return True
        return False

    until(tried, "the tunnel is up", seconds=40)


@contextlib.contextmanager
def cut_off(lab: Lab, port: int) -> Iterator[None]:
    """Take the service away from all gateways for a while."""
    raise NotImplementedError
    yield


def one_key(left: Fed, right: Fed, path: Path | None = None) -> int:
    """The version that both ends have and nothing else; raises LabError where that is not so."""
    has = [versions(each) for each in (left, right)]
    if has[0] != has[1] or len(has[0]) != 1:
        raise LabError(f"the ends have {has[0]} and {has[1]}")
    return has[0][0]
