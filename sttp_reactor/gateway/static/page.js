// The page of sttp_reactor: a tree of snippets, one of them to read and edit, and the server's figures as they come.
"use strict";

const $ = (id) => document.getElementById(id);
const mayWrite = document.documentElement.dataset.write === "true";
const MOST_CHARACTERS = 160;

// -- Texts of unknown origin --

// What is invisible, or turns the direction of what follows, is shown as the server's log shows it; it is never obeyed.
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Cn}\p{Zl}\p{Zp}]/gu;
const escaped = (character) => `\\u{${character.codePointAt(0).toString(16)}}`;
const visible = (text) => text.replace(INVISIBLE, escaped);
// The server counts code points; `length` would count halves of some.
const characters = (text) => [...text].length;

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

function tell(id, text) {
  $(id).textContent = text;
  $(id).hidden = !text;
}

// -- Requests --

const url = (path) => "/files" + path.split("/").map(encodeURIComponent).join("/");

async function ask(method, path, headers = {}, body = undefined) {
  let response;
  try {
    response = await fetch(url(path), { method, headers, body, cache: "no-store" });
  } catch {
    throw new Error("The server cannot be reached.");
  }
  if (response.ok) return response;
  const type = response.headers.get("Content-Type") || "";
  const problem = type.startsWith("application/problem+json") ? await response.json() : null;
  const error = new Error(problem ? problem.detail : `The server answered ${response.status}.`);
  error.status = response.status;
  throw error;
}

// -- The tree --

const tree = $("tree");
const SHOWN_AT_ONCE = 500;

function item(path, name, isDirectory) {
  const label = element("span", { className: "name" }, element("bdi", { textContent: visible(name) }));
  const made = element("li", { role: "treeitem", tabIndex: -1, "aria-selected": "false" }, label);
  made.dataset.path = path;
  if (isDirectory) made.setAttribute("aria-expanded", "false");
  label.addEventListener("click", () => choose(made));
  return made;
}

function fill(list, path, entries) {
  const some = entries.slice(0, SHOWN_AT_ONCE);
  for (const { name, kind } of some) {
    const isDirectory = kind === "directory";
    list.append(item(path + name + (isDirectory ? "/" : ""), name + (isDirectory ? "/" : ""), isDirectory));
  }
  if (entries.length > some.length) {
    const more = item("", `${entries.length - some.length} more`, false);
    more.more = () => { more.remove(); fill(list, path, entries.slice(SHOWN_AT_ONCE)); focusFirst(); };
    list.append(more);
  } else if (!list.children.length) {
    list.append(element("li", { role: "none", className: "none", textContent: "nothing here" }));
  }
}

async function load(list, path) {
  tell("browse-error", "");
  try {
    const listing = await (await ask("GET", path, { Accept: "application/json" })).json();
    list.replaceChildren();
    fill(list, path, listing.entries);
  } catch (error) {
    tell("browse-error", `${visible(path)}: ${error.message}`);
  }
}

async function setExpanded(node, expanded) {
  node.setAttribute("aria-expanded", String(expanded));
  node.querySelector(":scope > ul")?.remove();
  if (!expanded) return;
  const list = element("ul", { role: "group" });
  node.append(list);
  await load(list, node.dataset.path);
}

function choose(node) {
  focusItem(node);
  if (node.more) node.more();
  else if (node.hasAttribute("aria-expanded")) setExpanded(node, node.getAttribute("aria-expanded") !== "true");
  else open(node.dataset.path);
}

const items = () => [...tree.querySelectorAll("[role=treeitem]")];

function focusItem(node) {
  for (const each of items()) each.tabIndex = each === node ? 0 : -1;
  node.focus();
}

function focusFirst() {
  const all = items();
  if (all.length && !all.some((each) => each.tabIndex === 0)) all[0].tabIndex = 0;
}

