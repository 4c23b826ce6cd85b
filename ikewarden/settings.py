"""Reading the settings: TOML file, then environment, then every mistake in one error."""

import difflib
import os
import stat
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from core.errors import InvalidInput
from ikewarden.settings_model import Settings
from ikewarden.settings_reference import (
    Kind,
    allowed,
    field_of,
    fields,
    kind,
    lists,
    sections,
    variable,
)
from ikewarden.settings_values import holds_password

__all__ = ["Problem", "Settings", "SettingsInvalid", "SettingsMissing", "load_settings"]

_PREFIX: Final = "IKEWARDEN_"
_LIMIT: Final = 2**20
_WHOLE: Final = "(file)"

Origins = dict[tuple[str, str], str]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where it was written, which key, and what is allowed there."""

    source: str
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.source}: {self.key} {self.message}"


class SettingsInvalid(InvalidInput):
    """The settings cannot be used; `problems` has all that is wrong with them."""

    code = "settings_invalid"
    next_step = "Correct what is named; docs/reference/settings.md has all settings."

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        super().__init__(
            f"The settings have {count} problem{'s' if count > 1 else ''}: "
            + "; ".join(map(str, self.problems))
            + ".",
            details={"problems": [vars(problem) for problem in self.problems]},
        )


class SettingsMissing(InvalidInput):
    """There is no settings file."""

    code = "settings_missing"
    next_step = "Run `ikewarden init`, or name the file of another instance."


def load_settings(path: Path, environ: Mapping[str, str]) -> Settings:
    """The settings in the TOML file `path`, overruled by `IKEWARDEN_SECTION__KEY` in `environ`.

    Relative paths become absolute, relative to the file. Raises `SettingsMissing`, and
    `SettingsInvalid` with every problem of file and environment.
    """
    path = path.absolute()
    document, mode = _read(path)
    problems = _exposed(path, document, mode, environ)
    origins: Origins = {}
    for name in sorted(environ):
        if name.startswith(_PREFIX) and "__" in name:
            problems += _overrule(document, origins, name, environ[name])
    try:
        settings = Settings.model_validate(
            {name: {} for name in sections() if "." not in name} | document,
            context={"base": path.parent},
        )
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        problems += [_problem(detail, str(path), origins) for detail in details]
    if problems:
        raise SettingsInvalid(problems)
    return settings


def _read(path: Path) -> tuple[dict[str, Any], int]:
    """The file's tables, arrays as tuples, and its permission bits."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_LIMIT + 1)
    except FileNotFoundError:
        raise SettingsMissing(f"There is no settings file {path}.") from None
    except OSError as error:
        raise SettingsInvalid([_whole(path, os.strerror(error.errno or 0))]) from None
    if len(content) > _LIMIT:
        raise SettingsInvalid([_whole(path, f"has more than {_LIMIT} bytes")])
    try:
        document = tomllib.loads(content.decode())
    except UnicodeDecodeError:
        raise SettingsInvalid([_whole(path, "is not UTF-8 text")]) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsInvalid([_whole(path, f"is not TOML: {error}")]) from None
    except RecursionError:
        raise SettingsInvalid([_whole(path, "is nested too deeply")]) from None
    return {name: _frozen(value) for name, value in document.items()}, mode


def _whole(path: Path, message: str) -> Problem:
    return Problem(str(path), _WHOLE, message)


