"""What is shown: whole, aligned, and unable to act in a terminal."""

import io
import itertools
import json
import os
import pty
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from ikewarden.cli.commands import alert
from ikewarden.cli.screen import Column, Screen, aligned, fitting, shown
from tests.cli.conftest import Actor, Answer
from tests.fixtures.served import PROGRAM, run, surroundings

COLUMNS = (Column("Serial", "serial", whole=True), Column("Names", "names"), Column("Note", "note"))
HOSTILE = (
    "gw\x1b[2J\x1b]0;owned\x07\u202eexe.moc\u2066\x9b31m\r\nFORGED ok\u200b[bold]x[/bold]:smile:"
)
SERIAL = "470d88e0ba4cc72071c54cb284893668"


def on_screen(format: str, act: Any) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    act(Screen(format, out, err))
    return out.getvalue(), err.getvalue()


def dangerous(text: str) -> set[str]:
    """Characters that act on a terminal or on the order of text."""
    return {
        each
        for each in text
        if each != "\n"
        and (unicodedata.category(each) in {"Cc", "Cf", "Cs", "Zl", "Zp"} or each == "\x7f")
    }


def on_terminal(command: list[str], environ: dict[str, str], columns: int, cwd: Path) -> str:
    """What a command writes on a terminal of that width."""
    pid, descriptor = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        terminal = {"COLUMNS": str(columns), "TERM": "xterm"}
        os.execve(command[0], command, {**environ, **terminal})  # noqa: S606 - no shell is wanted
    written = b""
    while True:
        try:
            more = os.read(descriptor, 65536)
        except OSError:  # the other end is closed
            break
        if not more:
            break
        written += more
    os.waitpid(pid, 0)
    os.close(descriptor)
    return written.decode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "-"),
        ("", "-"),
        ([], "-"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        ("2026-11-23T12:03:39.123456Z", "2026-11-23 12:03:39Z"),
        ("2026-11-23T12:03:39+02:00", "2026-11-23 10:03:39Z"),
        ("2026-11-23T12:03:39", "2026-11-23T12:03:39"),
        ("2026-99-23T12:03:39Z", "2026-99-23T12:03:39Z"),
        (["a", "b"], "a, b"),
        ({"a": 1, "b": None}, "a=1, b=-"),
        ("a\nb\x1b", "a\\nb\\x1b"),
        (["a\x07"], "a\\x07"),
    ],
)
def test_values(value: object, expected: str) -> None:
    assert shown(value) == expected


@given(st.text())
def test_no_value_acts_in_a_terminal(text: str) -> None:
    for value in (text, [text], {text: text}):
        assert not dangerous(shown(value).replace("\n", "\x00"))


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
    )
)
def test_json_says_the_same_and_acts_nowhere(value: Any) -> None:
    out, _ = on_screen("json", lambda screen: screen.json(value))
    assert json.loads(out) == value
    assert out.isascii()
    assert not dangerous(out)


def test_lines_and_notes_are_neutral() -> None:
    out, err = on_screen("text", lambda screen: (screen.line(HOSTILE), screen.note(HOSTILE)))
    assert not dangerous(out)
    assert not dangerous(err)
    assert out.count("\n") == err.count("\n") == 1


def test_notes_are_for_people() -> None:
    assert on_screen("json", lambda screen: screen.note("hello")) == ("", "")


def test_columns_stand_below_each_other_whatever_the_script() -> None:
    rows = [["a", "名前", "x"], ["bbb", "n", "y"], ["", "é", ""]]
    assert aligned(rows) == ["a    名前  x", "bbb  n     y", "     é"]
    assert aligned([]) == []


@given(
    st.lists(
        st.tuples(st.text(min_size=1), st.lists(st.text(), max_size=5), st.text()), min_size=1
    ),
)
def test_a_table_in_a_pipe_loses_nothing(rows: list[tuple[str, list[str], str]]) -> None:
    entries = [{"serial": a, "names": b, "note": c} for a, b, c in rows]
    out, _ = on_screen("text", lambda screen: screen.table(COLUMNS, entries))
    lines = out.split("\n")[:-1]
    assert len(lines) == len(entries) + 1
    for line, entry in zip(lines[1:], entries, strict=True):
        for value in entry.values():
            assert shown(value).rstrip() in line


