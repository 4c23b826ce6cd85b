"""The API reference: the OpenAPI document, and the same as a page for people."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from api import openapi
from api.problems import TITLES, status_of
from api.registry import JSON, Call, Nothing, Reply, Route
from core.errors import IkewardenError

_CACHED = ("Cache-Control", "public, max-age=300")
_TAG = "Service"
_ROOMS = {"core", "store", "hsm", "pki", "fleet", "api"}


def reference_routes(operations: Sequence[Route], version: str) -> tuple[Route, ...]:
    """Make the routes that describe the others, and themselves."""

    # Not before the first reader: the document needs every model, the page every error class.
    @lru_cache(maxsize=1)
    def described() -> dict[str, Any]:
        return openapi.document((*operations, *own), version)

    @lru_cache(maxsize=1)
    def page() -> tuple[bytes, str]:
        return _page((*operations, *own), described())

    def show_document(_call: Call[None, Nothing]) -> Reply:
        content = json.dumps(described(), ensure_ascii=False).encode()
        return Reply(content, media_type=JSON, headers=(_CACHED,))

    def show_page(_call: Call[None, Nothing]) -> Reply:
        content, policy = page()
        headers = (_CACHED, ("Content-Security-Policy", policy))
        return Reply(content, media_type="text/html; charset=utf-8", headers=headers)

    own = (
        Route(
            method="GET",
            path="/v1/openapi.json",
            view=show_document,
            summary="This API as an OpenAPI 3.1 document",
            tag=_TAG,
            action=None,
            public=True,
            answer=JSON,
        ),
        Route(
            method="GET",
            path="/docs",
            view=show_page,
            summary="This API as a page to read",
            tag=_TAG,
            action=None,
            public=True,
            answer="text/html",
        ),
    )
    return own


def error_classes(base: type[IkewardenError] = IkewardenError) -> Iterator[type[IkewardenError]]:
    """List the base and every class below it that is loaded."""
    yield base
    for below in base.__subclasses__():
        yield from error_classes(below)


def _page(routes: Sequence[Route], document: dict[str, Any]) -> tuple[bytes, str]:
    style = (Path(__file__).parent / "static" / "reference.css").read_text()
    environment = Environment(
        loader=PackageLoader("api"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = _prose
    content = environment.get_template("reference.html").render(
        style=style,
        info=document["info"],
        groups=[
            (
                tag["name"],
                tag["description"],
                [_entry(r, document) for r in routes if r.tag == tag["name"]],
            )
            for tag in document["tags"]
        ],
        problems=_problems(),
    )
    # Only this one style sheet, named by its hash: no script, no other host, no frame.
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return content.encode(), policy


def _prose(text: str) -> Markup:
    """Show `words` in backticks as code; all else is escaped."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before


def _problems() -> list[dict[str, Any]]:
    # The program's own errors never reach a client of this door.
    by_code = {k.code: k for k in error_classes() if k.__module__.partition(".")[0] in _ROOMS}
    shown = []
    for code, kind in sorted(by_code.items()):
        status = status_of(kind)
        about = (kind.__doc__ or "").strip().split("\n\n")[0]
        shown.append(
            {
                "code": code,
                "status": status,
                "title": TITLES[status],
                "about": " ".join(about.split()),
                "next_step": kind.next_step,
            }
        )
    return shown


def _entry(route: Route, document: dict[str, Any]) -> dict[str, Any]:
    operation = document["paths"][route.path][route.method.lower()]
    answer = route.answer.__name__ if isinstance(route.answer, type) else None
    body = route.body.__name__ if route.body is not None and route.body is not Nothing else None
    return {
        "id": route.operation_id,
        "method": route.method,
        "path": route.path,
        "summary": route.summary,
        "description": route.description,
        "public": route.public,
        "roles": [str(role) for role in route.roles],
        "parameters": [_row(given, given["schema"]) for given in operation["parameters"]],
        "body": _fields(document, body),
        "example": _curl(route),
        "status": route.status,
        "answer": _fields(document, answer),
        "media_type": JSON if answer else route.answer,
        "refusals": [(status, TITLES[status]) for status in route.refusals],
    }


def _fields(document: dict[str, Any], name: str | None) -> list[dict[str, Any]]:
    if name is None:
        return []
    schema = document["components"]["schemas"][name]
    required = schema.get("required", [])
    return [
        _row({**given, "name": field, "required": field in required}, given)
        for field, given in schema.get("properties", {}).items()
    ]


def _row(field: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    default = schema.get("default")
    return {
        "name": field["name"],
        "kind": _kind(schema),
        "required": field["required"],
        "default": "" if default in (None, "", [], {}) else json.dumps(default),
        "description": field.get("description", ""),
    }


def _kind(schema: dict[str, Any]) -> str:
    match schema:
        case {"$ref": str(reference)}:
            kind = reference.rpartition("/")[2]
        case {"anyOf": list(kinds)}:
            kind = " or ".join(_kind(each) for each in kinds)
        case {"enum": list(values)}:
            kind = " | ".join(str(value) for value in values)
        case {"type": "array", "items": dict(items)}:
            kind = f"list of {_kind(items)}"
        case {"format": "date-time"}:
            kind = "time"
        case _:
            kind = str(schema.get("type", "any"))
    return kind


def _curl(route: Route) -> str:
    words = ["curl --cacert root-ca.pem"]
    if not route.public:
        words.append('-H "Authorization: Bearer $TOKEN"')
    if route.body is not None and route.method == "PATCH":
        words.append("-X PATCH")
    if route.method in {"POST", "PATCH"}:
        words.append("-H 'Content-Type: application/json'")
        words.append(f"-d '{json.dumps(dict(route.example), ensure_ascii=False)}'")
    path = route.path.replace("{", "$").replace("}", "")
    words.append(f'"$URL{path}"')
    return " \\\n  ".join(words)
