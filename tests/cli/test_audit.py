"""`audit`: what is printed, with which exit code, and what never is."""

import csv
import io
import json
import os
import pty
import re
import select
import subprocess
import threading
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from ike.audit.policies import BASELINES
from ike.audit.values import Severity
from ikewarden.cli.commands import audit
from tests.fixtures.served import PROGRAM, Done, run, surroundings
from tests.ike.audit.canaries import plant
from tests.ike.audit.corpus import making
from tests.ike.audit.windows import machine

FORMATS = ("text", "json", "sarif", "junit", "html", "csv")
OPEN = "secrets-file-open-to-others"


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A copied tree with one file of secrets that everybody may read."""
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    path = root / "etc/ipsec.secrets"
    path.write_text('@gw1 @gw2 : PSK "mU5pGq9eXv2TnR7wYb4KzJ8sLc3HdF6a"\n')
    path.chmod(0o644)
    return root


def looked(root: Path, *arguments: str | Path, **options: Any) -> Done:
    return run("audit", "--root", root, *arguments, **options)


def report(root: Path, *arguments: str | Path) -> Any:
    return looked(root, "--format", "json", *arguments).document


def test_the_choices_are_those_of_the_audit() -> None:
    assert audit.BASELINES == BASELINES
    assert audit.SEVERITIES == tuple(map(str, Severity))


def test_a_fault_is_found_and_told(host: Path) -> None:
    done = looked(host)
    assert (done.code, done.err) == (1, "")
    assert "CRITICAL" in done.out
    assert "/etc/ipsec.secrets" in done.out
    assert f"({OPEN})" in done.out
    assert max(map(len, done.out.splitlines())) <= max(80, len(str(host)) + 40)
    assert "\x1b" not in done.out


def test_the_exit_code_is_what_was_asked_for(host: Path) -> None:
    (host / "etc/ipsec.secrets").chmod(0o600)
    worst = report(host)["findings"]
    severities = [each["severity"] for each in worst]
    for least in Severity:
        bad = any(Severity(each).rank <= least.rank for each in severities)
        assert looked(host, "--fail-on", least).code == int(bad)
    (host / "etc/ipsec.secrets").chmod(0o644)
    assert looked(host, "--fail-on", "critical").code == 1
    assert looked(host, "--fail-on", "never").code == 0


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_has_the_finding(host: Path, form: str) -> None:
    done = looked(host, "--format", form)
    assert done.code == 1
    match form:
        case "json":
            assert OPEN in {each["rule"] for each in done.document["findings"]}
        case "sarif":
            assert OPEN in {each["ruleId"] for each in done.document["runs"][0]["results"]}
        case "junit":
            cases = ET.fromstring(done.out).iter("testcase")  # noqa: S314 - our own
            failed = {case.get("name") for case in cases if case.find("failure") is not None}
            assert OPEN in failed
        case "csv":
            rows = csv.DictReader(io.StringIO(done.out))
            assert OPEN in {row["rule"] for row in rows}
        case _:
            assert OPEN in done.out


def test_the_report_says_where_it_looked(host: Path) -> None:
    told = report(host, "--baseline", "bsi")
    assert (told["host"], told["root"], told["policy"]["baseline"]) == (str(host), str(host), "bsi")
    assert {each["path"] for each in told["findings"]} <= {"/etc/ipsec.secrets", "/etc", "/"}
    live = run("audit", "--format", "json", "--fail-on", "never").document
    assert live["root"] is None
    assert live["host"] == os.uname().nodename
    assert run("audit", "--root", "/proc/self/root", "--format", "json").document["root"] is None


def test_an_empty_tree_has_nothing(tmp_path: Path) -> None:
    done = looked(tmp_path)
    assert (done.code, done.err) == (0, "")
    assert "No keys and no configuration of an IKE daemon were found" in done.out


def test_what_is_accepted_does_not_count(host: Path, tmp_path: Path) -> None:
    path = tmp_path / "accepted.toml"
    found = report(host)["findings"]
    entries = [
        f"[[accepted]]\nid = '{each['id']}'\nreason = 'for a test'\nuntil = 2999-01-01\nby = 'anna'\n"
        for each in found
    ]
    path.write_text("".join(entries))
    done = looked(host, "--accepted", path, "--format", "json")
    assert done.code == 0
    assert done.document["findings"] == []
    accepted = {"reason": "for a test", "until": "2999-01-01", "by": "anna"}
    assert [each["accepted"] for each in done.document["suppressed"]] == [accepted] * len(found)
    path.write_text("".join(entries).replace("2999", "2001"))
    done = looked(host, "--accepted", path)
    assert done.code == 1
    assert "ended on 2001-01-01" in " ".join(done.out.split())


def test_what_was_unread_before_is_nothing_new(host: Path, tmp_path: Path) -> None:
    before = tmp_path / "before.json"
    with (host / "etc/ipsec.secrets").open("a") as opened:
        opened.write("include /etc/gone.secrets\ninclude /etc/ipsec.secrets\n")
    before.write_text(looked(host, "--format", "json").out)
    assert json.loads(before.read_text())["errors"]
    done = looked(host, "--earlier", before, "--format", "json")
    assert done.code == 0
    assert {each["known"] for each in done.document["errors"]} == {True}
    before.write_text(done.out)  # the next one's
    assert looked(host, "--earlier", before).code == 0
    (host / "etc/swanctl/swanctl.conf").parent.mkdir(exist_ok=True)
    (host / "etc/swanctl/swanctl.conf").write_text("connections { a { }\n")
    assert looked(host, "--earlier", before).code == 1


def test_only_what_is_new_counts(host: Path, tmp_path: Path) -> None:
    before = tmp_path / "before.json"
    before.write_text(looked(host, "--format", "json").out)
    done = looked(host, "--earlier", before)
    assert done.code == 0
    assert "Nothing new was found" in done.out
    (host / "etc/ipsec.secrets").chmod(0o600)
    gone = report(host, "--earlier", before)["gone"]
    assert OPEN in {each["rule"] for each in gone}
    second = host / "etc/swanctl/swanctl.conf"
    second.parent.mkdir()
    second.write_text(
        "secrets { ike-a { id = gw2\n secret = mU5pGq9eXv2TnR7wYb4KzJ8sLc3HdF6b } }\n"
    )
    second.chmod(0o644)
    done = looked(host, "--earlier", before)
    assert done.code == 1
    assert "new finding" in done.out


def test_a_list_of_published_keys_is_used_and_told(host: Path, tmp_path: Path) -> None:
    private = host / "etc/swanctl/private"
    private.mkdir(parents=True)
    (private / "gw1.pem").write_bytes(making.key_pem())
    [known] = making.published(making.OWN)
    for form in FORMATS:
        done = looked(host, "--format", form, "--published-keys", known.path)
        assert (done.code, "key-is-published" in done.out) == (1, True)
    told = report(host, "--published-keys", known.path)
    assert told["policy"]["published_keys"] == [str(known.path)]
    policy = tmp_path / "policy.toml"
    policy.write_text(f"published_keys = ['{known.path}']\n")
    assert told["findings"] == report(host, "--policy", policy)["findings"]
    done = looked(host, "--published-keys", policy)
    assert (done.code, "is no list of published keys" in done.err) == (2, True)
    assert "badkeys --update-bl" in done.err


def test_a_policy_is_read(host: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("baseline = 'cnsa2'\ngroups = ['vpn']\n")
    assert report(host, "--policy", policy)["policy"]["groups"] == ["vpn"]
    told = report(host, "--policy", policy, "--baseline", "nist")
    assert told["policy"]["baseline"] == "nist"


@pytest.mark.parametrize(
    ("arguments", "content", "code"),
    [
        (("--policy", "FILE"), "colour = 1", "audit_policy_invalid"),
        (("--accepted", "FILE"), "[[accepted]]", "audit_accepted_invalid"),
        (("--earlier", "FILE"), "{}", "audit_earlier_invalid"),
        (("--earlier", "GONE"), "", "usage"),
        (("--root", "GONE"), "", "usage"),
        (("--fail-on", "bad"), "", "usage"),
        (("--baseline", "fips"), "", "usage"),
        (("--format", "pdf"), "", "usage"),
        (("--rules", "--format", "csv"), "", "usage"),
        (("--rules", "--fix", "--root", "EMPTY"), "", "usage"),
        (("--rules", "/etc"), "", "usage"),
        (("--collector", "--format", "json"), "", "usage"),
        (("--windows", "FILE", "--root", "/srv"), "", "usage"),
        (("--yes",), "", "usage"),
        (("--dry-run",), "", "usage"),
        (("--fix", "--root", "EMPTY", "--format", "json"), "", "usage"),
        (("--fix", "--root", "EMPTY", "--format", "sarif", "--yes"), "", "usage"),
        (("--undo", "FILE"), "x", "undo_file_invalid"),
    ],
)
def test_bad_usage_ends_with_2(
    tmp_path: Path, arguments: tuple[str, ...], content: str, code: str
) -> None:
    file = tmp_path / "file"
    file.write_text(content)
    empty = tmp_path / "empty"
    empty.mkdir()
    places = {"FILE": str(file), "GONE": str(tmp_path / "gone"), "EMPTY": str(empty)}
    done = run("audit", *(places.get(each, each) for each in arguments))
    assert (done.code, done.out) == (2, "")
    assert re.search(rf'\({code}\)|"code": "{code}"', done.err)
    assert "Traceback" not in done.err


def test_the_rules_are_listed() -> None:
    done = run("audit", "--rules")
    assert done.code == 0
    assert f"CRITICAL  {OPEN}" in done.out
    rules = run("audit", "--rules", "--format", "json").document["rules"]
    assert all(each["title"] and each["why"] and each["fix"] for each in rules)
    assert len({each["rule"] for each in rules}) == len(rules)


def test_a_path_that_is_not_there_is_told(host: Path) -> None:
    (host / "etc/ipsec.secrets").unlink()
    done = looked(host, "/etc/gone.secrets")
    assert done.code == 1
    assert "/etc/gone.secrets" in done.out


def on_a_terminal(*arguments: str | Path, environ: dict[str, str] | None = None) -> str:
    """What a terminal is sent, by both streams."""
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [*PROGRAM, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            env=surroundings({"TERM": "xterm-256color", **(environ or {})}),
        )
        os.close(theirs)
        theirs = -1
        told = b""
        until = time.monotonic() + 60
        while time.monotonic() < until and select.select([ours], [], [], 60)[0]:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            told += piece
        process.wait(60)
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)
    return told.decode()


def test_colours_on_a_terminal_and_only_there(host: Path) -> None:
    told = on_a_terminal("audit", "--root", host)
    assert "\x1b[1;31mCRITICAL" in told
    assert re.search(r"Looking at .* …\r\x1b\[K", told)
    plain = on_a_terminal("audit", "--root", host, environ={"NO_COLOR": "1"})
    assert "\x1b[1;31m" not in plain
    assert "\x1b[31m" not in plain


def test_the_first_word_comes_within_a_second(host: Path) -> None:
    best = 9.0
    for _ in range(3):
        process = subprocess.Popen(
            [*PROGRAM, "audit", "--root", str(host)],
            stdout=subprocess.DEVNULL,
            env=surroundings(),
        )
        # Time on a processor: the machine may be busy with other tests.
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        best = min(best, used.ru_utime + used.ru_stime)
    assert best < 1


def test_nothing_is_changed(host: Path) -> None:
    before = {path: path.lstat() for path in host.rglob("*")}
    looked(host)
    for path, was in before.items():
        now = path.lstat()
        assert (now.st_mode, now.st_mtime_ns, now.st_ctime_ns) == (
            was.st_mode,
            was.st_mtime_ns,
            was.st_ctime_ns,
        )


def rights(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_only_the_paths_that_were_named(host: Path) -> None:
    other = host / "srv/old.secrets"
    other.parent.mkdir()
    other.write_bytes((host / "etc/ipsec.secrets").read_bytes())
    other.chmod(0o644)
    found = report(host, "/srv/old.secrets")["findings"]
    assert "/srv/old.secrets" in {each["path"] for each in found}
    assert "/etc/ipsec.secrets" not in {each["path"] for each in found}


def test_a_fix_is_shown_asked_for_made_and_undone(host: Path, tmp_path: Path) -> None:
    path = host / "etc/ipsec.secrets"
    way_back = tmp_path / "way-back"
    dry = looked(host, "--fix", "--dry-run")
    assert "would be changed" in dry.out
    assert "  /etc/ipsec.secrets\n    chmod 0644 to 06" in dry.out
    assert dry.code == 1
    refused = looked(host, "--fix", "--undo-file", way_back, given="n\n")
    assert refused.code == 1
    assert "Nothing was changed." in refused.err
    unheard = looked(host, "--fix", "--undo-file", way_back)
    assert (unheard.code, "give --yes" in unheard.err) == (2, True)
    assert (rights(path), way_back.exists()) == (0o644, False)

    done = looked(host, "--fix", "--undo-file", way_back, given="y\n")
    assert not rights(path) & 0o007
    assert f"({OPEN})" not in done.out
    assert f"ikewarden audit --undo {way_back}" in done.err
    assert "Make what is in them anew:\n  /etc/ipsec.secrets\n" in done.out
    assert "Make what is in them anew" not in dry.out
    back = run("audit", "--undo", way_back)
    assert (back.code, rights(path)) == (0, 0o644)
    assert "put back" in back.out

    path.chmod(0o600)
    again = looked(host, "--fix", "--yes", "--undo-file", tmp_path / "none")
    assert not (tmp_path / "none").exists()
    assert "no mode and no owner to be mended" in again.err


def test_a_fix_says_what_no_mode_mends(host: Path, tmp_path: Path) -> None:
    (host / "etc/ipsec.secrets").write_text('@gw1 @gw2 : PSK "swordfish"\n')
    copy = host / "etc/ipsec.secrets.bak"
    copy.write_text('@gw1 @gw2 : PSK "mU5pGq9eXv2TnR7wYb4KzJ8sLc3HdF6a"\n')
    copy.chmod(0o644)
    line = "mended by no mode and no owner; the worst: "
    dry = looked(host, "--fix", "--dry-run")
    assert "  /etc/ipsec.secrets.bak\n    chmod 0644 to 0600" in dry.out
    assert line in dry.err
    done = looked(host, "--fix", "--yes", "--undo-file", tmp_path / "back")
    assert rights(copy) == 0o600
    assert line in done.err
    assert "swordfish" not in dry.err + done.err


def test_what_was_refused_is_not_said_to_be_mended_by_no_mode(host: Path, tmp_path: Path) -> None:
    """The undo file takes one record, as on a full disk; closing the folder makes other rules of what is in it."""
    private = host / "etc/ipsec.d/private"
    private.mkdir(parents=True)
    for number in range(8):
        (private / f"gw{number}.pem").write_bytes(making.key_pem(number))
        (private / f"gw{number}.pem").chmod(0o646)
    private.chmod(0o777)
    program = ("prlimit", "--fsize=420", *PROGRAM)
    done = subprocess.run(
        [*program, "audit", "--root", host, "--fix", "--yes", "--undo-file", tmp_path / "back"],
        capture_output=True,
        check=False,
        text=True,
    )
    assert "left alone" in done.stdout
    assert rights(private / "gw7.pem") == 0o646
    told = re.search(r"^([0-9]+) findings? (?:is|are) mended by no mode", done.stderr, re.MULTILINE)
    assert "still to be mended by a mode or an owner" in done.stderr
    assert told is None or int(told[1]) < 8


def test_an_archive_that_was_closed_was_open(host: Path, tmp_path: Path) -> None:
    archive = host / "root/ipsec-backup.tar.gz"
    archive.parent.mkdir()
    archive.write_bytes(b"\x1f\x8b\x08" + bytes(200))
    archive.chmod(0o644)
    done = looked(host, "--fix", "--yes", "--undo-file", tmp_path / "back")
    assert rights(archive) == 0o600
    assert "  /root/ipsec-backup.tar.gz\n" in done.out.partition("Make what is in them anew")[2]


def test_a_named_folder_is_no_folder_of_keys_for_that(host: Path) -> None:
    dry = looked(host, "--fix", "--dry-run", "/etc")
    assert "  /etc\n" not in dry.out
    assert "  /etc/ipsec.secrets\n    chmod 0644 to 0600" in dry.out
    bak = host / "srv/bak"
    bak.mkdir(parents=True)
    (host / "etc").rename(bak / "etc")
    assert looked(host, "/srv/bak").code == 1


def test_a_fix_for_programs(host: Path, tmp_path: Path) -> None:
    way_back = tmp_path / "way-back"
    dry = report(host, "--fix", "--dry-run")
    [change] = [each for each in dry["changes"] if each["path"] == "/etc/ipsec.secrets"]
    assert (change["done"], dry["undo_file"]) == (False, None)
    assert set(change["findings"]) <= {each["id"] for each in dry["findings"]}
    told = report(host, "--fix", "--yes", "--undo-file", way_back)
    [change] = [each for each in told["changes"] if each["path"] == "/etc/ipsec.secrets"]
    assert change["from"]["mode"] == "0644"
    assert change["to"]["mode"] in ("0600", "0640")
    assert (change["done"], told["undo_file"]) == (True, str(way_back))
    assert OPEN not in {each["rule"] for each in told["findings"]}
    back = run("audit", "--undo", way_back, "--format", "json").document["changes"]
    assert [each["done"] for each in back] == [True] * len(back)


def test_what_is_left_alone_fails(host: Path, tmp_path: Path) -> None:
    path = host / "etc/ipsec.secrets"
    os.link(path, host / "etc/second")
    arguments = ("--fix", "--yes", "--undo-file", tmp_path / "x", "--fail-on")
    done = looked(host, *arguments, "critical")
    assert done.code == 1
    assert "it has 2 names" in done.out
    assert rights(path) == 0o644


def test_what_is_accepted_is_not_mended(host: Path, tmp_path: Path) -> None:
    accepted = tmp_path / "accepted.toml"
    accepted.write_text(
        "".join(
            f"[[accepted]]\nrule = '{rule}'\npath = '*'\nreason = 'x'\nuntil = 2999-01-01\n"
            for rule in (OPEN, "secrets-file-open-to-group")
        )
    )
    looked(host, "--fix", "--yes", "--accepted", accepted, "--undo-file", tmp_path / "x")
    assert rights(host / "etc/ipsec.secrets") == 0o644


def test_a_windows_machine(tmp_path: Path) -> None:
    collected = tmp_path / "gw2.json"
    collected.write_bytes(machine.octets(machine.clean(main_mode_rules=[])))
    for form in FORMATS:
        done = run("audit", "--windows", collected, "--format", form, "--fail-on", "never")
        assert (done.code, done.err) == (0, "")
    told = run("audit", "--windows", collected, "--format", "json").document
    assert told["host"] == json.loads(collected.read_bytes())["host"]
    assert told["summary"]["items"] > 0
    collected.write_text("{}")
    assert run("audit", "--windows", collected).code == 2


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_a_windows_machine_through_a_pipe(name: str) -> None:
    document = machine.octets(machine.clean(main_mode_rules=[]))
    done = subprocess.run(
        [*PROGRAM, "audit", "--windows", name, "--format", "json"],
        input=document,
        capture_output=True,
        check=False,
    )
    assert done.stderr == b""
    assert json.loads(done.stdout)["host"] == json.loads(document)["host"]


def test_the_collector_is_printed() -> None:
    done = run("audit", "--collector")
    assert done.code == 0
    assert done.out.startswith("\ufeff# ")
    assert "#Requires -Version 5.1" in done.out


def test_no_format_tells_a_secret(tmp_path: Path) -> None:
    root = tmp_path / "root"
    birds = plant(root)
    assert len(birds.given) > 60
    stray = root / "home/anna/psk.txt"
    for form in FORMATS:
        done = looked(root, "--format", form, "--all", stray.relative_to(root).as_posix())
        assert done.code in (0, 1), done.err
        assert birds.told(done.out) == []
        assert birds.told(done.err) == []
        assert "internal_error" not in done.err
    before = tmp_path / "before.json"
    before.write_text(json.dumps(report(root)))
    for form in FORMATS:
        done = looked(root, "--format", form, "--earlier", before)
        assert birds.told(done.out + done.err) == []


def test_the_canaries_would_be_heard(tmp_path: Path) -> None:
    birds = plant(tmp_path)
    first = birds.given[0]
    for told in (first, first.encode().hex(), f"x{first[:14]}y"):
        assert birds.told(f"a line with {told} in it") == [first]
    text = (tmp_path / "etc/ipsec.secrets").read_bytes().decode("latin-1")
    assert len(birds.told(text)) > 10


@pytest.mark.parametrize("option", ["--policy", "--accepted", "--earlier", "--undo", "--windows"])
def test_a_pipe_that_nobody_writes_to_is_refused(tmp_path: Path, option: str) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    done = run("audit", option, tmp_path / "pipe")
    assert (done.code, done.out) == (2, "")


def test_a_pipe_of_the_shell_is_read(host: Path) -> None:
    reads, writes = os.pipe()
    writer = threading.Timer(
        0.5, lambda: (os.write(writes, b"groups = ['vpn']\n"), os.close(writes))
    )
    writer.start()
    words = [*PROGRAM, "audit", "--root", host, "--format", "json", "--policy", f"/dev/fd/{reads}"]
    done = subprocess.run(words, pass_fds=[reads], capture_output=True, timeout=300, check=False)
    writer.join()
    os.close(reads)
    assert json.loads(done.stdout.decode())["policy"]["groups"] == ["vpn"]
