"""Which handler a path leads to, and what is answered where there is none."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("httptools", reason="the extra `http`")

from sttp_reactor.http.messages import Response
from sttp_reactor.http.router import Found, Router

ROUTES = {
    "/": "root",
    "/api/{name}": "greet",
    "/api/{name}/friends/{friend}": "friend",
    "/api/everybody": "everybody",
    "/files/{path...}": "show",
}


@pytest.fixture
def router() -> Router[str]:
    router: Router[str] = Router()
    for pattern, handler in ROUTES.items():
        router.add("GET", pattern, handler)
    router.add("PUT", "/files/{path...}", "replace")
    router.add("POST", "/api/{name}", "change")
    return router


@pytest.mark.parametrize(
    ("method", "path", "handler", "parameters"),
    [
        ("GET", "/", "root", {}),
        ("GET", "/api/Alice", "greet", {"name": "Alice"}),
        ("HEAD", "/api/Alice", "greet", {"name": "Alice"}),
        ("POST", "/api/Alice", "change", {"name": "Alice"}),
        ("GET", "/api/everybody", "everybody", {}),
        ("GET", "/api/everybody/friends/Bob", "friend", {"name": "everybody", "friend": "Bob"}),
        (
            "GET",
            "/api/Al%C3%A9%20%2F%2525",
            "greet",
            {"name": "Alé /%25"},
        ),  # decoded once, and a %2F is no segment's end
        ("GET", "/api/a+b", "greet", {"name": "a+b"}),
        ("GET", "/files/", "show", {"path": ""}),
        ("GET", "/files/a/b//c/", "show", {"path": "a/b//c/"}),
        ("PUT", "/files/a%2Fb%", "replace", {"path": "a%2Fb%"}),  # as it was sent
    ],
)
def test_found(router: Router[str], method: str, path: str, handler: str, parameters: dict[str, str]) -> None:
    assert router.find(method, path) == Found(handler, parameters)


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/api", 404, None),
        ("GET", "/api/", 404, None),  # a parameter is not empty
        ("GET", "/api/a/b", 404, None),
        ("GET", "//", 404, None),
        ("OPTIONS", "*", 404, None),
        ("GET", "/api/%", 400, None),
        ("GET", "/api/%zz", 400, None),
        ("GET", "/api/%ff", 400, None),
        ("DELETE", "/api/Alice", 405, "GET, HEAD, POST"),
        ("DELETE", "/files/a", 405, "GET, HEAD, PUT"),
    ],
)
def test_not_found(router: Router[str], method: str, path: str, status: int, allow: str | None) -> None:
    response = router.find(method, path)
    assert isinstance(response, Response)
    assert (response.status, dict(response.headers).get("Allow")) == (status, allow)


def test_a_long_path_costs_its_length_only() -> None:
    """With a parameter and a plain segment at each level there are 2 ** 20 ways to walk, if one walks them all."""
    router: Router[int] = Router()
    for depth in range(20):
        router.add("GET", "/a" * depth + "/{p}" + "/a" * (20 - depth) + "/end", depth)
    began = time.thread_time()
    for _ in range(20):
        assert isinstance(router.find("GET", "/a" * 4000), Response)
    assert time.thread_time() - began < 1


@pytest.mark.parametrize("pattern", ["api", "/{a...}/b", "/{a}/{a}", "/api/{name}"])
def test_patterns_that_make_no_sense(router: Router[str], pattern: str) -> None:
    with pytest.raises(ValueError, match=r"pattern|nothing|twice|already"):
        router.add("GET", pattern, "handler")
