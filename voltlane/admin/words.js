"use strict";
// ---- numbers for people, and how they get into the page

const $ = (id) => document.getElementById(id);

const known = (value, form) => value === null || value === undefined ? "–" : form(value);
const count = (value) => Math.round(value).toLocaleString("en");
const bytes = (value) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) { value /= 1024; unit += 1; }
  return (unit && value < 100 ? Number(value.toFixed(1)) : Math.round(value)) + " " + units[unit];
};
const time = (seconds) => {
  if (seconds < 0.001) return Math.round(seconds * 1e6) + " µs";
  if (seconds < 1) return Number((seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)) + " ms";
  if (seconds < 120) return Number(seconds.toFixed(seconds < 10 ? 1 : 0)) + " s";
  if (seconds < 7200) return Math.round(seconds / 60) + " min";
  if (seconds < 172800) return Math.round(seconds / 3600) + " h";
  return Math.round(seconds / 86400) + " d";
};
const perMille = (value) => (value / 10).toFixed(1) + " %";

// A histogram knows between which of its bounds a value lies, and no more than that is said.
const bounded = (bound, bounds) => {
  if (bound === bounds[0]) return "< " + time(bound);
  return (bound === bounds[bounds.length - 1] ? "≥ " : "≤ ") + time(bound);
};
const within = ({ bounds, counts }, share) => {
  const wanted = share * counts[counts.length - 1], index = counts.findIndex((value) => value >= wanted);
  return bounded(bounds[Math.min(index, bounds.length - 1)], bounds);
};

// Everything that came from the network gets into the page as text, never as HTML.
const set = (id, text) => { const node = $(id); if (node.textContent !== text) node.textContent = text; };
const mark = (id, text, kind) => { set(id, text); for (const other of ["good", "bad", "warn"]) $(id).classList.toggle(other, other === kind); };
const element = (name, text, className) => {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};
const cell = (text, className, label) => {
  const node = element("td", text, className);
  if (label) node.dataset.label = label;
  if (text === "–") node.classList.add("unknown");
  return node;
};
const row = (...cells) => { const node = document.createElement("tr"); node.append(...cells); return node; };
const present = (id, any) => { $(id + "-table").hidden = !any; $("no-" + id).hidden = any; };

// ---- what a word means: shown beside it while it is pointed at, or has the focus

const SCORE = "How good the link is, from 0, the best, to 1000: loss, round trip with jitter, and bandwidth in one number. When not all can be served, the better link is first.";
const JITTER = "By how much less evenly its datagrams come than it sends them.";

let explained = null;

function explain(node) {
  explained = node;
  $("tip").hidden = !node;
  if (!node) return;
  const tip = $("tip"), place = node.getBoundingClientRect();
  tip.textContent = node.dataset.tip;
  node.setAttribute("aria-describedby", "tip");
  const below = place.bottom + 6 + tip.offsetHeight < innerHeight;
  tip.style.left = Math.max(8, Math.min(place.left, document.documentElement.clientWidth - tip.offsetWidth - 8)) + "px";
  tip.style.top = (below ? place.bottom + 6 : place.top - tip.offsetHeight - 6) + "px";
}

const tipOf = (event) => event.target instanceof Element ? event.target.closest("[data-tip]") : null;
for (const begins of ["pointerover", "focusin"]) document.addEventListener(begins, (event) => { const node = tipOf(event); if (node) explain(node); });
for (const ends of ["pointerout", "focusout"]) document.addEventListener(ends, (event) => { if (tipOf(event)) explain(null); });
addEventListener("scroll", () => { if (explained) explain(explained); }, { passive: true });
for (const node of document.querySelectorAll(".tip.score")) node.dataset.tip = SCORE;