tree.addEventListener("keydown", (event) => {
  const node = event.target.closest("[role=treeitem]");
  if (!node || event.altKey || event.ctrlKey || event.metaKey) return;
  const all = items();
  const at = all.indexOf(node);
  const expanded = node.getAttribute("aria-expanded");
  const moves = {
    ArrowDown: () => all[at + 1] && focusItem(all[at + 1]),
    ArrowUp: () => all[at - 1] && focusItem(all[at - 1]),
    Home: () => focusItem(all[0]),
    End: () => focusItem(all[all.length - 1]),
    Enter: () => choose(node),
    " ": () => choose(node),
    ArrowRight: () => {
      if (expanded === "false") setExpanded(node, true);
      else if (expanded === "true" && node.querySelector("[role=treeitem]")) focusItem(node.querySelector("[role=treeitem]"));
    },
    ArrowLeft: () => {
      const parent = node.parentElement.closest("[role=treeitem]");
      if (expanded === "true") setExpanded(node, false);
      else if (parent) focusItem(parent);
    },
  };
  if (moves[event.key]) {
    event.preventDefault();
    moves[event.key]();
  }
});

// Opens the directories that lead to `path`, and reads the last of them anew.
async function reveal(path) {
  let list = tree;
  let so_far = "/";
  const directories = path.split("/").slice(1, -1);
  for (const name of directories) {
    so_far += name + "/";
    let node = items().find((each) => each.dataset.path === so_far);
    if (!node) {
      await load(list, so_far.slice(0, -name.length - 1));
      node = items().find((each) => each.dataset.path === so_far);
    }
    if (!node) return;
    if (node.getAttribute("aria-expanded") !== "true") await setExpanded(node, true);
    list = node.querySelector(":scope > ul");
  }
  await load(list, so_far);
  focusFirst();
  select(path);
}

function select(path) {
  for (const each of items()) each.setAttribute("aria-selected", String(each.dataset.path === path));
}

// -- One snippet --

let opened = null; // { path, etag }; etag is null for one that is not there yet

function show(path, text, etag) {
  opened = { path, etag };
  $("file-title").firstElementChild.textContent = visible(path);
  $("edit").hidden = false;
  $("text").value = text;
  $("text").readOnly = !mayWrite;
  $("buttons").hidden = !mayWrite;
  $("delete").hidden = $("reload").hidden = etag === null;
  tell("text-error", "");
  $("saved").textContent = "";
  count();
  select(path);
}

async function open(path) {
  tell("browse-error", "");
  try {
    const response = await ask("GET", path, { Accept: "application/problem+json" });
    show(path, await response.text(), response.headers.get("ETag"));
  } catch (error) {
    tell("browse-error", `${visible(path)}: ${error.message}`);
  }
}

function faultOf(text) {
  if (/[\r\n]/.test(text)) return "A snippet is one line: there is a line break in it.";
  const excess = characters(text) - MOST_CHARACTERS;
  return excess > 0 ? `${excess} characters too many.` : "";
}

function count() {
  const text = $("text").value;
  $("count").textContent = `${characters(text)} of ${MOST_CHARACTERS} characters`;
  $("count").classList.toggle("bad", faultOf(text) !== "");
  const shown = visible(text.replace(/[\t\r\n]/g, " "));
  tell("invisible", shown === text.replace(/[\t\r\n]/g, " ") ? "" : `With what is invisible in it: ${shown}`);
}

$("text").addEventListener("input", () => { count(); tell("text-error", ""); $("saved").textContent = ""; });

$("edit").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("text").value;
  const fault = faultOf(text);
  tell("text-error", fault);
  if (fault || !mayWrite) return $("text").focus();
  const { path, etag } = opened;
  const condition = etag === null ? { "If-None-Match": "*" } : { "If-Match": etag };
  try {
    const response = await ask("PUT", path, { "Content-Type": "application/octet-stream", ...condition }, text);
    if (opened.path !== path) return;
    show(path, text, response.headers.get("ETag"));
    $("saved").textContent = "Saved.";
    if (etag === null) await reveal(path);
  } catch (error) {
    const hint = error.status === 412 && etag !== null ? " Somebody else has changed it: read it again." : "";
    tell("text-error", error.message + hint);
    $("text").focus();
  }
});

