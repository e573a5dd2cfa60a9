"use strict";
// The fleet: Engines by state, how long they took to boot, restarts, the audit log.
views.fleet = async () => {
  const [{ engines, total }, { entries }] = await Promise.all([ask("admin/engines", { limit: 500 }), ask("admin/audit", { limit: 500 })]);
  state.textContent = `${total} Engines`;
  const boots = entries.filter((entry) => BOOTS.has(entry.action) && entry.duration_ms != null).map((entry) => entry.duration_ms).sort((a, b) => a - b);
  const counts = new Map();
  for (const one of engines) counts.set(one.status, (counts.get(one.status) ?? 0) + 1);
  const restarts = entries.filter((entry) => entry.action === "auto_restart_success").length;
  main.replaceChildren(el("h2", {}, "Fleet"),
    el("div", { class: "tiles" },
      ...[...counts].map(([status, count]) => tile(status, count, status === "failed" ? "bad" : status === "running" ? "good" : "")),
      tile("boot, median", boots.length ? took(boots[boots.length >> 1] * 1e3) : "–"),
      tile("boot, slowest", boots.length ? took(boots.at(-1) * 1e3) : "–"),
      tile("restarts", restarts, restarts ? "warn" : "")),
    el("h3", {}, "Engines"),
    engines.length ? table([["User", ""], ["State", ""], ["Product", "optional"], ["Version", "optional"], ["Healthy", "optional"], ["Since", ""]], engines.map(engineRow))
      : empty("No Engines yet. A product provisions or admits them; `september fleet` does it by hand."),
    el("h3", {}, "Audit"),
    entries.length ? table([["At", ""], ["Action", ""], ["User", ""], ["By", "optional"], ["Took", "number optional"], ["About", "optional"]], entries.slice(0, 200).map(auditRow))
      : empty("Nothing has been done yet."));
};

const BOOTS = new Set(["provision", "start", "wake", "auto_restart_success", "upgrade"]);

function tile(name, value, kind = "") { return el("div", { class: "tile" }, el("b", { class: kind }, `${value}`), name); }

function moment(iso) { return iso ? new Date(iso).toLocaleString([], { hour12: false, dateStyle: "short", timeStyle: "medium" }) : "–"; }

function engineRow(one) {
  const kind = one.status === "running" ? "good" : one.status === "failed" ? "bad" : "warn";
  return row(["", el("a", { href: `#why/${encodeURIComponent(one.engine_id)}`, title: one.engine_id }, one.user_id)], [kind, one.status + (one.failure ? `: ${one.failure}` : "")],
    ["optional", one.product ?? ""], ["optional mono", one.engine_version], ["optional soft", moment(one.last_health_at)], ["soft", moment(one.created_at)]);
}

function auditRow(entry) {
  const about = Object.entries(entry.metadata).map(([name, value]) => `${name}: ${typeof value === "object" ? JSON.stringify(value) : value}`).join(", ");
  const bad = /failed|exhausted|denied/.test(entry.action);
  return row(["soft", moment(entry.timestamp)], [bad ? "bad" : "", entry.action.replaceAll("_", " ")], ["", entry.user_id ?? "–"], ["optional", entry.actor],
    ["number optional", entry.duration_ms == null ? "" : took(entry.duration_ms * 1e3)], ["optional soft", about]);
}
