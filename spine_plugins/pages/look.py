"""How the page looks and moves: its style sheet and its script, as constant text."""

from __future__ import annotations

_LIGHT = """
  --page: #f6f7f9; --card: #ffffff; --ink: #17202c; --soft: #526074; --edge: #dce1e8; --grid: #e8ecf1;
  --accent: #0b5cad; --accent-soft: #e5effa; --focus: #0b5cad; --tick: #526074;
  --bad: #a3182b; --bad-soft: #fcebee; --warn: #7a4a00; --warn-soft: #fdf3dd;
  --note: #2d4f74; --note-soft: #eaf1f8;
  --c0: #0b62b8; --c1: #c24a00; --c2: #00785a; --c3: #a02c7c; --c4: #6b5a00; --c5: #5b48c2;
  --picture: #0c0f14; color-scheme: light;
"""
_DARK = """
  --page: #10141a; --card: #181e27; --ink: #e8edf4; --soft: #a3b0c2; --edge: #2c3542; --grid: #262e3a;
  --accent: #7db8f5; --accent-soft: #1b2d42; --focus: #9ccaff; --tick: #a3b0c2;
  --bad: #ff9aa6; --bad-soft: #3a1a20; --warn: #f3c46a; --warn-soft: #33280f;
  --note: #a9cbf0; --note-soft: #1a2837;
  --c0: #6cb2ff; --c1: #ff9c5a; --c2: #45d0a5; --c3: #f08fd0; --c4: #dcc54b; --c5: #b3a4ff;
  --picture: #07090c; color-scheme: dark;
"""
_THEMES = f""":root {{{_LIGHT}}}
@media (prefers-color-scheme: dark) {{ :root:not([data-theme=light]) {{{_DARK}}} }}
:root[data-theme=dark] {{{_DARK}}}
"""
STYLE = (
    _THEMES
    + """
* { box-sizing: border-box; }
[hidden] { display: none !important; }
html { scroll-behavior: smooth; scroll-padding-top: 4rem; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.55 system-ui, -apple-system,
  "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
h1, h2, h3, h4, p, ul, figure, dl, dd { margin: 0; padding: 0; }
h1 { font-size: 1.55rem; line-height: 1.25; font-weight: 650; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; font-weight: 650; margin-bottom: .9rem; }
h3 { font-size: .98rem; font-weight: 620; }
h4 { font-size: .9rem; font-weight: 600; }
a { color: var(--accent); text-underline-offset: 2px; }
:focus-visible { outline: 3px solid var(--focus); outline-offset: 2px; border-radius: 4px; }
code, pre, .code { font: .86em/1.55 ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace; }
pre { margin: .5rem 0 0; padding: .8rem 1rem; background: var(--page); border: 1px solid var(--edge);
  border-radius: 8px; white-space: pre-wrap; overflow-wrap: anywhere; }
pre code { font-size: 1em; }
.skip { position: absolute; left: -999rem; }
.skip:focus { left: 1rem; top: .6rem; z-index: 9; background: var(--card); padding: .5rem .9rem; }
.hidden-text { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; }
.help { color: var(--soft); font-size: .87rem; }
.frame-width { max-width: 1180px; margin: 0 auto; padding-left: 1.4rem; padding-right: 1.4rem; }
header.top { background: var(--card); border-bottom: 1px solid var(--edge); padding: 1.5rem 0 1.3rem; }
.slug { color: var(--soft); overflow-wrap: anywhere; margin-top: .2rem; }
.eyebrow { color: var(--soft); font-size: .82rem; letter-spacing: .02em; margin-bottom: .25rem; }
.title-row { display: flex; gap: 1rem; align-items: flex-start; justify-content: space-between; }
.pills { display: flex; flex-wrap: wrap; gap: .5rem; margin-top: .7rem; padding: 0; list-style: none; }
.pill { font-size: .84rem; padding: .14rem .7rem; border-radius: 99px; border: 1px solid var(--edge);
  color: var(--soft); }
.pill.state { background: var(--accent-soft); color: var(--accent); border-color: transparent;
  font-weight: 600; }
button { font: inherit; font-size: .87rem; color: var(--ink); background: var(--card); cursor: pointer;
  border: 1px solid var(--soft); border-radius: 8px; padding: .35rem .8rem; white-space: nowrap; }
button:hover { border-color: var(--accent); color: var(--accent); }
nav.parts { position: sticky; top: 0; z-index: 5; background: var(--card);
  border-bottom: 1px solid var(--edge); }
nav.parts ul { display: flex; gap: .2rem 1.3rem; flex-wrap: wrap; list-style: none;
  padding-top: .55rem; padding-bottom: .55rem; }
nav.parts a { text-decoration: none; font-size: .92rem; color: var(--soft); }
nav.parts a:hover { color: var(--accent); text-decoration: underline; }
main { padding-top: 1.6rem; padding-bottom: 2rem; } main:focus { outline: none; }
section { margin-bottom: 2.2rem; }
.card, .chart { background: var(--card); border: 1px solid var(--edge); border-radius: 12px;
  padding: 1.1rem 1.2rem; min-width: 0; }
.card + .card, .card + .two, .two + .card, .card + .concerns { margin-top: 1rem; }
.figures { display: grid; gap: .9rem; grid-template-columns: repeat(auto-fit, minmax(235px, 1fr)); }
.figures div { background: var(--card); border: 1px solid var(--edge);
  border-radius: 12px; padding: .8rem 1rem; }
.figures dt { font-size: .82rem; color: var(--soft); }
.figures dd { font-size: 1.42rem; font-weight: 650; line-height: 1.3; font-variant-numeric: tabular-nums; }
.lone { font-size: 1.42rem; font-weight: 650; margin-top: .5rem; font-variant-numeric: tabular-nums; }
.lone small { font-size: .82rem; font-weight: 400; color: var(--soft); }
.figures dd.more { font-size: .82rem; font-weight: 400; color: var(--soft); }
.concerns { list-style: none; display: grid; gap: .55rem; }
.concern { display: grid; grid-template-columns: 6rem 1fr; gap: .2rem 1rem; padding: .65rem 1rem;
  border-radius: 10px; border-left: 4px solid; align-items: baseline; }
.concern .level { font-size: .82rem; font-weight: 650; }
.concern p { overflow-wrap: anywhere; color: var(--ink); }
.serious { background: var(--bad-soft); color: var(--bad); border-color: var(--bad); }
.caution { background: var(--warn-soft); color: var(--warn); border-color: var(--warn); }
.note { background: var(--note-soft); color: var(--note); border-color: var(--note); }
.two { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 470px), 1fr)); }
.two > * { min-width: 0; }
.chart { display: flex; flex-direction: column; } .chart .help { margin-top: .1rem; }
.chart svg { display: block; width: 100%; height: auto; }
.plot { position: relative; margin-top: auto; padding-top: .5rem; cursor: crosshair; touch-action: pan-y; }
.tick { font-size: 11.5px; fill: var(--tick); font-variant-numeric: tabular-nums; }
.grid { stroke: var(--grid); } .axis { stroke: var(--soft); } .cursor { stroke: var(--soft); }
.mark { stroke: var(--bad); stroke-dasharray: 5 4; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; list-style: none; font-size: .87rem;
  margin-top: .35rem; }
.legend li { display: inline-flex; align-items: center; gap: .45rem; overflow-wrap: anywhere; }
.chart .swatch { width: 26px; height: 12px; flex: none; }
.readout { display: block; min-height: 1.6em; font-size: .87rem; font-variant-numeric: tabular-nums; }
.how { margin: -.6rem 0 .8rem; }
.readout .value { white-space: nowrap; } .readout b { font-weight: 650; }
details { margin-top: .5rem; }
summary { cursor: pointer; font-size: .89rem; color: var(--accent); width: fit-content; }
.card > details > summary { font-weight: 600; }
.wide { overflow-x: auto; margin-top: .5rem; }
table { border-collapse: collapse; width: 100%; font-size: .89rem; }
th, td { text-align: left; padding: .36rem .9rem .36rem 0; border-bottom: 1px solid var(--edge);
  vertical-align: top; overflow-wrap: anywhere; }
tbody tr:last-child > * { border-bottom: 0; }
th { font-weight: 550; }
thead th { color: var(--soft); font-weight: 550; font-size: .84rem; white-space: nowrap; }
.facts th { width: 15rem; color: var(--soft); font-weight: 450; }
.facts { margin-top: .4rem; } .card > .wide { margin-top: .9rem; } .card > h4 { margin-top: .5rem; }
.card > details:first-child { margin-top: 0; } pre + .facts { margin-top: .7rem; }
.numbers td, .numbers thead th:not(:first-child) { text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
.compare th, .compare td { padding-left: .7rem; }
.compare { min-width: 34rem; } .numbers th[scope=row] { min-width: 9rem;
  overflow-wrap: break-word; }
tr.differs th { color: var(--ink); font-weight: 600; } tr.differs td { background: var(--accent-soft); }
.gallery { display: grid; gap: 1.1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); }
.by-class { margin-top: 1.3rem; } .by-class h4 { margin-bottom: .6rem; }
.shot figcaption { font-size: .9rem; margin-bottom: .4rem; display: flex; gap: .2rem .8rem; flex-wrap: wrap;
  justify-content: space-between; align-items: baseline; }
.shot figcaption b { font-weight: 620; }
.shot a.original { font-size: .84rem; white-space: nowrap; }
.shot img { display: block; width: 100%; height: auto; background: var(--picture); border-radius: 8px; }
.shot img.tiny { image-rendering: pixelated; }
.slider { display: grid; grid-template-columns: auto 1fr auto; gap: .4rem 1rem; align-items: center;
  margin: .2rem 0 1rem;
  padding: .7rem 1rem; border-radius: 10px; background: var(--page); }
.slider label { font-weight: 600; font-size: .92rem; } .slider output { font-variant-numeric: tabular-nums;
  min-width: 11.5rem; text-align: right; font-weight: 600; }
input[type=range] { width: 100%; accent-color: var(--accent); height: 1.5rem; cursor: pointer; }
.bars { display: grid; grid-template-columns: minmax(0, 11rem) 1fr max-content; gap: .3rem .8rem;
  align-items: center;
  font-size: .89rem; margin-top: .4rem; }
.bars svg { display: block; width: 100%; height: 12px; } .bars rect { fill: var(--c0); }
.counts { margin-top: 1.1rem; } .pictures { margin-top: 1.2rem; align-items: start; }
.bars span:nth-child(3n) { text-align: right; font-variant-numeric: tabular-nums; }
.verdict { border-left: 6px solid; border-radius: 12px; padding: 1.1rem 1.3rem; }
.verdict .word { font-size: 1.35rem; font-weight: 700; letter-spacing: .01em; }
.verdict p { color: var(--ink); font-size: 1.05rem; margin-top: .3rem; max-width: 46rem; }
.verdict p.help { font-size: .87rem; color: var(--soft); }
.verdict + table, .verdict + .card { margin-top: 1rem; } .bad { color: var(--bad); }
.block { display: block; font-weight: 400; white-space: normal; }
.annex th { width: 34%; } .annex b.todo { color: var(--warn); }
.accepted { display: block; margin-bottom: 1rem; font-weight: 650; }
.tests b { white-space: nowrap; } .tests td { font-variant-numeric: tabular-nums; }
.bar.b0 { fill: var(--c0); } .bar.b1 { fill: var(--c1); }
ul.plain { padding-left: 1.2rem; display: grid; gap: .35rem; }
footer { color: var(--soft); font-size: .85rem; padding-bottom: 2.5rem; }
@media (max-width: 640px) { .figures { grid-template-columns: repeat(auto-fit, minmax(145px, 1fr)); }
  nav.parts ul { flex-wrap: nowrap; overflow-x: auto; scrollbar-width: none; }
  nav.parts a { white-space: nowrap; display: block; padding: .3rem 0; }
  .tick { font-size: 16px; }
  .chart svg { overflow: visible; }
  .slider { grid-template-columns: 1fr; } .slider output { text-align: left; }
  .tests thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .tests tr { display: block; border-bottom: 1px solid var(--edge); padding: .5rem 0; }
  .tests th, .tests td { display: grid; grid-template-columns: 8.5rem 1fr; border: 0; padding: .12rem 0; }
  .tests th { display: block; } .tests td::before { content: attr(data-label); color: var(--soft); }
  .concern { grid-template-columns: 1fr; } .facts th { width: 9rem; } .title-row { flex-direction: column; } }
@media print { nav.parts, button, .skip, .readout { display: none; } .card, .chart { break-inside: avoid; }
  body { background: #fff; } }
"""
    # As many as `curves._COLOURS` counts.
    + "".join(
        f".c{i} {{ stroke: var(--c{i}); }} .dot.c{i} {{ fill: var(--c{i}); stroke: none; }}\n"
        for i in range(6)
    )
)

