"""Settings: strict, complete in their complaints, and described by a page that is true."""

import datetime
import math
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ikewarden.settings import Problem, Settings, SettingsInvalid, SettingsMissing, load_settings
from ikewarden.settings_reference import (
    PAGE,
    allowed,
    fields,
    kind,
    render,
    sections,
    variable,
)

PAIRS = [(section, key) for section in sections() for key in fields(section)]
ROOT = Path(__file__).parents[2]


def load(tmp_path: Path, text: str = "", **environ: str) -> Settings:
    path = tmp_path / "ikewarden.toml"
    path.touch(0o600)
    path.write_text(text)
    return load_settings(path, environ)


def refused(tmp_path: Path, text: str = "", **environ: str) -> tuple[Problem, ...]:
    with pytest.raises(SettingsInvalid) as refusal:
        load(tmp_path, text, **environ)
    assert refusal.value.code == "settings_invalid"
    assert refusal.value.next_step
    assert "\n" not in refusal.value.message
    return refusal.value.problems


def the_problem(tmp_path: Path, text: str = "", **environ: str) -> Problem:
    [problem] = refused(tmp_path, text, **environ)
    return problem


# ----------------------------------------------------------------- what is read


def test_an_empty_file_is_an_instance_with_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.database.url == f"sqlite:///{tmp_path}/ikewarden.db"
    assert settings.keys.directory == tmp_path / "keys"
    assert (settings.api.host, settings.api.port) == ("127.0.0.1", 8443)
    assert settings.api.names == ("localhost", "127.0.0.1")
    assert settings.validation.public_url == "http://127.0.0.1:8080"
    assert settings.notices.stages_days == (30, 14, 7, 1)
    assert settings.keys.passphrase_file is None


def test_file_and_environment(tmp_path: Path) -> None:
    text = """
    [api]
    port = 9443
    names = ["pki.example", "192.0.2.1", "2001:db8::1"]
    [validation]
    url = "http://pki.example/"
    [scheduler]
    crl_refresh = 0
    [crl]
    refresh_before = 0.25
    """
    environ = {"IKEWARDEN_API__PORT": "10443", "IKEWARDEN_LOGS__FORMAT": "json", "HOME": "/"}
    settings = load(tmp_path, text, **environ)
    assert settings.api.port == 10443
    assert settings.api.names == ("pki.example", "192.0.2.1", "2001:db8::1")
    assert settings.validation.public_url == "http://pki.example"
    assert settings.scheduler.crl_refresh == 0
    assert settings.crl.refresh_before == 0.25
    assert settings.logs.format == "json"


@pytest.mark.parametrize(
    ("section", "key", "text", "value"),
    [
        ("api", "metrics_public", "TRUE", True),
        ("api", "names", "a.example, 192.0.2.1,b.example", ("a.example", "192.0.2.1", "b.example")),
        ("notices", "stages_days", "60, 7", (60, 7)),
        ("notices", "stages_days", "", ()),
        ("crl", "refresh_before", "0.3", 0.3),
        ("database", "lock_timeout_seconds", "2", 2.0),
        ("logs", "level", "debug", "debug"),
        ("validation", "url", "", None),
        ("keys", "passphrase_file", "/run/secrets/p", Path("/run/secrets/p")),
        ("keys", "passphrase_env", "OTHER", "OTHER"),
    ],
)
def test_every_kind_of_value_in_the_environment(
    tmp_path: Path, section: str, key: str, text: str, value: object
) -> None:
    settings = load(tmp_path, **{variable(section, key): text})
    assert getattr(getattr(settings, section), key) == value


