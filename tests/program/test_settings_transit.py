"""Settings of a Transit engine: whose server it is on, what it needs, and which store comes of it."""

from pathlib import Path

import pytest

from hsm.transitstore import TransitKeyStore
from hsm.vaultlogin import AppRoleLogin, TokenLogin
from ikewarden.vault import open_transit
from tests.program.test_settings import load, the_problem

SECRETS = '[secrets]\nurl = "https://bao.example:8200/"\nrole_id = "r"\nsecret_id_file = "id"\n'


def opened(tmp_path: Path, text: str) -> TransitKeyStore:
    settings = load(tmp_path, text)
    assert settings.keys.uses_transit
    return open_transit(settings.keys.transit, settings.secrets, {"VAULT_TOKEN": "s.t0ken"})


def test_without_a_word_there_is_none(tmp_path: Path) -> None:
    keys = load(tmp_path).keys
    assert (keys.store, keys.uses_transit) == ("files", False)


def test_a_server_of_its_own(tmp_path: Path) -> None:
    own = '[keys.transit]\nurl = "https://own.example"\nauth = "token"\nnamespace = "ca"\n'
    store = opened(tmp_path, SECRETS + own)
    assert repr(store) == "TransitKeyStore('https://own.example', mount='transit')"
    assert store.session.login == TokenLogin(None, "VAULT_TOKEN", {"VAULT_TOKEN": "s.t0ken"})
    assert store.session.address.namespace == "ca"
    assert store.session.use.server == "[keys.transit]"


@pytest.mark.parametrize(
    "text",
    [
        '[keys]\nstore = "transit"\n',
        "[keys.transit]\n",
        '[keys]\nstore = "transit"\n[keys.transit]\nmount = "transit"\n',
    ],
)
def test_the_server_of_the_secrets(tmp_path: Path, text: str) -> None:
    store = opened(tmp_path, SECRETS + text)
    assert repr(store) == "TransitKeyStore('https://bao.example:8200', mount='transit')"
    assert store.session.login == AppRoleLogin("r", tmp_path / "id", "approle")
    assert store.session.use.server == "[secrets]"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[keys]\nstore = "transit"', "that of [secrets] needs url and role_id and secret_id_file"),
        ("[keys.transit]", "that of [secrets] needs url"),
        ('[keys.transit]\nurl = "https://x.example"', "needs role_id and secret_id_file where"),
        (f'{SECRETS}[keys.transit]\nrole_id = "r"', "needs url and secret_id_file where"),
        (
            '[keys.transit]\nurl = "http://[::1]"\nauth = "cert"\ncertificate_file = "c"\nkey_file = "k"',
            "needs a url https://",
        ),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, text: str, words: str) -> None:
    assert words in the_problem(tmp_path, text).message


@pytest.mark.parametrize(
    "line", ['mount = "../sys"', 'url = "http://bao.example"', 'auth = "ldap"', "sessions = 3"]
)
def test_what_is_not_allowed_is_refused(tmp_path: Path, line: str) -> None:
    problem = the_problem(tmp_path, f"[keys.transit]\n{line}")
    assert problem.key == f"keys.transit.{line.partition(' ')[0]}"