@given(st.lists(st.tuples(st.text(), st.text(), st.text()), max_size=5), st.integers(1, 300))
def test_widths_fit_or_are_given_up(rows: list[tuple[str, str, str]], room: int) -> None:
    cells = [[shown(each) for each in row] for row in rows]
    widths = fitting(COLUMNS, cells, room)
    if widths is None:
        return
    assert sum(widths) + 2 * len(widths) <= room
    assert widths[0] == max([cell_len("Serial"), *(cell_len(row[0]) for row in cells)])


@pytest.mark.parametrize("columns", [40, 50, 60, 70, 80, 100, 120, 200])
def test_a_table_on_a_terminal_loses_nothing(actor: Actor, tmp_path: Path, columns: int) -> None:
    names = [f"dns:gateway-{number}.a-rather-long-domain.example" for number in range(4)]
    entry = {
        "serial": SERIAL,
        "status": "valid",
        "in_force": True,
        "profile": HOSTILE,
        "names": names,
        "not_after": "2027-02-21T12:03:39Z",
    }
    actor.script = [Answer.of({"items": [entry], "next_cursor": None})]
    options = actor.options(tmp_path / "token")
    command = [*PROGRAM, "cert", "list", *options]
    written = on_terminal(command, surroundings(), columns, tmp_path)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", written).replace("\r\n", "\n")
    assert "\x1b" not in plain
    assert not dangerous(plain)
    whole = [line for line in plain.split("\n") if line.strip()]
    left = whole.pop().partition("room: ")[2] if "Left out for want of room: " in whole[-1] else ""
    expected = dict(
        zip(_TITLES, [SERIAL, "valid", shown(HOSTILE), ", ".join(names), "2027-02-21"], strict=True)
    )
    titles = [title for title in _TITLES if title not in left]
    assert _cells(titles, whole) == ["".join(expected[title].split()) for title in titles]
    assert all(any(name in line for line in whole) for name in [SERIAL, *names])


_TITLES = ("Serial", "Status", "Profile", "Names", "Expires")


def _cells(titles: Sequence[str], lines: list[str]) -> list[str]:
    """What stands in each column of a table with one entry, without blanks; or in each line of a list of fields."""
    if "Status" not in lines[0]:
        terminal = "".join(lines)
        starts = [*(terminal.index(title) for title in titles), len(terminal)]
        return [
            "".join(terminal[begin + len(title) : end].split())
            for title, begin, end in zip(titles, starts, starts[1:], strict=False)
        ]
    starts = [*(lines[0].index(title) for title in titles), None]
    return [
        "".join("".join(line[begin:end] for line in lines[1:]).split())
        for begin, end in itertools.pairwise(starts)
    ]


def test_markup_is_text(actor: Actor, tmp_path: Path) -> None:
    problem = {"code": "x[bold]", "detail": HOSTILE, "next_step": HOSTILE}
    actor.script = [Answer.of(problem, 404)]
    options = actor.options(tmp_path / "token")
    for more in ((), ("--format", "json")):
        done = run("whoami", *options, *more)
        assert done.code == 1
        assert not dangerous(done.out + done.err)
        if more:
            assert done.error == problem
        else:
            assert "[bold]x[/bold]:smile:" in done.err
            assert len(done.err.splitlines()) == 2


def test_lists_say_when_there_is_nothing_or_more() -> None:
    entries = [{"serial": "1", "names": [], "note": None}]
    out, err = on_screen("text", lambda s: s.entries(COLUMNS, [], nothing="No such thing."))
    assert (out, err) == ("", "No such thing.\n")
    out, err = on_screen("text", lambda s: s.entries(COLUMNS, entries, nothing="", more=True))
    assert out == "Serial  Names  Note\n1       -      -\n"
    assert "--limit" in err
    out, _ = on_screen("json", lambda s: s.entries(COLUMNS, [], nothing=""))
    assert json.loads(out) == {"items": []}
    out, _ = on_screen("json", lambda s: s.entries(COLUMNS, entries, nothing="", more=True))
    assert json.loads(out) == {"items": entries, "more": True}


