"""What the gateway understands, for programs: OpenAPI 3.1 at /openapi.json."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from sttp_reactor import __version__
from sttp_reactor.http.exchange import Exchange
from sttp_reactor.http.messages import Request, Response
from sttp_reactor.http.router import Router

if TYPE_CHECKING:
    from sttp_reactor.gateway.gateway import Route


def _texts(description: str, *types: str) -> dict[str, Any]:
    content = {kind: {"schema": {"type": "string"}} for kind in types}
    return {"description": description, "content": content} if types else {"description": description}


def _problem(description: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}},
            "text/plain": {"schema": {"type": "string"}},
        },
    }


_PROBLEMS: Final = {
    "400": _problem("A path or a text that STTP does not know, or a directory where a file is meant."),
    "403": _problem("A rule forbids it, or writing is off, or another site may be behind it."),
    "404": _problem("There is no such file or directory."),
    "409": _problem("A directory of the path cannot be made; POST: the file is there already."),
    "412": _problem("If-Match or If-None-Match does not hold."),
    "413": _problem("The body is too long."),
    "414": _problem("The file's name is too long."),
    "417": _problem("Something is expected that is not understood."),
    "421": _problem("The Host is none of this server's names."),
    "431": _problem("The headers are too long."),
    "500": _problem("The store has failed."),
    "503": _problem("The store cannot be used just now, or the server stops."),
}
# As PROTOCOL.md has them: no space, no control character, no `.` and `..`, and none of the server's own.
_NAME: Final = r"(?!\.{1,2}$)(?!\.sttp)[^/\x00-\x20\x7f-\x9f]"
# Parameters of a path cannot hold a `/` in OpenAPI, so directories are described one deep.
_PATH: Final = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "The file's name, with the directories that lead to it before, joined by `/`.",
    "schema": {"type": "string", "pattern": f"^{_NAME}{{1,32}}$"},
}
_DIRECTORY: Final = {
    "name": "directory",
    "in": "path",
    "required": True,
    "description": "The directory, with those that lead to it before, joined by `/`.",
    "schema": {"type": "string", "pattern": f"^{_NAME}{{1,63}}$"},
}
_ETAG: Final = {"ETag": {"schema": {"type": "string"}}}
_BODY: Final = {
    "description": "The text: at most 160 characters of UTF-8 on one line, perhaps with its line end.",
    "required": False,
    "content": {
        "application/octet-stream": {
            "schema": {"type": "string", "pattern": r"^[^\x00-\x08\x0a-\x1f\x7f-\x9f]{0,160}(\r?\n)?$"}
        }
    },
}
_CONDITIONS: Final = "If-Match and If-None-Match are heeded: 412 where they do not hold."


def _responses(**found: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix("_"): value for name, value in found.items()} | _PROBLEMS


_FILES: Final = {
    "parameters": [_PATH],
    "get": {
        "summary": "The text of a file",
        "description": "If-None-Match is heeded.",
        "responses": _responses(
            _200={**_texts("The text.", "text/plain"), "headers": _ETAG},
            _304={"description": "If-None-Match names the ETag.", "headers": _ETAG},
        ),
    },
    "post": {
        "summary": "Create a file",
        "description": _CONDITIONS,
        "requestBody": _BODY,
        "responses": _responses(_201={"description": "Created.", "headers": _ETAG}),
    },
    "put": {
        "summary": "Replace a file, or create it",
        "description": _CONDITIONS,
        "requestBody": _BODY,
        "responses": _responses(
            _201={"description": "Created.", "headers": _ETAG}, _204={"description": "Replaced.", "headers": _ETAG}
        ),
    },
    "delete": {
        "summary": "Delete a file",
        "description": _CONDITIONS,
        "responses": _responses(_204={"description": "Deleted."}),
    },
}
_LISTED: Final = {
    "description": "The names, in the form that Accept prefers.",
    "content": {
        "text/plain": {"schema": {"type": "string"}},
        "text/html": {"schema": {"type": "string"}},
        "application/json": {"schema": {"$ref": "#/components/schemas/Listing"}},
    },
}
_LIST: Final = {"summary": "The names in a directory", "responses": _responses(_200=_LISTED)}


def _simple(summary: str, *types: str) -> dict[str, Any]:
    problems = {status: _PROBLEMS[status] for status in ("421", "503")}
    return {"get": {"summary": summary, "responses": {"200": _texts("Here it is.", *types), **problems}}}


DOCUMENT: Final = {
    "openapi": "3.1.0",
    "info": {"title": "sttp_reactor", "version": __version__, "description": "Short texts in files, over HTTP."},
    "paths": {
        "/files/": {"get": _LIST},
        "/files/{directory}/": {"parameters": [_DIRECTORY], "get": _LIST},
        "/files/{name}": _FILES,
        "/healthz": _simple("Whether the process turns", "text/plain"),
        "/readyz": _simple("Whether it should be given requests", "text/plain"),
        "/metrics": _simple("Figures for Prometheus", "text/plain"),
    },
    "components": {
        "schemas": {
            "Problem": {
                "type": "object",
                "required": ["type", "title", "status", "detail"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                },
            },
            "Listing": {
                "type": "object",
                "required": ["path", "entries"],
                "properties": {
                    "path": {"type": "string"},
                    "entries": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["name", "kind"],
                            "properties": {
                                "name": {"type": "string"},
                                "kind": {"enum": ["file", "directory"]},
                            },
                        },
                    },
                },
            },
        }
    },
}
_TEXT: Final = json.dumps(DOCUMENT, indent=1).encode() + b"\n"


def add_openapi(router: Router[Route]) -> None:
    router.add("GET", "/openapi.json", _document)


def _document(_request: Request, _exchange: Exchange, _parameters: dict[str, str]) -> Response:
    return Response(200, _TEXT, "application/json", [("Cache-Control", "no-cache")])
