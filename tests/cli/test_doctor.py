"""`ikewarden doctor` over copies of files: both ends compared, logs read, bad input told. The lab has the daemons."""

import json
from pathlib import Path

import pytest

from tests.fixtures.served import run

SECRET = "k3Yf0r-the-d0ctor-s-tests-0nly"
KEYS = f"""
secrets {{
  ike-one {{
    id-1 = left.example.net
    id-2 = right.example.net
    secret = "{SECRET}"
  }}
}}
"""


def connection(name: str, here: str, there: str, *more: str) -> str:
    lines = [
        f"{name} {{",
        *more,
        f"local {{\nauth = psk\nid = {here}.example.net\n}}",
        f"remote {{\nauth = psk\nid = {there}.example.net\n}}",
        f"children {{\n{name}-net {{\n}}\n}}",
        "}",
    ]
    return "\n".join(("connections {", *lines, "}")) + "\n"


def host(folder: Path, text: str, name: str = "swanctl/swanctl.conf") -> Path:
    file = folder / "etc" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return folder


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return host(tmp_path / "here", connection("site", "left", "right") + KEYS)


def test_two_ends_that_fit_have_nothing_wrong(here: Path, tmp_path: Path) -> None:
    peer = host(tmp_path / "peer", connection("site", "right", "left") + KEYS)
    done = run("doctor", "--root", here, "--peer-root", peer)
    assert (done.code, done.err) == (0, "")
    assert "nothing is wrong that can be seen from here" in done.out
    assert SECRET not in done.out


def test_the_peers_configuration_may_be_a_single_file(here: Path, tmp_path: Path) -> None:
    file = tmp_path / "peer.conf"
    text = connection("site", "right", "left", "proposals = aes128-sha1-modp2048") + KEYS
    file.write_text(text)
    ours = host(
        here, connection("site", "left", "right", "proposals = aes256-sha256-x25519") + KEYS
    )
    done = run("doctor", "site", "--root", ours, "--peer", file, "--format", "json")
    assert done.code == 1
    assert done.document["next"]["check"] == "ike_proposals"
    wrong = [each["check"] for each in done.document["checks"] if each["verdict"] == "wrong"]
    assert wrong == ["ike_proposals"]


def test_what_is_not_in_a_single_file_is_not_known(here: Path, tmp_path: Path) -> None:
    file = tmp_path / "peer.conf"
    file.write_text(connection("site", "right", "left"))
    done = run("doctor", "--root", here, "--peer", file, "--format", "json")
    assert done.code == 0
    secret = next(each for each in done.document["checks"] if each["check"] == "secret")
    assert secret["verdict"] == "unknown"


def test_the_list_ends_with_what_to_do(here: Path, tmp_path: Path) -> None:
    peer = host(tmp_path / "peer", connection("site", "right", "nobody") + KEYS)
    done = run("doctor", "--root", here, "--peer-root", peer)
    assert done.code == 1
    assert done.out.startswith("site: 1 thing is wrong\n")
    ending = " ".join(done.out.partition("\nNext:\n")[2].split())
    assert ending.startswith("Write the same identity at both")


def test_ends_of_libreswan_are_compared_too(tmp_path: Path) -> None:
    ends = []
    for name, left, right, networks in (
        ("one", "192.0.2.1", "192.0.2.2", ("10.1.0.0/24", "10.2.0.0/24")),
        ("two", "192.0.2.2", "192.0.2.1", ("10.2.0.0/24", "10.9.0.0/24")),
    ):
        text = f"conn site\n\tleft={left}\n\tright={right}\n\tleftsubnet={networks[0]}\n"
        text += f"\trightsubnet={networks[1]}\n\tauthby=secret\n\tikev2=insist\n"
        root = host(tmp_path / name, text, "ipsec.conf")
        host(root, f'{left} {right} : PSK "{SECRET}"\n', "ipsec.secrets")
        ends.append(root)
    done = run("doctor", "--root", ends[0], "--peer-root", ends[1], "--format", "json")
    assert (done.code, done.document["next"]["check"]) == (1, "selectors")
    secret = next(each for each in done.document["checks"] if each["check"] == "secret")
    assert secret["verdict"] == "ok"


def test_a_host_without_a_connection(tmp_path: Path) -> None:
    done = run("doctor", "--root", tmp_path, "--format", "json")
    assert (done.code, done.document["next"]["check"]) == (1, "configuration")
    assert done.document["tunnel"] is None


@pytest.mark.parametrize(
    ("arguments", "code"),
    [((), "doctor_tunnel_not_named"), (("nothing",), "doctor_tunnel_unknown")],
)
def test_which_tunnel_is_meant_must_be_known(
    here: Path, arguments: tuple[str, ...], code: str
) -> None:
    host(here, connection("site", "left", "right") + connection("other", "left", "third"))
    done = run("doctor", *arguments, "--root", here)
    assert done.code == 2
    assert f"({code})" in done.err
    assert "other, site" in done.err


