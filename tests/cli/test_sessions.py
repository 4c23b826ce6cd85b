"""Who is signed in to the console, from the command line."""

from pki.actors import Role
from tests.api.conftest import module_directory, serving, site  # noqa: F401 - fixtures
from tests.cli.test_secrets import Terminal, terminal  # noqa: F401 - a fixture
from tests.console.browser import Browser

NAME = "carol"


def test_sessions_are_listed_and_ended(terminal: Terminal) -> None:  # noqa: F811 - a fixture
    refused = terminal.run("session", "list")
    assert (refused.code, "role_not_permitted" in refused.err) == (1, True)
    (terminal.directory / "token").write_text(terminal.serving.site.tokens[Role.ADMIN])
    assert f"{NAME} is not signed in." in terminal.run("session", "list", "--person", NAME).err
    token = terminal.serving.site.token(Role.AUDITOR, name=NAME)
    browsers = [Browser(terminal.serving) for _ in range(3)]
    try:
        for each in browsers:
            assert each.sign_in(token).status == 303
        done = terminal.run("session", "list", "--person", NAME.upper())
        assert done.code == 0, done.err
        header, *rows = done.out.splitlines()
        assert header.split()[:4] == ["Session", "Person", "Role", "Way"]
        number = rows[-1].split()[0]
        assert f"Ended the session {number}." in terminal.run("session", "end", number).err
        assert [each.send("GET", "/").status for each in browsers] == [401, 200, 200]
        again = terminal.run("session", "end", number)
        assert (again.code, "session_not_found" in again.err) == (1, True)
        assert terminal.json("session", "end", "--person", NAME) == {"ended": 2}
        # The first one has lost its cookie with the answer before.
        assert [each.send("GET", "/").status for each in browsers] == [303, 401, 401]
        for wrong in ((), (number, "--person", NAME)):
            assert terminal.run("session", "end", *wrong).code == 2
    finally:
        for each in browsers:
            each.close()
