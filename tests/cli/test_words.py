"""What a person at the command line is told: what to type next, and nothing of HTTP."""

from pathlib import Path

import pytest

from tests.fixtures.served import Done, Served, run

pytestmark = pytest.mark.usefixtures("served")


def refused(served: Served, *arguments: str | Path, **options: object) -> str:
    """The error, on one line."""
    done: Done = served.run(*arguments, **options)
    assert done.code in (1, 2), done
    return " ".join(done.err.split())


def test_a_held_certificate_is_released_before_it_is_renewed(
    served: Served, tmp_path: Path
) -> None:
    serial = served.json("cert", "issue", "held.words.example", "--out", tmp_path)["serial"]
    served.json("cert", "hold", serial)
    said = refused(served, "cert", "renew", serial, "--out", tmp_path)
    assert "(certificate_not_renewable)" in said
    assert f"`ikewarden cert release {serial}`" in said


def test_reasons_are_told_as_they_are_written(served: Served, tmp_path: Path) -> None:
    missing = refused(served, "cert", "revoke", "4f2a")
    wrong = refused(served, "cert", "revoke", "4f2a", "--reason", "foo")
    assert "keyCompromise" in missing
    assert "keycompromise" not in missing
    assert "keyCompromise" in wrong
    assert "cert hold" in refused(served, "cert", "revoke", "4f2a", "--reason", "certificateHold")
    said = refused(served, "cert", "revoke", "4f2a", "--reason", "aACompromise")
    assert "attribute certificates" in said
    serial = served.json("cert", "issue", "why.words.example", "--out", tmp_path)["serial"]
    said = refused(served, "cert", "revoke", serial, "--reason", "cACompromise")
    assert said.partition("Next:")[2].count("cACompromise") == 0


def test_what_is_named_wrongly_is_listed_by_a_command(served: Served) -> None:
    issue = ("cert", "issue", "x.words.example")
    assert "`ikewarden profile list`" in refused(served, *issue, "--profile", "none")
    assert "`ikewarden ca list`" in refused(served, *issue, "--authority", "none")
    assert "`ikewarden token list`" in refused(served, "token", "revoke", "00")
    said = refused(served, *issue, "--authority", "root")
    assert "ikewarden ca create NAME --parent root --subject" in said
    assert "`ikewarden profile list`" in refused(served, *issue, "--profile", "service-tls")


def test_serial_numbers_are_given_whole_and_that_of_a_root_is_known(served: Served) -> None:
    assert "given whole" in refused(served, "cert", "show", "4688a867")
    root = served.json("ca", "show", "root")["serial"]
    said = refused(served, "cert", "revoke", root, "--reason", "superseded")
    assert "the authority 'root' itself" in said
    assert "rollover.md" in said


def test_nothing_is_told_in_words_of_http(served: Served, tmp_path: Path) -> None:
    environ = {"IKEWARDEN_TOKEN": "foo bar".replace(" ", "=x")}
    said = refused(served, "whoami", environ=environ)
    assert "IKEWARDEN_TOKEN" in said
    profile = tmp_path / "bad.toml"
    profile.write_text('name = "words"\nfoo = 1\n')
    for arguments in (("profile", "create", profile), ("token", "create", "", "--role", "admin")):
        said = refused(served, *arguments)
        assert "route" not in said
        assert "`errors`" not in said
    said = refused(served, "cert", "issue", "x.words.example", "--not-after", "800d")
    assert "--not-after" in said
    said = refused(served, "cert", "issue", "--subject", "OU=x", "--name", "x", "--out", tmp_path)
    assert "(name_missing)" in said
    assert "one of the kinds dns, ip, email, dn" in said
    said = refused(served, *("ca", "create", "b", "--parent", "issuing", "--subject", "CN=b"))
    assert "field" not in said


