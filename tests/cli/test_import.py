"""`tunnel import`: looked at without a service, and taken over."""

import base64
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Actor, Answer
from tests.fixtures.served import Done, Served, run

SAMPLES = Path(__file__).parents[1] / "ike/secrets/samples"
LAYOUTS = ("vyos", "opnsense", "pfsense", "debian", "libreswan")
GATEWAY = {"name": "gw1.example.com", "identities": ["dns:gw1.example.com", "ip:192.0.2.1"]}


def values(layout: str) -> set[str]:
    """Every value that stands in the files of a layout, as it is written and without its prefix."""
    found = set()
    for path in (SAMPLES / layout).rglob("*"):
        if path.is_file():
            pattern = r'(?:PSK|EAP|XAUTH|gw1\.key|secret =|PPKS "[^"]+") ("[^"]+"|0t.*|\S+)'
            for text in re.findall(pattern, path.read_text()):
                found |= {text.strip('"'), re.sub("^0[xst]", "", text)}
                if text.startswith("0s"):
                    found.add(base64.b64decode(text[2:] + "==").decode("latin-1"))
    assert len(found) >= 3
    return found


def snapshot(root: Path) -> dict[str, tuple[bytes, int, int]]:
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode)
        for path in root.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_looking_shows_no_value_and_changes_nothing(layout: str) -> None:
    before = snapshot(SAMPLES / layout)
    for kind in ("text", "json"):
        done = run("tunnel", "import", "--look", "--root", SAMPLES / layout, "--format", kind)
        assert (done.code, done.err) == (0, "")
        for value in values(layout):
            assert value not in done.out
        if kind == "text":
            assert max(map(len, done.out.splitlines())) <= 80
    assert snapshot(SAMPLES / layout) == before


def look(*arguments: str | Path) -> Any:
    done = run("tunnel", "import", "--look", "--format", "json", *arguments)
    assert done.code == 0, done.err
    return done.document


def test_json_for_programs(tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    path = folder / "ipsec.secrets"
    path.write_text('@gw1 @gw2 : PSK "same value"\n@gw1 @gw3 : PSK "same value"\n')
    (folder / "ipsec.conf").write_text(
        "conn one\n left=192.0.2.1\n leftid=@gw1\n right=192.0.2.2\n rightid=@gw2\n"
        " authby=secret\n ikev2=insist\n"
    )
    os.utime(path, (time.time() - 100 * 86400 - 60,) * 2)
    found = look("--root", tmp_path)
    [tunnel] = found["tunnels"]
    first, second = found["secrets"]
    assert tunnel["secrets"] == [
        {"fingerprint": first["fingerprint"], "path": "/etc/ipsec.secrets", "line": 1}
    ]
    assert (tunnel["connection"], tunnel["ike_versions"], tunnel["ambiguous"]) == (
        "one",
        [2],
        False,
    )
    assert tunnel["remote"] == {"identity": "dns:gw2", "addresses": ["192.0.2.2"], "psk": True}
    assert first["same_value_at"] == [{"path": "/etc/ipsec.secrets", "line": 2}]
    assert first["fingerprint"] == second["fingerprint"]
    assert (first["age_days"], first["strength"], first["connections"]) == (100, "weak", ["one"])
    assert found["problems"] == []
    again = look("--root", tmp_path)
    assert again["secrets"][0]["fingerprint"] != first["fingerprint"]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ipsec.secrets"
    path.write_text(
        '@gw1 @gw2 : PSK "a value"\n@gw1 : PSK hunter2-of-a-test\ninclude gone.secrets\n'
    )
    done = run("tunnel", "import", "--look", "--daemon", "libreswan", path)
    assert done.code == 1
    assert f"{path}:2" in done.out
    assert "gone.secrets" in done.out
    assert "hunter2" not in done.out + done.err
    assert run("tunnel", "import", "--look", tmp_path / "gone").code == 1
    nothing = run("tunnel", "import", "--look", "--root", tmp_path)
    assert (nothing.code, "(nothing_found)" in nothing.err) == (1, True)
    folder = tmp_path / "copies"
    (folder / "gw1" / "etc").mkdir(parents=True)
    nothing = run("tunnel", "import", "--look", folder)
    assert (nothing.code, "folders are not searched below" in nothing.err) == (1, True)
    assert "--root" in nothing.err


def test_one_of_a_thing_is_told_as_one(tmp_path: Path) -> None:
    path = tmp_path / "swanctl.conf"
    path.write_text(
        "connections { one { remote_addrs = 192.0.2.9\n local { auth = psk\n id = a\n }\n"
        " remote { auth = psk\n id = b\n } } }\n"
        "secrets { ike-1 { id = b\n secret = one-of-a-kind\n } }\n"
    )
    done = run("tunnel", "import", "--look", path)
    assert "1 connection with pre-shared keys, 1 secret: 1 weak" in done.out


def test_a_name_in_a_file_does_nothing_to_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "swanctl.conf"
    path.write_text(
        "connections { \x1b[31mred\x1b[0m { local { auth = psk\n id = \x1b]0;x\x07\n } } }\n"
        "secrets { ike-\u202e { secret = x\n } }\n"
    )
    for kind in ("text", "json"):
        done = run("tunnel", "import", "--look", path, "--format", kind)
        assert "\x1b" not in done.out + done.err
        assert "\u202e" not in done.out


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--look", "--gateway", "gw1"),
        ("--look", "--yes"),
        ("--look", "--only", "x"),
        ("--look", "--accept-weak"),
        ("--look", "--freeze"),
        ("--look", "--every", "30d"),
        ("--look", "--window", "Sat 02:00-04:00"),
        ("--gateway", "gw1", "--format", "json"),
    ],
)
def test_either_looking_or_taking_over(arguments: tuple[str, ...]) -> None:
    assert run("tunnel", "import", *arguments).code == 2


