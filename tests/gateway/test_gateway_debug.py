"""/debug/…: where the time goes, what the memory holds, what every thread does; and for whom it is not."""

from __future__ import annotations

import json
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator

import pytest
from web import StartWeb, Web, serve

from sttp_reactor.gateway.flamegraph import POLICY, flame_graph
from sttp_reactor.profiling import as_collapsed, as_speedscope, sample


@pytest.fixture(scope="module")
def shared_web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with serve(tmp_path_factory.mktemp("served"), "http.debug=true") as web:
        yield web


def test_a_sampler_finds_the_busy_thread_and_takes_its_time() -> None:
    is_over = threading.Event()

    def burn() -> None:
        while not is_over.is_set():
            sum(range(100))

    busy = threading.Thread(target=burn, name="busy; one")
    busy.start()
    try:
        began = time.monotonic()
        stacks = sample(0.3)
        assert time.monotonic() - began >= 0.3
        assert sample(60.0, lambda: True) == Counter()
    finally:
        is_over.set()
        busy.join()
    found = [stack for stack in stacks if stack[0] == "busy; one"]
    assert found
    assert all(stack[-1].endswith("burn") or "is_set" in stack[-1] for stack in found)
    assert not [stack for stack in stacks if stack[-1] == "sttp_reactor.profiling:sample"]  # not itself
    assert any(line.startswith("busy, one;threading:") for line in as_collapsed(stacks).splitlines())


STACKS = Counter({("main", "m:f", "m:g"): 3, ("main", "m:f"): 1, ("work & <b>", "sttp_reactor.net:h"): 4})


def test_collapsed_and_speedscope_tell_the_same() -> None:
    assert as_collapsed(STACKS) == "main;m:f 1\nmain;m:f;m:g 3\nwork & <b>;sttp_reactor.net:h 4\n"
    told = json.loads(as_speedscope(STACKS, hertz=4))
    [profile] = told["profiles"]
    names = [frame["name"] for frame in told["shared"]["frames"]]
    assert (
        Counter(
            {
                tuple(names[each] for each in stack): weight * 4
                for stack, weight in zip(profile["samples"], profile["weights"], strict=True)
            }
        )
        == STACKS
    )
    assert profile["endValue"] == 2.0


def test_a_flame_graph_is_an_svg_with_nothing_from_elsewhere() -> None:
    text = flame_graph(STACKS, "<title>")
    root = ElementTree.fromstring(text.encode())
    space = "{http://www.w3.org/2000/svg}"
    widths = {g.get("data-name"): float(g.find(f"{space}rect").get("width")) for g in root.iter(f"{space}g")}  # type: ignore[union-attr,arg-type]
    assert widths == {"all": 1200, "main": 600, "m:f": 600, "m:g": 450, "work & <b>": 600, "sttp_reactor.net:h": 600}
    assert text.count("http") == 1  # the name of SVG itself
    assert "unsafe" not in POLICY


@pytest.mark.parametrize(
    ("form", "content_type"),
    [
        ("svg", "image/svg+xml; charset=utf-8"),
        ("collapsed", "text/plain; charset=utf-8"),
        ("speedscope", "application/json"),
    ],
)
def test_profiles(web: Web, form: str, content_type: str) -> None:
    answer = web.get(f"/debug/profile?seconds=0.3&format={form}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, content_type)
    assert b"sttp_reactor.net.reactor:Reactor." in answer.body


@pytest.mark.parametrize("query", ["seconds=0", "seconds=-1", "seconds=61", "seconds=x", "seconds=nan", "format=pdf"])
def test_what_makes_no_profile(web: Web, query: str) -> None:
    assert web.get(f"/debug/profile?{query}").problem[0] == 400


def test_one_profile_at_a_time(web: Web) -> None:
    other = Web(web.sttpd)
    url = "/debug/profile?seconds=1&format=collapsed"
    first = threading.Thread(target=lambda: web.until(lambda: web.get(url).status == 200))
    first.start()
    other.until(lambda: other.get("/debug/profile?seconds=0.01").status == 503)
    first.join()
    other.until(lambda: other.get("/debug/profile?seconds=0.01").status == 200)
    other.client.close()


def test_the_heap_is_traced_between_on_and_off(web: Web) -> None:
    assert web.get("/debug/heap").problem[0] == 409
    assert web.ask("POST", "/debug/heap?tracing=on").status == 204
    web.get("/files/")
    assert b"sttp_reactor" in web.get("/debug/heap").body
    assert web.ask("POST", "/debug/heap?tracing=off").status == 204
    assert web.get("/debug/heap").status == 409
    assert web.ask("POST", "/debug/heap?tracing=on", Origin="http://evil.example").status == 403


def test_stacks_and_turns(web: Web) -> None:
    assert "thread MainThread" in web.get("/debug/stacks").body.decode()
    told = web.get("/debug/turns").json
    assert told["phases"][:3] == ["lull", "wait", "sockets"]
    assert told["turns"]
    assert all(len(turn) == len(told["phases"]) for turn in told["turns"])


def test_nobody_else_gets_in(web: Web, start_web: StartWeb) -> None:
    assert web.get("/debug/stacks", Sec_Fetch_Site="cross-site").status == 403
    assert web.get("/debug/stacks", Host="evil.example").status == 421
    off = start_web()
    assert off.get("/debug/stacks").problem == (404, "There is nothing here; see http.debug.")
    off.client.close()
