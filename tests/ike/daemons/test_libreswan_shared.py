"""Shared secrets of Libreswan: the contract on a live pluto."""

import pytest

from tests.ike.daemons.pluto_shared_rig import SharedPlutoRig
from tests.ike.daemons.sharedcontract import PpkContract, SharedRig
from tests.lab import Lab

pytestmark = pytest.mark.usefixtures("needs_pluto")


class TestLibreswanShared(PpkContract):
    @pytest.fixture
    def rig(self, lab: Lab) -> SharedRig:
        return SharedPlutoRig(lab)