SCRIPT = r"""
"use strict";
(() => {
  const root = document.documentElement;
  const stored = (value) => {
    try {
      if (value === undefined) return localStorage.getItem("spinegan-theme");
      localStorage.setItem("spinegan-theme", value);
    } catch (refused) { /* pages from files may have no storage */ }
    return null;
  };
  const system = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const name = () => { button.textContent = isDark() ? "Light theme" : "Dark theme"; };
  const before = stored();
  if (before === "dark" || before === "light") root.dataset.theme = before;
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    stored(root.dataset.theme);
    name();
  });
  system.addEventListener("change", name);
  name();

  for (const slider of document.querySelectorAll("input[data-frames]")) {
    const labels = JSON.parse(slider.dataset.labels), label = document.getElementById(slider.id + "-label");
    const places = slider.dataset.frames.split(" ").map((id) => document.getElementById(id));
    const frames = places.flatMap((place) => [...(place?.children ?? [])]);
    const turn = () => {
      const now = labels[Number(slider.value)];
      for (const frame of frames) frame.hidden = frame.dataset.label !== now;
      const text = now + " (" + (Number(slider.value) + 1) + " of " + labels.length + ")";
      label.textContent = text;
      slider.setAttribute("aria-valuetext", text);
    };
    slider.closest(".slider").hidden = false;
    slider.addEventListener("input", turn);
    turn();
  }

  const show = (v) => {
    if (v === null) return "not finite";
    if (Math.abs(v) >= 1e4) return Math.round(v).toLocaleString("en");
    return String(Number(v.toPrecision(4))).replace("-", "\u2212");
  };
  for (const plot of document.querySelectorAll(".plot")) {
    const lines = JSON.parse(plot.dataset.lines), axis = JSON.parse(plot.dataset.axes).x;
    const svg = plot.querySelector("svg"), cursor = svg.querySelector(".cursor");
    const out = document.getElementById(plot.getAttribute("aria-describedby"));
    const xs = [...new Set(lines.flatMap((l) => l.p.map((p) => p[0])))].sort((a, b) => a - b);
    let at = xs.length;
    const nearest = (line, x) => line.p.reduce((a, b) => (Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a));
    const read = (i) => {
      at = Math.max(0, Math.min(xs.length - 1, i));
      const x = xs[at], place = axis[2] + (x - axis[0]) / (axis[1] - axis[0]) * (axis[3] - axis[2]);
      cursor.setAttribute("x1", place);
      cursor.setAttribute("x2", place);
      cursor.setAttribute("visibility", "visible");
      out.replaceChildren();
      const bold = document.createElement("b");
      bold.textContent = show(x) + " kimg";
      out.append(bold, ": ");
      lines.filter((line) => line.p.length).forEach((line, i) => {
        const value = document.createElement("span");
        value.className = "value";
        value.textContent = (lines.length > 1 ? line.n + " " : "") + show(nearest(line, x)[1]);
        out.append(i ? " \u00b7 " : "", value);
      });
    };
    plot.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect(), width = svg.viewBox.baseVal.width;
      const across = ((event.clientX - box.left) / box.width * width - axis[2]) / (axis[3] - axis[2]);
      const x = axis[0] + across * (axis[1] - axis[0]);
      read(xs.reduce((best, v, i) => (Math.abs(v - x) < Math.abs(xs[best] - x) ? i : best), 0));
    });
    plot.addEventListener("keydown", (event) => {
      const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: xs.length - 1 }[event.key];
      if (to !== undefined) { event.preventDefault(); read(to); }
    });
  }
})();
"""
