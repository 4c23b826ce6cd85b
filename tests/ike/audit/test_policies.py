"""The policy of an audit: read strictly."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from ike.audit.policies import BASELINES, PolicyInvalid, read
from ike.audit.values import Policy


def written(folder: Path, text: str) -> tuple[Policy, tuple[str, ...]]:
    path = folder / "policy.toml"
    path.write_text(text, "utf-8")
    return read(path)


def test_all_of_it(tmp_path: Path) -> None:
    policy, paths = written(
        tmp_path,
        "baseline = 'bsi'\ngroups = ['vpn']\nusers = ['strongswan']\nencrypted_keys = true\n"
        "certificates_only = true\nexpiring_days = 60\npsk_bits = 128\npaths = ['/srv/keys']\n",
    )
    assert policy == Policy(
        "bsi", frozenset({"vpn"}), frozenset({"strongswan"}), True, True, 60, 128
    )
    assert paths == ("/srv/keys",)


def test_nothing_is_the_default(tmp_path: Path) -> None:
    assert written(tmp_path, "") == (Policy(), ())
    assert Policy().baseline in BASELINES


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("baseline = 'fips'", "one of rfc"),
        ("baseline = ['rfc']", "one of rfc"),
        ("groups = 'vpn'", "a list of texts"),
        ("users = [0]", "a list of texts"),
        ("users = ['']", "a list of texts"),
        ("encrypted_keys = 1", "true or false"),
        ("psk_bits = true", "a whole number"),
        ("psk_bits = 100000", "a whole number"),
        ("expiring_days = -1", "a whole number"),
        ("paths = ['keys']", "begin with a slash"),
        ("published_keys = ['blocklist.dat']", "begin with a slash"),
        ("published = ['/blocklist.dat']", "published is no setting"),
        ("colour = 'red'", "colour is no setting"),
        ("baseline = ", "is no TOML"),
        (f"psk_bits = {'9' * 5000}", "a number that is too long"),
    ],
)
def test_a_mistake_is_told(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(PolicyInvalid, match=said):
        written(tmp_path, text)


def test_the_error_names_every_setting() -> None:
    settings = {each.name for each in fields(Policy)} - {"published"} | {"paths", "published_keys"}
    named = set(re.findall("[a-z_]+", PolicyInvalid.next_step.partition(":")[2]))
    assert named == settings
