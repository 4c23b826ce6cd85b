"""A secret of swanctl.conf is told of where its value stands, whoever uses it and whether or not it is read."""

import pytest

from ike.audit.discovery import discover
from ike.audit.ground import Ground
from tests.ike.audit.conftest import SWANCTL, Files

MAIN = "/etc/swanctl/swanctl.conf"
PARTS = "/etc/swanctl/conf.d/"
OPEN = "secrets-file-open-to-others"
VALUE = '"of these tests"'
ONE_LINE = f"secrets {{ ike-x {{ secret = {VALUE}\n id = gw2.example.com\n}} }}\n"


def opened(files: Files) -> set[str]:
    return {path for severity, rule, path in files.told() if (severity, rule) == ("critical", OPEN)}


def put(files: Files, parts: dict[str, str | bytes], readable: str) -> None:
    files.put(MAIN, "include conf.d/*.conf\n", 0o644)
    for name, content in parts.items():
        files.put(PARTS + name, content, 0o644 if name == readable else 0o600)


@pytest.mark.parametrize(
    ("parts", "readable"),
    [
        pytest.param(
            {
                "a.conf": f"secrets {{\n {section} {{\n  secret = {VALUE}\n  id = gw2.example.com\n }}\n}}\n",
                "b.conf": f'secrets {{\n {section} {{\n  secret = "the live one"\n }}\n}}\n',
            },
            readable,
            id=f"{section} over two files, {readable}",
        )
        for section in ("ike-x", "eap-u", "private-x", "ppk-x")
        for readable in ("a.conf", "b.conf")
    ]
    + [
        pytest.param(
            {
                "a.conf": f"base {{\n secret = {VALUE}\n}}\n",
                "b.conf": "secrets {\n ike-x : base {\n  id = gw2.example.com\n }\n}\n",
            },
            "a.conf",
            id="taken over",
        ),
        pytest.param(
            {
                "b.conf": "secrets {\n ike-y {\n  include inner.inc\n  id = gw2.example.com\n }\n}\n",
                "inner.inc": f"secret = {VALUE}\n",
            },
            "inner.inc",
            id="included in the section",
        ),
    ],
)
def test_a_secret_in_parts_is_told_of_where_its_value_stands(
    files: Files, parts: dict[str, str | bytes], readable: str
) -> None:
    put(files, parts, readable)
    assert opened(files) == {PARTS + readable}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(SWANCTL.replace("ike-gw2", "psk-gw2"), id="a kind that is not known"),
        pytest.param(SWANCTL.replace("gw2.example.com", '"two words\\n"'), id="no identity"),
        pytest.param("# \0\n" + SWANCTL, id="not text"),
        pytest.param(SWANCTL + "#" * 1_100_000, id="too large"),
        pytest.param("#\n" * 600_000 + SWANCTL, id="too large, and far behind"),
    ],
)
def test_a_part_that_cannot_be_read_is_no_less_a_file_of_secrets(
    files: Files, content: str
) -> None:
    put(files, {"a.conf": content}, "a.conf")
    assert opened(files) == {PARTS + "a.conf"}


def test_the_place_of_a_secret_is_that_of_its_value(files: Files) -> None:
    base = f"base {{\n secret = {VALUE}\n}}\n"
    put(files, {"a.conf": base, "b.conf": "secrets {\n ike-x : base {\n }\n}\n"}, "a.conf")
    (entry,) = discover(Ground(files.root)).found.entries
    assert entry.place.path == PARTS + "a.conf"


def test_settings_without_a_secret_make_no_file_of_secrets(files: Files) -> None:
    sample = f"# secrets {{ ike-x {{ secret = {VALUE} }} }}\nconnections {{\n x {{\n }}\n}}\n"
    put(files, {"a.conf": sample}, "a.conf")
    assert opened(files) == set()


@pytest.mark.parametrize("ending", [".dpkg-dist", ".ucf-dist", ".bak"])
def test_a_secret_behind_a_brace_is_one(files: Files, ending: str) -> None:
    files.put(MAIN, ONE_LINE)
    files.put(MAIN + ending, ONE_LINE, 0o644)
    assert MAIN + ending in {path for severity, _, path in files.told() if severity == "critical"}
