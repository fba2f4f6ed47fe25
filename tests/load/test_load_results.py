from __future__ import annotations

import json
import xml.etree.ElementTree
from html.parser import HTMLParser
from typing import Any

import pytest
from runs import make_run

from sttp_reactor.load import plot
from sttp_reactor.load.checks import parse_check
from sttp_reactor.load.comparing import compare, exceeded, parse_tolerance
from sttp_reactor.load.faults import LoadError
from sttp_reactor.load.gathering import Gathering
from sttp_reactor.load.latency import percentiles
from sttp_reactor.load.messages import Done, Tick
from sttp_reactor.load.outcomes import OUTCOME_BITS, SHOW_200, UNSENT, WRONG
from sttp_reactor.load.page import render
from sttp_reactor.load.plan import Plan
from sttp_reactor.load.result import Generator, ServerCosts, from_json
from sttp_reactor.load.summary import summarise
from sttp_reactor.load.verdict import remarks
from sttp_reactor.load.wording import NONE, duration, plural, tick


def _server(busiest: float) -> ServerCosts:
    return ServerCosts(pid=1, processes=1, cpu=busiest * 2, busiest=busiest, rss=1)


def _own(busiest: float, lag: int | None = None) -> Generator:
    return Generator(processes=1, cpu=busiest * 2, busiest=busiest, lag=lag)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7.04, "7.04 µs"),
        (713, "713 µs"),
        (1234, "1.23 ms"),
        (99_940, "99.9 ms"),
        (999_900, "1.00 s"),
        (1.5e6, "1.50 s"),
    ],
)
def test_durations(value: float, text: str) -> None:
    assert duration(value) == text


def test_words() -> None:
    assert [tick(value) for value in (1e6, 300_000, 1000, 50)] == ["1 s", "300 ms", "1 ms", "50 µs"]
    assert [plural(1, "key"), plural(2000, "key"), plural(2, "process")] == ["1 key", "2,000 keys", "2 processes"]


def test_a_run_survives_its_file() -> None:
    run = make_run(service={SHOW_200: {5: 2}}, generator=_own(0.5, 7), remarks=["so"], samples=["wrong"], wrong=1)
    again = from_json(run.to_json(), "run.json")
    assert (again.settings, again.series, again.server, again.generator) == (
        run.settings,
        run.series,
        run.server,
        run.generator,
    )
    assert again.outcomes() == run.outcomes()
    assert again.to_json() == run.to_json()
    assert json.loads(run.to_json())["summary"]["response_ms"]["max"] == 50.0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "other"}', "\x00"])
def test_other_files_are_refused(text: str) -> None:
    with pytest.raises(LoadError, match=r"x\.json is not a run"):
        from_json(text, "x.json")


def test_a_file_with_a_piece_missing_is_refused() -> None:
    body = json.loads(make_run().to_json())
    del body["series"]
    with pytest.raises(LoadError, match=r"x\.json is damaged"):
        from_json(json.dumps(body), "x.json")


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("p50<501us", True), ("p50<0.5ms", False), ("p99<=1ms", True), ("max<50ms", False), ("max<=50ms", True),
        ("update.max>=50ms", True), ("show.max<1ms", True), ("create.p50<1s", False), ("mean<1ms", True),
        ("rate>=1k", True), ("rate>1k/s", False), ("cpu<=800us", True), ("cpu<1us", False), ("rss<21MB", True),
        ("wrong<1", True), ("response.p99.9 < 1s", True), ("service.p50<1s", True),
    ],
)  # fmt: skip
def test_checks(text: str, passes: bool) -> None:
    assert parse_check(text).passes(make_run()) is passes


def test_a_figure_that_is_missing_fails_its_check() -> None:
    check = parse_check("rss<1GB")
    assert check.needs_server
    assert not check.passes(make_run(server=None))
    assert check.show(None) == "no such figure"
    assert [check.show(2e6), parse_check("p50<1s").show(1500), parse_check("rate>1").show(1e4)] == [
        "2.0 MB",
        "1.500 ms",
        "10,000/s",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "p99",
        "p99=5ms",
        "p99<5",
        "p0<1ms",
        "p101<1ms",
        "speed>1",
        "read.p99<1ms",
        "update.rate>1",
        "rss<5ms",
        "p99<-1ms",
    ],
)
def test_wrong_checks(text: str) -> None:
    with pytest.raises(LoadError, match="--check: "):
        parse_check(text)


