"""The filled fleet."""

import pytest

from pki.desk import Desk
from tests.reporting.scene import Fleet, fill


@pytest.fixture
def fleet(desk: Desk) -> Fleet:
    """A fleet in which something of everything has happened."""
    return fill(desk)
