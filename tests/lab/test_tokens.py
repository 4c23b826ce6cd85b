"""A tunnel one of whose ends has its key in a token of SoftHSM2, which its charon signs with."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.softhsm import MODULE, SoftToken
from tests.lab import Lab
from tests.lab.agents import TUNNEL, Fed, fleet, join, keys, until
from tests.lab.errors import Refused
from tests.lab.traffic import ping_through, pinging

RENEWALS = 3
DEATHS = int(os.environ.get("IKEWARDEN_SOAK_DEATHS", "3"))


def with_pkcs11(**modules: Path) -> dict[str, Any]:
    """What a charon needs to use tokens."""
    named = {name: {"path": str(path)} for name, path in modules.items()}
    return {"plugins": {"pkcs11": {"modules": named}}}


CHARON = with_pkcs11(token=MODULE)


def renew(fed: Fed) -> str:
    before = fed.in_use
    fed.tell("renew")
    until(lambda: fed.in_use not in {None, before}, f"{fed.name} uses a new certificate")
    return str(fed.in_use)


def settled(fed: Fed, token: SoftToken) -> Callable[[], bool]:
    """One generation, one key in the token, one in charon."""
    return lambda: (
        len(fed.status["generations"]) == 1
        and len(token.labels()) == 1
        and len(keys(fed.gateway)) == 1
    )


def test_renewed_under_traffic_restarted_and_revoked(
    lab: Lab, tmp_path: Path, token: SoftToken
) -> None:
    with fleet(
        lab, tmp_path / "i", "gw-a", "gw-b", tokens={"gw-a": token.uri}, settings=CHARON
    ) as (left, right):
        assert left.status["certificate"]["key_in"].startswith("pkcs11:token=gateway%20token")
        assert not list((left.gateway.swanctl_folder / "private").glob("ikewarden-*"))
        (conf,) = (left.gateway.swanctl_folder / "conf.d").glob("ikewarden.token-*.conf")
        assert conf.stat().st_mode & 0o777 == 0o600
        join(left, right)
        left.gateway.initiate(TUNNEL)
        ping_through(left.gateway, right.gateway)
        before = left.gateway.established(TUNNEL)
        assert before is not None
        used = {left.in_use}
        with pinging(left.gateway, right.gateway) as counted:
            for _ in range(RENEWALS):
                used.add(renew(left))
        assert len(used) == RENEWALS + 1
        assert counted[0].sent > 10
        assert counted[0].lost == 0, counted[0].output
        after = left.gateway.established(TUNNEL)
        assert after is not None
        assert after.number == before.number
        until(settled(left, token), "one key is left")
        _restart(left, right)
        (serial,) = left.serials[:1]
        left.warden.call("POST", f"/v1/certificates/{serial}/revoke", {"reason": "keyCompromise"})
        for each in (left, right):
            until(lambda e=each: e.gateway.established(TUNNEL) is None, "the tunnel has ended")  # type: ignore[misc]
        with pytest.raises(Refused):
            left.gateway.initiate(TUNNEL)


def _restart(left: Fed, right: Fed) -> None:
    """charon has the key again by its own files, without the agent."""
    left.stop()
    left.gateway.stop()
    left.gateway.start()
    left.gateway.load_all()
    assert len(keys(left.gateway)) == 1
    right.gateway.terminate(TUNNEL, force=True)
    left.gateway.initiate(TUNNEL)
    ping_through(left.gateway, right.gateway)
    left.start()
    with left.gateway.session() as session:
        session.clear_creds()
    until(lambda: len(keys(left.gateway)) == 1, "the agent loads it again")


def test_a_charon_without_the_module_is_told_of(lab: Lab, tmp_path: Path, token: SoftToken) -> None:
    with fleet(lab, tmp_path / "i", "gw-a", tokens={"gw-a": token.uri}) as (left,):
        until(
            lambda: "token_not_in_daemon" in [each["code"] for each in left.status["errors"]],
            "it is said",
        )
        assert left.status["generations"][-1]["stage"] == "issued"
        assert keys(left.gateway) == []


def test_a_wrong_pin_and_a_token_that_is_away(lab: Lab, tmp_path: Path, token: SoftToken) -> None:
    # What does not work is tried again when the agent looks after everything.
    often = {"check_seconds": "3"}
    with fleet(
        lab, tmp_path / "i", "gw-a", tokens={"gw-a": token.uri}, settings=CHARON, agent=often
    ) as (left,):
        until(settled(left, token), "it is in use")
        in_use = left.in_use
        token.write_pin("9999")
        left.tell("renew")
        until(lambda: _says(left, "token_pin_refused"), "the PIN is refused")
        assert len(keys(left.gateway)) == 1
        assert left.in_use == in_use
        token.write_pin(token.pin)
        until(lambda: left.in_use != in_use, "the renewal goes on")
        until(settled(left, token), "one key is left")
        in_use = left.in_use
        token.take_out()
        left.tell("renew")
        until(
            lambda: _says(left, "token_absent") or _says(left, "token_module_unusable"),
            "the token is missed",
        )
        assert left.in_use == in_use
        token.put_back()
        until(lambda: left.in_use != in_use, "the renewal goes on")


def _says(fed: Fed, code: str) -> bool:
    return code in [each["code"] for each in fed.status["errors"]]


def test_killed_around_renewals_no_key_is_lost_or_left(
    lab: Lab, tmp_path: Path, token: SoftToken
) -> None:
    dice = random.Random(20)
    with fleet(
        lab, tmp_path / "i", "gw-a", "gw-b", tokens={"gw-a": token.uri}, settings=CHARON
    ) as (left, right):
        join(left, right)
        left.gateway.initiate(TUNNEL)
        for _ in range(DEATHS):
            left.tell("renew")
            time.sleep(dice.uniform(0, 4))
            left.kill()
            left.start()
            ping_through(left.gateway, right.gateway)
        until(settled(left, token), "one key is left")
        renew(left)
        until(settled(left, token), "one key is left")
        left.gateway.terminate(TUNNEL)
        left.gateway.initiate(TUNNEL)
        ping_through(left.gateway, right.gateway)
