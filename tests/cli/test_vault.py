"""`ikewarden vault`: the policy, and whether all is well, on a real OpenBao."""

import subprocess
import sys
from pathlib import Path

import pytest

from ikewarden.settings import load_settings
from ikewarden.wiring import make_desk, open_keys
from tests.fixtures.openbao import OpenBao, Role
from tests.fixtures.ports import free_ports
from tests.fixtures.served import Done, run
from tests.hsm.secretcontract import CANARY, PATH, put

VARIABLE = "IKEWARDEN_SECRETS__"


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    file = tmp_path / "ikewarden.toml"
    file.touch(0o600)
    return file


def write(settings: Path, openbao: OpenBao, mount: str, role: Role | None = None) -> None:
    lines = ["[secrets]", 'store = "vault"', f'url = "{openbao.url}"', f'mount = "{mount}"']
    if role is not None:
        lines += [f'role_id = "{role.role_id}"', f'secret_id_file = "{role.secret_id_file}"']
    else:
        lines.append('auth = "token"')
    settings.write_text("\n".join(lines) + "\n")


def vault(settings: Path, *arguments: str, **environ: str) -> Done:
    return run("vault", *arguments, "--config", settings, environ=environ)


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_is_printed_is_loaded_and_is_enough(
    openbao: OpenBao, settings: Path, form: str
) -> None:
    mount = openbao.engine()
    write(settings, openbao, mount)
    printed = vault(settings, "policy", "--format", form)
    assert (printed.code, printed.err) == (0, "")
    method = openbao.method("approle")
    role = openbao.role(method, token_policies=[openbao.policy(printed.out)])
    write(settings, openbao, mount, role)
    done = vault(settings, "check", **{f"{VARIABLE}AUTH_MOUNT": method})
    assert (done.code, done.out) == (0, "ok\n")
    assert done.err.count("\n") == 7
    left = openbao.call("LIST", f"{mount}/metadata/ikewarden")["data"]["keys"]
    assert left == ["fingerprint-key"]


def test_the_policy_follows_the_settings(settings: Path) -> None:
    settings.write_text('[secrets]\nmount = "kv/vpn"\npath = "prod/{kind}/{tunnel}"\n')
    document = vault(settings, "policy", "--format", "json").document
    assert list(document) == ["path"]
    assert document["path"]["kv/vpn/data/prod/psk/+"] == {
        "capabilities": ["create", "read", "update"]
    }
    assert len(document["path"]) == 11
    text = vault(settings, "policy").out
    assert 'path "kv/vpn/destroy/prod/ppk/+" {\n  capabilities = ["update"]\n}\n' in text
    assert text.startswith("# ")


def test_what_is_wrong_is_said_with_its_exit_code(openbao: OpenBao, settings: Path) -> None:
    mount = openbao.engine()
    token = openbao.new_token("default")
    write(settings, openbao, mount)

    def outcome(**environ: str) -> tuple[int, str]:
        done = vault(settings, "check", "--format", "json", **environ)
        assert token not in done.out + done.err
        assert done.error["next_step"]
        return done.code, done.error["code"]

    assert outcome() == (1, "secret_store_credential")
    assert outcome(VAULT_TOKEN=token) == (1, "secret_store_refused")
    assert outcome(VAULT_TOKEN="s.wrong") == (1, "secret_store_refused")
    [port] = free_ports(1)
    assert outcome(VAULT_TOKEN=token, IKEWARDEN_SECRETS__URL=f"http://127.0.0.1:{port}") == (
        3,
        "secret_store_unavailable",
    )
    old = openbao.engine(version=1)
    assert outcome(VAULT_TOKEN=openbao.token, IKEWARDEN_SECRETS__MOUNT=old) == (
        1,
        "secret_store_refused",
    )
    assert outcome(IKEWARDEN_SECRETS__STORE="files") == (2, "secrets_not_in_vault")
    assert outcome(IKEWARDEN_SECRETS__AUTH="approle") == (2, "settings_invalid")
    with openbao.sealed():
        assert outcome(VAULT_TOKEN=openbao.token) == (3, "secret_store_unavailable")


def test_half_a_policy_is_found_and_nothing_is_left(openbao: OpenBao, settings: Path) -> None:
    mount = openbao.engine()
    write(settings, openbao, mount)
    whole = vault(settings, "policy").out
    less = whole.replace(f"{mount}/undelete/", f"{mount}/elsewhere/")
    token = openbao.new_token(openbao.policy(less))
    done = vault(settings, "check", VAULT_TOKEN=token)
    assert done.code == 1
    assert "does not let us undelete version 1 of ikewarden/ikewarden-check-" in done.err
    assert "vault policy" in done.err
    left = openbao.ask("LIST", f"{mount}/metadata/ikewarden")
    assert left[0] == 404


def keys_in(settings: Path, openbao: OpenBao, mount: str, *more: str) -> None:
    lines = ["[keys]", 'store = "transit"', "[keys.transit]", f'mount = "{mount}"']
    lines += [f'url = "{openbao.url}"', 'auth = "token"', *more]
    settings.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_is_printed_for_keys_is_loaded_and_is_enough(
    openbao: OpenBao, settings: Path, form: str
) -> None:
    mount = openbao.transit()
    keys_in(settings, openbao, mount)
    printed = vault(settings, "policy", "--format", form)
    assert (printed.code, printed.err) == (0, "")
    token = openbao.new_token(openbao.policy(printed.out))
    done = vault(settings, "check", VAULT_TOKEN=token)
    assert (done.code, done.out) == (0, "ok\n")
    assert done.err.count("\n") == 4
    assert openbao.ask("LIST", f"{mount}/keys")[0] == 404  # nothing is left
    told = vault(settings, "check", "--format", "json", VAULT_TOKEN=token).document
    assert told["keys"]["mount"] == mount


