"""How the program starts: quickly, in parts, on the base install, and always with help."""

import importlib
import json
import os
import subprocess
import sys
from importlib.metadata import distribution, requires
from pathlib import Path

import click
import pytest
from packaging.requirements import Requirement

import ikewarden
from ikewarden.cli.help import CONNECTION
from ikewarden.cli.lazy import LazyGroup
from ikewarden.cli.reference import PAGE, page
from ikewarden.cli.root import program
from tests.fixtures.served import PROGRAM, Served, run, surroundings

ROOT = Path(ikewarden.__file__).parent.parent
HEAVY = ("rich", "urllib3", "cryptography", "pydantic", "sqlalchemy", "flask")


def commands(
    above: click.Context | None = None,
) -> list[tuple[tuple[str, ...], click.Command, click.Context]]:
    """Every command with its path and context, groups too."""
    context = above or click.Context(program, info_name="ikewarden")
    group = context.command
    assert isinstance(group, click.Group)
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, parent=context, info_name=name)
        path = tuple(inner.command_path.split()[1:])
        found.append((path, command, inner))
        if isinstance(command, click.Group):
            found += commands(inner)
    return found


ALL = commands()
IDS = [" ".join(path) for path, _, _ in ALL]


def test_help_comes_at_once() -> None:
    best = 9.0
    for _ in range(5):
        process = subprocess.Popen(
            [*PROGRAM, "--help"], stdout=subprocess.DEVNULL, env=surroundings()
        )
        # Time on a processor: the machine may be busy with other tests.
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        best = min(best, used.ru_utime + used.ru_stime)
    assert best < 0.3


def test_help_of_the_program_imports_nothing_heavy() -> None:
    script = (
        "import sys; from ikewarden.main import main; sys.argv = ['ikewarden', '--help']; main();"
        f"print('HEAVY', [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, env=surroundings()
    )
    assert done.stdout.decode().splitlines()[-1] == "HEAVY []"


@pytest.mark.parametrize(("path", "command", "context"), ALL, ids=IDS)
def test_every_command_has_help_with_an_example(
    path: tuple[str, ...], command: click.Command, context: click.Context
) -> None:
    text = command.get_help(context)
    assert "Example:\n" in text
    assert f"ikewarden {' '.join(path)}" in text.partition("Example:")[2]
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


@pytest.mark.parametrize(("path", "command", "context"), ALL, ids=IDS)
def test_lists_of_commands_say_what_the_commands_say(
    path: tuple[str, ...], command: click.Command, context: click.Context
) -> None:
    group = context.parent.command if context.parent else None
    assert isinstance(group, LazyGroup)
    said = (command.help or "").replace("\b", "").strip().split("\n\n")[0]
    assert group.lazy[path[-1]].summary == " ".join(said.split())


def test_everything_that_talks_to_a_service_prints_json_on_demand() -> None:
    without = {
        path
        for path, command, _ in ALL
        if not isinstance(command, click.Group)
        and "--format" not in [name for each in command.params for name in each.opts]
    }
    assert without == {("serve",), ("migrate",), ("agent", "run"), ("completion",)}


OFFLINE = {
    ("check-config",),
    ("cert", "lint"),
    ("audit",),
    ("doctor",),
    ("sa", "events"),
    ("sa", "analyze"),
    ("alert", "explain"),
    ("completion",),
}


# They work on an instance's settings.
ON_AN_INSTANCE = {"init", "serve", "health", "migrate", "backup", "restore", "vault", "hsm"} | {
    "change-passphrase"
}
ON_ITS_SETTINGS = {
    ("audit-log", "verify"),
    ("audit-log", "accept-gap"),
    ("ca", "ceremony"),
    ("ca", "rollover", "request"),
} | {("ca", name) for name in ("request", "sign", "import", "crl")}


def test_commands_take_all_connection_options_or_only_the_directory() -> None:
    for path, command, _ in ALL:
        names = {each.name for each in command.params} & CONNECTION
        if path in OFFLINE or isinstance(command, click.Group):
            assert not names
        elif path[0] in ON_AN_INSTANCE or path in ON_ITS_SETTINGS:
            assert names == {"dir"}
        elif (
            path[0] == "agent"
        ):  # it has a home, and its own credential; `enroll --key` says where that is made
            assert not names - ({"key"} if path[1:] == ("enroll",) else set())
        elif path == ("secret", "claim"):  # a stranger's, who has the link and nothing else
            assert names == {"url", "ca_file"}
        else:
            assert names == CONNECTION


def test_the_reference_page_is_up_to_date() -> None:
    assert (ROOT / PAGE).read_text() == page(), "run: make docs"


def test_the_package_is_the_program() -> None:
    command = [sys.executable, "-m", "ikewarden", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=surroundings())
    assert done.stdout.startswith("ikewarden")


def test_version() -> None:
    done = run("--version")
    assert (done.code, done.out) == (0, f"ikewarden {distribution('ikewarden').version}\n")


@pytest.mark.parametrize(
    ("line", "expected"), [("ikewarden ce", "cert"), ("ikewarden cert le", "")]
)
def test_shells_complete_commands(line: str, expected: str) -> None:
    done = run(
        environ={
            "_IKEWARDEN_COMPLETE": "bash_complete",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split()) - 1),
        }
    )
    assert [each.partition(",")[2] for each in done.out.split()] == [expected] * bool(expected)


