"""The style sheet of the report: light and dark by the reader's preference, and fit for paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #16181d; --soft: #5b6270; --rule: #e3e6eb;
  --first: #2463c4; --second: #c25a12; --third: #8a93a3; --bad: #b3261e; --note: #fff4dc; --note-ink: #5f4300;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #111318; --card: #1a1d24; --ink: #eceef2; --soft: #9aa3b2; --rule: #2c313b;
    --first: #6ea8ff; --second: #f0954a; --third: #6c7686; --bad: #ff8a80; --note: #3a2f14; --note-ink: #ffe3a3;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
main { max-width: 960px; margin: 0 auto; padding: 28px 20px 48px; }
h1 { font-size: 22px; margin: 0; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { font-size: 14px; margin: 0 0 8px; font-weight: 600; }
.sub { color: var(--soft); margin: 4px 0 0; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 20px 0 0; }
.tiles > div { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 12px 14px; }
.tiles dt { color: var(--soft); font-size: 13px; }
.tiles dd { margin: 2px 0 0; font-size: 24px; font-weight: 600; letter-spacing: -0.02em; }
.tiles dd.note { font-size: 13px; font-weight: 400; color: var(--soft); letter-spacing: 0; }
.tiles .bad dd:nth-child(2) { color: var(--bad); }
.remark { background: var(--note); color: var(--note-ink); border-radius: 10px; padding: 10px 14px; margin: 12px 0 0;
  overflow-wrap: anywhere; }
.remark.bad { background: none; border: 1px solid var(--bad); color: var(--bad); font-family: ui-monospace, monospace;
  font-size: 13px; }
section { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 14px 16px;
  margin: 14px 0 0; break-inside: avoid; min-width: 0; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(380px, 1fr)); column-gap: 14px;
  align-items: start; }
svg { display: block; width: 100%; min-width: 620px; height: auto; }
.grid { stroke: var(--rule); stroke-width: 1; }
.axis { stroke: var(--third); stroke-width: 1; }
.tick { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.area { stroke: none; opacity: 0.12; }
.line.first, .dot.first { stroke: var(--first); } .line.second, .dot.second { stroke: var(--second); }
.line.third, .dot.third { stroke: var(--third); stroke-width: 1.25; }
.area.first { fill: var(--first); }
.line.faint, .dot.faint { opacity: 0.5; stroke-dasharray: 5 4; }
.dot { fill: var(--card); stroke-width: 2; } .dot.faint { stroke-dasharray: none; }
.dot:hover { stroke-width: 5; }
.band { fill: var(--ink); opacity: 0; } .band:hover { opacity: 0.07; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 18px; list-style: none; margin: 0 0 6px; padding: 0; font-size: 13px;
  color: var(--soft); }
.key { display: inline-block; width: 16px; border-top: 3px solid; margin-right: 6px; vertical-align: middle; }
.key.first { border-color: var(--first); } .key.second { border-color: var(--second); }
.key.third { border-color: var(--third); } .key.faint { border-top-style: dashed; opacity: 0.6; }
.chip { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 7px; }
.chip.first { background: var(--first); } .chip.second { background: var(--second); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 5px 0 5px 14px; border-top: 1px solid var(--rule); white-space: nowrap; }
th:first-child { text-align: left; padding-left: 0; font-weight: 500; }
thead th { color: var(--soft); font-weight: 400; border-top: 0; padding-top: 0; }
thead th:first-child { font-weight: 400; }
@media print { body { background: none; } section, .tiles > div { border-color: #ccc; } }
"""
