"""The OpenAPI description of the collector, made from `entities.yml`."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from loaders.collector.pages import SOURCE
from loaders.collector.reception import ALIASES, WEBHOOK_PATH
from loaders.entities import Entity, Field, read_entities

# Booleans and numbers may come as text, too.
_SCHEMAS: dict[str, dict[str, Any]] = {
    "text": {"type": "string"},
    "timestamp": {"type": "string", "description": "ISO 8601; UTC where no offset is given."},
    "date": {"type": "string", "description": "ISO 8601."},
    "integer": {"type": ["integer", "string"]},
    "number": {"type": ["number", "string"]},
    "boolean": {"type": ["boolean", "string"]},
    "list": {"type": "array"},
    "object": {"type": ["object", "array"]},
}
_COUNTS = {
    "type": "object",
    "required": ["accepted", "rejected"],
    "properties": {"accepted": {"type": "integer"}, "rejected": {"type": "integer"}},
}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}},
}
# what any request may be answered, before anybody looks at what it asks for, or when all fails
_ALWAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "400": ("This is not HTTP/1.1, or the address cannot be read.", _ERROR),
    "404": ("No such path.", _ERROR),
    "405": ("Neither GET nor POST.", _ERROR),
    "408": ("The request took more than 30 seconds.", _ERROR),
    "431": ("Line and headers have more than 32 KiB.", _ERROR),
    "500": ("The collector has failed; its log says why. Nothing is acknowledged.", _ERROR),
    "505": ("Another version of HTTP.", _ERROR),
}
_ANSWERS: dict[str, tuple[str, dict[str, Any]]] = {
    **_ALWAYS,
    "200": ("Durable. Rejected records become dead letters.", _COUNTS),
    "401": ("The signature or the key is wrong, or may not send this.", _ERROR),
    "403": ("A page of another site; see LARDER_MENU_ORIGINS.", _ERROR),
    "413": ("More than 1 MiB, or more than 10,000 records.", _ERROR),
    "422": (
        "Nothing usable; what there was is in the dead letters.",
        {"anyOf": [_COUNTS, _ERROR]},
    ),
    "429": ("More than the rate of this sender; see Retry-After.", _ERROR),
    "503": ("The queue or the disk is full; nothing was kept; see Retry-After.", _ERROR),
}
_PAGES = (
    ("/metrics", "What it counts, for Prometheus.", "text/plain"),
    ("/openapi.json", "This description.", "application/json"),
    ("/menu.js", "The script of a menu page.", "text/javascript"),
)


@cache
def openapi() -> bytes:
    """Return the description as JSON."""
    entities = read_entities()
    aliases = {path: entities[name] for path, name in ALIASES.items()}
    paths: dict[str, Any] = {
        path: {"post": _operation(path, entity)}
        for path, entity in [
            *aliases.items(),
            *((f"/v1/{name}", entity) for name, entity in entities.items()),
        ]
    }
    for path, what in {
        "/healthz": "It is alive.",
        "/readyz": "It is ready; 503 where its disk is full or nothing lands any more.",
    }.items():
        status = _answer(what, {"type": "object", "properties": {"status": {"type": "string"}}})
        paths[path] = _page(what, {"200": status, "503": status})
    for path, what, content_type in _PAGES:
        shown = {"description": what, "content": {content_type: {"schema": {}}}}
        paths[path] = _page(what, {"200": shown})
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "Larder's collector", "version": "1"},
            "paths": paths,
            "components": {
                "securitySchemes": {
                    "key": {"type": "http", "scheme": "bearer"},
                    "signature": {
                        "type": "apiKey",
                        "in": "header",
                        "name": "X-Radar-Signature",
                        "description": "HMAC-SHA1 of X-Radar-Signing-Id.",
                    },
                    "page": {
                        "type": "apiKey",
                        "in": "query",
                        "name": "key",
                        "description": "The key of a page, which may send menu events alone.",
                    },
                },
            },
        }
    )


def _operation(path: str, entity: Entity) -> dict[str, Any]:
    record = _record(entity)
    if entity.holds_several:
        event = {"allOf": _required(entity, "$.event.")}
        several = {"type": "array", "items": event, "minItems": 1}
        record = {"anyOf": [record, _placed("events", several)]}
    content: dict[str, Any] = {"application/json": {"schema": record}}
    summary = "A delivery update, or several"
    if path != WEBHOOK_PATH:
        what = "A record on each line; text/plain is read like this, too."
        content["application/x-ndjson"] = {"schema": {"type": "string", "description": what}}
        summary = f"Records of {entity.path}"
    other = {"signature": path == WEBHOOK_PATH, "page": entity.source == SOURCE}
    return {
        "summary": summary,
        "security": [{"key": []}, *({name: []} for name, holds in other.items() if holds)],
        "requestBody": {"required": True, "content": content},
        "responses": {status: _answer(*answer) for status, answer in _ANSWERS.items()},
    }


def _page(what: str, answers: dict[str, Any]) -> dict[str, Any]:
    always = {status: _answer(*answer) for status, answer in _ALWAYS.items()}
    return {"get": {"summary": what, "security": [], "responses": always | answers}}


def _answer(what: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": what, "content": {"application/json": {"schema": schema}}}


def _record(entity: Entity) -> dict[str, Any]:
    """Describe a record: what must be there may stand in any of its places."""
    record: dict[str, Any] = {
        "type": "object",
        "properties": {
            source: _property(field)
            for field in entity.fields
            for source in field.sources
            if not source.startswith("$.")
        },
    }
    required = _required(entity)
    return record | ({"allOf": required} if required else {})


def _required(entity: Entity, below: str = "") -> list[dict[str, Any]]:
    """Describe what must be there, in any of its places below a path."""
    return [
        {
            "anyOf": [
                _placed(source.removeprefix(below), _property(field))
                for source in field.sources
                if source.startswith(below)
            ]
        }
        for field in entity.fields
        if field.required
    ]


def _placed(source: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Describe an object that has the value there, and not empty."""
    if "string" in schema.get("type", ""):
        schema = schema | {"minLength": 1}
    for name in reversed(source.removeprefix("$.").split(".")):
        schema = {"type": "object", "required": [name], "properties": {name: schema}}
    return schema


def _property(field: Field) -> dict[str, Any]:
    schema = dict(_SCHEMAS[field.type])
    if field.accepted:
        schema["enum"] = list(field.accepted)
    return schema