$("delete").addEventListener("click", async () => {
  const { path, etag } = opened;
  if (!confirm(`Delete ${visible(path)}?`)) return;
  try {
    await ask("DELETE", path, { "If-Match": etag });
  } catch (error) {
    return tell("text-error", error.message);
  }
  opened = null;
  $("edit").hidden = true;
  $("file-title").firstElementChild.textContent = `${visible(path)} is deleted`;
  $("file").focus();
  await reveal(path);
});

$("reload").addEventListener("click", () => open(opened.path));

$("create").addEventListener("submit", (event) => {
  event.preventDefault();
  let path = $("create-path").value.trim();
  if (path && !path.startsWith("/")) path = `/${path}`;
  const name = path.slice(path.lastIndexOf("/") + 1);
  const fault = !name ? "A snippet needs a name, such as /notes/a.txt."
    : /[\s\p{Cc}]/u.test(path) ? "A path holds no space."
    : characters(name) > 32 ? "The name has at most 32 characters." : "";
  tell("create-error", fault);
  if (fault) return $("create-path").focus();
  $("create-path").value = "";
  show(path, "", null); // whether it is there already, saving will tell
  $("text").focus();
});

// -- Figures --

const KEPT = 180;
let history = []; // { now, values }

const sumOf = (values, name, part = "") => {
  let sum = 0;
  for (const [key, value] of Object.entries(values)) {
    if ((key === name || key.startsWith(`${name}{`)) && key.includes(part)) sum += value;
  }
  return sum;
};

function rate(name, part = "") {
  return (before, after) => {
    const seconds = after.now - before.now;
    return seconds > 0 ? Math.max(0, sumOf(after.values, name, part) - sumOf(before.values, name, part)) / seconds : null;
  };
}
const gauge = (name) => (_before, after) => sumOf(after.values, name);