def test_who_was_the_bottleneck() -> None:
    own = _own(0.97)
    assert "may have been the bottleneck" in remarks(make_run(generator=own, server=None))[0]
    assert (
        "sttpbench, not the server, was the bottleneck: 97%" in remarks(make_run(generator=own, server=_server(0.6)))[0]
    )
    assert remarks(make_run(generator=own, server=_server(0.95))) == []
    assert remarks(make_run(generator=_own(0.2), server=_server(0.6))) == []


def test_whether_a_schedule_was_kept() -> None:
    plan = Plan(rate=1000.0)
    assert remarks(make_run(plan, generator=_own(0.2, 100))) == []
    assert (
        "sttpbench was the bottleneck: it was 2.00 ms late or more"
        in remarks(make_run(plan, generator=_own(0.95, 2000)))[0]
    )
    slow = make_run(Plan(rate=2000.0), generator=_own(0.2, 100))
    assert remarks(slow) == ["the server did not keep up with 2,000/s: it answered 1,000/s"]


def test_a_generator_that_was_late_without_work_was_not_the_bottleneck() -> None:
    sentence = remarks(make_run(Plan(rate=1000.0), generator=_own(0.2, 2000)))[0]
    assert "bottleneck" not in sentence
    assert sentence.startswith(
        "sttpbench was woken 2.00 ms late or more for 1 % of what was due, and used 20% of a core: "
    )


def test_what_was_never_sent_is_not_called_a_rate_that_was_not_kept() -> None:
    behind = make_run(
        Plan(rate=1000.0), generator=_own(0.2, 100), response={**make_run().response, UNSENT: {9: 5}}, seconds=1.998
    )
    assert remarks(behind) == ["5 requests that were due were never sent"]
    assert behind.requests == 2000


def test_a_server_that_was_killed() -> None:
    for rate, unsent, ending in (
        (1000.0, {UNSENT: {9: 5}}, ", and 5 requests that were due were never sent"),
        (None, {}, ""),
    ):
        killed = make_run(Plan(rate=rate), lost=50, wrong=50, response={**make_run().response, **unsent}, seconds=1.998)
        assert remarks(killed) == [f"every connection was lost by 2.0 s: the figures end there{ending}"]


@pytest.mark.parametrize(
    ("plan", "service", "server", "sentence"),
    [
        (Plan(rate=500e3, connections=2), {80: 1000, 90: 1000}, None,
            "500,000/s were asked and 1,000/s answered: no more fits into 2 connections with 1 request in flight each "
            "at 85 µs a reply (a larger -c or -P would show what the server can do)"),
        (Plan(rate=500e3, connections=1, pipeline=16), {160: 2000}, _server(0.5),
            "500,000/s were asked and 1,000/s answered: no more fits into 1 connection with 16 requests in flight each "
            "at 160 µs a reply (a larger -c or -P would show what the server can do)"),
        (Plan(rate=500e3, connections=2), {80: 1000, 90: 1000}, _server(0.99),
            "the server did not keep up with 500,000/s: it answered 1,000/s"),
        (Plan(rate=100e3, connections=50), {100: 100, 50_000: 1900}, None,
            "the server did not keep up with 100,000/s: it answered 1,000/s"),
        (Plan(rate=100e3, connections=50), {100: 100, 50_000: 1900}, _server(0.3),
            "the server did not keep up with 100,000/s: it answered 1,000/s"),
    ],
)  # fmt: skip
def test_what_bounds_a_rate(plan: Plan, service: dict[int, int], server: ServerCosts | None, sentence: str) -> None:
    assert remarks(make_run(plan, generator=_own(0.5, 10), service={SHOW_200: service}, server=server)) == [sentence]


def test_a_generator_that_bounds_a_rate() -> None:
    service = {SHOW_200: {100: 100, 50_000: 1900}}
    busy = make_run(Plan(rate=100e3), generator=_own(0.97, 10), service=service, server=_server(0.5))
    assert remarks(busy) == [
        "sttpbench, not the server, was the bottleneck: 97% of a core against the server's 50% (-j adds processes)"
    ]
    unknown = make_run(Plan(rate=100e3), generator=_own(0.97, 10), service=service, server=None)
    assert remarks(unknown)[0].startswith(
        "sttpbench used 97% of a core: it may have been the bottleneck, not the server"
    )
    both = make_run(Plan(rate=100e3), generator=_own(0.97, 10), service=service, server=_server(0.97))
    assert remarks(both) == ["the server did not keep up with 100,000/s: it answered 1,000/s"]


