"""Settings of the console: who signs in, and by what."""

from datetime import timedelta
from pathlib import Path

import pytest

from ikewarden.settings import Settings, SettingsInvalid, load_settings
from ikewarden.wiring import make_rules
from pki.actors import Role

PERSON = '[[console.people]]\nname = "{}"\nrole = "{}"\n'
OIDC = '[console.oidc]\nissuer = "https://id.example/realms/net"\nclient_id = "ikewarden"\n'
ROLES = 'roles = ["vpn-admins=admin", "cn=ops=operator"]\n'


def load(tmp_path: Path, text: str, **environ: str) -> Settings:
    file = tmp_path / "ikewarden.toml"
    file.write_text(text)
    return load_settings(file, environ)


def test_people_are_tables_of_the_file_or_words_of_the_environment(tmp_path: Path) -> None:
    text = PERSON.format("email:alice@example.com", "operator") + PERSON.format(
        "dn:CN=bob", "approver"
    )
    found = make_rules(load(tmp_path, text)).sessions
    assert found.people == {
        "email:alice@example.com": Role.OPERATOR,
        "dn:CN=bob": Role.APPROVER,
    }
    assert found.has_approver
    words = "auditor=email:carol@example.com, admin=email:dave@example.com"
    found = make_rules(load(tmp_path, text, IKEWARDEN_CONSOLE__PEOPLE=words)).sessions
    assert set(found.people.values()) == {Role.AUDITOR, Role.ADMIN}
    assert make_rules(load(tmp_path, "")).sessions.people == {}


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("email:alice@example.com", "gateway"),
        ("email:alice@example.com", "enroller"),
        ("email:alice@example.com", "Admin"),
        ("alice@example.com", "admin"),
        ("email:alice@EXAMPLE.com", "admin"),  # not as the record writes it
        ("", "admin"),
    ],
)
def test_people_that_cannot_be(tmp_path: Path, name: str, role: str) -> None:
    with pytest.raises(SettingsInvalid) as refused:
        load(tmp_path, PERSON.format(name, role))
    (problem,) = refused.value.problems
    assert problem.key == "console.people"


@pytest.mark.parametrize(
    "text",
    [
        PERSON.format("email:a@example.com", "admin") * 2,
        '[[console.people]]\nname = "email:a@example.com"\n',
        '[[console.people]]\nname = "email:a@example.com"\nrole = "admin"\nmore = 1\n',
        '[console]\npeople = "alice"\n',
        "[console]\npeople = [4]\n",
    ],
)
def test_people_of_another_shape(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsInvalid) as refused:
        load(tmp_path, text)
    assert refused.value.problems[0].key == "console.people"


def test_a_provider_and_how_long_a_session_lasts(tmp_path: Path) -> None:
    secret = tmp_path / "client-secret"
    secret.write_text("very secret\n")
    secret.chmod(0o600)
    text = (
        "[api]\nport = 9443\n[console]\nidle_minutes = 5\nhours = 2\ntries = 3\n"
        + OIDC
        + ROLES
        + 'client_secret_file = "client-secret"\n'
    )
    found = make_rules(load(tmp_path, text)).sessions
    assert (found.idle, found.longest, found.tries) == (
        timedelta(minutes=5),
        timedelta(hours=2),
        3,
    )
    rules = found.oidc
    assert rules is not None
    assert rules.roles == (("vpn-admins", Role.ADMIN), ("cn=ops", Role.OPERATOR))
    assert rules.callback == "https://localhost:9443/sign-in/oidc/callback"
    assert rules.client_secret is not None
    assert rules.client_secret.reveal() == b"very secret"
    assert "very secret" not in repr(rules)


@pytest.mark.parametrize(
    "text",
    [
        OIDC,  # no roles
        '[console.oidc]\nissuer = "https://id.example"\n' + ROLES,
        "[console.oidc]\n" + ROLES,
        OIDC.replace("https", "http") + ROLES,
        OIDC.replace("id.example", "user@id.example") + ROLES,
        OIDC.replace("/net", "/net?x=1") + ROLES,
        OIDC + 'roles = ["vpn-admins"]\n',
        OIDC + 'roles = ["a=admin", "a=operator"]\n',
        OIDC + 'roles = ["a=gateway"]\n',
        OIDC + ROLES + 'scopes = ["email"]\n',
        OIDC + ROLES + 'claim = ""\n',
    ],
)
def test_providers_that_cannot_be(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsInvalid) as refused:
        load(tmp_path, text)
    assert refused.value.problems[0].key.startswith("console.oidc")
