"""Settings of the two-person rule."""

from datetime import timedelta
from pathlib import Path

import pytest

from ikewarden.settings import SettingsInvalid
from ikewarden.wiring import make_rules
from pki.guarded import Guarded
from tests.program.test_settings import load


def test_it_is_off_until_something_is_named(tmp_path: Path) -> None:
    assert make_rules(load(tmp_path)).approvals.required == frozenset()


def test_what_is_named_becomes_a_rule(tmp_path: Path) -> None:
    text = '[approvals]\nrequired = ["authority.create", "role.change"]\nvalid_hours = 8'
    found = make_rules(load(tmp_path, text + "\nmass_revocation = 5")).approvals
    assert found.required == {Guarded.AUTHORITY_CREATE, Guarded.ROLE_CHANGE}
    assert (found.valid, found.mass_revocation) == (timedelta(hours=8), 5)
    everything = ", ".join(f'"{each}"' for each in Guarded)
    found = make_rules(load(tmp_path, f"[approvals]\nrequired = [{everything}]")).approvals
    assert found.required == frozenset(Guarded)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('required = ["authority.make"]', "names of acts, each once"),
        ('required = ["role.change", "role.change"]', "names of acts, each once"),
        ('required = ["authority.create"]', "role.change"),
        ("valid_hours = 0", "from 1 to 720"),
        ("mass_revocation = -1", "from 0"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsInvalid, match=said):
        load(tmp_path, f"[approvals]\n{text}")
