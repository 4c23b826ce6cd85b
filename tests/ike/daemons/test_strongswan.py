"""The contract of the port on live charon daemons, and what is charon's own."""

import pytest

from tests.ike.daemons.charon_rig import CharonRig
from tests.ike.daemons.contract import Rig, SeeingContract, WipedContract
from tests.lab import Lab


class TestStrongSwan(WipedContract, SeeingContract):
    @pytest.fixture
    def rig(self, lab: Lab) -> Rig:
        return CharonRig(lab)
