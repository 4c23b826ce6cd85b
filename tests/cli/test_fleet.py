"""Gateways, tunnels, SAs and revocations from the command line, over a real service."""

import base64
import itertools
import json
import stat
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest

from ikewarden.cli.commands.agent_enroll import enroll
from ikewarden.cli.commands.agent_windows import windows_bundle
from tests.fixtures.served import Served

pytestmark = pytest.mark.usefixtures("served")
_numbers = itertools.count(1)


def add(served: Served, *more: str) -> str:
    name = f"gw{next(_numbers)}.fleet.example"
    served.json("gateway", "add", name, *more)
    return name


def understood(text: str) -> list[str]:
    """The words of the command that a text advises; the command line knows them all."""
    [words] = [line.split()[1:] for line in text.splitlines() if line.startswith("  ikewarden ")]
    command = windows_bundle if "windows-bundle" in words else enroll
    command.make_parser(click.Context(command)).parse_args(words[2:])
    return words


def enrolled(served: Served, tmp_path: Path) -> tuple[str, str, Any]:
    """A gateway with a certificate: its name, serial number, and a client that acts as it."""
    name = add(served)
    made = served.json("cert", "issue", name, "--out", tmp_path / name)
    files = made["files"]
    client = served.client_with(
        None, certificate=Path(files["certificate"]), key=Path(files["key"])
    )
    return name, made["serial"], client


