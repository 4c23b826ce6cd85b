"""Settings of shared secrets: what each way to log in needs, and what becomes of them."""

from datetime import timedelta
from pathlib import Path

import pytest

from hsm.vaultlogin import AppRoleLogin, CertLogin, KubernetesLogin, TokenLogin
from hsm.vaultstore import VaultSecretStore
from ikewarden.settings_secrets import SecretsSettings
from ikewarden.vault import open_vault
from ikewarden.wiring import make_rules
from pki.desk import RotationRules
from tests.program.test_settings import load, the_problem

VAULT = '[secrets]\nstore = "vault"\nurl = "https://bao.example:8200/"\n'


def opened(tmp_path: Path, text: str) -> tuple[VaultSecretStore, SecretsSettings]:
    chosen = load(tmp_path, VAULT + text).secrets
    return open_vault(chosen, {"VAULT_TOKEN": "s.t0ken"}), chosen


def test_without_a_word_the_secrets_are_in_files(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.secrets.store == "files"
    assert settings.secrets.directory == tmp_path / "secrets"
    assert make_rules(settings).rotation == RotationRules()


def test_rotation_as_operations_obey_it(tmp_path: Path) -> None:
    text = """
    [rotation]
    at_once = 5
    per_second = 0.5
    per_gateway = 2
    step_minutes = 1.5
    proof_minutes = 1.0
    [secrets]
    path = "x/{kind}/{tunnel}"
    """
    assert make_rules(load(tmp_path, text)).rotation == RotationRules(
        at_once=5,
        per_second=0.5,
        per_gateway=2,
        step=timedelta(seconds=90),
        proof=timedelta(seconds=60),
        path="x/{kind}/{tunnel}",
    )


def test_each_way_to_log_in(tmp_path: Path) -> None:
    store, _ = opened(tmp_path, 'role_id = "r"\nsecret_id_file = "id"\n')
    assert store.session.login == AppRoleLogin("r", tmp_path / "id", "approle")
    assert repr(store) == "VaultSecretStore('https://bao.example:8200', mount='secret')"
    store, _ = opened(tmp_path, 'auth = "token"\ntoken_file = "token"\n')
    assert store.session.login == TokenLogin(
        tmp_path / "token", "VAULT_TOKEN", {"VAULT_TOKEN": "s.t0ken"}
    )
    assert "s.t0ken" not in repr(store.session.login)
    store, _ = opened(tmp_path, 'auth = "kubernetes"\nrole = "r"\nauth_mount = "k8s/prod"\n')
    account = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
    assert store.session.login == KubernetesLogin("r", account, "k8s/prod")
    store, _ = opened(
        tmp_path, 'auth = "cert"\ncertificate_file = "c.pem"\nkey_file = "c.key"\nca_file = "ca"\n'
    )
    assert store.session.login == CertLogin(tmp_path / "c.key", "", "cert")
    address = store.session.address
    assert (address.certificate, address.key) == (tmp_path / "c.pem", tmp_path / "c.key")
    assert address.ca_file == tmp_path / "ca"


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ('[secrets]\nstore = "vault"', "url and role_id and secret_id_file"),
        (f'{VAULT}role_id = "r"', "secret_id_file"),
        (f'{VAULT}auth = "kubernetes"', "role"),
        (f'{VAULT}auth = "cert"', "certificate_file and key_file"),
        ('[secrets]\nstore = "vault"\nauth = "token"', "url"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, text: str, missing: str) -> None:
    assert f"needs {missing} where" in the_problem(tmp_path, text).message


@pytest.mark.parametrize(
    "line",
    [
        'url = "http://bao.example:8200"',
        'url = "ftp://bao.example"',
        'url = "https://user:word@bao.example"',
        'url = "https://bao.example/v1"',
        'url = "https://bao.example?x"',
        'mount = "../sys"',
        'mount = ""',
        'mount = "a b"',
        'namespace = "a//b"',
        'path = "ikewarden/{tunnel}"',
        'path = "{kind}"',
        'path = "ikewarden/{tunnel}/{kind}/{more}"',
        'path = "/{tunnel}/{kind}/../x"',
        'path = "-{tunnel}/{kind}"',
        f'path = "{"x" * 66}{{tunnel}}/{{kind}}"',
        'store = "vaults"',
        'auth = "ldap"',
        "timeout_seconds = 0.1",
        'token_env = "A B"',
        'role_id = ""',
    ],
)
def test_what_is_not_allowed_is_refused(tmp_path: Path, line: str) -> None:
    problem = the_problem(tmp_path, f"[secrets]\n{line}")
    assert problem.key == f"secrets.{line.partition(' ')[0]}"
    assert problem.message.startswith("must be ")


@pytest.mark.parametrize("url", ["http://127.0.0.1:8200", "http://[::1]:8200", "http://localhost"])
def test_plain_http_goes_no_further_than_this_machine(tmp_path: Path, url: str) -> None:
    text = f'[secrets]\nstore = "vault"\nurl = "{url}"\nauth = "token"'
    assert load(tmp_path, text).secrets.url == url
    with_certificate = text.replace("token", "cert")
    files = '\ncertificate_file = "c"\nkey_file = "k"'
    assert "https://" in the_problem(tmp_path, with_certificate + files).message
