"""A run, or two, as one HTML page that needs nothing else: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

from sttp_reactor.load.comparing import differences, figures_of_both
from sttp_reactor.load.hdr import percentiles
from sttp_reactor.load.latency import Counts
from sttp_reactor.load.page_plots import COLOURS, draw_all
from sttp_reactor.load.page_style import STYLE
from sttp_reactor.load.result import PERCENTS, Result, is_telling
from sttp_reactor.load.summary import title, verdict, workload
from sttp_reactor.load.verdict import fullness
from sttp_reactor.load.wording import NONE, duration, memory, seconds


def render(runs: Sequence[Result], names: Sequence[str] = ()) -> str:
    """One run by itself, or two (with the names `names`) in the same plots and one table."""
    headline = " and ".join(names) if names else title(runs[0].settings)
    body = [*_head(runs, names), *_remarks(runs, names)]
    body += _comparison(runs, names) if names else []
    body += draw_all(runs, names)
    body += [] if names else _tables(runs[0])
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(headline)} - sttpbench</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def _head(runs: Sequence[Result], names: Sequence[str]) -> Iterator[str]:
    if names:
        yield f"<h1>{' and '.join(_chip(number, name) for number, name in enumerate(names))}</h1>"
        for run, name in zip(runs, names, strict=True):
            words = f"{title(run.settings)}; {workload(run.settings)}"
            yield f"<p class=sub><b>{escape(name)}</b> {escape(words)}</p>"
        return
    run = runs[0]
    yield f"<h1>{escape(title(run.settings))}</h1>"
    yield f"<p class=sub>{escape(workload(run.settings))}; {escape(run.started[:16].replace('T', ' '))}</p>"
    yield "<dl class=tiles>"
    counts = run.counts()
    values = [duration(value) for value in percentiles(counts, (50, 99, 100))]
    yield _tile("requests a second", f"{run.rate:,.0f}", f"{run.requests:,} in {seconds(run.seconds)}")
    yield _tile("median", values[0], "response time" if run.service else "latency")
    yield _tile("99 % within", values[1], f"longest {values[2]}")
    if run.server:
        yield _tile("server CPU a request", duration(run.cpu_per_request() or 0), memory(run.server.rss))
    yield _tile(
        "wrong replies",
        f"{run.wrong:,}",
        verdict(run) if run.wrong or run.lost else "all verified",
        bad=bool(run.wrong),
    )
    yield "</dl>"


def _chip(number: int, name: str) -> str:
    return f'<span class="chip {COLOURS[number]}"></span>{escape(name)}'


def _tile(name: str, value: str, note: str, *, bad: bool = False) -> str:
    mark = " class=bad" if bad else ""
    return f"<div{mark}><dt>{escape(name)}</dt><dd>{escape(value)}</dd><dd class=note>{escape(note)}</dd></div>"


def _remarks(runs: Sequence[Result], names: Sequence[str]) -> Iterator[str]:
    for number, run in enumerate(runs):
        name = f"{names[number]}: " if names else ""
        if run.refused:
            yield f"<p class='remark bad'>{escape(name + fullness(run))}</p>"
        if run.interrupted:
            yield f"<p class=remark>{escape(name)}interrupted after {escape(seconds(run.seconds))}</p>"
        for remark in run.remarks:
            yield f"<p class=remark>{escape(name + remark)}</p>"
        for sample in run.samples:
            yield f"<p class='remark bad'>{escape(name + sample)}</p>"


def _tables(run: Result) -> Iterator[str]:
    heads = ["latency", "requests", "mean", *(f"{percent:g} %" for percent in PERCENTS[:-1]), "longest"]
    rows = [_latency_row("response time" if run.service else "all", run.counts())]
    if run.service:
        rows.append(_latency_row("service time", run.counts(service=True)))
    if len(run.actions()) > 1:
        rows += [_latency_row(action, run.counts(action)) for action in run.actions()]
    yield from _table("Latency", heads, rows)
    yield "<div class=pair>"
    yield from _table(
        "Replies", ["outcome", "count"], [[label, f"{count:,}"] for label, count in run.outcomes().items()]
    )
    yield from _table("Costs", ["", "CPU a request", "cores", "memory"], _cost_rows(run))
    yield from _table("Settings", ["setting", "value"], _setting_rows(run.settings))
    yield from _table("Machine", ["", ""], _setting_rows(run.machine))
    yield "</div>"


def _latency_row(name: str, counts: Counts) -> list[str]:
    total = sum(counts.values())
    average = sum(value * count for value, count in counts.items()) / total if total else 0
    values = percentiles(counts, PERCENTS)
    cells = [
        duration(value) if is_telling(percent, total) else NONE for value, percent in zip(values, PERCENTS, strict=True)
    ]
    return [name, f"{total:,}", duration(average), *cells]


def _cost_rows(run: Result) -> list[list[str]]:
    rows = []
    own, requests, length = run.generator, run.requests or 1, run.seconds or 1.0
    if run.server:
        share = f"{run.server.cpu / length:.2f}"
        rows.append(["server", duration(run.server.cpu / requests * 1e6), share, memory(run.server.rss)])
    rows.append(["sttpbench", duration(own.cpu / requests * 1e6), f"{own.cpu / length:.2f}", ""])
    return rows


def _setting_rows(settings: Mapping[str, object]) -> list[list[str]]:
    return [[name, _show_setting(value)] for name, value in settings.items()]


def _show_setting(value: object) -> str:
    return NONE if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _comparison(runs: Sequence[Result], names: Sequence[str]) -> Iterator[str]:
    first, second = runs
    rows = [[figure.name, *figure.shown()] for figure in figures_of_both(first, second)]
    yield from _table("Side by side", ["", *names, "ratio"], rows)
    different = differences(first, second)
    if different:
        rows = [[name, _show_setting(a), _show_setting(b)] for name, (a, b) in different.items()]
        yield from _table("Settings that differ", ["setting", *names], rows)


def _table(heading: str, heads: Iterable[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"<section><h2>{escape(heading)}</h2><div class=scroll><table>"
    yield "<thead><tr>" + "".join(f"<th>{escape(head)}</th>" for head in heads) + "</tr></thead><tbody>"
    for first, *others in rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in others)
        yield f"<tr><th>{escape(first)}</th>{cells}</tr>"
    yield "</tbody></table></div></section>"
