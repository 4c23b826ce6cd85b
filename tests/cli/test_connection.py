"""Which service is meant, and which credential it gets."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from ikewarden.cli.connection import (
    CredentialMissing,
    ServiceNotNamed,
    TokenUnusable,
    find_service,
    token_from_file,
)
from ikewarden.cli.place import InstanceUnreadable, api_url, find_directory
from ikewarden.client import ConnectionUnusable, Service
from tests.cli.conftest import credential


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with what an instance has for clients; it is not the working directory."""
    monkeypatch.chdir(tmp_path)
    directory = tmp_path / "home"
    directory.mkdir()
    (directory / "ikewarden.toml").write_text('[api]\nport = 9443\nnames = ["pki.example", "x"]\n')
    secret(directory / "admin-token", "iw_home")
    (directory / "root-ca.pem").write_text("")
    return directory


def secret(path: Path, content: str) -> Path:
    path.write_text(content)
    path.chmod(0o600)
    return path


def found(given: Mapping[str, Path | str], environ: Mapping[str, str]) -> tuple[str, str, str]:
    """URL, CA file and token that are chosen."""
    service = find_service(given, environ)
    token = service.token.reveal().decode() if service.token else ""
    return service.url, str(service.ca_file), token


def test_the_way_to_an_instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_directory(None, {}) == Path("/var/lib/ikewarden")
    assert find_directory(None, {"IKEWARDEN_DIR": "/elsewhere"}) == Path("/elsewhere")
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "ikewarden.toml").write_text("")
    assert find_directory(None, {}) == Path("var")
    assert find_directory(Path("there"), {"IKEWARDEN_DIR": "/elsewhere"}) == Path("there")


def test_a_directory_says_everything(home: Path) -> None:
    expected = ("https://pki.example:9443", f"{home}/root-ca.pem", "iw_home")
    assert found({"dir": home}, {}) == expected
    assert found({}, {"IKEWARDEN_DIR": str(home)}) == expected


def test_the_environment_wins_over_its_directory(home: Path) -> None:
    environ = {
        "IKEWARDEN_DIR": str(home),
        "IKEWARDEN_URL": "https://other:1",
        "IKEWARDEN_TOKEN": "iw_other",
        "IKEWARDEN_CA_FILE": "/other.pem",
    }
    assert found({}, environ) == ("https://other:1", "/other.pem", "iw_other")


def test_a_directory_named_by_an_option_is_meant_whole(home: Path) -> None:
    environ = {
        "IKEWARDEN_URL": "https://other:1",
        "IKEWARDEN_TOKEN": "iw_other",
        "IKEWARDEN_CA_FILE": "/other.pem",
        "IKEWARDEN_CERT_FILE": "/c",
    }
    service = find_service({"dir": home}, environ)
    assert service.url == "https://pki.example:9443"
    assert service.certificate is None
    assert service.token is not None
    assert service.token.reveal() == b"iw_home"


def test_options_win_over_the_environment(home: Path, tmp_path: Path) -> None:
    environ = {
        "IKEWARDEN_DIR": str(home),
        "IKEWARDEN_URL": "https://other:1",
        "IKEWARDEN_TOKEN": "iw_other",
        "IKEWARDEN_CA_FILE": "/other.pem",
    }
    given = {
        "url": "https://mine:2",
        "token_file": secret(tmp_path / "mine", "iw_mine\n"),
        "ca_file": Path("/mine.pem"),
    }
    assert found(given, environ) == ("https://mine:2", "/mine.pem", "iw_mine")


def test_a_token_in_a_directory_is_not_sent_to_those_of_another_root(home: Path) -> None:
    mine, other = (credential(home.parent / name)[0] for name in ("mine", "other"))
    (home / "root-ca.pem").write_bytes(mine.read_bytes())
    both = home.parent / "both.pem"
    both.write_bytes(mine.read_bytes() + other.read_bytes())
    for ca_file in (other, both):
        given = {"url": "https://other:1", "ca_file": ca_file}
        with pytest.raises(CredentialMissing, match="kept back"):
            find_service(given, {"IKEWARDEN_DIR": str(home)})


def test_a_token_in_a_directory_is_for_its_root_in_whatever_file(home: Path) -> None:
    mine, _ = credential(home.parent / "mine")
    root = home / "root-ca.pem"
    root.write_bytes(mine.read_bytes())
    for ca_file in (root, mine):
        given = {"dir": home, "ca_file": ca_file}
        assert found(given, {}) == ("https://pki.example:9443", str(root), "iw_home")


