"""A root on a machine without a service: a request goes to it in a file, a certificate comes back in one."""

import hashlib
import json
import os
import pwd
import subprocess
from pathlib import Path

from tests.fixtures.served import Done, Served, run
from tests.fixtures.terminal import run_at_terminal

CEREMONY = Path(__file__).parents[2] / "docs/how-to/ceremony/offline-root.toml"
SUBJECT = "CN=Branch Issuing CA,O=Example"


def openssl(*arguments: str | Path) -> None:
    done = subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stderr


def test_request_out_certificate_in(own_served: Served, tmp_path: Path) -> None:
    vault = tmp_path / "vault"
    url = ("--validation-url", own_served.validation_url)
    assert run("init", "--dir", vault, "--organization", "Offline", *url).code == 0
    answers = [hashlib.sha256(CEREMONY.read_bytes()).hexdigest()]
    held = run_at_terminal(
        *("ca", "ceremony", CEREMONY, "--transcript", tmp_path / "transcript", "--dir", vault),
        answers=answers,
    )
    assert held.code == 0, held.err
    csr, certificate, root, crl = (
        tmp_path / name for name in ("a.csr", "a.pem", "root.pem", "root.crl")
    )

    def offline(*arguments: str | Path) -> Done:
        done = run("ca", *arguments, "--dir", vault)
        assert done.code == 0, done.err
        return done

    def here(*arguments: str | Path) -> Done:
        return own_served.run("ca", *arguments)

    assert here("request", "branch", "--subject", SUBJECT, "--out", csr).code == 0
    openssl("req", "-in", csr, "-verify", "-noout")
    signing = (
        "sign",
        "branch",
        csr,
        "--parent",
        "offline-root",
        "--days",
        "900",
        "--out",
        certificate,
    )
    assert run("ca", *signing, "--subject", "CN=x", "--dir", vault).code == 2
    offline(*signing, "--subject", SUBJECT)
    offline("crl", "offline-root", "--out", crl)
    lines = (tmp_path / "transcript").read_text().splitlines()
    records = [json.loads(line) for line in lines[:-1]]
    root.write_text(next(each["certificate"] for each in records if each["record"] == "root"))
    openssl("verify", "-CAfile", root, certificate)
    taken = (
        *("import", "branch", certificate, "--parent", "offline-root"),
        *("--parent-certificate", root, "--parent-crl", crl),
    )
    done = own_served.run(*("ca", *taken[:2], root, *taken[3:]))
    assert (done.code, "(authority_certificate_unfit)" in done.err) == (2, True), done.err
    done = here(*taken[:4], "another", *taken[5:])
    assert (done.code, "(authority_certificate_unfit)" in done.err) == (2, True), done.err
    done = here(*taken)
    assert done.code == 0, done.err
    # The running service issues from it, and serves the lists of both.
    out = tmp_path / "gw"
    own_served.json("cert", "issue", "gw.example.com", "--authority", "branch", "--out", out)
    shown = own_served.json("ca", "show", "offline-root")
    assert shown["status"] == "outside"
    list_ = tmp_path / "served.crl"
    list_.write_bytes(own_served.public("/crl/offline-root.crl"))
    openssl("crl", "-inform", "DER", "-in", list_, "-CAfile", root, "-noout")
    assert own_served.client.get("/readyz")["ready"] is True
    crl.unlink()
    offline("crl", "offline-root", "--out", crl)
    before = own_served.public("/crl/offline-root.crl")
    assert here("crl", "offline-root", "--in", crl).code == 0
    assert own_served.public("/crl/offline-root.crl") != before
    assert here("crl", "offline-root").code == 2
    # Its next key, the same way.
    start = own_served.run("ca", "rollover", "start", "branch")
    assert (start.code, "(rollover_parent_outside)" in start.err) == (2, True)
    assert "ca rollover request" in start.err
    csr, certificate, crl = (tmp_path / name for name in ("b.csr", "b.pem", "b.crl"))
    asked = here("rollover", "request", "branch", "--out", csr)
    assert (asked.code, "ca import branch-2" in asked.err) == (0, True)
    subject = "CN=Branch Issuing CA 2,O=Example"
    signing = ("sign", "branch-2", csr, "--parent", "offline-root", "--days", "800")
    offline(*signing, "--subject", subject, "--out", certificate)
    offline("crl", "offline-root", "--out", crl)
    parent = ("--parent", "offline-root", "--parent-certificate", root, "--parent-crl", crl)
    assert here("import", "branch-2", certificate, *parent).code == 0
    begun = own_served.json("ca", "rollover", "show", "branch")
    assert (begun["successor"], begun["state"]) == ("branch-2", "prepared")
    for step in ("publish", "switch"):
        own_served.json("ca", "rollover", step, "branch")
    made = own_served.json(
        "cert", "issue", "b.example.com", "--authority", "branch", "--out", tmp_path / "b"
    )
    assert made["authority"] == "branch-2"
    _whoever_makes_a_list_by_hand_is_named(own_served, tmp_path)


def _whoever_makes_a_list_by_hand_is_named(served: Served, tmp_path: Path) -> None:
    def asked() -> list[dict[str, str]]:
        found = served.json("audit-log", "list", "--action", "crl.publish")["items"]
        return [each for each in found if each["actor"].startswith("console:")]

    nowhere = tmp_path / "none" / "x.crl"
    done = served.run("ca", "crl", "issuing", "--out", nowhere)
    assert (done.code, asked()) == (2, [])
    assert served.run("ca", "crl", "issuing", "--out", tmp_path / "x.crl").code == 0
    user = pwd.getpwuid(os.getuid()).pw_name
    assert {(each["actor"], each["role"]) for each in asked()} == {(f"console:{user}", "admin")}
