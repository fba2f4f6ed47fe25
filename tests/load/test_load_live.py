from __future__ import annotations

import io
import sys

import pytest

from sttp_reactor.load.gathering import Gathering
from sttp_reactor.load.live import Lines, Panel, make_view, sparkline
from sttp_reactor.load.messages import Tick
from sttp_reactor.load.outcomes import OUTCOME_BITS, SHOW_200
from sttp_reactor.load.plan import Plan
from sttp_reactor.load.result import Point


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _gathering(wrong: int = 0) -> Gathering:
    gathering = Gathering(Plan(seconds=6.0))
    gathering.add(Tick(0, 0.0, 0.1, {700 << OUTCOME_BITS | SHOW_200: 100}, {}, {}, wrong))
    return gathering


def test_lines_come_at_most_once_a_second() -> None:
    out = io.StringIO()
    lines = Lines(out)
    lines.stage("measuring", 0, 0)
    for _ in range(50):
        lines.tick(_gathering(wrong=3))
    assert out.getvalue() == "measuring\n   0.1 s      1,000/s  p50   700 µs  p99   700 µs  3 WRONG\n"


def test_stages_are_named_once() -> None:
    out = io.StringIO()
    lines = Lines(out)
    for done in range(3):
        lines.stage("preparing", done, 10)
    assert out.getvalue().splitlines()[0] == "preparing: 0 of 10 keys"
    assert len(out.getvalue().splitlines()) <= 2


def test_lines_where_there_is_no_terminal_or_no_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(make_view(Plan(), io.StringIO(), Terminal()), Lines)
    assert isinstance(make_view(Plan(), Terminal(), io.StringIO()), Lines)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert isinstance(make_view(Plan(), Terminal(), Terminal()), Lines)


def test_sparklines_reach_from_nothing_to_the_most() -> None:
    points = [Point(since=n, until=n + 1, requests=each, p50=0, p99=0, most=0) for n, each in enumerate((0, 50, 100))]
    assert sparkline(points, lambda point: point.rate) == "▁▅█"
    assert sparkline(points, lambda point: point.p50) == "▁▁▁"
    assert sparkline([], lambda point: point.rate) == ""


@pytest.mark.parametrize("plan", [Plan(seconds=6.0), Plan(seconds=None, requests=1000)])
def test_a_panel_shows_a_run(plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    panel = make_view(plan, Terminal(), Terminal())
    assert isinstance(panel, Panel)
    panel.stage("preparing", 5, 10)
    panel.stage("measuring", 0, 0)
    panel.tick(Gathering(plan))
    monkeypatch.setattr(panel, "_next", 0.0)
    panel.tick(_gathering(wrong=3))
    panel.close()
    drawn = capsys.readouterr().err
    assert "1,000/s" in drawn
    assert "700 µs" in drawn
    assert "127.0.0.1:8080: 50 connections" in drawn
