"""What needs ESP of the kernel, on a machine that has none: the same tests in a guest of User-Mode Linux."""

import re
import sys

import pytest

from tests.lab import uml

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# A boot and two daemons take their time there; what is timed to the second is tested outside.
_LIMIT = 900.0
_WITH_CHILDREN = [
    "tests/ike/daemons/test_libreswan.py::TestLibreswan::test_lists_an_sa",
    "tests/ike/daemons/test_libreswan.py::TestLibreswan::test_reauthenticate_tells_how_many",
    "tests/ike/daemons/test_libreswan.py::TestLibreswan::test_a_tunnel_is_authenticated_afresh_under_the_new_one",
]
_PAIR = ["tests/ike/daemons/test_pair.py"]
_SHARED = [
    "tests/ike/daemons/test_libreswan_shared.py::TestLibreswanShared::test_a_reauthentication_is_an_up_and_a_rekeying_is_none",
    "tests/ike/daemons/test_libreswan_shared.py::TestLibreswanShared::test_a_ppk_rotates_without_disturbing_the_sa",
    "tests/ike/daemons/test_libreswan_secrets.py::test_two_plutos_go_over_to_a_new_secret",
]
_BESIDE = ["tests/ike/daemons/test_strongswan_beside.py::test_a_pluto_takes_it_too"]
_LIST = [
    "tests/cli/test_sa_list.py::test_of_a_host_with_charon",
    "tests/cli/test_sa_list.py::test_what_authenticated_charon_and_pluto",
]


@pytest.mark.usefixtures("needs_uml")
@pytest.mark.parametrize(
    ("tests", "count"),
    [(_WITH_CHILDREN, 3), (_PAIR, 3), (_SHARED, 3), (_BESIDE, 1), (_LIST, 2)],
    ids=["contract", "pair", "shared", "beside", "list"],
)
def test_with_esp_of_a_kernel(tests: list[str], count: int) -> None:
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--color=no"]
    ran = uml.run([*pytest_, *tests], timeout=_LIMIT, env={"CI": "true", "IKEWARDEN_ESP": "kernel"})
    said = _COLOURS.sub("", ran.output)
    assert ran.status == 0, said[-8000:]
    # Each file knows by itself whether there is ESP; that it was so is seen by none having been left out.
    assert re.search(rf"\b{count} passed in ", said), said[-2000:]
