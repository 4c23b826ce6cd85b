"""What needs ESP of the kernel, on a machine that has none: the same tests in a guest of User-Mode Linux.

The quick ones here; IKEWARDEN_SOAK_ESP=1 runs them all (`make soak`).
"""

import os
import re
import sys

import pytest

from tests.lab import uml

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# A boot and two daemons take their time there; what is timed to the second is tested outside.
_LIMIT = 900.0
_QUICK = [
    "tests/ike/daemons/test_libreswan.py::TestLibreswan::test_lists_an_sa",
    "tests/ike/daemons/test_libreswan.py::TestLibreswan::test_reauthenticate_tells_how_many",
    "tests/ike/daemons/test_libreswan.py::TestLibreswan::test_a_tunnel_is_authenticated_afresh_under_the_new_one",
    "tests/ike/daemons/test_libreswan_shared.py::TestLibreswanShared::test_a_reauthentication_is_an_up_and_a_rekeying_is_none",
    "tests/ike/daemons/test_strongswan_beside.py::test_a_pluto_takes_it_too",
    "tests/ike/agent/watching/kernel_live.py",  # three
    "tests/cli/test_sa_list.py::test_of_a_host_with_charon",
    "tests/cli/test_sa_list.py::test_what_authenticated_charon_and_pluto",
]
# The guest takes a minute of a processor for these; each has its like outside, with AH or without CHILD_SAs.
_LONG = [
    "tests/ike/daemons/test_pair.py::test_both_renew_and_the_old_ones_are_worth_nothing",
    "tests/ike/daemons/test_pair.py::test_a_revoked_end_is_cut_off_by_the_other_and_cannot_come_back",
    "tests/ike/daemons/test_libreswan_shared.py::TestLibreswanShared::test_a_ppk_rotates_without_disturbing_the_sa",
    "tests/ike/daemons/test_libreswan_secrets.py::test_two_plutos_go_over_to_a_new_secret",
]
_SOAK = os.environ.get("IKEWARDEN_SOAK_ESP")
_TESTS, _COUNT = (_QUICK + _LONG, 15) if _SOAK else (_QUICK, 10)


@pytest.mark.usefixtures("needs_uml")
def test_with_esp_of_a_kernel() -> None:
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--color=no"]
    ran = uml.run(
        [*pytest_, *_TESTS], timeout=_LIMIT, env={"CI": "true", "IKEWARDEN_ESP": "kernel"}
    )
    said = _COLOURS.sub("", ran.output)
    assert ran.status == 0, said[-8000:]
    # Each file knows by itself whether there is ESP; that it was so is seen by none having been left out.
    assert re.search(rf"\b{_COUNT} passed in ", said), said[-2000:]
