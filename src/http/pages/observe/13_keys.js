"use strict";
// The page without a mouse.
const help = document.getElementById("help");
let cameFrom = "";

function items() { return [...main.querySelectorAll("[data-list] [data-item]")].filter((one) => one.checkVisibility()); }

function walk(to) {
  const all = items();
  if (!all.length) return;
  const now = all.indexOf(document.activeElement);
  const next = all[Math.max(0, Math.min(all.length - 1, to(now, all.length)))];
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

// After a view was drawn: go on where the hash says that one was.
function settle() {
  if (moved && document.activeElement === document.body) main.focus({ preventScroll: true });
  const at = route().query.get("at");
  const found = at && items().find((one) => one.dataset.item === at);
  if (!found || document.activeElement.matches("input, select")) return;
  found.focus({ preventScroll: true });
  found.scrollIntoView({ block: "center" });
}

const STEPS = { ArrowDown: (now) => now + 1, ArrowUp: (now) => now - 1, j: (now) => now + 1, k: (now) => now - 1, Home: () => 0, End: (now, count) => count - 1 };

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  const { target, key: pressed } = event;
  const typing = target.matches("input:not([type=checkbox]), select");
  if (pressed === "Escape") return typing ? leaveField(target) : back();
  if (typing) return;
  const inList = target.closest("[data-list]");
  const step = inList || pressed === "j" || pressed === "k" ? STEPS[pressed] : null;
  const link = document.querySelectorAll("nav a")[pressed - 1];
  if (step) walk(step);
  else if (pressed === "?") help.showModal();
  else if (pressed === "/" && main.querySelector("input[type=search]")) main.querySelector("input[type=search]").focus();
  else if (/^[1-9]$/.test(pressed) && link) link.click();
  else return;
  event.preventDefault();
});

function leaveField(field) { if (field.type !== "search" || !field.value) field.blur(); }
function back() { if (["trace", "why"].includes(route().view)) location.hash = cameFrom || "#" + (engine ? "traces" : first); }

addEventListener("focusin", (event) => { if (event.target.dataset?.item) { remember({ at: event.target.dataset.item }); noteList(); } });
addEventListener("hashchange", noteList);
function noteList() { if (!["trace", "why"].includes(route().view)) cameFrom = location.hash; }
document.getElementById("keys").addEventListener("click", () => help.showModal());