def _frozen(value: object) -> object:
    """Arrays as tuples, because a strict model takes no list where it has a tuple."""
    if isinstance(value, dict):
        return {name: _frozen(inner) for name, inner in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _exposed(
    path: Path, document: Mapping[str, Any], mode: int, environ: Mapping[str, str]
) -> list[Problem]:
    """A password that everybody may read is none, and settings that everybody may write are not
    ours."""
    problems = []
    if mode & 0o002:
        advice = f"can be changed by others: run chmod o-w '{path}'"
        problems.append(_whole(path, advice))
    section = document.get("database")
    url = section.get("url") if isinstance(section, dict) else None
    overruled = variable("database", "url") in environ
    if mode & 0o007 and not overruled and isinstance(url, str) and holds_password(url):
        advice = f"holds a password, and others may read the file: run chmod o-rwx '{path}'"
        problems.append(Problem(str(path), "database.url", advice))
    return problems


def _overrule(document: dict[str, Any], origins: Origins, name: str, text: str) -> list[Problem]:
    """Put one environment variable into the document."""
    source = f"environment variable {name}"
    section, _, key = name.removeprefix(_PREFIX).lower().rpartition("__")
    section = section.replace("__", ".")
    field = field_of(section, key)
    if field is None or name != variable(section, key):
        return [
            Problem(source, name, f"is not a setting{_hint(section, key, in_environment=True)}")
        ]
    if any("\ud800" <= character <= "\udfff" or character == "\0" for character in text):
        return [Problem(source, f"{section}.{key}", "must be UTF-8 text")]
    table: Any = document
    for part in section.split("."):
        table = table.setdefault(part, {}) if isinstance(table, dict) else None
    if isinstance(table, dict):  # if not, the model will say so
        table[key] = _typed(kind(field), text)
        origins[section, key] = source
    return []


def _typed(kind: Kind, text: str) -> object:
    """The value as TOML would have given it; text that is none stays text for the model to
    refuse.
    """
    try:
        if kind.many:
            parts = [part.strip() for part in text.split(",")] if text.strip() else []
            return tuple(kind.base(part) for part in parts)
        if kind.base is bool:
            return {"true": True, "false": False}.get(text.lower(), text)
        if kind.optional and not text:
            return None
        return kind.base(text) if kind.base in (int, float) else text
    except ValueError:
        return text


def _problem(detail: ErrorDetails, path: str, origins: Origins) -> Problem:
    if len(detail["loc"]) > 1 and detail["loc"][0] in lists():
        return _problem_in_list(detail, path)
    section, key = _place(tuple(map(str, detail["loc"])))
    source = origins.get((section, key), path)
    name = ".".join(filter(None, (section, key))) or "the whole"
    field = field_of(section, key)
    if detail["type"] == "extra_forbidden":
        message = f"is not a setting{_hint(section, key)}"
    elif detail["type"] == "value_error":
        message = str(detail["ctx"]["error"])
    elif field is not None:
        message = f"must be {allowed(field)}"
    else:
        message = f"must be a table: [{section}]"
    return Problem(source, name, message)


def _problem_in_list(detail: ErrorDetails, path: str) -> Problem:
    """What is wrong with one of several tables of a name, as [[reports]]."""
    name, number, *inner = detail["loc"]
    known = lists()[str(name)].model_fields
    key = str(inner[0]) if inner else ""
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, known, 1)
        message = "is not a setting" + (f"; did you mean {near[0]}?" if near else "")
    elif detail["type"] == "value_error":
        message = str(detail["ctx"]["error"])
    elif detail["type"] == "missing":
        message = f"is missing: it must be {allowed(known[key])}"
    elif key in known:
        message = f"must be {allowed(known[key])}"
    else:
        message = f"must be a table: [[{name}]]"
    place = f"[[{name}]] number {int(number) + 1}" + (f": {key}" if key else "")
    return Problem(path, place, message)


def _place(parts: tuple[str, ...]) -> tuple[str, str]:
    """Section and key of what pydantic found at a place; no key where it is the whole section."""
    known = sections()
    depth = next((n for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in known), 1)
    return ".".join(parts[:depth]), "".join(parts[depth : depth + 1])


def _hint(section: str, key: str, *, in_environment: bool = False) -> str:
    """The nearest setting there is, in the same section if possible."""
    if not key and not in_environment:
        near = difflib.get_close_matches(section, sections(), 1)
        return f"; did you mean [{near[0]}]?" if near else ""
    same = {name: (section, name) for name in fields(section)}
    every = {name: pair for pair in _pairs() for name in (pair[1], ".".join(pair))}
    for wanted, candidates in ((key, same), (key, every), (f"{section}.{key}", every)):
        if near := difflib.get_close_matches(wanted, candidates, 1, 0.7):
            pair = candidates[near[0]]
            return f"; did you mean {variable(*pair) if in_environment else '.'.join(pair)}?"
    return ""


def _pairs() -> Iterable[tuple[str, str]]:
    return ((section, key) for section in sections() for key in fields(section))
