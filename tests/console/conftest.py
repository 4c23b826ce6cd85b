"""The same listener as for the API, and somebody with a browser."""

from collections.abc import Callable, Iterator

import pytest

from pki.actors import Role
from tests.api.conftest import module_directory, serving, site  # noqa: F401 - fixtures
from tests.api.serving import Serving
from tests.console.browser import Browser


@pytest.fixture
def browser(serving: Serving) -> Iterator[Callable[..., Browser]]:  # noqa: F811
    """Make browsers: `browser()` is signed out, `browser(Role.ADMIN)` signed in with the token of that role."""
    made: list[Browser] = []

    def make(role: Role | str | None = None, **how: object) -> Browser:
        one = Browser(serving, **how)  # type: ignore[arg-type]
        made.append(one)
        if role is not None:
            token = serving.site.tokens[role] if isinstance(role, Role) else role
            assert one.sign_in(token).status == 303, role
        return one

    yield make
    for one in made:
        one.close()
