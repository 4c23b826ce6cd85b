"""The OpenAPI 3.1 document, made from the routes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from api.problems import MEDIA_TYPE, TITLES
from api.registry import JSON, Nothing, Route, Shown

_REF = "#/components/schemas/{model}"
_TAGS = {
    "Certificates": "Issue, search, renew, revoke.",
    "Authorities": "Who signs.",
    "Profiles": "What a certificate of a kind contains.",
    "Tokens": "Credentials for people and programs, and one-time tokens for gateways.",
    "Sessions": "Who is signed in to the web console.",
    "Approvals": "What one person asked for and another one approves or refuses.",
    "Gateways": "Who is in the fleet, and what each of them should have and has.",
    "Findings": "What audits found on gateways: searched, accepted.",
    "Reports": "What there is and how it does, as JSON, CSV, HTML or PDF.",
    "Agents": "What the agent on a gateway fetches and reports, for itself alone.",
    "Tunnels": "Who talks to whom, and the SAs that are up.",
    "Shared secrets": "Pre-shared keys and PPKs: kept in the store of secrets, and rotated.",
    "History": "What was done, and what the clock does.",
    "Service": "The service itself.",
}


class Place(Shown):
    """One mistake in a body or query."""

    pointer: str = Field(description="JSON pointer (RFC 6901) into the body, or /parameter.")
    detail: str


class Problem(Shown):
    """RFC 9457 problem details: every answer that is not a success."""

    type: str = Field(description="URN with the code.")
    title: str
    status: int
    detail: str = Field(description="One sentence for a person; never to be parsed.")
    code: str = Field(description="Stable name of the problem, for programs.")
    next_step: str = Field(description="What to do about it.")
    request_id: str = Field(description="Also in the X-Request-Id header and in the server's log.")
    errors: list[Place] = Field(default_factory=list)
    details: dict[str, Any] = Field(default_factory=dict)


def document(routes: Sequence[Route], version: str) -> dict[str, Any]:
    """Describe the routes in OpenAPI 3.1."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ikewarden",
            "version": version,
            "summary": "Certificates and keys of an IPsec fleet",
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": name, "description": _TAGS.get(name, "")}
            for name in dict.fromkeys(route.tag for route in routes)
        ],
        "paths": paths,
        "components": {
            "schemas": _schemas(routes),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token; it decides where a client certificate came too.",
                },
                "clientCertificate": {
                    "type": "mutualTLS",
                    "description": "The certificate that this service issued to the gateway.",
                },
            },
        },
    }


_ABOUT = (
    "JSON in UTF-8; times in RFC 3339, UTC; serial numbers in lower-case hexadecimal. Unknown fields and parameters "
    "are refused. Lists come in pages: follow the Link header or pass `next_cursor` as `cursor`. A POST may carry an "
    "`Idempotency-Key`: sent again with the same key within a day, it is not carried out again and is answered as "
    "before, with `Idempotency-Replayed: true`. Every failure is a problem document (RFC 9457) with a stable `code`."
)


def _schemas(routes: Iterable[Route]) -> dict[str, Any]:
    wanted: list[tuple[type[BaseModel], Any]] = [(Problem, "serialization")]
    for route in routes:
        if route.body is not None and route.body is not Nothing:
            wanted.append((route.body, "validation"))
        if isinstance(route.answer, type):
            wanted.append((route.answer, "serialization"))
    _, top = models_json_schema(list(dict.fromkeys(wanted)), ref_template=_REF)
    schemas: dict[str, Any] = top["$defs"]
    return schemas


def _operation(route: Route) -> dict[str, Any]:
    roles = ", ".join(route.roles)
    who = "Anybody may call this." if route.public else f"Roles: {roles}."
    operation: dict[str, Any] = {
        "operationId": route.operation_id,
        "summary": route.summary,
        "description": f"{route.description} {who}".strip(),
        "tags": [route.tag],
        "parameters": [*_path_parameters(route), *_query_parameters(route), *_headers(route)],
        "responses": _responses(route),
        "security": [] if route.public else [{"bearer": []}, {"clientCertificate": []}],
        "x-roles": [str(role) for role in route.roles],
    }
    if route.body is not None and route.body is not Nothing:
        content: dict[str, Any] = {"schema": _reference(route.body)}
        if route.example:
            content["example"] = dict(route.example)
        operation["requestBody"] = {"required": True, "content": {JSON: content}}
    return operation


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in route.parameters
    ]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    schema = route.query.model_json_schema()
    required = schema.get("required", [])
    parameters = []
    for name, field in schema.get("properties", {}).items():
        parameters.append(
            {
                "name": name,
                "in": "query",
                "required": name in required,
                "description": field.get("description", ""),
                "schema": _said_in_a_query(field),
            }
        )
    return parameters


def _said_in_a_query(field: Mapping[str, Any]) -> dict[str, Any]:
    # A parameter is there or not; null is not something a query string can say.
    kinds = [kind for kind in field.get("anyOf", []) if kind.get("type") != "null"]
    schema = {**field, **kinds[0]} if len(kinds) == 1 else dict(field)
    for word in ("anyOf", "description", "title"):
        schema.pop(word, None)
    if schema.get("default", 0) is None:
        del schema["default"]
    return schema


def _headers(route: Route) -> list[dict[str, Any]]:
    headers: list[dict[str, Any]] = []
    if route.method == "POST":
        headers.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "Sent again with the same key, the request is not carried out again.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 200},
            }
        )
    if route.approval:
        headers.append(
            {
                "name": "Ikewarden-Approval",
                "in": "header",
                "required": False,
                "description": "The number of the approval, where this was refused with `approval_required` and "
                "another person has approved it since. Everything else is sent as before; the approval is used up.",
                "schema": {"type": "integer", "minimum": 1},
            }
        )
    return headers


def _responses(route: Route) -> dict[str, Any]:
    media_type = JSON if isinstance(route.answer, type) else route.answer
    schema = _reference(route.answer) if isinstance(route.answer, type) else {"type": "string"}
    success: dict[str, Any] = {"description": route.summary}
    if media_type:
        success["content"] = {media_type: {"schema": schema}}
        for form in route.forms:
            success["content"][form] = {"schema": {"type": "string", "format": "binary"}}
    responses: dict[str, Any] = {str(route.status): success}
    statuses = {*route.refusals, *(() if route.public else (401, 403))}
    for status in sorted(statuses):
        responses[str(status)] = _problem(TITLES[status])
    responses["default"] = _problem("Any other failure")
    return responses


def _problem(description: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": _reference(Problem)}},
    }