def test_the_end_that_is_this_machine_is_the_local_one(tmp_path: Path) -> None:
    path = tmp_path / "ipsec.conf"
    path.write_text(
        "conn one\n left=192.0.2.1\n right=127.0.0.1\n authby=secret\n"
        "conn two\n left=127.0.0.1\n right=gw.example\n rightid=@gw.example\n authby=secret\n"
    )
    one, two = look(path)["tunnels"]
    assert one["local"]["addresses"] == two["local"]["addresses"] == ["127.0.0.1"]


# taking over, with a service whose records a test writes


class Records(list[Answer]):
    """A script for `Actor` that answers from records: gateways, tunnels, and which have a key."""

    def __init__(self, actor: Actor) -> None:
        super().__init__()
        self.actor = actor
        self.gateways: list[dict[str, Any]] = [GATEWAY]
        self.tunnels: list[dict[str, Any]] = []
        self.keys: dict[str, dict[str, Any]] = {}
        self.refuse = ""

    def __len__(self) -> int:
        return 2

    def pop(self, _index: Any = -1) -> Answer:
        asked = self.actor.asked[-1]
        target, _, query = asked.target.partition("?")
        parts = target.split("/")[2:]
        if asked.method == "POST":
            body = json.loads(asked.body)
            return self._keep(body) if len(parts) == 1 else self._take(parts[1], body)
        return self._told(parts, query)

    def _told(self, parts: list[str], query: str) -> Answer:
        match parts:
            case ["gateways"]:
                return Answer.of({"items": self.gateways, "next_cursor": None})
            case ["tunnels"]:
                assert query.startswith("gateway=gw1.example.com")
                return Answer.of({"items": self.tunnels, "next_cursor": None})
            case ["gateways" | "tunnels" as kind, name]:
                for each in self.gateways if kind == "gateways" else self.tunnels:
                    if each["name"] == name:
                        return Answer.of(each)
            case ["tunnels", name, "secrets"]:
                there = [{"kind": "psk", "version": 1}] if name in self.keys else []
                return Answer.of({"items": there})
        return Answer.of({"code": "not_found", "detail": "There is none."}, 404)

    def _keep(self, body: dict[str, Any]) -> Answer:
        right = {"gateway": None, "peer": None, **body["right"]}
        kept = {"name": body["name"], "left": {"peer": None, **body["left"]}, "right": right}
        self.tunnels.append(kept)
        return Answer.of(kept, 201)

    def _take(self, name: str, body: dict[str, Any]) -> Answer:
        if name == self.refuse:
            problem = {"code": "secret_weak", "detail": "It is weak.", "next_step": "--accept-weak"}
            return Answer.of(problem, 422)
        self.keys[name] = body
        return Answer.of({}, 201)


@pytest.fixture
def records(actor: Actor) -> Iterator[Records]:
    made = Records(actor)
    actor.script = made
    yield made
    for asked in actor.asked:
        assert "secret" not in asked.target.replace("/secrets", "")


def take(records: Records, tmp_path: Path, layout: str, *more: str, given: str = "") -> Done:
    options = records.actor.options(tmp_path / "token")
    place = ("--root", SAMPLES / layout, "--gateway", "gw1.example.com")
    done = run("tunnel", "import", *place, *more, *options, given=given)
    for value in values(layout):
        assert value not in done.out + done.err
    return done


