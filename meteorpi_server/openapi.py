"""Describe the attached routes as OpenAPI 3.1, out of the URL map, docstrings and decorators of the views.

Source:
    OpenAPI Specification 3.1.0; its schemas are JSON Schema 2020-12, as our wire documents are.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flask import Flask, request
from werkzeug.routing import Rule

from meteorpi_model import schemas
from meteorpi_model.values import JsonObject
from meteorpi_server import auth
from meteorpi_server.app import Attachment
from meteorpi_server.describing import Description, Schema, description_of
from meteorpi_server.problems import CONTENT_TYPE, title_of
from meteorpi_server.versions import software_version

TITLE: Final = "MeteorPi node"
ABOUT: Final = "What this node offers over HTTP."

_PARAMETER = re.compile(r"<(?:(?P<converter>[a-z]+):)?(?P<name>\w+)>")
_METHODS: Final = ("GET", "POST", "PUT", "DELETE")
_JSON: Final = "application/json"


def describe_routes(app: Flask, packages: Mapping[str, Attachment]) -> JsonObject:
    """The OpenAPI document of the routes of `app` that belong to `packages`, by name."""
    paths: dict[str, dict[str, object]] = {}
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        package = rule.endpoint.rpartition(".")[0]
        if package not in packages:
            continue
        for method in _METHODS:
            if method in (rule.methods or ()):
                view = app.view_functions[rule.endpoint]
                operation = _operation(rule, view, package, packages[package])
                paths.setdefault(_PARAMETER.sub(r"{\g<name>}", rule.rule), {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": software_version(), "description": ABOUT},
        "servers": [{"url": request.script_root or "/"}],
        "tags": [{"name": name, "description": _about_package(app, name)} for name in packages],
        "paths": paths,
        "components": {"schemas": component_schemas(), "securitySchemes": _SECURITY_SCHEMES},
    }


_SECURITY_SCHEMES: Final = {
    "basic": {"type": "http", "scheme": "basic"},
    "token": {"type": "http", "scheme": "bearer"},
}


def component_schemas() -> dict[str, object]:
    """The wire documents, their references pointing into the OpenAPI document."""
    found: dict[str, object] = {}
    for name in schemas.names():
        schema = _relocated(schemas.load(name))
        found[name] = {key: value for key, value in schema.items() if key not in ("$id", "$schema")}
    return found


def _relocated(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _relocated(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_relocated(each) for each in value]
    prefix = f"{schemas.URN}"
    return (
        _reference(value.removeprefix(prefix))
        if isinstance(value, str) and value.startswith(prefix)
        else value
    )


def _reference(name: str) -> str:
    return f"#/components/schemas/{name}"


def _about_package(app: Flask, name: str) -> str:
    views = [view for endpoint, view in app.view_functions.items() if endpoint.rpartition(".")[0] == name]
    module = inspect.getmodule(inspect.unwrap(views[0])) if views else None
    package = None if module is None else module.__name__.rpartition(".")[0]
    # A package of several modules introduces itself in its __init__, one of a single module there.
    owner = importlib.import_module(package) if package and package != "meteorpi_server" else module
    return (inspect.getdoc(owner) or "").split("\n\n")[0].replace("\n", " ")


def _operation(rule: Rule, view: Callable[..., Any], package: str, attached: Attachment) -> JsonObject:
    summary, _, details = (inspect.getdoc(view) or "").partition("\n\n")
    description = description_of(view)
    roles = auth.required_roles(view)
    operation: JsonObject = {
        "operationId": f"{package}.{rule.endpoint.rpartition('.')[2]}",
        "tags": [package],
        "summary": " ".join(summary.split()),
        "parameters": [*_path_parameters(rule, description), *_query_parameters(description)],
        "responses": _responses(description, roles),
        "x-version": attached.version,
    }
    if details:
        operation["description"] = details
    if roles is not None:
        operation["security"] = [{"basic": list(roles)}, {"token": list(roles)}]
    body = _body(description)
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {_JSON: {"schema": body}}}
    return operation


def _path_parameters(rule: Rule, description: Description) -> Iterator[JsonObject]:
    for found in _PARAMETER.finditer(rule.rule):
        parameter: JsonObject = {
            "name": found["name"],
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
        }
        if found["name"] == "search" and description.path is not None:
            parameter["description"] = f"JSON of a {description.path}, percent-encoded twice"
        yield parameter


def _query_parameters(description: Description) -> Iterator[JsonObject]:
    if description.query is not None:
        properties = schemas.load(description.query)["properties"]
        assert isinstance(properties, dict)
        for name, schema in properties.items():
            parameter: JsonObject = {"name": name, "in": "query", "schema": _relocated(schema)}
            if name == "meta":
                parameter["schema"] = {"type": "array", "items": {"type": "string"}}
                parameter["description"] = "JSON of a meta_constraint; may be repeated"
            yield parameter
        yield {"name": "format", "in": "query", "schema": {"enum": ["json", "csv", "jsonl"]}}
    yield from map(dict, description.parameters)


def _responses(description: Description, roles: tuple[str, ...] | None) -> JsonObject:
    responses: JsonObject = {"200": {"description": "OK", "content": _reply_content(description)}}
    if description.content:
        responses["206"] = {"description": "Partial Content"}
        responses["304"] = {"description": "Not Modified"}
    refused = [] if roles is None else [401, 403, 429]
    for status in sorted({*description.problems, *refused}):
        content = {CONTENT_TYPE: {"schema": {"$ref": _reference("problem")}}}
        responses[str(status)] = {"description": title_of(status), "content": content}
    return responses


def _reply_content(description: Description) -> JsonObject:
    if description.content:
        return {"*/*": {}}
    if description.media_type is not None:
        return {description.media_type: {}}
    content: JsonObject = {_JSON: {"schema": _members(description.reply)}}
    if description.query or description.path:
        content["text/csv"] = {}
        content["application/x-ndjson"] = {}
    return content


def _body(description: Description) -> JsonObject | None:
    if description.body_document is not None:
        return {"$ref": _reference(description.body_document)}
    return _members(description.body) if description.body else None


def _members(members: Mapping[str, Schema]) -> JsonObject:
    return {"type": "object", "properties": {name: _schema(schema) for name, schema in members.items()}}


def _schema(schema: Schema) -> JsonObject:
    if schema == "count":
        return {"type": "integer", "minimum": 0}
    if isinstance(schema, str):
        return {"$ref": _reference(schema)}
    if isinstance(schema, list):
        return {"type": "array", "items": _schema(schema[0])}
    return dict(schema)


@dataclass(frozen=True, kw_only=True)
class ReadableOperation:
    """One route and method as the page shows it."""

    method: str
    path: str
    summary: str
    description: str
    roles: list[str] | None
    parameters: list[JsonObject]
    body: str
    reply: str
    responses: list[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class ReadableGroup:
    """One route package as the page shows it."""

    name: str
    description: str
    operations: list[ReadableOperation]


@dataclass(frozen=True, kw_only=True)
class ReadableDescription:
    """An OpenAPI document as the page shows it."""

    title: str
    version: str
    description: str
    groups: list[ReadableGroup]
    schemas: list[tuple[str, str]]


def readable(document: Mapping[str, Any]) -> ReadableDescription:
    """What the page shows of the OpenAPI `document`."""
    operations = [
        (operation["tags"][0], _readable_operation(method, path, operation))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    return ReadableDescription(
        title=document["info"]["title"],
        version=document["info"]["version"],
        description=document["info"]["description"],
        groups=[
            ReadableGroup(
                name=tag["name"],
                description=tag["description"],
                operations=[operation for name, operation in operations if name == tag["name"]],
            )
            for tag in document["tags"]
        ],
        schemas=[
            (name, json.dumps(each, indent=2)) for name, each in document["components"]["schemas"].items()
        ],
    )


def _readable_operation(method: str, path: str, operation: Mapping[str, Any]) -> ReadableOperation:
    security = operation.get("security")
    body = operation.get("requestBody", {}).get("content", {}).get(_JSON, {}).get("schema")
    reply = operation["responses"]["200"]["content"].get(_JSON, {}).get("schema")
    return ReadableOperation(
        method=method,
        path=path,
        summary=operation["summary"],
        description=operation.get("description", ""),
        roles=None if security is None else list(security[0]["basic"]),
        parameters=operation["parameters"],
        body="" if body is None else json.dumps(body, indent=2),
        reply="" if reply is None else json.dumps(reply, indent=2),
        responses=[(status, answer["description"]) for status, answer in operation["responses"].items()],
    )