def test_one_thing_shows_inner_fields_by_their_way() -> None:
    document = {"a": 1, "b": {"c": ["x", "y"], "d": {}}, "e": []}
    out, _ = on_screen("text", lambda screen: screen.document(document))
    assert out.splitlines() == ["a    1", "b.c  x", "     y", "b.d", "e    -"]


def test_what_the_terminal_cannot_write_is_escaped(actor: Actor, tmp_path: Path) -> None:
    actor.script = [Answer.of({"code": "x", "detail": "Büro 名", "next_step": ""}, 404)]
    options = actor.options(tmp_path / "token")
    done = run("whoami", *options, environ={"PYTHONIOENCODING": "ascii"})
    assert done.err == "ikewarden: B\\xfcro \\u540d (x)\n"


@pytest.mark.parametrize("columns", [20, 30, 38, 60, 200])
def test_spare_columns_give_way_with_a_word_about_it(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    table = (
        Column("Key", "key", whole=True),
        Column("By", "by", whole=True, spare=True),
        Column("State", "state", whole=True),
        Column("Ended", "ended", whole=True, spare=True),
    )
    entry = {"key": "k" * 10, "by": "b" * 10, "state": "s" * 10, "ended": "e" * 10}
    out, err = Terminal(), io.StringIO()
    Screen("text", out, err).table(table, [entry])
    left = [title for title in ("By", "Ended") if title not in out.getvalue()]
    assert left == {20: [], 30: ["By", "Ended"], 38: ["Ended"], 60: [], 200: []}[columns]
    assert err.getvalue() == (f"Left out for want of room: {', '.join(left)}.\n" if left else "")
    assert (out.getvalue().count("\n") == 2) == (columns != 20)


def test_of_spare_columns_that_of_the_highest_number_goes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "30")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    table = (
        Column("Name", "name", whole=True),
        Column("Managed", "managed", whole=True, spare=2),
        Column("Key since", "since", whole=True, spare=1),
    )
    out, err = Terminal(), io.StringIO()
    entry = {"name": "n" * 10, "managed": "yes", "since": "2026-11-29"}
    Screen("text", out, err).table(table, [entry])
    assert "2026-11-29" in out.getvalue()
    assert err.getvalue() == "Left out for want of room: Managed.\n"


def test_a_long_value_goes_on_at_a_word_on_a_terminal() -> None:
    out = Terminal()
    said = "Look at the certificate of the peer and at the clock. " * 4
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "60")
        Screen("text", out, io.StringIO()).document({"next_step": said, "serial": SERIAL * 3})
    *lines, last = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 60
    assert " ".join(line.removeprefix("next_step").strip() for line in lines) == said.strip()
    assert last.endswith(SERIAL * 3)  # what is one word stays one


def test_a_long_mistake_goes_on_at_a_word_on_a_terminal(tmp_path: Path) -> None:
    said = on_terminal([*PROGRAM, "alert", "explain", "nothing"], surroundings(), 80, tmp_path)
    assert "alerts_limited" in said
    lines = said.splitlines()
    assert max(map(len, lines)) <= 80
    assert not any(line.endswith("_") for line in lines)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_alerts_on_a_narrow_terminal_have_their_time() -> None:
    out = Terminal()
    entry = {
        "id": 17, "severity": "critical", "gateway": "gw1.example.com", "kind": "certificate_rejected",
        "connection": "gw1-branch", "peer": None, "identity": None, "state": "open", "silenced": None,
        "start": "2026-11-29T18:46:13.123Z",
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        Screen("text", out, io.StringIO()).table(alert._COLUMNS, [entry])
    assert "2026-11-29 18:46Z" in out.getvalue()
    assert max(map(len, out.getvalue().splitlines())) <= 80