def test_keys_are_taken_over_once(records: Records, tmp_path: Path) -> None:
    before = snapshot(SAMPLES / "libreswan")
    done = take(records, tmp_path, "libreswan", "--yes")
    assert done.code == 0, done.err
    assert [each["name"] for each in records.tunnels] == ["lyon", "nantes", "quay"]
    lyon = records.tunnels[0]
    assert lyon["left"]["gateway"] == "gw1.example.com"
    assert lyon["right"]["peer"]["identities"] == ["dns:lyon.example.com"]
    body = records.keys["lyon"]
    assert base64.b64decode(body["import"]["value"]) == b"Confluence/Rhone/Saone/7415"
    assert body | {"import": None} == {
        "kind": "psk",
        "import": None,
        "left_connection": "lyon",
        "left_identity": "dns:gw1.example.com",
        "right_identity": "dns:lyon.example.com",
        "ike_version": 2,
    }
    assert records.keys["quay"]["ike_version"] == 1
    asked = len(records.actor.asked)
    again = take(records, tmp_path, "libreswan", "--yes", "--format", "json")
    assert (again.code, again.err) == (0, "")
    assert {each["state"] for each in again.document["connections"]} == {"managed"}
    assert not any(each.method == "POST" for each in records.actor.asked[asked:])
    assert snapshot(SAMPLES / "libreswan") == before


def test_nothing_is_done_unasked(records: Records, tmp_path: Path) -> None:
    done = take(records, tmp_path, "vyos")
    assert "Take 2 keys under management?" in done.err
    assert "new tunnel to the outside peer dns:branch7.example.com" in " ".join(done.out.split())
    assert (done.code, "give --yes" in done.err) == (2, True)
    done = take(records, tmp_path, "vyos", given="n\n")
    assert (done.code, done.err.endswith("Nothing was changed.\n")) == (1, True)
    assert not records.tunnels


