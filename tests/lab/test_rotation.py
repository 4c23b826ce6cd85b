"""Pre-shared keys rotated under traffic, with OpenBao as the store: nothing lost, nothing refused, the old ones dead.

A few rotations here; IKEWARDEN_SOAK_ROTATIONS sets how many (`make soak`: 100).
"""

import base64
import os
import time
from pathlib import Path

import pytest

from tests.fixtures.openbao import OpenBao
from tests.lab import Lab
from tests.lab.agents import TUNNEL, Fed, fleet, until
from tests.lab.errors import Refused
from tests.lab.rotating import (
    both_logs,
    bring_up,
    ended,
    in_openbao,
    join,
    one_key,
    rotate,
    slot,
    versions,
)
from tests.lab.traffic import pinging

ROTATIONS = int(os.environ.get("IKEWARDEN_SOAK_ROTATIONS", "4"))


def states(server: OpenBao, mount: str) -> list[str]:
    """What the store says of each version of the tunnel's key, oldest first."""
    told = server.call("GET", f"{mount}/metadata/ikewarden/{TUNNEL}/psk")["data"]["versions"]
    return [
        "destroyed" if each["destroyed"] else "deleted" if each["deletion_time"] else "live"
        for _, each in sorted(told.items(), key=lambda item: int(item[0]))
    ]


def value(server: OpenBao, mount: str) -> bytes:
    """The newest value, as the store has it."""
    told = server.call("GET", f"{mount}/data/ikewarden/{TUNNEL}/psk")["data"]["data"]
    return base64.b64decode(told["value"])


def try_with(fed: Fed, peer: Fed, key: bytes) -> None:
    """Authenticate with a key of one's own choice. Raises Refused."""
    with fed.gateway.session() as session:
        session.load_shared(
            {"id": "stolen", "type": "IKE", "data": key, "owners": [peer.name.encode()]}
        )
    try:
        fed.gateway.initiate(TUNNEL)
    finally:
        with fed.gateway.session() as session:
            session.unload_shared({"id": "stolen"})


def test_rotations_lose_nothing_and_leave_nothing(
    lab: Lab, tmp_path: Path, openbao: OpenBao
) -> None:
    settings = in_openbao(openbao, tmp_path / "store")
    mount = settings["IKEWARDEN_SECRETS__MOUNT"]
    with fleet(lab, tmp_path / "instance", "gw-a", "gw-b", service=settings) as (left, right):
        join(left, right)
        bring_up(left, right)
        old = value(openbao, mount)
        took: list[float] = []
        with both_logs(left, right) as refused, pinging(left.gateway, right.gateway) as counted:
            for number in range(ROTATIONS):
                began = time.monotonic()
                assert ended(left, rotate(left))["state"] == "retired"
                took.append(time.monotonic() - began)
                assert one_key(left, right) == number + 2
        print(  # what was measured belongs into the output
            f"{ROTATIONS} rotations, {counted[0].sent} packets, {counted[0].lost} lost; "
            f"{min(took):.1f} to {max(took):.1f} s each"
        )
        assert counted[0].lost == 0, counted[0].output
        assert refused == []
        # The engine itself forgets all but the latest ten, unless told otherwise.
        kept = min(ROTATIONS, 9)
        assert states(openbao, mount)[-kept - 1 :] == ["destroyed"] * kept + ["live"]
        assert slot(left)["version"] == ROTATIONS + 1
        # The first key of all is of no use any more.
        assert value(openbao, mount) != old
        right.stop()
        right.gateway.terminate(TUNNEL)
        with pytest.raises(Refused):
            try_with(right, left, old)
        text = (tmp_path / "instance" / "serve.log").read_text() + left.log.read_text()
        assert old.hex() not in text
        assert old.hex() not in right.log.read_text()


def test_a_ppk_is_rotated_by_its_identity(lab: Lab, tmp_path: Path) -> None:
    with fleet(lab, tmp_path / "instance", "gw-a", "gw-b") as (left, right):
        join(left, right, authentication="certificate", ppk="required")
        bring_up(left, right)
        with both_logs(left, right) as refused, pinging(left.gateway, right.gateway) as counted:
            for number in range(2):
                mark = right.gateway.log.mark()
                assert ended(left, rotate(left, "ppk"))["state"] == "retired"
                assert one_key(left, right, "ppk") == number + 2
                assert right.gateway.log.words(rf"using PPK.*-v{number + 2}", since=mark)
        assert counted[0].lost == 0, counted[0].output
        assert refused == []


def test_an_emergency_ends_what_stands_on_the_old_key(lab: Lab, tmp_path: Path) -> None:
    with fleet(lab, tmp_path / "instance", "gw-a", "gw-b") as (left, right):
        join(left, right)
        bring_up(left, right)
        before = left.gateway.established(TUNNEL)
        assert before is not None
        assert ended(left, rotate(left, emergency=True))["state"] == "retired"
        assert one_key(left, right) == 2
        until(lambda: left.gateway.established(TUNNEL) is not None, "the tunnel is up again")
        after = left.gateway.established(TUNNEL)
        assert after is not None
        assert after.number != before.number


def test_a_wiped_or_restarted_charon_is_given_its_keys_again(lab: Lab, tmp_path: Path) -> None:
    with fleet(lab, tmp_path / "instance", "gw-a", "gw-b") as (left, right):
        join(left, right)
        bring_up(left, right)
        left.gateway.kill()
        left.gateway.start()
        until(lambda: versions(left.gateway) == [1], "the key is back")
        bring_up(left, right)
        assert ended(left, rotate(left))["state"] == "retired"
        assert one_key(left, right) == 2
