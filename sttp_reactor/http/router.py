"""Which handler a path and a method lead to.

    router = Router()
    router.add("GET", "/api/{name}", greet)             one segment, percent-decoded
    router.add("GET", "/files/{path...}", show)         all that is left, as it was sent

A pattern's plain segments win over its parameters, and a parameter over "all that is left". HEAD goes where GET goes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar
from urllib.parse import unquote_to_bytes

from sttp_reactor.http.messages import Response, sentence

H = TypeVar("H")


@dataclass(slots=True)
class _Node(Generic[H]):
    """A prefix of patterns: what may follow, and the handlers of those that end here, with their parameters' names."""

    plain: dict[str, _Node[H]] = field(default_factory=dict)
    parameter: _Node[H] | None = None
    rest: dict[str, tuple[H, list[str]]] = field(default_factory=dict)
    handlers: dict[str, tuple[H, list[str]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found(Generic[H]):
    handler: H
    parameters: dict[str, str]


class Router(Generic[H]):
    """Add all routes, then ask. `find` costs what the path's segments cost, however many routes there are."""

    def __init__(self) -> None:
        self._root: _Node[H] = _Node()

    def add(self, method: str, pattern: str, handler: H) -> None:
        """Raises ValueError for a pattern that makes no sense, or that is there already."""
        names: list[str] = []
        node = self._root
        first, *segments = pattern.split("/")
        if first or not segments:
            raise ValueError(f"{pattern}: a pattern begins with /")
        for index, segment in enumerate(segments):
            if segment.startswith("{") and segment.endswith("...}"):
                if index != len(segments) - 1:
                    raise ValueError(f"{pattern}: nothing comes after {segment}")
                return self._put(node.rest, method, pattern, handler, [*names, segment[1:-4]])
            if segment.startswith("{") and segment.endswith("}"):
                names.append(segment[1:-1])
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.plain.setdefault(segment, _Node())
        return self._put(node.handlers, method, pattern, handler, names)

    @staticmethod
    def _put(table: dict[str, tuple[H, list[str]]], method: str, pattern: str, handler: H, names: list[str]) -> None:
        if method in table:
            raise ValueError(f"{method} {pattern}: there is such a route already")
        if len(set(names)) < len(names):
            raise ValueError(f"{pattern}: a parameter's name stands twice")
        table[method] = handler, names

    def find(self, method: str, path: str) -> Found[H] | Response:
        """The handler and its parameters; or the response where there is none: 404, 405 with Allow, 400."""
        found = _find(self._root, path.split("/")[1:], []) if path.startswith("/") else None
        if found is None:
            return sentence(404, "There is nothing here.")
        table, values, is_rest = found
        route = table.get(method) or (table.get("GET") if method == "HEAD" else None)
        if route is None:
            return sentence(405, f"{method} is not for this.", ("Allow", ", ".join(_allowed(table))))
        handler, names = route
        try:
            decoded = [value if is_rest and value is values[-1] else _decoded(value) for value in values]
            return Found(handler, dict(zip(names, decoded, strict=True)))
        except ValueError as error:
            return sentence(400, str(error))


# The handlers, what stands in the path for their parameters, and whether the last one is "all that is left".
_Match = tuple[dict[str, tuple[H, list[str]]], list[str], bool]
# Above it, a path with parameters at each level could be walked in ways without number.
_MAX_SEGMENTS: Final = 256


def _find(node: _Node[H], segments: list[str], values: list[str]) -> _Match[H] | None:
    if not segments:
        return (node.handlers, values, False) if node.handlers else None
    first, rest = segments[0], segments[1:]
    if len(segments) <= _MAX_SEGMENTS:
        plain = node.plain.get(first)
        if plain is not None and (found := _find(plain, rest, values)) is not None:
            return found
        if (
            node.parameter is not None
            and first
            and (found := _find(node.parameter, rest, [*values, first])) is not None
        ):
            return found
    return (node.rest, [*values, "/".join(segments)], True) if node.rest else None


def _allowed(table: dict[str, tuple[H, list[str]]]) -> list[str]:
    return sorted({*table, "HEAD"} if "GET" in table else table)


def _decoded(value: str) -> str:
    """Percent-decoded once. Raises ValueError."""
    data = unquote_to_bytes(value)
    if len(data) + 2 * value.count("%") != len(value):
        raise ValueError("A % in a path is followed by two hexadecimal digits.")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ValueError("A path is UTF-8, percent-encoded.") from None


AnyHandler = Callable[..., object]
