"""`ikewarden sa list`: the SAs of a dump and of this host, without the service."""

import json
import re
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ike.daemons.strongswan.session import SOCKET
from ike.sas.association import INFERRED, Proof
from ike.sas.host import Here, of_host
from tests.cli.test_screen import dangerous
from tests.fixtures.served import PROGRAM, run
from tests.ike.agent.test_base_install import blocked
from tests.ike.daemons.pluto_rig import places
from tests.ike.sas.pair import pair
from tests.lab import Lab
from tests.lab.dumping import MANUAL
from tests.lab.handmade import Authority
from tests.lab.namespaces import ip_batch
from tests.lab.namespaces import run as run_program
from tests.lab.test_pluto import charon, conn, equip

SAMPLES = Path(__file__).parents[1] / "ike/sas/samples"
DUMP = SAMPLES / "xfrm.txt"
HOSTILE = "x\x1b[2J\x1b]0;owned\x07\u202eexe.moc\x9b31m=cmd()<script>"


def test_a_dump_of_the_kernel() -> None:
    done = run("sa", "list", DUMP)
    assert (done.code, done.err) == (0, "")
    assert "manual: keys given by hand" in done.out
    assert done.out.splitlines()[-1] == "0 IKE SAs, 4 child SAs, 2 manual."
    assert max(map(len, done.out.splitlines())) <= 80
    assert not re.search(r"c0ffee|deadbeef", done.out)


def test_a_stream_as_json() -> None:
    done = run("sa", "list", "-", "--format", "json", given=DUMP.read_bytes())
    items = json.loads(done.out)["items"]
    assert sorted(each["origin"] for each in items) == ["manual", "manual", "unknown", "unknown"]
    assert not re.search(r"c0ffee|deadbeef", done.out)


def test_a_list_of_windows_in_its_own_encoding(tmp_path: Path) -> None:
    shown = tmp_path / "sas.json"
    entry = {"InitiatorCookie": 1, "LocalEndpoint": "192.0.2.1", "RemoteEndpoint": "192.0.2.2"}
    shown.write_text(json.dumps(entry), "utf-16")
    done = run("sa", "list", shown, "--format", "json")
    assert json.loads(done.out)["items"][0]["remote"] == "192.0.2.2"


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"hello\n", "sas_unknown_form"), (b"{", "sas_unknown_form"), (None, "sas_unreadable")],
)
def test_no_list(tmp_path: Path, content: bytes | None, code: str) -> None:
    file = tmp_path / "dump"
    if content is not None:
        file.write_bytes(content)
    done = run("sa", "list", file)
    assert done.code == 2
    assert code in done.err


def test_nothing_at_all_is_no_sa() -> None:
    assert run("sa", "list", "-", given=b"").out == "0 IKE SAs, 0 child SAs.\n"


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_identity_acts_in_no_terminal(form: str) -> None:
    line = f"006 #2: \"gw\", type=ESP, add_time=1, inBytes=1, outBytes=1, id='{HOSTILE}'\n"
    done = run("sa", "list", "-", "--format", form, given=line)
    assert done.code == 0
    assert "owned" in done.out
    assert not dangerous(done.out)


def test_options_that_do_not_go_together() -> None:
    assert run("sa", "list", "--tunnel", "a").code == 2
    assert run("sa", "list", "--service", DUMP).code == 2


@pytest.mark.parametrize("there", [True, False])
def test_a_socket_that_was_named_and_does_not_answer(tmp_path: Path, there: bool) -> None:
    path = tmp_path / "vici"
    with socket.socket(socket.AF_UNIX) as nobody:
        if there:
            nobody.bind(str(path))
        done = run("sa", "list", "--socket", path)
    assert (done.code, done.out) == (3, "")
    assert "sas_unreachable" in done.err
    assert str(path) in done.err


def test_no_daemon_at_all_is_said(tmp_path: Path) -> None:
    assert not SOCKET.exists()
    done = run("sa", "list")
    assert "No IKE daemon runs here" in done.err


def test_on_the_base_install() -> None:
    done = blocked("sa", "list", DUMP)
    assert (done.returncode, done.stderr) == (0, "")


def test_of_a_host_with_charon(lab: Lab) -> None:
    left, right = pair(lab)
    left.initiate("net")
    if lab.kernel_esp:  # tests/ike/daemons/test_real_esp.py
        ip_batch(left.namespace.name, MANUAL[0])
    command = [*PROGRAM, "sa", "list", "--format", "json", "--socket", str(left.vici_socket)]
    done = run_program(left.namespace.argv(command))
    shown = json.loads(done.stdout)
    assert shown["asked"] == ["charon", "kernel"]
    sa, *others = shown["items"]
    assert [each["origin"] for each in others] == (["manual"] if lab.kernel_esp else [])
    assert (sa["connection"], sa["remote"], sa["remote_id"]) == (
        "site",
        right.outside,
        right.name + ".example.net",
    )
    (child,) = sa["children"]
    assert (child["protocol"], child["mode"]) == ("ESP", "tunnel")
    assert child["rekey_seconds"] > 0
    local, remote = sa["local_proof"], sa["remote_proof"]
    assert (local["method"], local["basis"], local["secret"]) == ("pre-shared key", "inferred", "k")
    assert remote["fingerprint"] is None


@pytest.mark.usefixtures("needs_pluto")
def test_what_authenticated_charon_and_pluto(lab: Lab) -> None:
    left, right = lab.gateway("left"), lab.pluto("right")
    equip(Authority("Lab Root"), left, right)
    right.add_connection("tunnel", conn(right, left))
    if not lab.kernel_esp:  # tests/ike/daemons/test_real_esp.py
        right.childless()
    left.add_connection("tunnel", charon(left, right))
    left.load_credentials()
    right.initiate()
    command = [*PROGRAM, "sa", "list", "--format", "json", "--socket", str(left.vici_socket)]
    (sa,) = json.loads(run_program(left.namespace.argv(command)).stdout)["items"]
    assert (sa["local_proof"]["serial"], sa["remote_proof"]["serial"]) == ("a0", "a1")
    assert sa["remote_proof"]["subject"] == f"CN={right.identity}"

    now = datetime.now(UTC)
    here = Here(vici=left.directory / "nobody", pluto=places(right))
    (told,) = right.namespace.within(lambda: of_host(here, now)).associations
    assert told.local_proof == Proof("certificate", INFERRED, f"CN={right.identity}", "a1")
    assert told.remote_proof is not None
    assert (told.remote_proof.method, told.remote_proof.basis) == ("certificate", INFERRED)
    assert "one of CN=Lab Root" in told.remote_proof.remark
    for child in told.children:
        assert (child.protocol, child.mode, child.nat_t) == ("ESP", "tunnel", False)
        assert child.algorithms.startswith("AES_")
        assert child.rekey_seconds
        assert child.expire_seconds
    assert len(told.children) == int(lab.kernel_esp)