def test_the_size_of_rsa_keys_is_a_least_one(served: Served, tmp_path: Path) -> None:
    issue = ("cert", "issue", "x.words.example", "--out", tmp_path)
    said = refused(served, *issue, "--key-type", "ml-dsa-44")
    assert "rsa-3072 or longer" in said
    assert "rsa-3072 or longer" in served.run("profile", "show", "gateway").out


def test_standard_input_has_a_name() -> None:
    said = " ".join(run("cert", "lint", "-").err.split())
    assert "Standard input holds no certificate." in said


def test_a_subject_that_is_not_taken_is_told(served: Served, tmp_path: Path) -> None:
    issue = ("cert", "issue", "s.words.example", "--force", "--out", tmp_path)
    told = served.run(*issue, "--subject", "CN=other.example")
    assert "CN=s.words.example, in place of CN=other.example" in told.err
    assert "s.words.example.pem" in told.out.partition("Why not all pass:")[2].splitlines()[0]
    assert served.run(*issue, "--subject", "O=Example,CN=s.words.example").err == ""


def test_how_far_a_revocation_is_that_ends_nothing(served: Served, tmp_path: Path) -> None:
    serial = served.json("cert", "issue", "r.words.example", "--out", tmp_path)["serial"]
    served.json("cert", "hold", serial)
    held = served.run("cert", "reach", serial)
    assert "published_at" not in held.out
    assert "the CRL and OCSP say so" in held.err
    done = served.run("cert", "revoke", serial, "--reason", "superseded")
    assert "limit" not in done.out
    served.run("cert", "reach", serial, "--watch")
    done = served.run("cert", "reach", serial)
    assert "No gateway has a tunnel with its holder" in done.err
    assert "own" not in done.out


def test_a_list_in_a_file_is_not_made_where_there_is_no_place_for_it(
    served: Served, tmp_path: Path
) -> None:
    before = served.json("ca", "crl", "root", "--out", tmp_path / "before.crl")["number"]
    out = tmp_path / "none" / "x.crl"
    said = refused(served, "ca", "crl", "root", "--out", out)
    assert f"{out}: No such file or directory. (system_error)" in said
    (tmp_path / "there").touch()
    assert "(file_exists)" in refused(served, "ca", "crl", "root", "--out", tmp_path / "there")
    after = served.json("ca", "crl", "root", "--out", tmp_path / "after.crl")
    assert after["number"] == before + 1
    assert after["next_update"].endswith("Z")
    said = refused(served, "cert", "issue", "x.words.example", "--out", "/dev/full")
    assert "(out_no_directory)" in said


def test_tokens_say_when_they_end(served: Served) -> None:
    made = served.run("token", "create", "words", "--role", "auditor", "--expires", "90d")
    assert "It ends at " in made.err
    made = served.run("token", "create", "for ever", "--role", "auditor")
    assert "It does not expire" in made.err
    soon = served.json("token", "create", "over", "--role", "auditor", "--expires", "1h")
    served.json("token", "revoke", soon["id"])
    lines = {line.split()[0]: line for line in served.run("token", "list").out.splitlines()}
    assert "revoked" in lines[soon["id"]]
    assert "52w" in refused(served, "token", "create", "x", "--role", "auditor", "--expires", "1y")


def test_the_format_may_stand_before_the_command(served: Served) -> None:
    assert served.run("--format", "json", "cert", "list", "no.such.words").document == {"items": []}
    done = served.run("--format", "json", "profile", "list", "--format", "text")
    assert done.out.startswith("Name")


def test_names_are_told_as_they_were_typed(served: Served) -> None:
    said = refused(served, "cert", "issue", "münchen.example")
    assert "'münchen.example'" in said
    assert "xn--" in said


def test_authorities_stand_out_among_certificates(served: Served) -> None:
    serial = served.json("ca", "show", "issuing")["serial"]
    (line,) = served.run("cert", "list", serial).out.splitlines()[1:]
    assert "(authority) CN=" in line