// The value that a share of all that happened between the two was not above, within its bucket by proportion.
function quantile(name, share, part = "") {
  return (before, after) => {
    const bounds = Object.keys(after.values).filter((key) => key.startsWith(`${name}_bucket`) && key.includes(part))
      .map((key) => [parseFloat(key.match(/le="([^"]+)"/)[1].replace("+Inf", "Infinity")), after.values[key] - (before.values[key] || 0)])
      .sort((one, other) => one[0] - other[0]);
    const all = bounds.length ? bounds[bounds.length - 1][1] : 0;
    if (!all) return null;
    let [low, below] = [0, 0];
    for (const [bound, sum] of bounds) {
      if (sum >= share * all) return bound === Infinity ? low : low + (bound - low) * (share * all - below) / Math.max(1, sum - below);
      [low, below] = [bound, sum];
    }
    return low;
  };
}

const hitShare = (before, after) => {
  const hits = sumOf(after.values, "sttp_cache_hits_total") - sumOf(before.values, "sttp_cache_hits_total");
  const misses = sumOf(after.values, "sttp_cache_misses_total") - sumOf(before.values, "sttp_cache_misses_total");
  return hits + misses > 0 ? 100 * hits / (hits + misses) : null;
};

const plain = (value) => value >= 1e6 ? `${(value / 1e6).toFixed(1)} M` : value >= 1e4 ? `${(value / 1e3).toFixed(0)} k` : value.toFixed(value < 10 && value % 1 ? 1 : 0);
const seconds = (value) => value < 1e-3 ? `${(value * 1e6).toFixed(0)} µs` : value < 1 ? `${(value * 1e3).toFixed(1)} ms` : `${value.toFixed(1)} s`;
const bytes = (value) => value < 1024 ? `${value.toFixed(0)} B` : value < 1 << 20 ? `${(value / 1024).toFixed(0)} KiB` : `${(value / (1 << 20)).toFixed(1)} MiB`;
const percent = (value) => `${value.toFixed(0)} %`;

const DURATION = "sttp_request_duration_seconds";
const LAG = "sttp_reactor_lag_seconds";
const PLOTS = [
  ["SHOW and LIST per second", plain, { SHOW: rate("sttp_requests_total", 'action="SHOW"'), LIST: rate("sttp_requests_total", 'action="LIST"') }],
  ["Writes per second", plain, { CREATE: rate("sttp_requests_total", 'action="CREATE"'), UPDATE: rate("sttp_requests_total", 'action="UPDATE"'), DELETE: rate("sttp_requests_total", 'action="DELETE"') }],
  ["HTTP requests per second", plain, { "": rate("sttp_http_requests_total") }],
  ["Latency", seconds, { p50: quantile(DURATION, 0.5), p90: quantile(DURATION, 0.9), p99: quantile(DURATION, 0.99) }],
  ["Cache hits", percent, { "": hitShare }],
  ["Cache size", bytes, { "": gauge("sttp_cache_bytes") }],
  ["Connections", plain, { STTP: gauge("sttp_connections"), HTTP: gauge("sttp_http_connections") }],
  ["Waiting for the store", plain, { "": gauge("sttp_requests_waiting") }],
  ["Reactor lag", seconds, { p99: quantile(LAG, 0.99) }],
  ["Memory", bytes, { "": gauge("process_resident_memory_bytes") }],
];
const SVG = "http://www.w3.org/2000/svg";
const drawn = PLOTS.map(([title, form, lines]) => {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${KEPT - 1} 100`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const paths = Object.keys(lines).map(() => svg.appendChild(document.createElementNS(SVG, "path")));
  const output = element("output", { textContent: "–", "aria-live": "off" });
  $("plots").append(element("figure", {}, element("figcaption", { textContent: title }), output, svg));
  return { form, lines: Object.entries(lines), points: paths.map(() => []), paths, output };
});

function draw(before, after) {
  for (const { form, lines, points, paths, output } of drawn) {
    lines.forEach(([, value], index) => {
      points[index].push(value(before, after));
      if (points[index].length > KEPT) points[index].shift();
    });
    const most = Math.max(1e-9, ...points.flat().filter((value) => value !== null));
    paths.forEach((path, index) => {
      let [d, pen] = ["", "M"];
      points[index].forEach((value, at) => {
        if (value === null) pen = "M";
        else {
          d += `${pen}${at + KEPT - points[index].length} ${(98 - 96 * value / most).toFixed(1)}`;
          pen = "L";
        }
      });
      path.setAttribute("d", d);
    });
    output.replaceChildren(...lines.map(([name], index) => {
      const value = points[index].at(-1);
      const said = `${name} ${value === null || value === undefined ? "–" : form(value)}`.trim();
      return element("span", { className: lines.length > 1 ? `line${index}` : "", textContent: said });
    }));
  }
}

// -- The servers of a proxy --

const UPSTREAM = "sttp_upstream_duration_seconds";

function drawServers(before, after) {
  const keys = Object.keys(after.values).filter((key) => key.startsWith("sttp_upstream_up{"));
  $("servers").hidden = !keys.length;
  $("servers").querySelector("tbody").replaceChildren(...keys.map((key) => {
    const part = key.slice(key.indexOf("{") + 1, -1);
    const sum = (name) => plain(sumOf(after.values, `sttp_upstream_${name}`, part));
    const figure = (form, value) => value === null ? "–" : form(value);
    const isUp = after.values[key] > 0;
    const cells = [sum("outstanding"), figure(plain, rate("sttp_upstream_requests_total", part)(before, after)),
      figure(seconds, quantile(UPSTREAM, 0.5, part)(before, after)), figure(seconds, quantile(UPSTREAM, 0.99, part)(before, after)),
      sum("retries_total"), sum("ejections_total"), sum("unknown_total")];
    return element("tr", {}, element("th", { scope: "row", textContent: part.slice(part.indexOf('"') + 1, -1) }),
      element("td", { className: isUp ? "" : "bad", textContent: isUp ? "up" : "not asked" }),
      ...cells.map((text) => element("td", { textContent: text })));
  }));
}

// -- The loop --

const PHASES = ["lull", "wait", "sockets", "inbox", "timers", "ready", "end", "flush"];
const MOST_TURNS = 300;
let turns = [];

for (const phase of PHASES) {
  const swatch = document.createElementNS(SVG, "svg");
  const square = swatch.appendChild(document.createElementNS(SVG, "rect"));
  square.setAttribute("width", "12");
  square.setAttribute("height", "12");
  square.setAttribute("class", phase);
  swatch.setAttribute("aria-hidden", "true");
  $("legend").append(element("li", {}, swatch, phase === "end" ? "turn end" : phase));
}

function drawTurn(turn) {
  const work = turn.reduce((sum, each, index) => sum + (index === 1 ? 0 : each), 0) || 1;
  // Most of a turn's time is the wait; drawn to scale it would leave nothing of the rest to be seen.
  const widths = turn.map((each, index) => index === 1 ? Math.min(each, work / 4) : each);
  const whole = widths.reduce((sum, each) => sum + each, 0) || 1;
  let x = 0;
  $("turn").replaceChildren(...PHASES.map((phase, index) => {
    const rect = document.createElementNS(SVG, "rect");
    const width = 1000 * widths[index] / whole;
    Object.entries({ x, y: 0, width, height: 30, class: phase }).forEach(([key, value]) => rect.setAttribute(key, value));
    x += width;
    return rect;
  }));
  const said = PHASES.map((phase, index) => `${phase === "end" ? "turn end" : phase} ${seconds(turn[index] / 1e6)}`);
  $("turn-said").textContent = `The longest of the last second: ${said.join(", ")}.`;
}

function drawHistory() {
  const canvas = $("history");
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, canvas.clientWidth * scale);
  canvas.height = 120 * scale;
  const pen = canvas.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  const works = turns.map((turn) => turn.reduce((sum, each, index) => sum + (index === 1 ? 0 : each), 0));
  const most = Math.max(1, ...works);
  const width = canvas.width / MOST_TURNS;
  turns.forEach((turn, at) => {
    let y = canvas.height;
    PHASES.forEach((phase, index) => {
      if (index === 1 || !turn[index]) return;
      const height = canvas.height * turn[index] / most;
      y -= height;
      pen.fillStyle = style.getPropertyValue(`--${phase}`);
      pen.fillRect((at + MOST_TURNS - turns.length) * width, y, Math.max(1, width - 1), height);
    });
  });
  $("history-said").textContent = `The highest column is ${seconds(most / 1e6)}.`;
}

// -- Events --

let source = null;

function connect() {
  source?.close();
  source = null;
  if (document.hidden) return; // nobody looks
  source = new EventSource($("watch").checked ? "/events?turns=1" : "/events");
  source.onopen = () => { $("state").textContent = "live"; $("state").classList.remove("bad"); };
  source.onerror = () => { $("state").textContent = "no connection; trying again"; $("state").classList.add("bad"); };
  source.onmessage = (event) => {
    const { now, samples, turns: fresh } = JSON.parse(event.data);
    const next = { now, values: samples };
    const last = history.at(-1);
    // Figures that shrink are those of another server: it has been started again.
    if (last && sumOf(samples, "process_cpu_seconds_total") < sumOf(last.values, "process_cpu_seconds_total")) history = [];
    history.push(next);
    if (history.length > 10) history.shift();
    if (history.length > 1) draw(history.length > 5 ? history.at(-4) : history[0], next);
    drawServers(history.length > 5 ? history.at(-4) : history[0], next);
    if (fresh?.length) {
      turns = turns.concat(fresh).slice(-MOST_TURNS);
      const work = (turn) => turn.reduce((sum, each, index) => sum + (index === 1 ? 0 : each), 0);
      drawTurn(fresh.reduce((longest, each) => work(each) > work(longest) ? each : longest));
      drawHistory();
    }
  };
}

$("watch").addEventListener("change", () => { $("turns").hidden = !$("watch").checked; connect(); });
document.addEventListener("visibilitychange", connect);

$("create").hidden = !mayWrite;
load(tree, "/").then(focusFirst);
connect();
