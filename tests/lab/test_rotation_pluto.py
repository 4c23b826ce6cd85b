"""The coordinated switch: a daemon that knows one key for a peer, and the service that has both ends change together.

The kernel of the machine may have no ESP: then these are IKE_SAs without children, and no packets are counted.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import vici

from tests.lab import Lab
from tests.lab.agents import API_PORT, CHARON, SERVICE_ADDRESS, TUNNEL, VALIDATION_PORT, Fed, until
from tests.lab.agents_pluto import FedPluto
from tests.lab.charon import Gateway
from tests.lab.errors import LabError, Refused
from tests.lab.pluto import Pluto
from tests.lab.rotating import ended, rotate, rotation, slot, versions
from tests.lab.story import Warden, served

CHILD = {"start_action": "none", "esp_proposals": ["aes256gcm16-x25519"]}


@contextlib.contextmanager
def fed(warden: Warden, gateway: Gateway | Pluto) -> Iterator[Fed]:
    """One gateway, enrolled, its agent running."""
    made = FedPluto(warden, gateway) if isinstance(gateway, Pluto) else Fed(warden, gateway)
    made.enroll()
    made.start()
    try:
        yield made
    finally:
        made.stop()


@contextlib.contextmanager
def service(lab: Lab, directory: Path) -> Iterator[Warden]:
    """The service, to be reached from the lab."""
    environ = {"IKEWARDEN_FLEET__URL": f"https://{SERVICE_ADDRESS}:{API_PORT}"}
    with served(directory, "ec-p256", in_lab=True, settings=environ) as warden:
        lab.publish(("127.0.0.1", warden.api_port), port=API_PORT)
        lab.publish(("127.0.0.1", warden.validation_port), port=VALIDATION_PORT)
        yield warden


def join(left: Fed, right: Fed) -> None:
    """A managed tunnel with a shared secret, in both daemons; its first key is being brought to them."""
    inside = [str(each.gateway.inside.network) for each in (left, right)]
    left.warden.call(
        "POST",
        "/v1/tunnels",
        {
            "name": TUNNEL,
            "left": {"gateway": left.name},
            "right": {"gateway": right.name},
            "managed": True,
            "definition": {
                "authentication": "psk",
                "left_addresses": [left.gateway.outside],
                "right_addresses": [right.gateway.outside],
                "children": [
                    {
                        "name": TUNNEL,
                        "left_networks": inside[:1],
                        "right_networks": inside[1:],
                        **CHILD,
                    }
                ],
            },
        },
    )
    for each in (left, right):
        if isinstance(each, FedPluto):
            until(each.has_tunnel, f"{each.name} has the tunnel")


def promoted(fed: Fed, number: int) -> bool:
    return rotation(fed, number)["confirmed_at"] is not None


def test_charon_and_pluto_change_together(lab: Lab, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        warden = stack.enter_context(service(lab, tmp_path / "instance"))
        left = stack.enter_context(fed(warden, lab.gateway("gw-a", settings=CHARON)))
        right = stack.enter_context(fed(warden, lab.pluto("gw-b")))
        assert isinstance(right, FedPluto)
        join(left, right)
        first = slot(left)["rotation"]
        if first is not None:
            assert ended(left, first["id"])["state"] == "retired"
        # The SA that proved the first key, which has no children, is ended again; a tunnel's own takes its place.
        until(lambda: right.pluto.established(TUNNEL) is None, "the proof is over")
        time.sleep(1)  # pluto's end looks twice a second
        left.gateway.swanctl("--initiate", "--child", TUNNEL, "--timeout", "5", check=False)
        running = right.pluto.established(TUNNEL)
        assert running is not None
        before = right.secret_lines()
        plan = warden.call("POST", f"/v1/tunnels/{TUNNEL}/rotate", {"plan": True})["plans"][0]
        assert plan["method"] == "coordinated"
        assert ended(left, rotate(left))["state"] == "retired"
        assert versions(left.gateway) == [2]
        assert right.secret_lines() != before
        assert len(right.secret_lines()) == 1
        # What was up went on: neither end ended it for the rotation.
        assert f"#{running}:" in right.pluto.states()
        mark, old = right.pluto.log.mark(), value(before)

        def is_refused() -> bool:
            """The old key, which nobody should have kept; the agent soon puts the new one back."""
            with left.gateway.session() as session:
                with contextlib.suppress(vici.exception.CommandException):
                    session.unload_shared({"id": f"ikewarden-{TUNNEL}~psk-v2"})
                session.load_shared(
                    {"id": "old", "type": "IKE", "data": old, "owners": [right.name]}
                )
            left.gateway.terminate(TUNNEL, force=True)
            left.gateway.swanctl("--initiate", "--ike", TUNNEL, "--timeout", "5", check=False)
            return bool(right.pluto.log.words("AUTHENTICATION_FAILED", mark))

        until(is_refused, "the old key is refused")


def value(lines: list[str]) -> bytes:
    """The octets of the only key in a file of secrets."""
    (line,) = lines
    return bytes.fromhex(line.rpartition("0x")[2].split()[0].strip('"'))


def test_two_plutos_change_together(lab: Lab, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        warden = stack.enter_context(service(lab, tmp_path / "instance"))
        left = stack.enter_context(fed(warden, lab.pluto("gw-a")))
        right = stack.enter_context(fed(warden, lab.pluto("gw-b")))
        assert isinstance(left, FedPluto)
        assert isinstance(right, FedPluto)
        join(left, right)
        for each in (left, right):  # on a kernel without ESP an initiator would end the SA again
            each.pluto.childless()
        first = slot(left)["rotation"]
        if first is not None:
            assert ended(left, first["id"])["state"] == "retired"
        running = left.pluto.established(TUNNEL)
        before = left.secret_lines()
        number = rotate(left)
        until(lambda: promoted(left, number), "both have changed")
        assert left.secret_lines() != before
        # What is up stays up, and is rekeyed under the new key as under the old one.
        assert left.pluto.established(TUNNEL) == running
        assert "rekeyed IKE SA" in left.pluto.whack("--rekey-ike", "--name", TUNNEL).text
        # Neither end can prove the key without an interruption, which nobody allowed: it waits for one.
        assert rotation(left, number)["state"] == "promoted"
        # An agent makes it anew at once; the other, on a busy machine, may not have seen that it was down.
        for _ in range(8):
            left.authenticate()
            with contextlib.suppress(LabError):
                assert ended(left, number, seconds=15)["state"] == "retired"
                break
        assert rotation(left, number)["state"] == "retired"
        left.pluto.write_secrets(*before)
        left.pluto.whack("--rereadsecrets")
        left.pluto.terminate(TUNNEL)
        with pytest.raises(Refused):
            left.pluto.initiate(TUNNEL, timeout=5)