def test_a_file_without_a_root_is_told_before_a_missing_token(home: Path) -> None:
    for ca_file, said in ((home / "ikewarden.toml", "holds no PEM"), (Path("/none"), "no CA file")):
        with pytest.raises(ConnectionUnusable, match=said):
            find_service({"dir": home, "ca_file": ca_file}, {})


def test_a_certificate_takes_the_place_of_a_token(home: Path) -> None:
    given = {"dir": home, "cert": Path("c.pem"), "key": Path("k.pem")}
    service = find_service(given, {})
    assert (service.certificate, service.key, service.token) == (Path("c.pem"), Path("k.pem"), None)
    service = find_service(
        {"cert": Path("c.pem")}, {"IKEWARDEN_DIR": str(home), "IKEWARDEN_TOKEN": "t"}
    )
    assert service.token is None
    both = {"IKEWARDEN_CERT_FILE": "c", "IKEWARDEN_KEY_FILE": "k", "IKEWARDEN_TOKEN": "t"}
    service = find_service({}, {"IKEWARDEN_DIR": str(home), **both})
    assert (service.certificate, service.key) == (Path("c"), Path("k"))
    assert service.token is not None


def test_a_token_file_may_be_named_in_the_environment(home: Path, tmp_path: Path) -> None:
    path = secret(tmp_path / "t", "iw_file")
    environ = {"IKEWARDEN_DIR": str(home), "IKEWARDEN_TOKEN_FILE": str(path)}
    assert found({}, environ)[2] == "iw_file"


def test_no_service_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ServiceNotNamed, match=f"no instance in {tmp_path}/none") as caught:
        find_service({"dir": tmp_path / "none"}, {})
    assert "--url" in caught.value.next_step


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        ("", {}, "https://localhost:8443"),
        ("[api]\nnames = ['a.example']", {}, "https://a.example:8443"),
        ("[api]\nnames = ['2001:db8::1']\nport = 1", {}, "https://[2001:db8::1]:1"),
        ("[api]\nnames = ['192.0.2.1']", {}, "https://192.0.2.1:8443"),
        ("[api]\nnames = []", {}, "https://localhost:8443"),
        ("api = 3", {}, "https://localhost:8443"),
        ("[api]\nport = 1", {"IKEWARDEN_API__PORT": "2"}, "https://localhost:2"),
        ("", {"IKEWARDEN_API__NAMES": "b.example, c"}, "https://b.example:8443"),
    ],
)
def test_the_url_of_an_instance(
    tmp_path: Path, text: str, environ: Mapping[str, str], expected: str
) -> None:
    (tmp_path / "ikewarden.toml").write_text(text)
    assert api_url(tmp_path, environ) == expected


@pytest.mark.parametrize("content", [b"[api", b"\xff\xfe"])
def test_settings_that_are_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ikewarden.toml").write_bytes(content)
    with pytest.raises(InstanceUnreadable, match="is not TOML"):
        api_url(tmp_path, {})


def test_settings_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "ikewarden.toml").mkdir()
    with pytest.raises(InstanceUnreadable, match="cannot be read: Is a directory"):
        api_url(tmp_path, {})


@pytest.mark.parametrize("content", ["", "\n", "two words", "ü", "a\0b", "x" * 5000])
def test_files_without_a_token(tmp_path: Path, content: str) -> None:
    path = secret(tmp_path / "t", content)
    with pytest.raises(TokenUnusable, match="holds no token") as caught:
        token_from_file(path)
    assert not content.strip() or content not in str(caught.value)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o601])
def test_a_token_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = secret(tmp_path / "t", "iw_x")
    path.chmod(mode)
    with pytest.raises(TokenUnusable, match=f"open to others \\(mode {mode:04o}\\)") as caught:
        token_from_file(path)
    assert f"chmod 600 '{path}'" in caught.value.next_step


def test_token_files_that_are_not_there_or_no_files(tmp_path: Path) -> None:
    with pytest.raises(TokenUnusable, match="No such file"):
        token_from_file(tmp_path / "none")
    directory = tmp_path / "d"
    directory.mkdir(mode=0o700)
    with pytest.raises(TokenUnusable, match="Is a directory"):
        token_from_file(directory)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(TokenUnusable, match="holds no token"):
        token_from_file(tmp_path / "pipe")


def test_a_token_may_come_through_a_pipe() -> None:
    slow = ["sh", "-c", "sleep 0.2; echo iw_pipe"]
    with subprocess.Popen(slow, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        path = Path(f"/dev/fd/{writer.stdout.fileno()}")
        assert token_from_file(path).reveal() == b"iw_pipe"


def test_a_service_does_not_show_its_token(tmp_path: Path) -> None:
    token = token_from_file(secret(tmp_path / "t", "iw_canary"))
    assert "canary" not in repr(Service("https://x", Path("c"), token))
