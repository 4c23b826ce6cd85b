"""The how-to pages that can be run as they stand; beside test_running.py, so that two workers share the work."""

import pytest

from tests.docs.playing import play
from tests.docs.sessions import SESSIONS
from tests.lab.lab import Lab


@pytest.mark.parametrize("page", [page for page in SESSIONS if "/how-to/" in page])
def test_a_guide_does_what_it_says(page: str, lab: Lab) -> None:
    assert play(page, lab) > 0
