"""One installation and one listener for each module, on each database."""

import contextlib
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.engine import open_store
from tests.api.serving import Serving, serve
from tests.api.site import Site, found_site
from tests.fixtures.databases import _TEMPLATE, DATABASES
from tests.fixtures.postgresql import Server

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def module_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for this module's files."""
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module", params=DATABASES)
def site(request: pytest.FixtureRequest, module_directory: Path) -> Iterator[Site]:
    """An installation that the tests of a module share."""
    with contextlib.ExitStack() as stack:
        if request.param == "sqlite":
            template: Path = request.getfixturevalue("sqlite_template")
            path = module_directory / f"records-{next(_numbers)}.db"
            shutil.copy(template, path)
            url = f"sqlite:///{path}"
        else:
            server: Server = request.getfixturevalue("postgresql_server")
            url = stack.enter_context(server.database(_TEMPLATE))
        store = open_store(url, pool_size=16)
        stack.callback(store.close)
        yield found_site(store, module_directory, url)


@pytest.fixture(scope="module")
def serving(site: Site) -> Iterator[Serving]:
    """The listener of a module."""
    with serve(site) as running:
        yield running