def test_secrets_and_keys_are_told_apart(openbao: OpenBao, settings: Path) -> None:
    engine, mount = openbao.engine(), openbao.transit()
    secrets = ["[secrets]", 'store = "vault"', f'url = "{openbao.url}"', f'mount = "{engine}"']
    shared = ["[keys]", 'store = "transit"', "[keys.transit]", f'mount = "{mount}"']
    settings.write_text("\n".join([*secrets, 'auth = "token"', *shared]) + "\n")

    def paths(*only: str) -> set[str]:
        found = vault(settings, "policy", "--format", "json", *only).document["path"]
        return {path.partition("/")[0] for path in found}

    assert paths() == {engine, mount}
    assert paths("--only", "secrets") == {engine}
    assert paths("--only", "keys") == {mount}
    both = vault(settings, "policy").out
    assert both.count("vault policy") == 2
    token = openbao.new_token(openbao.policy(both))
    done = vault(settings, "check", VAULT_TOKEN=token)
    assert (done.code, done.out, done.err.count("\n")) == (0, "ok\n", 11)
    for_keys = openbao.new_token(openbao.policy(vault(settings, "policy", "--only", "keys").out))
    assert vault(settings, "check", "--only", "keys", VAULT_TOKEN=for_keys).code == 0
    assert vault(settings, "check", "--only", "secrets", VAULT_TOKEN=for_keys).code == 1


def test_what_is_wrong_with_keys_is_said_with_its_exit_code(
    openbao: OpenBao, settings: Path
) -> None:
    mount = openbao.transit()
    keys_in(settings, openbao, mount)

    def outcome(token: str = "", *arguments: str, **environ: str) -> tuple[int, str]:
        environ |= {"VAULT_TOKEN": token}
        done = vault(settings, "check", *arguments, "--format", "json", **environ)
        assert done.error["next_step"]
        return done.code, done.error["code"]

    assert outcome() == (1, "signer_credential")
    assert outcome("s.wrong") == (1, "signer_refused")
    whole = vault(settings, "policy").out
    for path, what in (("sign/+", "sign"), ("keys/check-*", "destroy")):
        less = whole.replace(f"{mount}/{path}", f"{mount}/elsewhere")
        token = openbao.new_token(openbao.policy(less))
        done = vault(settings, "check", VAULT_TOKEN=token)
        assert (done.code, f"does not let us {what}" in done.err) == (1, True), done.err
    engine = openbao.engine()
    missing = outcome(openbao.token, IKEWARDEN_KEYS__TRANSIT__MOUNT=engine)
    assert missing == (1, "signer_mount_missing")
    [port] = free_ports(1)
    away = f"http://127.0.0.1:{port}"
    assert outcome("s.t0ken", IKEWARDEN_KEYS__TRANSIT__URL=away) == (3, "signer_unavailable")
    with openbao.sealed():
        assert outcome(openbao.token) == (3, "signer_sealed")
    settings.write_text("")
    assert outcome("", "--only", "keys") == (2, "keys_not_in_vault")


def test_init_takes_only_what_belongs_there(tmp_path: Path) -> None:
    file = tmp_path / "transit.toml"
    for text, code in (
        ("", "setting_unusable"),
        ("[keys]\n", "setting_unusable"),
        ("[keys.transit", "setting_unusable"),
        ('[keys.transit]\n[api]\nhost = "::"\n', "setting_unusable"),
        ('[keys]\nstore = "files"\n[keys.transit]\n', "setting_unusable"),
        ("[keys.transit]\n", "settings_invalid"),
        ('[keys.transit]\nurl = "https://bao.example"\n', "settings_invalid"),
    ):
        file.write_text(text)
        done = run("init", "--dir", tmp_path / "i", "--transit", file, "--format", "json")
        assert (done.code, done.error["code"]) == (2, code), text
        assert not list((tmp_path / "i").glob("*"))
    file.unlink()
    done = run("init", "--dir", tmp_path / "i", "--transit", file, "--format", "json")
    assert (done.code, done.error["code"]) == (2, "setting_unusable")


def test_an_instance_has_sealed_files_and_one_of_before_needs_no_hand(tmp_path: Path) -> None:
    directory = tmp_path / "instance"
    assert run("init", "--dir", directory).code == 0
    place = directory / "secrets"
    assert place.stat().st_mode & 0o777 == 0o700
    place.rmdir()  # as it was before there were shared secrets
    loaded = load_settings(directory / "ikewarden.toml", {})
    desk = make_desk(loaded, open_keys(loaded, {}))
    try:
        assert desk.secrets is not None
        desk.secrets.check()
        put(desk.secrets)
        assert desk.secrets.get(PATH).value.reveal() == CANARY
        assert desk.rules.rotation.path == "ikewarden/{tunnel}/{kind}"
    finally:
        desk.store.close()
    assert CANARY not in b"".join(file.read_bytes() for file in place.rglob("*.json"))


def test_only_who_has_such_a_server_loads_its_libraries() -> None:
    script = (
        "import sys, ikewarden.serve, ikewarden.wiring;"
        "print([name for name in ('hvac', 'requests') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout == b"[]\n"