def test_a_last_reply_that_takes_its_time_is_no_rate_that_was_not_kept() -> None:
    short = make_run(
        Plan(rate=1000.0), service={SHOW_200: {100: 1999, 500_000: 1}}, seconds=2.4, generator=_own(0.2, 10)
    )
    assert remarks(short) == []


def test_a_short_run_is_called_short() -> None:
    assert "too few for percentiles" in remarks(make_run(response={SHOW_200: {5: 9}}))[0]
    assert remarks(make_run(response={})) == []


def test_the_summary_of_a_run() -> None:
    lines = summarise(make_run(remarks=["a remark"])).splitlines()
    assert lines[0] == "127.0.0.1:8080: 50 connections"
    assert lines[3] == "2,000 requests in 2.0 s: 1,000/s, every reply right"
    assert lines[4] == "  SHOW 200: 1,998, UPDATE 200: 2"
    assert lines[6].split() == ["latency", "p50", "p90", "p95", "p99", "p99.9", "p99.99", "max"]
    assert lines[7].split()[:3] == ["all", "500", "µs"]
    assert lines[9].split() == ["UPDATE", "500", "µs", NONE, NONE, NONE, NONE, NONE, "50.0", "ms"]
    assert "800 µs CPU a request, 80% of a core, 20.0 MB" in lines[11]
    assert lines[-1] == "! a remark"


def test_the_summary_names_what_went_wrong() -> None:
    run = make_run(wrong=3, lost=1, interrupted=True, response={WRONG: {5: 3}})
    assert "3 requests interrupted after 2.0 s: 2/s, 3 WRONG, 1 connection lost" in summarise(run)
    assert "0 requests" in summarise(make_run(response={}, series=[], seconds=0.0, server=None))


def test_two_runs_side_by_side() -> None:
    faster = make_run(Plan(pipeline=16), seconds=1.0, server=None)
    lines = compare(make_run(), faster).splitlines()
    assert lines[1].split() == ["requests", "a", "second", "1,000", "2,000", "2.00"]
    assert lines[-1].strip() == "pipeline: 1 / 16"
    assert any(line.split() == ["server", "memory", "20.0", "MB", NONE, NONE] for line in lines)


@pytest.mark.parametrize(
    ("second", "worse"),
    [
        ({}, []),
        ({"seconds": 2.1}, []),
        ({"seconds": 2.5}, ["requests a second"]),
        ({"response": {SHOW_200: {1: 1900, 1200: 100}}}, ["response p99"]),
        ({"response": {SHOW_200: {1: 1999, 900_000: 1}}}, []),
        ({"response": {SHOW_200: {1: 40, 1200: 10}}, "seconds": 0.05}, ["response p90", "server CPU a request"]),
        ({"service": {SHOW_200: {5: 2000}}}, []),
        ({"server": ServerCosts(pid=1, processes=1, cpu=2.0, busiest=0.8, rss=30_000_000)},
            ["server CPU a request", "server memory"]),
        ({"server": None}, []),
        ({"wrong": 1}, ["wrong replies"]),
        ({"response": {}, "series": []}, ["requests a second"]),
    ],
)  # fmt: skip
def test_what_a_tolerance_of_a_tenth_catches(second: dict[str, Any], worse: list[str]) -> None:
    sentences = exceeded(make_run(), make_run(**second), 0.1)
    assert [sentence.split(": ")[1].split(",")[0] for sentence in sentences] == worse
    assert exceeded(make_run(**second), make_run(**second), 0.0) == []


def test_tolerances() -> None:
    assert [parse_tolerance(text) for text in ("10%", "7.5", "0")] == [0.1, 0.075, 0.0]
    for text in ("", "-1", "ten", "10 %", "inf", "10%%"):
        with pytest.raises(LoadError, match="--tolerance: expected a percentage"):
            parse_tolerance(text)


