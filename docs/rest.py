"""The page of the REST interface, made from the OpenAPI document that the service itself gives out."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, cast

from api.app import Wiring, routes
from api.meters import Meters
from api.openapi import document as described
from pki.desk import Desk

_HEAD = """\
# REST

<!-- Written by `make docs` from the OpenAPI document. -->

{about}

The service gives out the document itself (`GET /v1/openapi.json`), and the same as a page (`https://localhost:8443/docs`).
The codes of failures are in [errors](errors.md). A field that may be missing has a `?`.
"""


def render() -> str:
    """The page, in Markdown."""
    # Routes are data: to be described, they need neither records nor a clock.
    wiring = Wiring(
        desk=cast(Desk, None),
        clock=lambda: datetime.max.replace(tzinfo=UTC),
        meters=Meters(),
        version="",
    )
    document = described(routes(wiring), "")
    parts = [_HEAD.format(about=document["info"]["description"])]
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    for tag in document["tags"]:
        parts.append(f"## {tag['name']}\n\n{tag['description']}\n")
        for path, method, operation in operations:
            if tag["name"] in operation["tags"]:
                parts += _operation(path, method, operation)
    parts.append("## Models\n")
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts += _model(name, schema)
    return "\n".join(parts)


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"### `{method.upper()} {path}`\n"
    yield f"{operation['summary'].rstrip('.')}. {operation['description']}\n"
    rows = [
        f"| `{each['name']}` | {each['in']}{'' if each.get('required') else ', optional'} "
        f"| {_kind(each['schema'])} | {_cell(each.get('description', ''))} |"
        for each in operation["parameters"]
        if each["in"] != "path"
    ]
    if rows:
        yield "\n".join(["| parameter | in | type | what |", "|---|---|---|---|", *rows, ""])
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]
        yield f"Body: {_content(content)}\n"
        for shape in content.values():
            if "example" in shape:
                yield f"```json\n{json.dumps(shape['example'], indent=2, ensure_ascii=False)}\n```\n"
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            yield f"Answer {status}: {_content(answer.get('content', {})) or 'no content'}\n"
    refused = [status for status in operation["responses"] if status[0] in "45"]
    if refused:
        yield f"Refusals: {', '.join(refused)}\n"


def _model(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {name}\n"
    if schema.get("description"):
        yield " ".join(schema["description"].split()) + "\n"
    if "enum" in schema:
        yield f"One of {', '.join(f'`{value}`' for value in schema['enum'])}.\n"
    fields = schema.get("properties", {})
    if fields:
        yield "\n".join(
            [
                "| field | type | what |",
                "|---|---|---|",
                *(
                    f"| `{field}`{'' if field in schema.get('required', ()) else ' ?'} "
                    f"| {_kind(kind)} | {_cell(kind.get('description', ''))} |"
                    for field, kind in fields.items()
                ),
                "",
            ]
        )


def _content(content: Mapping[str, Any]) -> str:
    kinds = []
    for media_type, shape in content.items():
        kind = _kind(shape.get("schema", {}))
        kinds.append(kind if media_type == "application/json" else f"`{media_type}`")
    return ", ".join(kinds)


def _kind(schema: Mapping[str, Any]) -> str:
    """A JSON schema in a few words; models are linked to."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if choices := schema.get("enum", [schema["const"]] if "const" in schema else []):
        return " or ".join(f"`{value}`" for value in choices)
    if kinds := schema.get("anyOf", schema.get("oneOf")):
        return " or ".join(dict.fromkeys(_kind(each) for each in kinds))
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_kind(schema['additionalProperties'])}"
    return {"date-time": "time", "date": "date"}.get(str(schema.get("format", "")), kind)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
