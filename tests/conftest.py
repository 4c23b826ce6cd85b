"""Shared fixtures, by subject, in `tests/fixtures/`."""

import os
import shutil

import pytest
from hypothesis import settings

# No test is judged by how long it took: the machine may be busy.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

pytest_plugins = [
    "tests.fixtures.needs",  # before those that import it
    "tests.fixtures.databases",
    "tests.fixtures.desk",
    "tests.fixtures.lab",
    "tests.fixtures.openbao",
    "tests.fixtures.served",
    "tests.fixtures.softhsm",
    "tests.fixtures.custody",
]

# What takes long is begun first: a worker does a whole file, and who begins a long one late is alone with it at last.
# In the order of their lengths, as `--durations=0` told them; all others are short.
_LONG = (
    "ike/daemons/test_real_esp.py",
    "docs/test_guides.py",
    "docs/test_running.py",
    "service/test_no_secrets.py",
    "ike/agent/test_sharing.py",
    "lab/test_rotation_faults.py",
    "ike/audit/test_comparison.py",
    "lab/test_recording.py",
    "api/test_hostile.py",
    "ike/daemons/test_strongswan_swaps.py",
    "pki/test_kill.py",
    "service/test_hsm.py",
    "ike/daemons/test_libreswan_live.py",
    "pki/test_rollover.py",
    "pki/test_clockwork.py",
    "ike/agent/test_tokens.py",
    "pki/test_approvals.py",
    "service/test_secret_store.py",
    "lab/test_rotation_pluto.py",
    "lab/test_tokens.py",
    "lab/test_rotation.py",
    "ike/daemons/test_strongswan_beside.py",
    "ike/agent/test_generations.py",
    "scheduler/test_telling.py",
    "service/test_transit.py",
    "pki/test_audit_check.py",
    "pki/test_approval_kill.py",
    "lab/test_story.py",
    "pki/test_two_at_once.py",
    "lab/test_agents.py",
    "pki/test_judges.py",
    "ike/agent/test_program.py",
    "pki/test_ocsp_responder.py",
    "pki/test_ceremony.py",
    "lab/test_rollover.py",
    "ike/agent/test_channel.py",
    "lab/test_agents_at_length.py",
    "service/test_kill.py",
)
_PLACES = {f"tests/{name}": place for place, name in enumerate(_LONG)}


_MEMORY = "/dev/shm"
_ROOM = 4 * 2**30


def pytest_configure() -> None:
    """Keep what tests write in memory where there is room: the service waits for the disk at each commit (SQLite with
    synchronous=FULL), and most of the tests' time went there. What a SIGKILL leaves is the same in both.
    """
    if os.path.ismount(_MEMORY) and os.access(_MEMORY, os.W_OK):
        if shutil.disk_usage(_MEMORY).free > _ROOM:
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", _MEMORY)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _PLACES.get(item.nodeid.partition("::")[0], len(_LONG)))
