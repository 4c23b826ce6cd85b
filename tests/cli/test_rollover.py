"""A rollover on the command line: the running service follows it, and goes back."""

from pathlib import Path

from tests.fixtures.served import Served


def test_a_rollover_from_start_to_finish_and_a_cross_certificate(
    own_served: Served, tmp_path: Path
) -> None:
    def step(*arguments: str) -> dict[str, object]:
        return dict(own_served.json("ca", "rollover", *arguments))

    def issuer(name: str) -> str:
        made = own_served.json("cert", "issue", name, "--out", tmp_path / name)
        return str(made["authority"])

    assert "There is no rollover" in own_served.run("ca", "rollover", "list").err
    missing = own_served.run("ca", "rollover", "publish", "issuing")
    assert (missing.code, "(rollover_none)" in missing.err) == (1, True)
    assert issuer("a.example") == "issuing"
    begun = step("start", "issuing", "--days", "900")
    assert (begun["successor"], begun["state"]) == ("issuing-2", "prepared")
    assert begun["same_subject"] is False
    assert (begun["key_store"], begun["successor_key_store"]) == ("files", "files")
    off = own_served.run("ca", "rollover", "start", "root", "--store", "pkcs11")
    assert (off.code, "(key_store_off)" in off.err, "--store files" in off.err) == (3, True, True)
    root = own_served.run("ca", "rollover", "start", "root")
    assert (root.code, "Libreswan keeps one revocation list for a subject" in root.err) == (0, True)
    again = own_served.run("ca", "rollover", "start", "issuing")
    assert (again.code, "(rollover_under_way)" in again.err) == (1, True)
    shown = own_served.json("ca", "show", "issuing-2")
    assert (shown["status"], shown["key_store"]) == ("prepared", "files")
    assert step("publish", "issuing")["state"] == "published"
    early = own_served.run("ca", "rollover", "finish", "issuing")
    assert (early.code, "(rollover_wrong_phase)" in early.err) == (1, True)
    scheduled = step("switch", "issuing", "--on", "1h")
    assert scheduled["state"] == "scheduled"
    assert issuer("b.example") == "issuing"
    assert step("show", "issuing")["state"] == "scheduled"
    told = own_served.run("ca", "rollover", "show", "issuing")
    assert "scheduled" in told.out
    assert f"Until {scheduled['switch_at']} certificates come from issuing" in told.err
    assert "scheduled" in own_served.run("ca", "rollover", "list").out
    early = own_served.run("ca", "rollover", "finish", "issuing")
    assert (early.code, "is scheduled for" in early.err) == (1, True)
    assert step("back", "issuing")["switch_at"] is None
    step("switch", "issuing")
    assert issuer("c.example") == "issuing-2"
    held = own_served.run("ca", "rollover", "finish", "issuing")
    assert (held.code, "(rollover_certificates_in_force)" in held.err) == (1, True)
    # Those of a and b; the service's own may not have moved yet.
    assert " certificates; the last ends " in held.err
    in_force = step("show", "issuing")["in_force"]
    assert isinstance(in_force, dict)
    assert in_force["certificates"] >= 2
    assert (in_force["pending"], in_force["authorities"]) == (0, [])
    done = own_served.run("ca", "rollover", "finish", "issuing", "--despite")
    assert done.code == 0, done.err
    assert "finished" in done.out
    assert "go on" in done.err
    assert own_served.json("ca", "show", "issuing")["status"] == "retired"
    assert "issuing-2" in own_served.run("ca", "rollover", "list").out
    assert step("show", "issuing")["state"] == "finished"
    for name in ("issuing", "issuing-2"):
        assert own_served.public(f"/crl/{name}.crl")
    assert step("back", "root")["state"] == "abandoned"
    ended = own_served.run("ca", "rollover", "back", "root")
    assert (ended.code, "(rollover_wrong_phase)" in ended.err) == (1, True)
    _cross_sign(own_served)


def _cross_sign(own_served: Served) -> None:
    own_served.json("ca", "create", "partner", "--kind", "root", "--subject", "CN=Partner")
    made = own_served.json("ca", "cross-sign", "partner", "--by", "root", "--days", "30")
    assert (made["subject"], made["issuer"], made["status"]) == ("partner", "root", "valid")
    pem = own_served.run("ca", "cross-sign", "partner", "--by", "root", "--format", "pem").out
    assert pem.startswith("-----BEGIN CERTIFICATE-----")
    assert own_served.json("ca", "cross-certificates", "partner")["items"][1] == made
    shown = own_served.run("ca", "cross-certificates", "partner", "--by", "root", "--format", "pem")
    assert shown.out == pem + made["certificate"]
    none = own_served.run("ca", "cross-certificates", "partner", "--by", "issuing")
    assert (none.code, "no cross-certificate" in none.err) == (0, True)
    refused = own_served.run("ca", "cross-sign", "root", "--by", "issuing-2")
    assert (refused.code, "(cross_certificate_refused)" in refused.err) == (2, True)