def test_a_gateway_is_added_with_one_line_to_paste(served: Served, tmp_path: Path) -> None:
    done = served.run("gateway", "add", "paste.fleet.example", "--identity", "192.0.2.1")
    assert done.code == 0, done.err
    [line] = done.out.splitlines()
    assert line.startswith("iwe1_")
    assert understood(done.err) == ["agent", "enroll"]
    text = line.removeprefix("iwe1_")
    content = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    assert content["u"] == served.url
    assert content["t"] not in done.err
    shown = served.json("gateway", "show", "paste.fleet.example")
    assert shown["identities"] == ["ip:192.0.2.1"]
    path = tmp_path / "enroll"
    done = served.run("gateway", "enrollment", "paste.fleet.example", "--out", path)
    assert (done.code, "iwe1_" in done.out + done.err) == (0, False)
    assert understood(done.err + done.out) == ["agent", "enroll", "--enrollment-file", "enroll"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() != line + "\n"
    again = served.run("gateway", "enrollment", "paste.fleet.example", "--out", path)
    assert (again.code, "(file_exists)" in again.err) == (1, True)
    assert "--force" not in again.err  # which this command does not have
    made = served.json("gateway", "add", "json.fleet.example")
    assert made["gateway"]["identities"] == ["dns:json.fleet.example"]
    assert made["enrollment"].startswith("iwe1_")
    everything = json.dumps(served.json("audit-log", "list")) + served.log
    assert content["t"] not in everything


def test_a_windows_gateway_is_told_of_its_module(served: Served, tmp_path: Path) -> None:
    name, path = "win.fleet.example", tmp_path / "win.enrollment"
    of_windows = ("--profile", "windows-gateway", "--daemon", "windows")
    done = served.run("gateway", "add", name, *of_windows, "--out", path)
    bundle = ["agent", "windows-bundle", "--out", "Ikewarden"]
    assert understood(done.err + done.out) == [*bundle, "--enrollment-file", "win.enrollment"]
    assert understood(served.run("gateway", "enrollment", name).err) == bundle


def test_gateways_are_listed_and_removed(served: Served) -> None:
    name = add(served, "--daemon", "libreswan")
    assert "libreswan" in served.run("gateway", "list", name).out
    assert served.run("gateway", "list", name, "--status", "ok").err == "No such gateway.\n"
    done = served.run("gateway", "add", name)
    assert (done.code, "(gateway_exists)" in done.err) == (1, True)
    assert served.run("gateway", "remove", name).code == 0
    done = served.run("gateway", "show", name)
    assert (done.code, "(gateway_not_found)" in done.err) == (1, True)


def test_tunnels_sas_and_a_revocation_that_reaches(served: Served, tmp_path: Path) -> None:
    mine, serial, _ = enrolled(served, tmp_path)
    peer, _, agent = enrolled(served, tmp_path)
    served.json("tunnel", "add", "cli-tunnel", mine, peer)
    assert mine in served.run("tunnel", "list", "--gateway", peer).out
    assert served.json("tunnel", "list", "--expires-before", "1d", "--gateway", peer)["items"] == []
    state = agent.get("/v1/gateways/self/state")
    assert state["gateway"] == peer
    fingerprint = served.json("cert", "show", serial)["fingerprint"]
    sa = {
        "id": "7",
        "connection": "cli-tunnel",
        "state": "ESTABLISHED",
        "established": True,
        "remote_id": mine,
        "remote_address": "192.0.2.9",
        "remote_certificate": fingerprint,
    }
    agent.post("/v1/gateways/self/sas", {"at": datetime.now(UTC).isoformat(), "sas": [sa]})
    assert serial in served.run("sa", "list", "--service", "--tunnel", "cli-tunnel").out
    assert serial in served.run("tunnel", "show", "cli-tunnel").out
    assert "cli-tunnel" in served.run("gateway", "show", peer).out
    options = ("cert", "revoke", serial, "--reason", "superseded")
    dry = served.run(*options, "--dry-run")
    assert (dry.code, "cli-tunnel" in dry.out) == (0, True)
    tied = tmp_path / "tied.token"
    served.json("token", "create", "tied", "--role", "operator", "--gateway", mine, "--out", tied)
    stranger, _, another = enrolled(served, tmp_path)
    sas = {"at": datetime.now(UTC).isoformat(), "sas": [sa | {"connection": "strangers"}]}
    another.post("/v1/gateways/self/sas", sas)
    dry = served.run(*options, "--dry-run", "--token-file", tied)
    assert (dry.code, "2 tunnels would end" in dry.err) == (0, True)
    assert "(another gateway)" in dry.out
    assert peer in dry.out
    assert not {stranger, "strangers"} & set(dry.out.split())
    another.post("/v1/gateways/self/sas", sas | {"sas": []})
    assert served.json("cert", "show", serial)["status"] == "valid"
    done = served.run("cert", "reach", serial, "--watch")
    assert (done.code, "is not revoked" in done.err) == (1, True)
    served.json("cert", "hold", serial)
    done = served.run("cert", "reach", serial, "--watch")
    assert (done.code, "is on hold" in done.err) == (1, True)
    served.json("cert", "release", serial)
    assert "1 tunnel ends." in served.run(*options).err
    command = _command(agent)
    silent = {"kind": "", "version": "", "incarnation": ""}  # its daemon has not answered yet
    first = {"version": state["version"], "agent_version": "0", "daemon": silent}
    agent.post("/v1/gateways/self/applied", first)
    row = served.run("gateway", "list", peer).out.splitlines()[1]
    assert row.split()[2] == "-"
    report = {
        "version": state["version"],
        "agent_version": "0",
        "daemon": {"kind": "strongswan", "version": "5.9.14", "incarnation": "1"},
        "commands": [
            {
                "id": command["id"],
                "outcome": "done",
                "at": datetime.now(UTC).isoformat(),
                "cuts": [{"connection": "cli-tunnel", "matched_by": "certificate", "ended": True}],
            }
        ],
    }
    done = served.run("cert", "reach", serial)
    assert (done.code, "pending" in done.out) == (1, True)
    agent.post("/v1/gateways/self/applied", report)
    done = served.run("cert", "reach", serial, "--watch")
    assert (done.code, "confirmed" in done.out) == (0, True)
    served.json("tunnel", "remove", "cli-tunnel")
    served.json("gateway", "remove", peer, "--revoke", "cessationOfOperation")
    assert served.json("cert", "list", peer, "--status", "valid")["items"] == []


def _command(agent: Any) -> Any:
    for _ in range(900):
        time.sleep(0.1)
        # The list is published first, then the command is given: within a second.
        commands = agent.get("/v1/gateways/self/state")["commands"]
        if commands:
            return commands[0]
    raise AssertionError("no command came")


def test_a_managed_tunnel_needs_what_a_daemon_needs(served: Served) -> None:
    left, right = add(served), add(served)
    done = served.run("tunnel", "add", "managed", left, right, "--managed")
    assert (done.code, "--left-address" in done.err) == (2, True)
    made = served.json(
        *("tunnel", "add", "managed", left, right, "--managed", "--start"),
        *("--left-address", "192.0.2.1", "--right-address", "192.0.2.2"),
        *("--left-network", "10.1.0.0/16", "--right-network", "10.2.0.0/16"),
    )
    assert made["definition"]["children"][0]["start_action"] == "start"
    outside = served.json(
        "tunnel", "add", "out", left, "bank", "--peer-identity", "vpn.bank.example"
    )
    assert outside["right"]["peer"]["identities"] == ["dns:vpn.bank.example"]
    served.json("gateway", "renew", left)
    served.json("gateway", "reauthenticate", left, "managed")
    assert "reauthenticate" in served.run("gateway", "show", left).out
