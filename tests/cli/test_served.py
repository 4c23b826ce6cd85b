"""The commands over a real service."""

import json
import os
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from tests.fixtures.served import PROGRAM, Served, run, serving, surroundings

pytestmark = pytest.mark.usefixtures("served")


def issue(served: Served, name: str, out: Path, *more: str) -> dict[str, object]:
    made: dict[str, object] = served.json("cert", "issue", name, "--out", out, *more)
    return made


def test_both_databases_serve_the_same_commands(served_on: Served, tmp_path: Path) -> None:
    out = tmp_path / "gw"
    made = issue(served_on, "both.example", out)
    shown = served_on.json("cert", "show", made["serial"])
    assert shown["certificate"] == (out / "both.example.pem").read_text()
    served_on.json("cert", "revoke", made["serial"], "--reason", "superseded")
    found = served_on.json("cert", "list", "both.example", "--status", "revoked")
    assert [each["serial"] for each in found["items"]] == [made["serial"]]
    events = served_on.json("audit-log", "list", "--action", "certificate.revoke")
    assert len(events["items"]) == 1
    assert b"" != served_on.public("/crl/issuing.crl")


def test_a_certificate_from_nothing(served: Served, tmp_path: Path) -> None:
    done = served.run("cert", "issue", "gw1.cli.example", "192.0.2.1", "--out", "gw1", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    out = tmp_path / "gw1"
    names = {path.name: path.stat().st_mode & 0o777 for path in out.iterdir()}
    assert names == {
        "gw1.cli.example.key": 0o600,
        "gw1.cli.example.pem": 0o644,
        "gw1.cli.example-chain.pem": 0o644,
        "ca.pem": 0o644,
    }
    assert out.stat().st_mode & 0o777 == 0o700
    assert (out / "ca.pem").read_bytes() == served.ca_file.read_bytes()
    certificate = x509.load_pem_x509_certificate((out / "gw1.cli.example.pem").read_bytes())
    key = load_pem_private_key((out / "gw1.cli.example.key").read_bytes(), None)
    assert _spki(key) == _spki(certificate)
    assert "install -m 600 gw1/gw1.cli.example.key /etc/swanctl/private/" in done.out
    assert "certs = gw1.cli.example.pem  id = gw1.cli.example" in done.out
    verified = subprocess.run(
        [
            *("openssl", "verify", "-CAfile", out / "ca.pem"),
            *("-untrusted", out / "gw1.cli.example-chain.pem", out / "gw1.cli.example.pem"),
        ],
        capture_output=True,
        check=False,
    )
    assert verified.returncode == 0, verified.stderr


@pytest.mark.parametrize("kind", ["ec-p384", "rsa-3072", "ed25519"])
def test_other_kinds_of_keys(served: Served, tmp_path: Path, kind: str) -> None:
    made = issue(served, f"{kind}.cli.example", tmp_path, "--key-type", kind)
    assert made["names"] == [f"dns:{kind}.cli.example"]


def test_more_of_a_certificate_may_be_asked_for(served: Served, tmp_path: Path) -> None:
    options = ("--profile", "user", "--subject", "CN=Carol,O=Example", "--name", "carol")
    until = (datetime.now(UTC) + timedelta(days=20)).strftime("%Y-%m-%d")
    made = issue(served, "carol@example.com", tmp_path, *options, "--not-after", until)
    assert made["not_after"] == f"{until}T00:00:00Z"
    assert made["subject"] == "CN=Carol,O=Example"
    files = made["files"]
    assert isinstance(files, dict)
    assert files["key"] == str(tmp_path / "carol.key")


def test_a_request_made_elsewhere(served: Served, tmp_path: Path) -> None:
    key, pem, der = tmp_path / "k", tmp_path / "r.pem", tmp_path / "r.der"
    openssl = ("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    rest = ("-nodes", "-subj", "/", "-addext", "subjectAltName=DNS:else.cli.example")
    for form, path in (("PEM", pem), ("DER", der)):
        command = [*openssl, *rest, "-keyout", key, "-out", path, "-outform", form]
        subprocess.run(command, check=True, capture_output=True)
    for number, (path, given) in enumerate(((pem, b""), (der, b""), ("-", pem.read_bytes()))):
        out = tmp_path / str(number)
        done = served.run(
            *("cert", "issue", "--csr", path, "--name", "else", "--out", out, "--format", "json"),
            given=given,
        )
        assert done.code == 0, done.err
        assert done.document["names"] == ["dns:else.cli.example"]
        assert sorted(each.name for each in out.iterdir()) == [
            "ca.pem",
            "else-chain.pem",
            "else.pem",
        ]
    done = served.run("cert", "issue", "--csr", "-", "--name", "x", cwd=tmp_path, given=b"\xff\xfe")
    assert (done.code, "(csr_unreadable)" in done.err) == (2, True)


def test_a_refused_request_leaves_no_file(served: Served, tmp_path: Path) -> None:
    for more, code in ((("--profile", "nonsense"), 1), (("--key-type", "rsa-2048"), 2)):
        done = served.run("cert", "issue", "x.cli.example", "--out", tmp_path, *more)
        assert done.code == code
        assert "  Next: " in done.err
        assert list(tmp_path.iterdir()) == []


def test_a_key_is_never_overwritten_unasked(served: Served, tmp_path: Path) -> None:
    issue(served, "over.cli.example", tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    count = len(served.json("cert", "list", "over.cli.example")["items"])
    done = served.run("cert", "issue", "over.cli.example", "--out", tmp_path)
    assert (done.code, "(file_exists)" in done.err) == (1, True)
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(served.json("cert", "list", "over.cli.example")["items"]) == count
    issue(served, "over.cli.example", tmp_path, "--force")
    assert (tmp_path / "over.cli.example.key").read_bytes() != before[
        tmp_path / "over.cli.example.key"
    ]


def test_killed_at_any_moment_no_certificate_is_without_its_key(
    served: Served, tmp_path: Path
) -> None:
    name = "killed.cli.example"
    command = [*PROGRAM, "cert", "issue", name, "--out", str(tmp_path)]
    environ = surroundings({"IKEWARDEN_DIR": str(served.directory)})
    begin = time.monotonic()
    subprocess.run(command, env=environ, capture_output=True, check=True)
    whole = time.monotonic() - begin
    seen = {each["serial"] for each in served.json("cert", "list", name)["items"]}
    for number in range(13):
        for path in tmp_path.iterdir():
            if not path.name.endswith(".key.new"):
                path.unlink()
        process = subprocess.Popen(
            command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        if number < 12:  # the last one gets to its end, however slow the machine is
            time.sleep(whole * (0.3 + 0.8 * number / 12))
            process.kill()
        process.wait()
        time.sleep(0.5)  # the service may be at work on what was asked
        here = {
            _spki(load_pem_private_key(path.read_bytes(), None)) for path in tmp_path.glob("*.key*")
        }
        for each in served.json("cert", "list", name)["items"]:
            if each["serial"] not in seen:
                seen.add(each["serial"])
                assert _spki(x509.load_pem_x509_certificate(each["certificate"].encode())) in here


def _spki(holder: Any) -> bytes:
    data: bytes = holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return data


def test_certificates_are_found_shown_held_released_and_revoked(
    served: Served, tmp_path: Path
) -> None:
    serial = str(issue(served, "life.cli.example", tmp_path)["serial"])
    assert serial in served.run("cert", "list", "life.cli.example").out
    colons = ":".join(serial[i : i + 2] for i in range(0, len(serial), 2)).upper()
    assert served.json("cert", "show", colons)["serial"] == serial
    text = served.run("cert", "show", serial).out
    assert "dns:life.cli.example" in text
    assert "BEGIN" not in text
    pem = served.run("cert", "show", serial, "--format", "pem").out
    assert pem == (tmp_path / "life.cli.example.pem").read_text()
    assert served.json("cert", "hold", serial)["status"] == "held"
    assert served.json("cert", "release", serial)["status"] == "valid"
    done = served.run("cert", "release", serial)
    assert (done.code, "(not_on_hold)" in done.err) == (1, True)
    since = "2026-01-01"
    ended = served.json(
        *("cert", "revoke", serial, "--reason", "KEYCOMPROMISE"), "--invalidity-date", since
    )
    assert (ended["status"], ended["reason"]) == ("revoked", "keyCompromise")
    assert ended["invalidity_date"] == f"{since}T00:00:00Z"
    done = served.run("cert", "revoke", serial, "--reason", "superseded", "--format", "json")
    assert (done.code, done.error["code"]) == (1, "already_revoked")
    done = served.run("cert", "show", "00ff")
    assert (done.code, "(certificate_not_found)" in done.err) == (1, True)


def test_lists_are_cut_at_the_limit_and_say_so(served: Served, tmp_path: Path) -> None:
    for number in range(3):
        issue(served, f"many{number}.cut.example", tmp_path)
    found = served.json("cert", "list", "cut.example", "--limit", "2")
    assert (len(found["items"]), found["more"]) == (2, True)
    found = served.json("cert", "list", "cut.example", "--limit", "3")
    assert len(found["items"]) == 3
    assert "--limit" in served.run("cert", "list", "cut.example", "--limit", "2").err
    soon = served.json("cert", "list", "cut.example", "--expires-before", "1d")
    assert soon["items"] == []
    assert len(served.json("cert", "list", "cut.example", "--expires-before", "91d")["items"]) == 3
    assert served.run("cert", "list", "no.such.example").err == "No such certificate.\n"


def test_a_certificate_is_renewed_with_its_key_and_with_a_new_one(
    served: Served, tmp_path: Path
) -> None:
    first = issue(served, "renew.cli.example", tmp_path)
    key = (tmp_path / "renew.cli.example.key").read_bytes()
    second = served.json("cert", "renew", first["serial"], "--out", tmp_path)
    assert second["renewed_from"] == first["serial"]
    assert (tmp_path / "renew.cli.example.key").read_bytes() == key
    found = x509.load_pem_x509_certificate((tmp_path / "renew.cli.example.pem").read_bytes())
    assert format(found.serial_number, "x") == second["serial"]
    again = served.run("cert", "renew", first["serial"], "--out", tmp_path)
    assert (again.code, "(file_exists)" in again.err) == (1, True)  # it holds the second one now
    done = served.run("cert", "renew", second["serial"], "--new-key", "--out", tmp_path)
    assert (done.code, "key exists" in done.err) == (1, True)
    new = tmp_path / "new"
    third = served.json("cert", "renew", second["serial"], "--new-key", "--out", new)
    assert third["renewed_from"] == second["serial"]
    assert (new / "renew.cli.example.key").read_bytes() != key
    done = served.run("cert", "renew", third["serial"], "--new-key", "--csr", "-")
    assert done.code == 2


def test_authorities(served: Served, tmp_path: Path) -> None:
    made = served.json(
        *("ca", "create", "cli-branch", "--parent", "root", "--subject", "CN=Branch,O=Example"),
        *("--permit", "dns:branch.example", "--exclude", "dns:no.branch.example"),
    )
    assert (made["name"], made["parent"], made["kind"]) == ("cli-branch", "root", "issuing")
    assert "cli-branch" in served.run("ca", "list").out
    text = served.run("ca", "show", "cli-branch").out
    assert "CN=Branch,O=Example" in text
    pem = served.run("ca", "show", "cli-branch", "--format", "pem").out
    assert pem == made["certificate"] + served.ca_file.read_text()
    subprocess.run(
        ["openssl", "verify", "-CAfile", served.ca_file],
        input=made["certificate"].encode(),
        check=True,
        capture_output=True,
    )
    done = served.run("ca", "show", "nobody")
    assert (done.code, "(authority_not_found)" in done.err) == (1, True)
    options = ("--authority", "cli-branch", "--out", tmp_path)
    assert served.run("cert", "issue", "gw.branch.example", *options).code == 0
    done = served.run("cert", "issue", "gw.elsewhere.example", *options)
    assert (done.code, "(name_outside_constraints)" in done.err) == (2, True)
    root = served.json(*("ca", "create", "cli-root", "--kind", "root", "--subject", "CN=R"))
    assert (root["parent"], root["chain"]) == (None, [])


def test_tokens_limit_what_they_are_for(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "gw.token"
    options = ("--role", "enroller", "--profile", "gateway", "--allow", "dns:tok.cli.example")
    made = served.run("token", "create", "cli gw", *options, "--expires", "1h", "--out", path)
    assert made.code == 0, made.err
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().strip() not in made.out + made.err
    mine = ("--token-file", path, "--out", tmp_path)
    done = served.run("cert", "issue", "other.cli.example", *mine)
    assert (done.code, "(outside_scope)" in done.err) == (1, True)
    assert served.run("cert", "issue", "tok.cli.example", *mine).code == 0
    done = served.run("cert", "issue", "tok.cli.example", *mine, "--force")
    assert done.code == 2
    assert (tmp_path / "tok.cli.example.key").exists()
    again = served.run("token", "create", "cli gw", *options, "--out", path)
    assert (again.code, "(file_exists)" in again.err) == (1, True)
    tokens = served.json("token", "list")["items"]
    assert all("token" not in each for each in tokens)
    assert len([each for each in tokens if each["name"] == "cli gw"]) == 1


def test_a_secret_is_shown_once_and_alone_on_standard_output(served: Served) -> None:
    done = served.run("token", "create", "cli auditor", "--role", "auditor")
    [secret] = done.out.splitlines()
    assert served.run("whoami", environ={"IKEWARDEN_TOKEN": secret}).out.startswith(
        "Name        cli auditor"
    )
    made = served.json("token", "create", "cli json", "--role", "auditor")
    environ = {"IKEWARDEN_TOKEN": made["token"]}
    assert served.json("whoami", environ=environ)["role"] == "auditor"
    assert served.json("token", "revoke", made["id"])["revoked_at"] is not None
    done = served.run("whoami", environ=environ)
    assert (done.code, done.out) == (2, "")
    done = served.run(
        "cert", "revoke", "00ff", "--reason", "superseded", environ={"IKEWARDEN_TOKEN": secret}
    )
    assert (done.code, "(role_not_permitted)" in done.err) == (1, True)
    everything = json.dumps(served.json("audit-log", "list")) + served.log
    assert secret not in everything
    assert made["token"] not in everything


def test_a_certificate_is_a_credential(served: Served, tmp_path: Path) -> None:
    made = issue(served, "mtls.cli.example", tmp_path)
    mine = (
        *("--cert", tmp_path / "mtls.cli.example.pem"),
        *("--key", tmp_path / "mtls.cli.example.key"),
    )
    found = served.json("whoami", *mine)
    assert (found["role"], found["gateway"]) == ("gateway", "mtls.cli.example")
    served.json("cert", "renew", made["serial"], "--out", tmp_path / "new", *mine)
    done = served.run("ca", "create", "x", "--parent", "root", "--subject", "CN=x", *mine)
    assert (done.code, "(role_not_permitted)" in done.err) == (1, True)
    served.json("cert", "revoke", made["serial"], "--reason", "superseded")
    done = served.run("whoami", *mine)
    assert (done.code, "(client_certificate_revoked)" in done.err) == (2, True)


def test_profiles_are_listed_shown_and_added(served: Served, tmp_path: Path) -> None:
    text = served.run("profile", "list").out
    assert "\ngateway " in text
    assert "ocsp-responder" not in text
    assert "ocsp-responder" in served.run("profile", "list", "--all").out
    document = served.json("profile", "show", "gateway")
    assert "distribution.crl" in served.run("profile", "show", "gateway").out
    as_json = tmp_path / "profile.json"
    as_json.write_text(json.dumps({**document, "name": "cli-json"}))
    assert served.json("profile", "create", as_json)["name"] == "cli-json"
    as_toml = tmp_path / "profile.toml"
    as_toml.write_text(
        'name = "cli-toml"\ndescription = "x"\nlifetime = "1d"\nmax_lifetime = "2d"\n'
        'key_usage = ["digitalSignature"]\nkey_algorithms = ["ec-p256"]\nnames = ["dns"]\n'
        'names_required = ["dns"]\n'
        "[distribution]\nocsp = false\n"
    )
    done = served.run("profile", "create", "-", given=as_toml.read_bytes())
    assert done.code == 0, done.err
    done = served.run("profile", "create", as_toml)
    assert (done.code, "(profile_exists)" in done.err) == (1, True)
    assert (
        served.run("cert", "issue", "p.example", "--profile", "cli-toml", "--out", tmp_path).code
        == 0
    )
    for content, code in (
        (b"{", "profile_unreadable"),
        (b"[1", "profile_unreadable"),
        (b"", "body_invalid"),
    ):
        done = served.run("profile", "create", "-", given=content)
        assert (done.code, f"({code})" in done.err) == (2, True), done.err


def test_endpoints_are_listed_door_by_door(served: Served) -> None:
    """Each wants another proof, and has another URL."""
    lines = [each.split() for each in served.run("enroll-endpoint", "list").out.splitlines()]
    assert [each[:5] for each in lines] == [
        ["Endpoint", "Profile", "Authority", "Approval", "Door"],
        ["gateway", "gateway", "-", "automatic", "EST"],
        ["gateway", "gateway", "-", "automatic", "ACME"],
    ]
    assert [each[-1].rpartition("/")[2] for each in lines[1:]] == ["est", "directory"]
    assert "http-01," not in lines[1]
    assert "http-01," in lines[2]


def test_what_happened(served: Served) -> None:
    deadline = time.monotonic() + 90
    while not served.json("job", "list")["items"]:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert "outbox" in served.run("job", "list").out
    assert served.json("job", "dead-letters") == {"items": []}
    assert served.run("job", "dead-letters").err == "Nothing failed for good.\n"
    served.json("token", "create", "cli audit", "--role", "auditor")
    found = served.json("audit-log", "list", "--action", "token.create", "--since", "1h")["items"]
    assert found
    assert {each["action"] for each in found} == {"token.create"}
    assert served.json("audit-log", "list", "--until", "2020-01-01")["items"] == []
    assert "token.create" in served.run("audit-log", "list", "--actor", "admin").out


def test_a_wrong_token_and_a_wrong_root(served: Served, tmp_path: Path) -> None:
    done = served.run("whoami", environ={"IKEWARDEN_TOKEN": "iw_wrong"})
    assert (done.code, "(token_refused)" in done.err) == (2, True)
    run("init", "--dir", tmp_path / "other")
    done = run("whoami", "--dir", tmp_path / "other", "--url", served.url)
    assert done.code == 3
    assert "did not prove to be the service" in done.err
    assert str(tmp_path / "other" / "root-ca.pem") in done.err


def test_a_stopped_service_is_told_and_comes_back(own_served: Served, tmp_path: Path) -> None:
    made = issue(own_served, "back.example", tmp_path)
    assert own_served.stop() == 0
    done = own_served.run("whoami")
    assert (done.code, "(service_unreachable)" in done.err) == (3, True)
    done = own_served.run("cert", "issue", "later.example", "--out", tmp_path)
    assert done.code == 3
    assert list(tmp_path.glob("later*")) == []
    own_served.start()
    assert own_served.json("cert", "show", made["serial"])["status"] == "valid"
    issue(own_served, "later.example", tmp_path)
    own_served.kill()
    own_served.start()
    assert own_served.json("cert", "list", "later.example")["items"]


def test_serve_says_where_it_is_and_ends_on_ctrl_c(own_served: Served) -> None:
    head = own_served.log
    assert own_served.url in head
    assert "admin-token" in head
    assert own_served.admin_token not in head
    assert own_served.process is not None
    process, own_served.process = own_served.process, None
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does, to the whole group
    assert process.wait(90) == 0
    assert "Traceback" not in own_served.log


def test_keys_sealed_with_a_passphrase_of_the_environment(tmp_path: Path) -> None:
    environ = {"IKEWARDEN_PASSPHRASE": "correct horse battery staple"}
    options = ("--passphrase-env", "IKEWARDEN_PASSPHRASE")
    with serving(tmp_path / "instance", environ=environ, options=options) as service:
        assert service.json("whoami")["role"] == "admin"
    done = run("serve", "--dir", tmp_path / "instance")
    assert (done.code, "(passphrase_unusable)" in done.err) == (2, True)
    wrong = {"IKEWARDEN_PASSPHRASE": "incorrect horse battery"}
    done = run("serve", "--dir", tmp_path / "instance", environ=wrong)
    assert (done.code, "(wrong_passphrase)" in done.err) == (2, True)
