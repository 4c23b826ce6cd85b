"""What the settings model says about itself: what a key allows, and the reference page.

`python -m ikewarden.settings_reference` writes docs/reference/settings.md.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import cleandoc
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ikewarden.settings_model import Settings
from ikewarden.settings_values import Words

PAGE: Final = Path("docs/reference/settings.md")
_NUMBERS: Final = {int: "a whole number", float: "a number"}
_HEAD: Final = """\
# Settings

<!-- Made from ikewarden/settings_model.py by `make docs`; a test compares the two. -->

One TOML file, `ikewarden.toml`, holds the settings of an instance. Every setting has a default.
Each can also be set in the environment, which wins over the file: `[api] port` is
`IKEWARDEN_API__PORT`, `[keys.pkcs11] module` is `IKEWARDEN_KEYS__PKCS11__MODULE`. Lists are
separated by commas there, truth values are `true` and `false`, and an empty value unsets what is optional.

Relative paths are relative to the file. A key that does not exist, in the file or in the
environment, is refused at start, and so is a value that is not allowed: all mistakes are told at
once. `ikewarden check-config FILE` does the same without starting anything.
"""


@dataclass(frozen=True)
class Kind:
    """The Python type of a setting: `base`, or a tuple of it where `many`."""

    base: type
    many: bool = False
    optional: bool = False


def sections() -> list[str]:
    """All sections, in order; a dot before the name of one that is in another."""
    return _sections(Settings, "")


def lists() -> Mapping[str, type[BaseModel]]:
    """The tables of which there may be several, `[[name]]`, by name."""
    found: dict[str, type[BaseModel]] = {}
    for name, field in Settings.model_fields.items():
        inner = get_args(field.annotation)[:1] if get_origin(field.annotation) is tuple else ()
        if inner and isinstance(inner[0], type) and issubclass(inner[0], BaseModel):
            found[name] = inner[0]
    return found


def fields(section: str) -> Mapping[str, FieldInfo]:
    """The keys of a section, without the sections in it; none for a section that does not exist."""
    model = _model(section)
    if model is None:
        return {}
    return {key: field for key, field in model.model_fields.items() if _section_of(field) is None}


def field_of(section: str, key: str) -> FieldInfo | None:
    """One key, or none if there is no such key."""
    return fields(section).get(key)


def variable(section: str, key: str) -> str:
    """The environment variable that overrules the key."""
    return f"IKEWARDEN_{section.replace('.', '__')}__{key}".upper()


def kind(field: FieldInfo) -> Kind:
    """The type of a key, without its decorations."""
    return _kind(field.annotation)


def allowed(field: FieldInfo) -> str:
    """What a key allows, to be read after "must be"."""
    extras = [*field.metadata, *_inner_metadata(field.annotation)]
    for extra in extras:
        if isinstance(extra, Words):
            return extra.text
    if get_origin(field.annotation) is Literal:
        return " or ".join(f'"{choice}"' for choice in get_args(field.annotation))
    base = kind(field).base
    if base is bool:
        return "true or false"
    low = next((extra.ge for extra in extras if isinstance(extra, Ge)), None)
    high = next((extra.le for extra in extras if isinstance(extra, Le)), None)
    return f"{_NUMBERS[base]} from {low} to {high}"


def render() -> str:
    """The reference page, in Markdown."""
    parts = [_HEAD]
    for section in sections():
        model = _model(section)
        parts.append(f"\n## [{section}]\n\n{cleandoc(model.__doc__ or '') if model else ''}\n")
        for key, inner in fields(section).items():
            words = allowed(inner) + (" (optional)" if kind(inner).optional else "")
            parts.append(
                f"\n### `{key}`\n\n{inner.description}\n\n"
                f"- Allowed: {words}\n"
                f"- Default: {toml(inner.default)}\n"
                f"- Environment: `{variable(section, key)}`\n"
            )
    for name, model in lists().items():
        parts.append(f"\n## [[{name}]]\n\n{cleandoc(model.__doc__ or '')}\n")
        for key, inner in model.model_fields.items():
            words = allowed(inner) + (" (optional)" if kind(inner).optional else "")
            default = "none, it must be given" if inner.is_required() else toml(inner.default)
            parts.append(
                f"\n### `{key}`\n\n{inner.description}\n\n- Allowed: {words}\n- Default: {default}\n"
            )
    return "".join(parts)


def main() -> None:
    """Write the page."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(render())
    sys.stdout.write(f"{PAGE}\n")


def _sections(model: type[BaseModel], before: str) -> list[str]:
    found: list[str] = []
    for name, field in model.model_fields.items():
        if (inner := _section_of(field)) is not None:
            found += [before + name, *_sections(inner, f"{before}{name}.")]
    return found


def _model(section: str) -> type[BaseModel] | None:
    model: type[BaseModel] | None = Settings
    for name in section.split("."):
        field = model.model_fields.get(name) if model else None
        model = _section_of(field) if field else None
    return model


def _section_of(field: FieldInfo) -> type[BaseModel] | None:
    model = field.annotation
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def _kind(annotation: Any) -> Kind:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kind(get_args(annotation)[0])
    if origin in (Union, UnionType):
        [inner] = [each for each in get_args(annotation) if each is not NoneType]
        found = _kind(inner)
        return Kind(found.base, found.many, optional=True)
    if origin is tuple:
        return Kind(get_args(annotation)[0], many=True)
    return Kind(str if origin is Literal else annotation)


def _inner_metadata(annotation: Any) -> list[object]:
    """Decorations inside `X | None`, which pydantic leaves where they are."""
    found = [extra for each in get_args(annotation) for extra in getattr(each, "__metadata__", ())]
    return found + [each for one in found if isinstance(one, FieldInfo) for each in one.metadata]


def toml(value: object) -> str:
    """A value as the page shows it: code in backticks, or the word none."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return "`[" + ", ".join(toml(each).strip("`") for each in value) + "]`"
    return f"`{value}`" if isinstance(value, int | float) else f'`"{value}"`'


if __name__ == "__main__":
    main()
