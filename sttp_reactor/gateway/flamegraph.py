"""A flame graph of sampled stacks: an SVG that holds all it needs, can be searched, and zooms where it is clicked."""

from __future__ import annotations

import base64
import hashlib
import html
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from sttp_reactor.printable import printable
from sttp_reactor.profiling import Stacks

_WIDTH: Final = 1200
_ROW: Final = 18
# Narrower ones are left out: nobody could see them, and there may be thousands.
_LEAST_WIDTH: Final = 0.3
_CHARACTER_WIDTH: Final = 6.6

_STYLE: Final = """
text { font: 11px ui-monospace, monospace; fill: #16181d; pointer-events: none; }
rect { stroke: #fff; stroke-width: 0.5; }
#bar { fill: #fff; stroke: none; }
#search { cursor: pointer; pointer-events: all; fill: #2463c4; }
.found rect { fill: #b45cff; }
g:hover > rect { stroke: #16181d; stroke-width: 1.5; }
"""
_SCRIPT: Final = """
"use strict";
const frames = [...document.querySelectorAll("g")];
const all = frames.map((g) => {
  const rect = g.querySelector("rect");
  return { g, rect, text: g.querySelector("text"), x: +rect.getAttribute("x"), width: +rect.getAttribute("width"),
    y: +rect.getAttribute("y"), name: g.dataset.name };
});
function place(x, width, y) {
  for (const each of all) {
    const scale = WIDTH / width;
    const left = Math.max(0, (each.x - x) * scale), right = Math.min(WIDTH, (each.x + each.width - x) * scale);
    const room = right - left;
    each.g.style.display = room > 0.3 ? "" : "none";
    each.rect.setAttribute("x", left);
    each.rect.setAttribute("width", Math.max(0, room));
    each.g.style.opacity = each.y > y ? 0.5 : 1;
    each.text.setAttribute("x", left + 3);
    const most = Math.floor((room - 6) / 6.6);
    const fits = each.name.length <= most;
    each.text.textContent = most < 3 ? "" : fits ? each.name : each.name.slice(0, most - 1) + "\\u2026";
  }
}
for (const each of all) each.g.addEventListener("click", () => place(each.x, each.width, each.y));
document.getElementById("search").addEventListener("click", () => {
  const wanted = prompt("Highlight the functions whose names contain", "");
  if (wanted === null) return;
  let samples = 0, end = -1;
  for (const each of [...all].sort((one, other) => one.x - other.x || other.width - one.width)) {
    const found = wanted !== "" && each.name.toLowerCase().includes(wanted.toLowerCase());
    each.g.classList.toggle("found", found);
    if (found && each.x >= end - 1e-6) { samples += each.width; end = each.x + each.width; }
  }
  const share = (100 * samples / WIDTH).toFixed(1);
  document.getElementById("said").textContent = wanted === "" ? "" : `${share} % in ${wanted}`;
});
""".replace("WIDTH", str(_WIDTH))


def _hash_of(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


# Its own script and style may run, by their sums; attributes of style are set by that script only.
POLICY: Final = f"default-src 'none'; script-src {_hash_of(_SCRIPT)}; style-src {_hash_of(_STYLE)}"


@dataclass(slots=True)
class _Frame:
    count: int = 0
    inner: dict[str, _Frame] = field(default_factory=dict)


def flame_graph(stacks: Stacks, title: str) -> str:
    root = _Frame()
    for stack, count in stacks.items():
        frame = root
        frame.count += count
        for name in stack:
            frame = frame.inner.setdefault(name, _Frame())
            frame.count += count
    deepest = max(map(len, stacks), default=0) + 1
    height = (deepest + 3) * _ROW
    bottom = height - _ROW - 4
    boxes = "\n".join(_boxes("all", root, 0.0, 0, bottom, _WIDTH / max(1, root.count)))
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="100%">
<title>{html.escape(title)}</title>
<style>{_STYLE}</style>
<rect id="bar" width="{_WIDTH}" height="{height}"/>
<text x="4" y="14">{html.escape(title)}</text>
<text id="said" x="{_WIDTH - 400}" y="14"></text>
<text id="search" x="{_WIDTH - 60}" y="14" role="button">Search</text>
{boxes}
<script><![CDATA[{_SCRIPT}]]></script>
</svg>
"""


def _boxes(name: str, frame: _Frame, x: float, depth: int, bottom: int, scale: float) -> Iterator[str]:
    width = frame.count * scale
    if width < _LEAST_WIDTH:
        return
    name = printable(name)  # a thread may be called anything
    shown, y = html.escape(name), bottom - depth * _ROW
    most = int((width - 6) / _CHARACTER_WIDTH)
    label = "" if most < 3 else html.escape(name if len(name) <= most else f"{name[: most - 1]}…")
    share = f"{frame.count} samples, {100 * width / _WIDTH:.1f} %"
    yield (
        f'<g data-name="{shown}"><title>{shown}: {share}</title><rect x="{x:.2f}" y="{y}" width="{width:.2f}" '
        f'height="{_ROW}" fill="{_colour(name)}"/><text x="{x + 3:.2f}" y="{y + 13}">{label}</text></g>'
    )
    for inner_name, inner in sorted(frame.inner.items()):
        yield from _boxes(inner_name, inner, x, depth + 1, bottom, scale)
        x += inner.count * scale


def _colour(name: str) -> str:
    """Always the same for a name: warm for ours, cool for all others."""
    shade = zlib.crc32(name.encode()) % 50
    hue = 20 + shade if name.startswith("sttp_reactor") else 190 + shade
    return f"hsl({hue},70%,{68 + shade % 10}%)"
