"""The settings of a process as people may look at them: what is in force, and where each comes from."""

from collections.abc import Iterator, Mapping

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ikewarden.settings_model import Settings
from ikewarden.settings_reference import fields, sections, toml, variable
from pki.desk import Setting


def in_force(settings: Settings, environ: Mapping[str, str]) -> tuple[Setting, ...]:
    """All settings, in the order of the reference page.

    What the model keeps to itself (`exclude`) may be a secret: of it is told only whether it is set.
    """
    return tuple(_settings(settings, environ))


def _settings(settings: Settings, environ: Mapping[str, str]) -> Iterator[Setting]:
    for section in sections():
        held: BaseModel = settings
        for name in section.split("."):
            held = getattr(held, name)
        for key, field in fields(section).items():
            named = variable(section, key)
            origin = "file" if key in held.model_fields_set else "default"
            yield Setting(
                section=section,
                key=key,
                value=_value(getattr(held, key), field, origin),
                default="not set" if field.exclude else toml(field.default).strip("`"),
                origin="environment" if named in environ else origin,
                description=field.description or "",
                variable=named,
            )


def _value(value: object, field: FieldInfo, origin: str) -> str:
    if field.exclude:
        return "not set" if origin == "default" or value is None else "set"
    if isinstance(value, tuple):
        value = tuple(str(each) if isinstance(each, BaseModel) else each for each in value)
    return toml(value).strip("`")