class Page(HTMLParser):
    """Counts the elements, and notes what would be fetched from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.count: dict[str, int] = {}
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        if tag not in ("meta", "path", "circle", "rect"):
            self.open.append(tag)
        self.fetched += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "srcset", "data")]

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "circle", "rect"):
            assert self.open.pop() == tag


def _svgs(page: str) -> list[xml.etree.ElementTree.Element]:
    return [
        xml.etree.ElementTree.fromstring("<svg" + part.split("</svg>")[0] + "</svg>") for part in page.split("<svg")[1:]
    ]


def test_the_page_of_a_run() -> None:
    text = render([make_run(service={SHOW_200: {5: 2000}}, remarks=["beware"], samples=["<b>&"], wrong=1)])
    page = Page(text)
    assert page.open == []
    assert page.fetched == []
    assert "url(" not in text
    assert page.count["svg"] == len(_svgs(text)) == 4
    assert "&lt;b&gt;&amp;" in text
    assert "beware" in text
    assert "service time, from when it was sent" in text


def test_the_page_of_two_runs() -> None:
    text = render([make_run(), make_run(server=None, series=[], response={})], ["before", "<after>"])
    page = Page(text)
    assert page.open == []
    assert page.count["svg"] == len(_svgs(text)) == 4
    assert "&lt;after&gt;" in text
    assert "<after>" not in text


def test_the_page_of_nothing() -> None:
    text = render([make_run(response={}, series=[], server=None, seconds=0.0)])
    assert Page(text).open == []
    assert len(_svgs(text)) == 3


def test_a_stall_breaks_the_line_of_latencies() -> None:
    drawing = plot.draw(
        plot.time_axis(3), plot.linear(1, str), [plot.Line("first", [(0, 1), (1, 1), None, (2, 1), (3, 1)])]
    )
    lines = [path for path in xml.etree.ElementTree.fromstring(drawing).iter("path") if "line" in path.get("class", "")]
    assert len(lines) == 2


def test_axes() -> None:
    assert [value for value, _ in plot.linear(83_000, str).ticks] == [0, 20_000, 40_000, 60_000, 80_000, 100_000]
    assert plot.linear(0, str).ticks
    assert [label for _, label in plot.time_axis(10).ticks] == ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]
    log = plot.logarithmic([130, 4000], tick)
    assert [label for _, label in log.ticks] == ["100 µs", "200 µs", "500 µs", "1 ms", "2 ms", "5 ms"]
    assert (log.place(100), log.place(5000)) == (0, 1)
    assert plot.logarithmic([], tick).place(1) == 0
    share = plot.percentile_axis(10_000)
    assert [share.place(value) for value in (0, 0.9, 0.99, 0.999, 1)] == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert [label for _, label in share.ticks] == ["0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %"]


def _tick(process: int, since: float, until: float, latencies: dict[int, int]) -> Tick:
    tally = {value << OUTCOME_BITS | SHOW_200: count for value, count in latencies.items()}
    return Tick(process, since, until, tally, {}, {}, 0)


def test_two_processes_add_up() -> None:
    gathering = Gathering(Plan(processes=2, connections=2, seconds=6.0))
    interval = gathering.plan.interval()
    gathering.add(_tick(0, 0, interval, {10: 5}))
    assert gathering.latest() is None, "the other process has not reported this step"
    gathering.add(_tick(1, 0, interval * 1.1, {20: 5}))
    gathering.add(_tick(0, interval, interval * 2, {10: 1}))
    latest = gathering.latest()
    assert latest is not None
    assert (latest.requests, latest.p50, latest.p99) == (10, 10, 20)
    for process in (0, 1):
        gathering.finish(Done(cpu=0.1, seconds=0.2, wrong=process, samples=["x"] * 5 * process, lost=0))
    result = gathering.result(interrupted=False)
    assert (result.requests, result.seconds, result.wrong, len(result.samples)) == (11, 0.2, 1, 5)
    assert result.generator.busiest == pytest.approx(0.5)
    assert percentiles(result.counts(), (100,)) == [20]
    assert [point.requests for point in result.series] == [10, 1]


def test_the_rest_of_a_last_step_joins_the_step_before() -> None:
    gathering = Gathering(Plan(seconds=6.0))
    interval = gathering.plan.interval()
    gathering.add(_tick(0, 0, interval, {10: 5}))
    gathering.add(_tick(0, interval, interval * 1.01, {10: 2}))
    assert [(point.requests, point.until) for point in gathering.series()] == [(7, interval * 1.01)]


def test_what_was_never_sent_is_in_the_latencies_but_not_in_the_rate() -> None:
    gathering = Gathering(Plan(seconds=6.0, rate=1000.0))
    tally = {10 << OUTCOME_BITS | SHOW_200: 3, 900 << OUTCOME_BITS | UNSENT: 7}
    gathering.add(Tick(0, 0.0, 0.1, tally, {}, {}, 0))
    gathering.finish(Done(cpu=0.1, seconds=0.1, wrong=0, samples=[], lost=0))
    result = gathering.result(interrupted=False)
    assert (result.requests, result.unsent, result.series[0].requests) == (3, 7, 3)
    assert percentiles(result.counts(), (99,)) == [900]
