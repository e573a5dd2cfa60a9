"use strict";
// What every view needs: requests with the key, elements, and the way from a hash to a view.
const views = {};
const main = document.querySelector("main");
const state = document.getElementById("state");
const header = document.documentElement.dataset.keyHeader;
const key = sessionStorage.getItem(header) ?? "";
const engine = header === "X-Engine-Key";
const service = document.querySelector("h1").textContent;
const first = document.querySelector("nav a").getAttribute("href").slice(1);
let leaving = new AbortController();
let moved = false;

class Refused extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

// The answer itself; a service that is gone is told apart from one that refuses.
async function reach(path, more = {}) {
  let answer;
  try {
    answer = await fetch(path, { headers: { [header]: key, ...more }, signal: leaving.signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error(`The ${service} does not answer at ${location.host}. It may be starting.`);
  }
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({ message: `The answer was ${answer.status}.` }));
  throw new Refused(answer.status, body.message ?? body.error.message);
}

async function ask(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== false && value != null);
  const text = new URLSearchParams(given).toString();
  return (await reach(path + (text ? "?" + text : ""))).json();
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

// Make `old` look like `fresh` and keep its elements: focus, scrolling and open details stay.
function morph(old, fresh) {
  for (const name of old.getAttributeNames()) if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const name of fresh.getAttributeNames()) if (old.getAttribute(name) !== fresh.getAttribute(name)) old.setAttribute(name, fresh.getAttribute(name));
  const keyed = new Map([...old.children].map((child) => [child.dataset?.key, child]));
  const loose = [...old.childNodes].filter((child) => !child.dataset?.key);
  const wanted = [...fresh.childNodes].map((child) => {
    const known = child.dataset?.key ? keyed.get(child.dataset.key) : loose.find((one) => one.nodeName === child.nodeName);
    if (!known) return child;
    if (!child.dataset?.key) loose.splice(loose.indexOf(known), 1);
    if (known.nodeType === Node.TEXT_NODE) { if (known.data !== child.data) known.data = child.data; } else morph(known, child);
    return known;
  });
  for (const child of [...old.childNodes]) if (!wanted.includes(child)) child.remove();
  wanted.forEach((child, place) => { if (old.childNodes[place] !== child) old.insertBefore(child, old.childNodes[place] ?? null); });
}

// Show these below each other; what is there already stays where it is.
function fill(place, ...children) { morph(place, el(place.localName, Object.fromEntries(place.getAttributeNames().map((name) => [name, place.getAttribute(name)])), ...children)); }

// What stands between backticks is for a terminal.
function empty(text) { return el("div", { class: "empty" }, ...text.split("`").map((part, place) => (place % 2 ? el("code", {}, part) : part))); }

function trouble(error) {
  const again = el("button", { type: "button" }, error.status === 401 ? "Give another key" : "Try again");
  again.addEventListener("click", () => {
    if (error.status !== 401) return show();
    sessionStorage.removeItem(header);
    return location.reload();
  });
  return el("div", { class: "empty", role: "alert" }, el("p", {}, error.message), again);
}

// The hash is view/target?filters: whatever is chosen can be bookmarked, and is there on the way back.
function route() {
  const [path, query] = location.hash.slice(1).split("?");
  const [view, ...rest] = (path || first).split("/");
  return { view: views[view] ? view : first, target: decoded(rest.join("/")), query: new URLSearchParams(query) };
}
function decoded(text) { try { return decodeURIComponent(text); } catch { return text; } }
function place(view, target, query = {}) {
  const text = new URLSearchParams(Object.entries(query).filter(([, value]) => value)).toString();
  return `#${view}${target ? "/" + encodeURIComponent(target) : ""}${text ? "?" + text : ""}`;
}
function remember(changes) {
  const { view, target, query } = route();
  history.replaceState(null, "", place(view, target, { ...Object.fromEntries(query), ...changes }));
}

async function show() {
  leaving.abort();
  leaving = new AbortController();
  const { view, target } = route();
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.getAttribute("href") === "#" + (view === "trace" ? "traces" : view);
    here ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  }
  document.title = [target.slice(0, 40), view[0].toUpperCase() + view.slice(1), service].filter(Boolean).join(" · ");
  say("");
  connected();
  tellLosses().catch(() => {});
  try {
    await views[view](target);
  } catch (error) {
    if (error.name === "AbortError") return;
    say("");
    main.replaceChildren(trouble(error));
  }
}

function say(text, live = false) {
  state.textContent = text;
  state.classList.toggle("live", live);
}

async function tellLosses() {
  const { losses } = await ask("traces", { limit: 1 });
  const lost = losses.overload + losses.store, told = document.getElementById("losses");
  told.hidden = !lost;
  told.textContent = `Not recorded: ${lost.toLocaleString("en")} observations since the start, ${losses.overload.toLocaleString("en")} under overload, ${losses.store.toLocaleString("en")} that the store did not take. Traces have gaps.`;
}

addEventListener("hashchange", () => { moved = true; scrollTo(0, 0); show(); });
document.getElementById("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