def test_variables_without_two_underscores_are_not_settings(tmp_path: Path) -> None:
    load(tmp_path, IKEWARDEN_PASSPHRASE="words", IKEWARDEN_TOKEN="words", IKEWARDEN_API="x")


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
    [database]
    url = "sqlite:///records/a b.db"
    [keys]
    directory = "../keys"
    passphrase_file = "/etc/p"
    """
    (tmp_path / "etc").mkdir()
    load(tmp_path / "etc", text)
    monkeypatch.chdir(tmp_path)
    settings = load_settings(Path("etc/ikewarden.toml"), {})
    assert settings.database.url == f"sqlite:///{tmp_path}/etc/records/a b.db"
    assert settings.keys.directory == tmp_path / "etc/../keys"
    assert settings.keys.passphrase_file == Path("/etc/p")


def test_settings_do_not_change(tmp_path: Path) -> None:
    settings: Any = load(tmp_path)
    with pytest.raises(ValidationError):
        settings.api.port = 1
    with pytest.raises(ValidationError):
        settings.api = None


# ----------------------------------------------------------------- what is refused


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    text = """
    crl = 4
    [api]
    prot = 1
    port = "8443"
    [logs]
    level = "loud"
    [databases]
    """
    environ = {"IKEWARDEN_API__WORKERS": "many", "IKEWARDEN_OCSP__DAYS": "1"}
    problems = refused(tmp_path, text, **environ)
    file = str(tmp_path / "ikewarden.toml")
    assert {(problem.source, problem.key) for problem in problems} == {
        (file, "crl"),
        (file, "api.prot"),
        (file, "api.port"),
        (file, "logs.level"),
        (file, "databases"),
        ("environment variable IKEWARDEN_API__WORKERS", "api.workers"),
        ("environment variable IKEWARDEN_OCSP__DAYS", "IKEWARDEN_OCSP__DAYS"),
    }


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[api]\nprot = 1", "did you mean api.port?"),
        ("[api]\npool_size = 1", "did you mean database.pool_size?"),
        ("[apis]\nport = 1", "did you mean [api]?"),
        ("port = 1", "is not a setting"),
        ("[api]\nzzzzzz = 1", "is not a setting"),
        ("[api.port]\nx = 1", "must be a whole number from 1 to 65535"),
        ("[[api]]\nport = 1", "must be a table: [api]"),
    ],
)
def test_unknown_keys_name_the_nearest(tmp_path: Path, text: str, hint: str) -> None:
    assert hint in the_problem(tmp_path, text).message


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("IKEWARDEN_API__PROT", "; did you mean IKEWARDEN_API__PORT?"),
        ("IKEWARDEN_POOL__SIZE", "is not a setting"),
        ("IKEWARDEN_api__port", "; did you mean IKEWARDEN_API__PORT?"),
        ("IKEWARDEN_API__", "is not a setting"),
        ("IKEWARDEN__PORT", "is not a setting"),
        ("IKEWARDEN_API__PORT__X", "is not a setting"),
    ],
)
def test_unknown_variables_are_refused(tmp_path: Path, name: str, hint: str) -> None:
    problem = the_problem(tmp_path, **{name: "1"})
    assert problem.source == f"environment variable {name}"
    assert hint in problem.message


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("api", 'port = "8443"'),
        ("api", "port = 8443.0"),
        ("api", "port = true"),
        ("api", "port = 0"),
        ("api", "port = 65536"),
        ("api", "port = 1e400"),
        ("api", "port = 99999999999999999999999999"),
        ("api", "metrics_public = 1"),
        ("api", 'metrics_public = "true"'),
        ("api", 'host = ""'),
        ("api", 'host = "a b"'),
        ("api", 'host = "300.1.1.1"'),
        ("api", 'host = "http://x"'),
        ("api", "names = []"),
        ("api", 'names = "localhost"'),
        ("api", 'names = ["localhost", 1]'),
        ("api", 'names = ["*.example.com"]'),
        ("api", "max_body_bytes = 100"),
        ("api", "host = 2020-01-01"),
        ("crl", "refresh_before = nan"),
        ("crl", "refresh_before = inf"),
        ("crl", "refresh_before = 1.0"),
        ("crl", "full_hours = 0"),
        ("database", 'url = "mysql://u@h/db"'),
        ("database", 'url = "sqlite://"'),
        ("database", 'url = "sqlite:///"'),
        ("database", 'url = "sqlite:///:memory:"'),
        ("database", 'url = "sqlite:///a/"'),
        ("database", 'url = "sqlite:///a.db?mode=ro"'),
        ("database", 'url = "ikewarden.db"'),
        ("database", 'url = "postgresql://h"'),
        ("database", 'url = "postgresql://h:port/db"'),
        ("database", 'url = "postgresql://[h/db"'),
        ("keys", 'directory = ""'),
        ("keys", 'directory = "a\\u0000b"'),
        ("keys", "directory = 1"),
        ("keys", 'passphrase_env = "A=B"'),
        ("validation", 'url = "https://pki.example"'),
        ("validation", 'url = "http://"'),
        ("validation", 'url = "http://u:p@pki.example"'),
        ("validation", 'url = "http://pki.example/?a=b"'),
        ("validation", 'url = "http://pki.example/ x"'),
        ("validation", 'url = "http://pki.example/\\n"'),
        ("issuing", 'default_authority = "../x"'),
        ("notices", "stages_days = [7, 7]"),
        ("notices", "stages_days = [1, 7]"),
        ("notices", "stages_days = [0]"),
        ("notices", "stages_days = [true]"),
        ("notices", 'webhook = "file:///etc/passwd"'),
        ("logs", 'level = "DEBUG"'),
        ("scheduler", "reconcile = -1"),
    ],
)
def test_what_is_not_allowed_is_refused_in_words(tmp_path: Path, section: str, value: str) -> None:
    key = value.partition(" ")[0]
    problem = the_problem(tmp_path, f"[{section}]\n{value}")
    assert problem.key == f"{section}.{key}"
    assert problem.message == f"must be {allowed(fields(section)[key])}"


def test_values_that_contradict_each_other(tmp_path: Path) -> None:
    text = '[validation]\nhost = "0.0.0.0"\n[crl]\nfull_hours = 1\ndelta_hours = 2'
    assert [problem.message for problem in refused(tmp_path, text)] == [
        "url must be set where host is 0.0.0.0",
        "delta_hours must not be more than full_hours",
    ]
    for host in ("127.0.0.1", "::"):
        text = f'[api]\nport = 8080\nhost = "{host}"'
        assert "same host and port" in the_problem(tmp_path, text).message


def test_a_url_for_an_ipv6_listener(tmp_path: Path) -> None:
    settings = load(tmp_path, '[validation]\nhost = "::1"')
    assert settings.validation.public_url == "http://[::1]:8080"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[api\n", "is not TOML"),
        (b"[api]\nport = 1\nport = 2", "is not TOML"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"#" * (2**20 + 1), "has more than"),
    ],
)
def test_files_that_are_no_toml(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "ikewarden.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsInvalid, match=words):
        load_settings(path, {})


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsMissing) as refusal:
        load_settings(tmp_path / "none.toml", {})
    assert "init" in refusal.value.next_step
    with pytest.raises(SettingsInvalid, match="directory"):
        load_settings(tmp_path, {})


def test_text_that_is_not_utf8_in_the_environment(tmp_path: Path) -> None:
    problem = the_problem(tmp_path, IKEWARDEN_KEYS__DIRECTORY="a\udcff")
    assert problem.message == "must be UTF-8 text"


@given(
    st.sampled_from(PAIRS),
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(),
        st.dates(),
        st.lists(st.one_of(st.integers(), st.text())),
        st.dictionaries(st.text(), st.integers()),
    ),
)
def test_no_value_breaks_the_model(pair: tuple[str, str], value: Any) -> None:
    section, key = pair
    document: Any = {key: tuple(value) if isinstance(value, list) else value}
    for name in reversed(section.split(".")):
        document = {name: document}
    try:
        settings = Settings.model_validate(document, context={"base": Path("/base")})
    except ValidationError:
        return
    kept = attrgetter(f"{section}.{key}")(settings)
    assert kept is None or not isinstance(kept, datetime.date | dict)
    assert not isinstance(kept, float) or math.isfinite(kept)


# ----------------------------------------------------------------- secrets in settings


PASSWORD_URL = "postgresql://ikewarden:hunter2@db.example/ikewarden"


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    text = f'[database]\nurl = "{PASSWORD_URL}"\n[notices]\nwebhook = "https://x/hunter2"'
    settings = load(tmp_path, text)
    assert settings.database.url == PASSWORD_URL.replace("postgresql", "postgresql+psycopg")
    shown = [repr(settings), str(settings), settings.model_dump_json()]
    assert "hunter2" not in "".join(shown)


def test_refusals_do_not_repeat_values(tmp_path: Path) -> None:
    text = '[database]\nurl = "hunter2://u:hunter2@h"\n[notices]\nwebhook = "hunter2"'
    problems = refused(tmp_path, text, IKEWARDEN_KEYS__PASSPHRASE_ENV="hunter2 hunter2")
    assert len(problems) == 3
    assert "hunter2" not in "".join(map(str, problems))


def test_a_password_in_a_file_that_all_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ikewarden.toml"
    load(tmp_path, f'[database]\nurl = "{PASSWORD_URL}"')
    path.chmod(0o640)
    load_settings(path, {})
    path.chmod(0o644)
    with pytest.raises(SettingsInvalid, match="chmod o-rwx"):
        load_settings(path, {})
    load_settings(path, {"IKEWARDEN_DATABASE__URL": PASSWORD_URL})
    path.chmod(0o646)
    with pytest.raises(SettingsInvalid, match="chmod o-w"):
        load_settings(path, {"IKEWARDEN_DATABASE__URL": PASSWORD_URL})


# ----------------------------------------------------------------- the reference page


@pytest.mark.parametrize(("section", "key"), PAIRS)
def test_every_setting_is_described(section: str, key: str) -> None:
    field = fields(section)[key]
    assert field.description
    assert field.description.endswith(".")
    assert allowed(field)
    assert not field.is_required()
    assert kind(field).base in (bool, int, float, str, Path)


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / PAGE).read_text() == render(), "run: python -m ikewarden.settings_reference"


def test_the_page_has_every_setting() -> None:
    page = render()
    for section, key in PAIRS:
        assert f"`{variable(section, key)}`" in page


# ----------------------------------------------------------------- sections in sections


def test_a_section_in_a_section(tmp_path: Path) -> None:
    text = '[keys]\nstore = "pkcs11"\n[keys.pkcs11]\nmodule = "lib/p.so"\ntoken = "ca"\n'
    settings = load(tmp_path, text, IKEWARDEN_KEYS__PKCS11__SESSIONS="3")
    assert settings.keys.pkcs11.module == tmp_path / "lib/p.so"
    assert (settings.keys.pkcs11.token, settings.keys.pkcs11.sessions) == ("ca", 3)
    assert variable("keys.pkcs11", "pin_file") == "IKEWARDEN_KEYS__PKCS11__PIN_FILE"


def test_what_is_wrong_in_a_section_in_a_section(tmp_path: Path) -> None:
    problems = refused(
        tmp_path,
        '[keys.pkcs11]\nmodul = "p.so"\nsessions = 0\n',
        IKEWARDEN_KEYS__PKCS11__TOKN="ca",
    )
    assert {(each.key, each.message) for each in problems} == {
        ("keys.pkcs11.modul", "is not a setting; did you mean keys.pkcs11.module?"),
        ("keys.pkcs11.sessions", "must be a whole number from 1 to 64"),
        (
            "IKEWARDEN_KEYS__PKCS11__TOKN",
            "is not a setting; did you mean IKEWARDEN_KEYS__PKCS11__TOKEN?",
        ),
    }
    problem = the_problem(tmp_path, "[keys]\npkcs11 = 3\n")
    assert (problem.key, problem.message) == ("keys.pkcs11", "must be a table: [keys.pkcs11]")
    problem = the_problem(tmp_path, '[keys.pkcs11]\nmodule = "p.so"\n')
    assert (problem.key, problem.message) == (
        "keys.pkcs11",
        "needs token or serial where module is set",
    )
    problem = the_problem(tmp_path, '[keys]\nstore = "pkcs11"\n')
    assert problem.key == "keys"
