"use strict";
// What every view needs: requests with the key, elements, times, and the way from a hash to a view.
const views = {};
const main = document.querySelector("main");
const state = document.getElementById("state");
const header = document.documentElement.dataset.keyHeader;
const key = sessionStorage.getItem(header) ?? "";
const engine = header === "X-Engine-Key";
const first = document.querySelector("nav a").getAttribute("href").slice(1);
let leaving = new AbortController();

async function ask(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== false && value != null);
  const text = new URLSearchParams(given).toString();
  const answer = await fetch(path + (text ? "?" + text : ""), { headers: { [header]: key }, signal: leaving.signal });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.message ?? body.error.message);
  return body;
}

// EventSource cannot send the key, so the stream is read by hand.
async function follow(path, tell) {
  const answer = await fetch(path, { headers: { [header]: key }, signal: leaving.signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data: ")) tell(JSON.parse(line.slice(6)));
  }
}

function el(name, attributes = {}, ...children) {
  const made = document.createElementNS(name === "svg" || name.startsWith("svg:") ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml", name.replace("svg:", ""));
  for (const [attribute, value] of Object.entries(attributes)) {
    if (attribute === "style") made.style.cssText = value;
    else if (value !== false && value != null) made.setAttribute(attribute, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

function empty(text) { return el("p", { class: "empty" }, text); }

function took(us) {
  if (us < 1e3) return `${us} µs`;
  return us < 1e6 ? `${(us / 1e3).toFixed(1)} ms` : `${(us / 1e6).toFixed(2)} s`;
}

function row(...cells) { return el("tr", {}, ...cells.map(([kind, ...inside]) => el("td", { class: kind }, ...inside))); }

// A table whose head is [text, class] pairs; rows come from `row`.
function table(heads, rows) {
  const head = el("tr", {}, ...heads.map(([text, kind]) => el("th", { class: kind, scope: "col" }, text)));
  return el("div", { class: "wide", tabindex: 0 }, el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows)));
}

function clock(us) { return new Date(us / 1e3).toLocaleTimeString([], { hour12: false }); }

const FINE = new Set(["ok", "", "cancelled", "withdrawn", "spawn", "restart", "stop", "loss", "boot", "stopped"]);
const FAULTS = new Set(["crash", "gave_up", "dead_letter", "deadline", "deadlock"]);
function failed(row) { return FAULTS.has(row.kind) || !FINE.has(row.outcome); }
function short(path) { const last = path.split("/").pop(); return /^turn-[0-9a-f]{32}$/.test(last) ? `turn ${last.slice(5, 11)}` : last; }
function named(row) {
  if (row.kind === "message") return `${row.message_type} → ${short(row.path)}`;
  return row.kind === "span" ? row.path : `${row.kind} ${short(row.path)}`;
}

async function show() {
  leaving.abort();
  leaving = new AbortController();
  const [view, ...rest] = (location.hash.slice(1) || first).split("/");
  const name = views[view] ? view : first;
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.getAttribute("href") === "#" + (name === "trace" ? "traces" : name);
    here ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  }
  state.textContent = "";
  try {
    await views[name](decodeURIComponent(rest.join("/")));
  } catch (error) {
    if (error.name === "AbortError") return;
    state.textContent = "";
    main.replaceChildren(empty(`${error.message}`));
  }
}
addEventListener("hashchange", show);
document.getElementById("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
