"""Tunnels of the lab whose shared secrets are rotated, and what stands around them."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.fixtures.openbao import OpenBao
from tests.lab.agents import TUNNEL, Fed, connections, until
from tests.lab.charon import Gateway
from tests.lab.errors import LabError, Refused
from tests.lab.traffic import ping_through

ENDED = {"retired", "rolled_back", "cancelled"}
# What charon says when a peer did not prove itself.
FAILED = r"MAC mismatched|AUTHENTICATION_FAILED|AUTH_FAILED|no shared key found"


def in_openbao(server: OpenBao, folder: Path) -> dict[str, str]:
    """Settings with which a service keeps its secrets in this server, under a root's token."""
    folder.mkdir(exist_ok=True)
    token = folder / "openbao-token"
    token.touch(0o600)
    token.write_text(server.token)
    return {
        "IKEWARDEN_SECRETS__STORE": "vault",
        "IKEWARDEN_SECRETS__URL": server.url,
        "IKEWARDEN_SECRETS__MOUNT": server.engine(),
        "IKEWARDEN_SECRETS__AUTH": "token",
        "IKEWARDEN_SECRETS__TOKEN_FILE": str(token),
        "IKEWARDEN_SECRETS__TIMEOUT_SECONDS": "3",
    }


def join(left: Fed, right: Fed, **definition: Any) -> None:
    """Put a managed tunnel with a shared secret on record, and wait until its first key is in force at both ends.

    `definition` goes over what is set here; a member of None is left out.
    """
    made = {
        "authentication": "psk",
        "left_addresses": [left.gateway.outside],
        "right_addresses": [right.gateway.outside],
        "children": [
            {
                "name": TUNNEL,
                "left_networks": [str(left.gateway.inside.network)],
                "right_networks": [str(right.gateway.inside.network)],
            }
        ],
        **definition,
    }
    left.warden.call(
        "POST",
        "/v1/tunnels",
        {
            "name": TUNNEL,
            "left": {"gateway": left.name},
            "right": {"gateway": right.name},
            "managed": True,
            "definition": {name: value for name, value in made.items() if value is not None},
        },
    )
    for each in (left, right):
        until(lambda each=each: TUNNEL in connections(each.gateway), f"{each.name} has the tunnel")
    for made_slot in slots(left):
        first = made_slot["rotation"]
        if first is not None:
            assert ended(left, first["id"])["state"] == "retired"


def slots(fed: Fed) -> list[dict[str, Any]]:
    """What the service tells of the tunnel's shared secrets."""
    found: list[dict[str, Any]] = fed.warden.call("GET", f"/v1/tunnels/{TUNNEL}/secrets")["items"]
    return found


def slot(fed: Fed, kind: str = "psk") -> dict[str, Any]:
    """The one of a kind."""
    (one,) = [each for each in slots(fed) if each["kind"] == kind]
    return one


def rotate(fed: Fed, kind: str = "psk", **more: Any) -> int:
    """Have a key of the tunnel rotated; gives the number of the rotation."""
    path = f"/v1/tunnels/{TUNNEL}/rotate"
    (begun,) = fed.warden.call("POST", path, {"kind": kind, **more})["rotations"]
    return int(begun["id"])


def rotation(fed: Fed, number: int) -> dict[str, Any]:
    """Where a rotation stands."""
    found: dict[str, Any] = fed.warden.call("GET", f"/v1/rotations/{number}")
    return found


def ended(fed: Fed, number: int, *, seconds: float = 180) -> dict[str, Any]:
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


def versions(gateway: Gateway, kind: str = "psk") -> list[int]:
    """The versions of the tunnel's key that charon has, that by which it proves itself first."""
    head = f"ikewarden-{TUNNEL}~{kind}-v"
    head = head if kind == "psk" else f"ppk-{head}"
    with gateway.session() as session:
        found = [key.decode() for key in session.get_shared().get("keys", [])]
    return [int(each.removeprefix(head)) for each in found if each.startswith(head)]


def one_key(left: Fed, right: Fed, kind: str = "psk") -> int:
    """The version that both ends have, alone; raises LabError where that is not so."""
    has = [versions(each.gateway, kind) for each in (left, right)]
    if has[0] != has[1] or len(has[0]) != 1:
        raise LabError(f"the ends have {has[0]} and {has[1]}")
    return has[0][0]


def bring_up(left: Fed, right: Fed) -> None:
    """Have the tunnel up, whatever was before."""

    def tried() -> bool:
        with contextlib.suppress(Refused, LabError):
            if left.gateway.established(TUNNEL) is None:
                left.gateway.initiate(TUNNEL)
            ping_through(left.gateway, right.gateway, 3, wait=2.0)
            return True
        return False

    until(tried, "the tunnel is up")


def refusals(fed: Fed, since: int) -> list[str]:
    """What charon logged of authentications that failed."""
    return fed.gateway.log.words(FAILED, since=since)


@contextlib.contextmanager
def both_logs(left: Fed, right: Fed) -> Iterator[list[str]]:
    """Refused authentications at either end within the block; filled in at its end."""
    marks = [(each, each.gateway.log.mark()) for each in (left, right)]
    found: list[str] = []
    yield found
    for each, mark in marks:
        found += refusals(each, mark)
