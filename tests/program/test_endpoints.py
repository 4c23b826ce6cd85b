"""Enrollment endpoints from files: read strictly, and told of."""

from pathlib import Path

import pytest

from ikewarden.settings_endpoints import InvalidEndpoint, endpoints_in
from pki.endpoints import AcmeDoor, CmpDoor, Endpoint, EstDoor, ScepDoor


def written(directory: Path, **files: str) -> Path:
    for name, text in files.items():
        (directory / f"{name}.toml").write_text(text)
    return directory


def test_without_files_there_is_one() -> None:
    assert endpoints_in(None) == {
        "gateway": Endpoint("gateway", "gateway", est=EstDoor(), acme=AcmeDoor())
    }


def test_files_add_and_replace(tmp_path: Path) -> None:
    directory = written(
        tmp_path,
        branches='name = "branches"\nprofile = "network-device"\nauthority = "issuing"\napproval = "manual"\n'
        '[est]\nauthentication = ["token"]\n',
        other='name = "gateway"\nprofile = "host"\n',
        keys='name = "keys"\nprofile = "user"\n[est]\nserver_keys = true\n',
        old='name = "old"\nprofile = "host"\n[scep]\nauthentication = ["certificate"]\nlegacy = true\n',
        new='name = "new"\nprofile = "host"\n[scep]\n',
        managed='name = "managed"\nprofile = "host"\n[cmp]\nauthentication = ["certificate"]\n',
        inner='name = "inner"\nprofile = "host"\n[acme]\nexternal_account = false\nchallenges = ["dns-01"]\n'
        'networks = ["10.0.0.0/8", "fd00::/8"]\nresolvers = ["10.0.0.53", "[fd00::53]:5353", '
        '"fd00::1", "127.0.0.1:54"]\n'
        "orders_per_hour = 5\n",
    )
    assert endpoints_in(directory) == {
        "gateway": Endpoint("gateway", "host"),
        "branches": Endpoint(
            "branches", "network-device", "issuing", manual=True, est=EstDoor(ways=("token",))
        ),
        "keys": Endpoint("keys", "user", est=EstDoor(server_keys=True)),
        "old": Endpoint("old", "host", scep=ScepDoor(ways=("certificate",), legacy=True)),
        "new": Endpoint("new", "host", scep=ScepDoor()),
        "managed": Endpoint("managed", "host", cmp=CmpDoor(ways=("certificate",))),
        "inner": Endpoint(
            "inner",
            "host",
            acme=AcmeDoor(
                external_account=False,
                challenges=("dns-01",),
                networks=("10.0.0.0/8", "fd00::/8"),
                resolvers=("10.0.0.53", "[fd00::53]:5353", "fd00::1", "127.0.0.1:54"),
                orders_per_hour=5,
            ),
        ),
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = ", "cannot be read"),
        ('profile = "host"', "name: Field required"),
        ('name = "a"', "profile: Field required"),
        ('name = "a"\nprofile = "host"\nlabel = "b"', "label: Extra inputs"),
        ('name = "a"\nprofile = "host"\n[est]\nserver_key = true', "est.server_key: Extra inputs"),
        ('name = "a"\nprofile = "host"\n[est]\nauthentication = []', "est.authentication"),
        ('name = "a"\nprofile = "host"\n[est]\nauthentication = ["pin"]', "est.authentication"),
        ('name = "a"\nprofile = "host"\n[scep]\nmd5 = true', "scep.md5: Extra inputs"),
        ('name = "a"\nprofile = "host"\n[scep]\nlegacy = 1', "scep.legacy"),
        ('name = "a"\nprofile = "host"\n[cmp]\nsecret = "x"', "cmp.secret: Extra inputs"),
        ('name = "a"\nprofile = "host"\n[cmp]\nauthentication = []', "cmp.authentication"),
        ('name = "a"\nprofile = "host"\n[acme]\nnetworks = ["10.0.0.1/8"]', "acme.networks.0"),
        ('name = "a"\nprofile = "host"\n[acme]\nnetworks = ["inside"]', "acme.networks.0"),
        ('name = "a"\nprofile = "host"\n[acme]\nresolvers = ["dns.example"]', "acme.resolvers.0"),
        ('name = "a"\nprofile = "host"\n[acme]\nresolvers = ["10.0.0.1:x"]', "acme.resolvers.0"),
        ('name = "a"\nprofile = "host"\n[acme]\nresolvers = ["10.0.0.1:"]', "acme.resolvers.0"),
        ('name = "a"\nprofile = "host"\n[acme]\nchallenges = []', "acme.challenges"),
        ('name = "a"\nprofile = "host"\n[acme]\nchallenges = ["dns-02"]', "acme.challenges.0"),
        ('name = "a"\nprofile = "host"\n[acme]\nhttp_port = 0', "acme.http_port"),
        ('name = "cacerts"\nprofile = "host"', "operation of EST"),
        ('name = "A b"\nprofile = "host"', "name: Value error"),
        ("name = " + "[" * 5000 + "]" * 5000, "cannot be read"),
        (
            'name = "a"\nprofile = "host"\napproval = "manual"\n[est]\nserver_keys = true',
            "cannot be approved",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InvalidEndpoint) as caught:
        endpoints_in(written(tmp_path, a=text))
    assert words in caught.value.message
    assert str(tmp_path / "a.toml") in caught.value.message


def test_names_are_told_apart(tmp_path: Path) -> None:
    text = 'name = "a"\nprofile = "host"\n'
    with pytest.raises(InvalidEndpoint, match="taken"):
        endpoints_in(written(tmp_path, one=text, two=text))


def test_a_directory_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidEndpoint, match="not a directory"):
        endpoints_in(tmp_path / "nowhere")