def test_bad_usage_and_unreadable_input(here: Path, tmp_path: Path) -> None:
    both = run("doctor", "--root", here, "--peer", here, "--peer-root", here)
    assert both.code == 2
    lacking = run("doctor", "--root", here, "--log", tmp_path / "none.log")
    assert lacking.code == 2
    assert "(log_not_found)" in lacking.err
    assert run("doctor", "--root", here, "--peer-root", tmp_path / "none").code == 2


REFUSED = """\
05[IKE] <site|7> initiating IKE_SA site[7] to 192.0.2.2
06[IKE] <site|7> received AUTHENTICATION_FAILED notify error
"""
NAMED = """\
07[IKE] <8> 203.0.113.9 is initiating an IKE_SA
08[CFG] <8> looking for peer configs matching 192.0.2.1[left.example.net]...203.0.113.9[{identity}]
08[CFG] <8> no matching peer config found
"""
NAMELESS = (
    "09[IKE] <9> no IKE config found for 192.0.2.1...203.0.113.9, sending NO_PROPOSAL_CHOSEN\n"
)


@pytest.mark.parametrize(
    "scan", [NAMED.format(identity="evil.example.com"), NAMELESS], ids=["named", "nameless"]
)
def test_who_scans_is_not_taken_for_the_peer(tmp_path: Path, scan: str) -> None:
    one, other = (
        connection("site", who, whom, f"local_addrs = {own}", f"remote_addrs = {there}")
        for who, whom, own, there in (
            ("left", "right", "192.0.2.1", "192.0.2.2"),
            ("right", "left", "192.0.2.2", "192.0.2.1"),
        )
    )
    ours = host(tmp_path / "here", one + KEYS)
    peer = host(tmp_path / "peer", other + KEYS.replace(SECRET, "another-secret-of-the-tests"))
    log = tmp_path / "charon.log"
    for lines in (REFUSED + scan * 6, scan * 6):
        log.write_text(lines)
        ends = ("--root", ours, "--peer-root", peer)
        done = run("doctor", *ends, "--log", log, "--format", "json")
        assert done.document["next"]["check"] == "secret"
    log.write_text(REFUSED + scan * 6)
    alone = run("doctor", "--root", ours, "--log", log, "--format", "json")
    assert alone.document["next"]["check"] == "negotiation"
    assert "203.0.113.9" not in alone.out


def test_a_peer_that_says_who_it_is_is_known_behind_nat(tmp_path: Path) -> None:
    ours = host(
        tmp_path / "here", connection("site", "left", "right", "remote_addrs = 192.0.2.2") + KEYS
    )
    log = tmp_path / "charon.log"
    log.write_text(REFUSED + NAMED.format(identity="right.example.net"))
    done = run("doctor", "--root", ours, "--log", log, "--format", "json")
    assert done.document["next"]["check"] == "nat"
    assert "203.0.113.9" in done.document["next"]["evidence"]


@pytest.mark.parametrize("sa", ["", "<site|{}> "], ids=["nameless", "named"])
def test_the_last_try_is_the_latest_one_whichever_way_the_log_runs(
    here: Path, tmp_path: Path, sa: str
) -> None:
    said = ("received NO_PROPOSAL_CHOSEN notify error", "received AUTHENTICATION_FAILED notify")
    lines = [
        line
        for number, failure in enumerate(said, 1)
        for at in [f"2026-06-20T14:{number}0:00"]
        for line in (
            f"{at} 05[IKE] {sa.format(number)}initiating IKE_SA site[{number}] to 192.0.2.2",
            f"{at} 06[NET] {sa.format(number)}received packet: from 192.0.2.2[500] to 192.0.2.1[500] (36 bytes)",
            f"{at} 06[IKE] {sa.format(number)}{failure}",
        )
    ]
    log = tmp_path / "charon.log"
    found = []
    for each in (lines, lines[::-1]):
        log.write_text("\n".join(each) + "\n")
        done = run("doctor", "--root", here, "--log", log, "--format", "json")
        [check] = [one for one in done.document["checks"] if one["check"] == "negotiation"]
        found.append(check["evidence"])
    assert found[1] == found[0].replace("line 6", "line 1")
    assert "AUTHENTICATION_FAILED" in found[0] or "auth" in found[0].lower()


def test_what_a_peer_wrote_acts_on_no_terminal(here: Path, tmp_path: Path) -> None:
    log = tmp_path / "charon.log"
    bad = "a\x1b[31m\u202e\x07"
    lines = []
    for number, source in enumerate(("192.0.2.1", "192.0.2.3", "192.0.2.1"), 1):
        about = f"07[IKE] <site|{number}> "
        lines += [
            f"{about}destroying duplicate IKE_SA for peer '{bad}', received INITIAL_CONTACT",
            f"{about}IKE_SA site[{number}] established between 192.0.2.9[me]...{source}[{bad}]",
        ]
    log.write_text("\n".join(lines) + "\n")
    text = run("doctor", "--root", here, "--log", log)
    document = run("doctor", "--root", here, "--log", log, "--format", "json")
    assert (text.code, document.code) == (1, 1)
    for said in (text.out, document.out):
        assert not {"\x1b", "\u202e", "\x07"} & set(said)
    assert json.loads(document.out)["next"]["check"] == "duplicate"
