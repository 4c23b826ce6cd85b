"""The contract of the port on a live pluto."""

import pytest

from ike.daemons.port import Credential
from tests.ike.daemons.contract import PEER, DaemonContract, Rig
from tests.ike.daemons.pluto_rig import PlutoRig
from tests.lab import Lab


@pytest.mark.usefixtures("needs_pluto")
class TestLibreswan(DaemonContract):
    @pytest.fixture
    def rig(self, lab: Lab) -> Rig:
        return PlutoRig(lab)

    def test_lists_an_sa(self, rig: Rig, first: Credential) -> None:
        """As the contract's, but for the SPIs of IKE, which pluto does not tell."""
        assert rig.daemon.sas() == ()
        name = rig.bring_up()
        (sa,) = rig.daemon.sas()
        assert (sa.connection, sa.established, sa.version) == (name, True, 2)
        assert sa.remote_id == PEER
        assert (sa.local_address, sa.remote_address) == ("192.0.2.1", "192.0.2.2")
        assert bool(sa.children) == rig.has_children
