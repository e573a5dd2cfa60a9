"use strict";
// What an operator counts: errors, slow tools, denials, migrations, reloads, cache alerts.
const KINDS = ["", "error", "slow_tool", "permission_denied", "migration", "catalog_reload", "cache_hit_alert"];

views.events = async () => {
  const { query } = route();
  const kind = el("select", { name: "kind", "aria-label": "Kind" }, ...KINDS.map((one) => el("option", { value: one, selected: one === query.get("kind") ? "" : null }, one.replaceAll("_", " ") || "all kinds")));
  const task = el("input", { type: "search", name: "task_id", placeholder: "Task", "aria-label": "Task", value: query.get("task_id") ?? "" });
  const form = el("form", { role: "search" }, kind, task), found = el("div");
  main.replaceChildren(el("h2", {}, "Events"), form, found);
  const search = async () => {
    const { events } = await ask("observability/events", { kind: kind.value, task_id: task.value, limit: 300 });
    say(count(events.length, "event"));
    fill(found, events.length ? table([["At", ""], ["", "optional"], ["Kind", ""], ["What", ""], ["Took", "number optional"], ["Task", "optional"]], events.map(happened))
      : empty("Nothing of this kind has happened within the time that is kept."));
  };
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", () => { remember({ at: "", kind: kind.value, task_id: task.value }); search(); });
  await search();
  settle();
  await onRows(search, (row) => failed(row) || row.path.startsWith("execute_tool "));
};

function happened(event) {
  const { data } = event;
  const what = event.kind === "migration" ? `${data.version} ${data.name}` : [data.name, data.outcome, data.detail].filter(Boolean).join(" · ");
  const made = row(["soft nowrap", clock(event.created_at * 1e3)], ["soft optional nowrap", moment(event.created_at * 1e3)], ["nowrap" + (event.kind === "error" ? " bad" : ""), event.kind.replaceAll("_", " ")],
    ["", event.trace_id ? item(place("why", data.span_id), what, `${event.id}`, "Why?") : what],
    ["number optional", data.duration_ms == null ? "" : data.duration_ms ? tookMs(data.duration_ms) : "< 1 ms"], ["optional mono", event.task_id ?? ""]);
  made.dataset.key = `${event.id}`;
  return made;
}
