"use strict";
// How numbers, times and rows of a trace are said.
function took(us) {
  if (us < 1e3) return `${us} µs`;
  if (us < 1e6) return `${(us / 1e3).toFixed(1)} ms`;
  if (us < 120e6) return `${(us / 1e6).toFixed(2)} s`;
  const minutes = Math.floor(us / 60e6);
  return minutes < 120 ? `${minutes} min ${Math.floor(us / 1e6) % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function tookMs(ms) { return ms < 1e3 ? `${ms} ms` : took(ms * 1e3); }

function count(number, noun) { return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`; }

function clock(us) {
  const at = new Date(us / 1e3), today = at.toDateString() === new Date().toDateString();
  return at.toLocaleString("en-GB", today ? { timeStyle: "medium" } : { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

function ago(us) {
  const seconds = Math.max(0, Math.round(Date.now() / 1e3 - us / 1e6));
  if (seconds < 120) return `${seconds} s ago`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ago`;
  return seconds < 172800 ? `${Math.floor(seconds / 3600)} h ago` : `${Math.floor(seconds / 86400)} d ago`;
}

// An age that goes on; the exact moment is its title.
function moment(us) {
  if (!us) return "–";
  const at = new Date(us / 1e3);
  return el("time", { datetime: at.toISOString(), title: at.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" }), "data-us": us }, ago(us));
}
setInterval(() => { for (const one of document.querySelectorAll("time[data-us]")) one.textContent = ago(+one.dataset.us); }, 5000);

// Round places on an axis of `total` microseconds, about four of them.
function ticks(total) {
  const rough = total / 4, size = 10 ** Math.floor(Math.log10(rough));
  const step = size * [1, 2, 5, 10].find((factor) => factor * size >= rough);
  const found = [];
  for (let us = 0; us <= total * 0.999; us += step) found.push({ us, part: us / total * 100, text: us ? round(us, step) : "0" });
  return found;
}
function round(us, step) {
  if (step >= 1e6) return `${us / 1e6} s`;
  return step >= 1e3 ? `${us / 1e3} ms` : step >= 1 ? `${us} µs` : "";
}
function axis(total) {
  const marks = ticks(total).filter((one) => one.part < (innerWidth > 640 ? 82 : 68)); // the end has a text of its own
  return el("div", { class: "scale soft", "aria-hidden": "true" }, ...marks.map((one) => el("span", { style: `left:${one.part}%` }, one.text)), el("span", { class: "end" }, took(total)));
}
function gridStep(total) { const marks = ticks(total); return marks.length > 1 ? `${marks[1].part}%` : "100%"; }

function legend(...entries) { return el("ul", { class: "legend soft" }, ...entries.map(([kind, text]) => el("li", {}, el("i", { class: kind }), text))); }

const FINE = new Set(["ok", "", "cancelled", "withdrawn", "spawn", "restart", "stop", "loss", "boot", "stopped"]);
const FAULTS = new Set(["crash", "gave_up", "dead_letter", "deadline", "deadlock"]);
function failed(row) { return FAULTS.has(row.kind) || !FINE.has(row.outcome); }
function short(path) { const last = path.split("/").pop(); return /^turn-[0-9a-f]{32}$/.test(last) ? `turn ${last.slice(5, 11)}` : last; }
function named(row) {
  if (row.kind === "message") return `${row.message_type} → ${short(row.path)}`;
  return row.kind === "span" ? row.path : `${row.kind.replace("_", " ")} ${short(row.path)}`;
}

function row(...cells) { return el("tr", {}, ...cells.map(([kind, ...inside]) => el("td", { class: kind }, ...inside))); }

// A table whose head is [text, class] pairs; rows come from `row`. Arrows walk its `item`s.
function table(heads, rows) {
  const head = el("tr", {}, ...heads.map(([text, kind]) => el("th", { class: kind, scope: "col" }, text)));
  return el("div", { class: "wide", "data-list": "" }, el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows)));
}
function item(href, text, at, title) { return el("a", { href, title, "data-item": at }, text); }