def test_shells_complete_options_and_values() -> None:
    environ = {
        "_IKEWARDEN_COMPLETE": "bash_complete",
        "COMP_WORDS": "ikewarden cert issue --key-type ec",
        "COMP_CWORD": "4",
    }
    found = [each.partition(",")[2] for each in run(environ=environ).out.split()]
    assert found == ["ec-p256", "ec-p384", "ec-p521"]


@pytest.fixture(scope="module")
def base_install(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with the standard library, our code and what the base install requires, and nothing else."""
    place = tmp_path_factory.mktemp("base")
    waiting, known = ["ikewarden"], set()
    while waiting:
        name = waiting.pop()
        for text in requires(name) or ():
            requirement = Requirement(text)
            plain = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if plain and requirement.name not in known:
                known.add(requirement.name)
                waiting.append(requirement.name)
                _link(requirement.name, place)
    return {"PYTHONPATH": f"{place}{os.pathsep}{ROOT}"}


def _link(name: str, place: Path) -> None:
    found = distribution(name)
    for top in {file.parts[0] for file in found.files or ()}:
        if top not in ("..", "__pycache__") and not (place / top).exists():
            (place / top).symlink_to(Path(str(found.locate_file(top))))


def bare(base_install: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the program on the base install (-S: without the site-packages of the tests)."""
    return subprocess.run(
        [sys.executable, "-S", "-m", "ikewarden.main", *map(str, arguments)],
        env=surroundings(base_install),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_base_install_is_bare(base_install: dict[str, str]) -> None:
    for name in ("pydantic", "sqlalchemy", "flask", "apscheduler", "uvicorn"):
        importlib.import_module(name)  # so that its absence there means something
        done = subprocess.run(
            [sys.executable, "-S", "-c", f"import {name}"],
            env=surroundings(base_install),
            capture_output=True,
            check=False,
        )
        assert b"ModuleNotFoundError" in done.stderr


@pytest.mark.parametrize(("path", "command", "context"), ALL, ids=IDS)
def test_every_help_page_needs_the_base_install_only(
    base_install: dict[str, str],
    path: tuple[str, ...],
    command: click.Command,
    context: click.Context,
) -> None:
    done = bare(base_install, *path, "--help")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "arguments", [("init",), ("serve",), ("check-config", "ikewarden.toml")], ids=lambda a: a[0]
)
def test_commands_of_the_server_name_the_part_that_is_missing(
    base_install: dict[str, str], arguments: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "ikewarden.toml").write_text("")
    where = ("--dir", str(tmp_path)) if arguments[0] != "check-config" else ()
    done = bare(base_install, *arguments, *where)
    assert done.returncode == 1
    assert "pip install '.[server]'" in done.stderr
    assert "(extra_missing)" in done.stderr


def test_logs_are_read_on_the_base_install(base_install: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "charon.log"
    log.write_text("07[IKE] <gw|3> giving up after 5 retransmits\n")
    done = bare(base_install, "sa", "events", log)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["event"] == "giving_up"
    log.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(20))  # zstd, which only an extra can read
    done = bare(base_install, "sa", "events", log)
    assert done.returncode == 2
    assert "(log_zstd_missing)" in done.stderr


def test_tunnels_are_examined_on_the_base_install(
    base_install: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "etc/swanctl"
    folder.mkdir(parents=True)
    (folder / "swanctl.conf").write_text(
        "connections {\n  gw {\n    local {\n      auth = psk\n    }\n    remote {\n      auth = psk\n"
        "    }\n  }\n}\n"
    )
    done = bare(base_install, "doctor", "gw", "--root", tmp_path, "--format", "json")
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout)["next"]["check"] == "secret"


def test_clients_work_on_the_base_install(
    base_install: dict[str, str], served: Served, tmp_path: Path
) -> None:
    where = ("--dir", served.directory)
    out = tmp_path / "gw"
    for arguments in (
        ("whoami", *where),
        ("ca", "list", *where),
        ("profile", "list", *where),
        ("token", "list", *where),
        ("job", "list", *where),
        ("audit-log", "list", "--limit", "9", "--format", "json", *where),
        ("cert", "issue", "bare.example", "--out", out, *where),
        ("cert", "list", "bare.example", *where),
        ("cert", "lint", out / "bare.example.pem"),
    ):
        done = bare(base_install, *arguments)
        assert (done.returncode, done.stderr) == (0, ""), arguments


def test_client_commands_load_nothing_of_the_server(tmp_path: Path) -> None:
    script = (
        "import sys; from ikewarden.main import main;"
        "sys.argv = ['ikewarden', 'whoami', '--url', 'https://localhost:1', '--token-file', 't', "
        "'--ca-file', 'c']; code = main();"
        "print(code, [name for name in ('pydantic', 'sqlalchemy', 'flask') if name in sys.modules])"
    )
    (tmp_path / "t").write_text("x")
    (tmp_path / "t").chmod(0o600)
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        check=True,
        env=surroundings(),
        cwd=tmp_path,
    )
    assert done.stdout.decode().splitlines()[-1] == "2 []"
