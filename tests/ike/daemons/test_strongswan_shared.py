"""The contract of shared secrets on live charon daemons, and what is charon's own."""

import pytest

from tests.ike.daemons.shared_charon_rig import SharedCharonRig
from tests.ike.daemons.sharedcontract import PpkContract, SharedRig
from tests.lab import Lab


class TestStrongSwan(PpkContract):
    @pytest.fixture
    def rig(self, lab: Lab) -> SharedRig:
        return SharedCharonRig(lab)
