"""Fixtures of the adapters' tests."""

import pytest

from ike.daemons.port import Credential
from tests.ike.daemons.charon_rig import CharonRig
from tests.ike.daemons.contract import install
from tests.lab import Lab


@pytest.fixture
def charon(lab: Lab) -> CharonRig:
    """A live pair of charons, nothing loaded by the adapter."""
    return CharonRig(lab)


@pytest.fixture
def first(charon: CharonRig) -> Credential:
    """A credential in use at `gw-a`; the CAs are trusted."""
    charon.daemon.trust(charon.pki.authorities)
    made = charon.pki.credential()
    install(charon.daemon, made)
    return made
