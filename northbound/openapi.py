"""The Networking API as an OpenAPI 3.1 document, made from the tables that it is served by: `/openapi.json`.

What a collection has is described, and nothing else; what a body may hold is what the parsers of its attributes say of
themselves (`northbound.resources.schemas`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from northbound.resources.attributes import REQUIRED, Attribute, Collection, Operation
from northbound.resources.schemas import OBJECT, STRING, Schema, list_of, open_table, table
from northbound.resources.tags import Tags

Document = dict[str, Any]

VERSION: Final = "2.0"

_ERROR: Final[Schema] = table(
    ("NeutronError",),
    NeutronError=table(("type", "message", "detail"), type=STRING, message=STRING, detail=STRING),
)
_UNAUTHORIZED: Final[Schema] = {
    **table(("error",), error=table(("code", "title", "message"), code={"const": 401}, title=STRING, message=STRING))
}
_REFUSALS: Final[Mapping[int, str]] = {
    400: "What was sent makes no sense; the message says why.",
    403: "The caller sees it, and may not do that.",
    404: "It is not there, for this caller.",
    409: "Something else is in the way.",
    412: "It is at another revision than If-Match says.",
    413: "The body is too large.",
    415: "The body is no JSON.",
    429: "Too many requests without a valid token.",
    503: "The store or the identity service is away; the message says which and why.",
}
_LINKS: Final[Schema] = list_of(table(("rel", "href"), rel={"enum": ["next", "previous"]}, href=STRING))


def document(collections: Iterable[Collection[Any]], url: str) -> Document:
    """The description of an API that is served at `url`."""
    paths: Document = {}
    schemas: Document = {"Error": _ERROR, "Unauthorized": _UNAUTHORIZED}
    for collection in collections:
        _describe(collection, paths, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Weft: OpenStack Networking API v2.0",
            "version": VERSION,
            "description": "Generated from the attribute tables. Names and meanings are OpenStack Networking's.",
        },
        "servers": [{"url": url}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
        },
        "security": [{"token": []}, {}],
    }


def _describe(collection: Collection[Any], paths: Document, schemas: Document) -> None:
    name, kind = collection.name, _title(collection.name)
    body: Schema
    schemas[kind] = table(**{each.name: each.gives for each in collection.attributes if not each.hidden})
    shown, several = {name: _ref(kind)}, {collection.plural: list_of(_ref(kind))}
    base = "/v2.0/" + collection.path.replace("{within}", "{parent_id}")
    parent = [_in_path("parent_id", "what it is part of")] if collection.is_part else []
    listing = _operation(
        collection, "list", f"List {collection.plural}", 200, table(**several, **{f"{collection.plural}_links": _LINKS})
    )
    listing["parameters"] = [*parent, *_query(collection)]
    paths[base] = {"get": listing}
    if collection.create:
        schemas[f"{kind}Create"] = _body(collection, "post")
        body = {"anyOf": [table((name,), **{name: _ref(f"{kind}Create")}), _bulk(collection, kind)]}
        answer = {"anyOf": [table(**shown), table(**several)]}
        making = _operation(collection, "create", f"Make one {name}, or several: then all or none", 201, answer)
        paths[base]["post"] = {**making, "parameters": parent, "requestBody": _request(body)}
    one = [*parent, _in_path("id", f"the {collection.key} of the {name}")]
    showing = _operation(collection, "show", f"Show a {name}", 200, table(**shown))
    path = f"{base}/{{id}}"
    paths[path] = {"get": {**showing, "parameters": [*one, _FIELDS]}}
    if collection.update:
        schemas[f"{kind}Update"] = _body(collection, "put")
        body = table((name,), **{name: _ref(f"{kind}Update")})
        changing = _operation(collection, "update", f"Change what the body names of a {name}", 200, table(**shown))
        paths[path]["put"] = {**changing, "parameters": [*one, _IF_MATCH], "requestBody": _request(body)}
    if collection.delete:
        removing = _operation(collection, "delete", f"Remove a {name}", 204, None)
        paths[path]["delete"] = {**removing, "parameters": [*one, _IF_MATCH]}
    tagging = Tags(collection.plural).operations() if "tags" in collection.table else ()
    for operation in (*collection.operations, *tagging):
        _describe_operation(collection, operation, path, one, paths)


def _describe_operation(
    collection: Collection[Any], operation: Operation[Any], path: str, parameters: list[Document], paths: Document
) -> None:
    verb, where = operation.method.lower(), f"{path}/{operation.path}"
    answer = None if operation.status == 204 else {"type": ["object", "null"]}
    what = f"{verb} {operation.path.replace('/{item}', '')}"
    told = _operation(collection, what.replace(" ", "_"), f"{what} of a {collection.name}", operation.status, answer)
    if "{item}" in operation.path:
        told["operationId"] += "_item"
        parameters = [*parameters, _in_path("item", "which one")]
    if verb in ("put", "post") and "{item}" not in operation.path:
        told["requestBody"] = _request(operation.takes or OBJECT)
    paths.setdefault(where, {})[verb] = {**told, "parameters": parameters}


def _operation(collection: Collection[Any], verb: str, summary: str, status: int, answer: Schema | None) -> Document:
    done: Document = {"description": "Done."}
    if answer is not None:
        done["content"] = {"application/json": {"schema": answer}}
    refusals = {
        str(code): {"description": said, "content": {"application/json": {"schema": _ref("Error")}}}
        for code, said in _REFUSALS.items()
    }
    refusals["401"] = {
        "description": "No token, or none that works.",
        "content": {"application/json": {"schema": _ref("Unauthorized")}},
    }
    return {
        "operationId": f"{verb}_{collection.name}",
        "summary": summary,
        "tags": [collection.plural],
        "responses": {str(status): done, **refusals},
    }


def _body(collection: Collection[Any], verb: str) -> Schema:
    """What a body may hold."""
    given = [each for each in collection.attributes if getattr(each, verb)]
    required = [each.name for each in given if verb == "post" and each.default is REQUIRED]
    return table(required, **{each.name: each.takes for each in given})


def _bulk(collection: Collection[Any], kind: str) -> Schema:
    return open_table((collection.plural,), **{collection.plural: list_of(_ref(f"{kind}Create"), minItems=1)})


def _query(collection: Collection[Any]) -> list[Document]:
    """The query language of lists, as far as a collection has it."""
    sortable = [each.name for each in collection.attributes if each.sort]
    filters = [_in_query(each.name, list_of(_asked(each))) for each in collection.attributes if each.filter]
    order = [
        _in_query("sort_key", list_of({"enum": sortable})),
        _in_query("sort_dir", list_of({"enum": ["asc", "desc"]})),
    ]
    pages = [
        _in_query("limit", {"type": "integer", "minimum": 0, "maximum": 999_999_999}),
        _in_query("marker", STRING),
        _in_query("page_reverse", {"type": "boolean"}),
    ]
    return [*filters, *(order if sortable else ()), *pages, _FIELDS]


def _asked(attribute: Attribute[Any, object]) -> Schema:
    """What a filter's value may be: text, of which each attribute makes what it can."""
    return {"type": "boolean"} if attribute.gives == {"type": "boolean"} else STRING


def _in_query(name: str, schema: Schema) -> Document:
    return {"name": name, "in": "query", "schema": schema}


def _in_path(name: str, what: str) -> Document:
    schema = {"type": "string", "pattern": "^[0-9A-Za-z][0-9A-Za-z_-]*$", "maxLength": 255}
    return {"name": name, "in": "path", "required": True, "description": what, "schema": schema}


def _request(schema: Schema) -> Document:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _title(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


_FIELDS: Final[Document] = _in_query("fields", list_of(STRING))
_IF_MATCH: Final[Document] = {
    "name": "If-Match",
    "in": "header",
    "description": "revision_number=N: only if it is at that revision",
    "schema": STRING,
}