def test_the_age_of_a_file_is_that_of_its_key(records: Records, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(SAMPLES / "libreswan", root)
    for name, moment in (("lyon", 1_700_000_000), ("quay", 1)):
        os.utime(root / f"etc/ipsec.d/{name}.secrets", (moment, moment))
    options = records.actor.options(tmp_path / "token")
    place = ("--root", root, "--gateway", "gw1.example.com")
    assert run("tunnel", "import", *place, "--yes", *options).code == 0
    assert records.keys["lyon"]["import"]["since"] == "2023-11-14T22:13:20Z"
    assert "since" not in records.keys["quay"]["import"]


def aged(tmp_path: Path) -> Path:
    """A copy of a gateway's files, all new, but for the keys of lyon: those are three years old."""
    root = tmp_path / "root"
    shutil.copytree(SAMPLES / "libreswan", root)
    for path in root.rglob("*.secrets"):
        os.utime(path, (time.time(),) * 2)  # a copy has the age of its original
    os.utime(root / "etc/ipsec.d/lyon.secrets", (time.time() - 1000 * 86400,) * 2)
    return root


def test_what_is_due_at_once_is_said_before(records: Records, tmp_path: Path) -> None:
    options = records.actor.options(tmp_path / "token")
    words = ("tunnel", "import", "--root", aged(tmp_path), "--gateway", "gw1.example.com", *options)
    asked = run(*words, given="n\n")
    told = asked.err.index(
        "2 keys due: their rotations begin at once. With --freeze nothing begins"
    )
    assert told < asked.err.index("Take 3 keys under management?")
    assert "lyon: in use since " in asked.err
    done = run(*words, "--yes", "--only", "lyon", "--window", "Sat 02:00-04:00", "--zone", "UTC")
    assert "1 key due: its rotation begins in the next window." in done.err
    assert records.keys["lyon"]["policy"]["windows"][0]["days"] == ["sat"]
    done = run(*words, "--yes", "--only", "nantes", "--freeze")
    assert (done.code, "due" in done.err) == (0, False)
    assert records.keys["nantes"]["policy"] == {"frozen": True}
    done = run(*words, "--yes", "--only", "quay", "--every", "never")
    assert (done.code, "due" in done.err) == (0, False)
    assert records.keys["quay"]["policy"] == {"interval_days": 0}


def test_the_files_of_another_gateway_are_left_out(records: Records, tmp_path: Path) -> None:
    records.gateways += [{"name": "gw-b", "identities": ["dns:gw-b", "ip:192.0.2.77"]}]
    path = tmp_path / "swanctl.conf"
    text = (
        "connections {{ {0} {{ remote_addrs = 192.0.2.9\n local {{ auth = psk\n id = {1}\n }}\n"
        " remote {{ auth = psk\n id = {0}.example.com\n }} }} }}\n"
        "secrets {{ ike-{0} {{ id = {0}.example.com\n secret = a-key-of-{0}\n }} }}\n"
    )
    path.write_text(text.format("one", "gw1.example.com") + text.format("two", "gw-b"))
    options = records.actor.options(tmp_path / "token")
    done = run("tunnel", "import", path, "--gateway", "gw1.example.com", "--yes", *options)
    assert done.code == 0, done.err
    assert "its local identity dns:gw-b is none of gw1.example.com's" in " ".join(done.out.split())
    assert set(records.keys) == {"one"}


def test_a_key_without_a_connection_is_told(records: Records, tmp_path: Path) -> None:
    path = tmp_path / "root" / "etc" / "ipsec.secrets"
    path.parent.mkdir(parents=True)
    path.write_text('@gw1.example.com @old : PSK "a key of nobody"\n')
    options = records.actor.options(tmp_path / "token")
    place = ("--root", tmp_path / "root", "--gateway", "gw1.example.com", "--yes")
    done = run("tunnel", "import", *place, *options)
    assert (done.code, "a secret was found" in done.err) == (1, True)
    assert "a key of nobody" not in done.err


def test_a_refusal_stops_only_its_own(records: Records, tmp_path: Path) -> None:
    records.refuse = "peer_branch7"
    done = take(records, tmp_path, "vyos", "--yes", "--format", "json")
    assert done.code == 1
    first, second = done.document["connections"]
    assert (first["state"], first["problem"]["code"]) == ("refused", "secret_weak")
    assert (second["state"], second["tunnel"]) == ("taken_over", "peer_supplier")
    told = take(records, tmp_path, "vyos", "--yes")
    assert (told.code, "peer_branch7: It is weak. (secret_weak)" in told.err) == (1, True)
    records.refuse = ""
    healed = take(records, tmp_path, "vyos", "--yes", "--accept-weak")
    assert healed.code == 0
    assert records.keys["peer_branch7"]["import"]["accept_weak"] is True
    assert len(records.tunnels) == 2


def test_what_is_not_clear_is_left_out(records: Records, tmp_path: Path) -> None:
    done = take(records, tmp_path, "debian", "--yes", "--format", "json")
    assert done.code == 0, done.err
    states = {each["connection"]: each["state"] for each in done.document["connections"]}
    assert states == {
        "oslo": "left_out",
        "berlin": "taken_over",
        "paris": "taken_over",
        "old-router": "taken_over",
    }
    assert records.keys["paris"]["right_identity"] == "dn:CN=paris.example.com,O=Example,C=FR"
    assert records.tunnels[1]["right"]["peer"]["name"] == "CN-paris.example.com-O-Example-C-FR"


def test_tunnels_and_gateways_on_record_are_used(records: Records, tmp_path: Path) -> None:
    lyon = {"name": "gw-lyon", "identities": ["dns:lyon.example.com"]}
    records.gateways += [lyon, {"name": "gw-nantes", "identities": ["dns:nantes.example.com"]}]
    ours = {"gateway": "gw1.example.com", "peer": None}
    records.tunnels = [
        {"name": "from-lyon", "left": {"gateway": "gw-lyon", "peer": None}, "right": ours},
        {
            "name": "nantes",
            "left": ours,
            "right": {"gateway": None, "peer": {"identities": ["dns:x"]}},
        },
    ]
    done = take(records, tmp_path, "libreswan", "--yes", "--only", "lyon", "--only", "nantes")
    assert done.code == 0, done.err
    assert records.keys["from-lyon"]["right_connection"] == "lyon"
    assert records.keys["from-lyon"]["left_identity"] == "dns:lyon.example.com"
    made = records.tunnels[-1]
    assert (made["name"], made["right"]["gateway"]) == ("nantes-gw1-example-com", "gw-nantes")
    assert set(records.keys) == {"from-lyon", "nantes-gw1-example-com"}
    unknown = take(records, tmp_path, "libreswan", "--yes", "--only", "lyons")
    assert (unknown.code, "(connection_unknown)" in unknown.err) == (2, True)


def test_a_real_service_takes_them_over(own_served: Served) -> None:
    own_served.json("gateway", "add", "gw1.example.com", "--identity", "ip:192.0.2.1")
    root = ("--root", SAMPLES / "libreswan")
    take_over = ("tunnel", "import", *root, "--gateway", "gw1.example.com", "--yes")
    refused = own_served.run(*take_over)
    assert (refused.code, "(secret_weak)" in refused.err) == (1, True)
    done = own_served.run(*take_over, "--accept-weak")
    assert done.code == 0, done.err
    again = own_served.json(*take_over)
    assert {each["state"] for each in again["connections"]} == {"managed"}
    written = (
        done.out + done.err + own_served.log + json.dumps(own_served.json("audit-log", "list"))
    )
    for value in values("libreswan"):
        assert value not in written
