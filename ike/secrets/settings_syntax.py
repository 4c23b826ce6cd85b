"""strongSwan's settings syntax, in which swanctl.conf is written: sections in braces, `key = value`. Pure.

A file is broken for strongSwan as a whole when one line of it is. Here what can be read is read, and the rest told.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from ike.secrets.values import MAX_PROBLEMS, Include, Place, Problem, Source, nothing

_BETWEEN: Final = re.compile(
    r"(?P<skip>[\t\r \n]+|#[^\n]*)|include[\t ]+(?P<include>(?!=)(?=[^\n\t ]))"
    r"|(?P<sign>[{}:,])|=(?P<value>)|(?P<quote>\")|(?P<name>[^#{}:,=\"\r\n\t ]+)"
)
_PART: Final = re.compile(
    r"(?P<skip>[\t\r ]+)|(?P<end>[#}\n])|(?P<quote>\")|(?P<word>[^#}\"\r\n\t ]+)"
)
_STRING: Final = re.compile(r"(?P<plain>[^\\\r\"]+)|\\(?P<escape>\r?\n|[^\n])|(?P<return>\r)")
_PATTERN: Final = re.compile(
    r"(?P<plain>[^\"\\#}\r\n\t ]+)|\\(?P<escape>[\"#} ])|(?P<slash>\\)|(?P<quote>\")"
)
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t"}
_MAX_DEPTH: Final = 100
_MAX_REFERENCES: Final = 100  # that one section takes over
# Sections and values: what takes each other over twice grows without bounds. A hub's connections, each of which takes
# over the same template, come to five times of what stands in the file.
_RESOLVED: Final = 20_000
_RESOLVED_FOR_EACH: Final = 10
_MAX_RESOLVED: Final = 1_000_000
TOO_LARGE: Final = (
    "sections take each other over without an end: not all of what they hold is looked at"
)


@dataclass(frozen=True)
class Value:
    """A setting; `quoted` where every part of it stood in quotation marks, None for one without a value."""

    text: str | None
    place: Place
    quoted: bool = False


@dataclass
class Section:
    """A section: its settings and sections in their first order, and the names of those that it takes over."""

    name: str
    place: Place
    values: dict[str, Value] = field(default_factory=dict)
    sections: dict[str, "Section"] = field(default_factory=dict)
    references: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Token:
    kind: str  # name, sign, value, end
    text: str
    place: Place
    value: Value | None = None


class _Broken(ValueError):
    """What cannot be read on from."""


def parse(source: Source, include: Include = nothing) -> tuple[Section, list[Problem]]:
    """The tree of a file and those that it includes, wherever they are included."""
    top = Section("", Place(source.path, 1))
    problems: list[Problem] = []
    stack = [top]
    names: list[_Token] = []
    in_references = False
    for token in _tokens(source, include, problems):
        if len(problems) > MAX_PROBLEMS:
            return top, [*problems, Problem(token.place, "too much is wrong: the rest is not read")]
        if token.kind == "name":
            names.append(token)
        elif token.text == ":":
            in_references = bool(names)
        elif token.text == "{":
            _open(stack, names, in_references, token, problems)
            names, in_references = [], False
        elif token.text == "}":
            _close(stack, names, token, problems)
            names, in_references = [], False
        elif token.value is not None:
            _set(stack[-1], names, token.value, problems)
            names, in_references = [], False
    if names:
        problems.append(Problem(names[0].place, "a name without a value or a section"))
    if len(stack) > 1:
        problems.append(Problem(stack[-1].place, "the section has no end"))
    return top, problems


def _set(section: Section, names: list[_Token], value: Value, problems: list[Problem]) -> None:
    if len(names) == 1:
        section.values[names[0].text] = value
    else:
        problems.append(Problem(value.place, "a value without a name before it"))


def _open(
    stack: list[Section],
    names: list[_Token],
    in_references: bool,
    token: _Token,
    problems: list[Problem],
) -> None:
    if not names or (len(names) > 1 and not in_references):
        problems.append(Problem(token.place, "a section without a name of its own"))
        stack.append(Section("", token.place))  # on its own, and read no further
        return
    name = names[0].text
    if "." in name:
        problems.append(Problem(token.place, "strongSwan takes no dot in the name of a section"))
    if len(stack) > _MAX_DEPTH:
        problems.append(Problem(token.place, "sections are nested too deeply"))
        stack.append(Section(name, token.place))
        return
    section = stack[-1].sections.setdefault(name, Section(name, token.place))
    for reference in names[1:] if in_references else ():
        if len(section.references) >= _MAX_REFERENCES:
            problems.append(Problem(token.place, "a section takes over too many others"))
            break
        if reference.text not in section.references:
            section.references.append(reference.text)
    stack.append(section)


def _close(
    stack: list[Section], names: list[_Token], token: _Token, problems: list[Problem]
) -> None:
    if names:
        problems.append(Problem(names[0].place, "a name without a value or a section"))
    if len(stack) > 1:
        stack.pop()
    else:
        problems.append(Problem(token.place, "a brace that closes nothing"))


def _tokens(source: Source, include: Include, problems: list[Problem]) -> Iterator[_Token]:
    text, at, line, counted = source.text, 0, 1, 0
    while at < len(text):
        line, counted = line + text.count("\n", counted, at), at
        place = Place(source.path, line)
        match = _BETWEEN.match(text, at)
        if match is None:
            return  # cannot be: every character begins one of them
        at = match.end()
        try:
            if match["include"] is not None:
                pattern, at = _include_pattern(text, at)
                for each in include(pattern, source):
                    yield from _tokens(each, include, problems)
            elif match["value"] is not None:
                value, at = _value(text, at, place)
                yield _Token("value", "", place, value)
            elif match["quote"]:
                problems.append(Problem(place, "a quotation mark where a name belongs"))
                at = _line_end(text, at)
            elif match["name"]:
                yield _Token("name", match["name"], place)
            elif match["sign"]:
                yield _Token("sign", match["sign"], place)
        except _Broken as error:
            problems.append(Problem(place, str(error)))
            return


def _line_end(text: str, at: int) -> int:
    found = text.find("\n", at)
    return len(text) if found < 0 else found


def _value(text: str, at: int, place: Place) -> tuple[Value, int]:
    parts: list[str] = []
    quoted = True
    while at < len(text):
        match = _PART.match(text, at)
        if match is None or match["end"]:
            break
        at = match.end()
        if match["quote"]:
            part, at = _string(text, at)
            parts.append(part)
        elif match["word"]:
            parts.append(match["word"])
            quoted = False
    return Value(" ".join(parts) if parts else None, place, bool(parts) and quoted), at


def _string(text: str, at: int) -> tuple[str, int]:
    """What is between quotation marks, and where it goes on. Raises _Broken."""
    parts: list[str] = []
    while match := _STRING.match(text, at):
        at = match.end()
        escape = match["escape"]
        if match["plain"]:
            parts.append(match["plain"])
        elif escape and not escape.endswith("\n"):
            parts.append(_ESCAPES.get(escape, escape))
    if text[at : at + 1] != '"':
        raise _Broken("a quotation mark has no end; nothing after it is read")
    return "".join(parts), at + 1


def _include_pattern(text: str, at: int) -> tuple[str, int]:
    parts: list[str] = []
    while match := _PATTERN.match(text, at):
        at = match.end()
        if match["quote"]:
            part, at = _string(text, at)
            return "".join([*parts, part]), at
        parts.append(match["plain"] or match["escape"] or match["slash"])
    return "".join(parts), at


def resolved(top: Section, section: Section, problems: list[Problem] | None = None) -> Section:
    """A section with what it takes over from those that it names: its own comes first, theirs in their order.

    That this is too much to be followed is told among the `problems`.
    """
    budget = [min(_MAX_RESOLVED, _RESOLVED + _RESOLVED_FOR_EACH * _size(top))]
    found = _resolved(top, section, frozenset(), budget)
    if budget[0] < 0 and problems is not None:
        problems.append(Problem(section.place, TOO_LARGE))
    return found


def _size(section: Section) -> int:
    return 1 + len(section.values) + sum(map(_size, section.sections.values()))


def _resolved(top: Section, section: Section, active: frozenset[int], budget: list[int]) -> Section:
    if id(section) in active or len(active) > _MAX_DEPTH or budget[0] < 0:
        return Section(section.name, section.place)
    budget[0] -= 1 + len(section.values)
    within = active | {id(section)}
    found = Section(section.name, section.place, dict(section.values), {})
    theirs = [_at(top, name) for name in section.references]
    bases = [_resolved(top, base, within, budget) for base in theirs if base is not None]
    for base in bases:
        budget[0] -= len(base.values) + len(base.sections)
        for name, value in base.values.items():
            found.values.setdefault(name, value)
    for name, inner in section.sections.items():
        found.sections[name] = _resolved(top, inner, within, budget)
    for base in bases:
        for name, inner in base.sections.items():
            there = found.sections.get(name)
            found.sections[name] = inner if there is None else _merged(there, inner, budget)
    return found


def _merged(first: Section, second: Section, budget: list[int]) -> Section:
    budget[0] -= 1 + len(first.values) + len(second.values)
    if budget[0] < 0:
        return first
    found = Section(first.name, first.place, {**second.values, **first.values}, {})
    # The order of the first, then what only the second has.
    found.values = {name: found.values[name] for name in [*first.values, *second.values]}
    for name in [*first.sections, *second.sections]:
        one, other = first.sections.get(name), second.sections.get(name)
        if one is None or other is None:
            found.sections[name] = one or other or Section(name, first.place)
        else:
            found.sections[name] = _merged(one, other, budget)
    return found


def _at(top: Section, path: str) -> Section | None:
    section: Section | None = top
    for name in path.split("."):
        section = section.sections.get(name) if section is not None else None
    return section
