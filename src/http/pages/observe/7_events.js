"use strict";
// What an operator counts: errors, slow tools, denials, migrations, reloads, cache alerts.
views.events = async () => {
  const kinds = ["", "error", "slow_tool", "permission_denied", "migration", "catalog_reload", "cache_hit_alert"];
  const chosen = el("select", { "aria-label": "Kind" }, ...kinds.map((kind) => el("option", { value: kind }, kind.replaceAll("_", " ") || "all kinds")));
  const found = el("div");
  main.replaceChildren(el("h2", {}, "Events"), el("form", {}, chosen), found);
  const search = async () => {
    const { events } = await ask("observability/events", { kind: chosen.value, limit: 300 });
    state.textContent = `${events.length} events`;
    found.replaceChildren(events.length ? table([["At", ""], ["Kind", ""], ["What", ""], ["Took", "number optional"], ["Task", "optional"]], events.map(happened))
      : empty("Nothing of this kind has happened within the time that is kept."));
  };
  chosen.addEventListener("change", search);
  await search();
};

function happened(event) {
  const { data } = event;
  const what = event.kind === "migration" ? `${data.version} ${data.name}` : [data.name, data.outcome, data.detail].filter(Boolean).join(" · ");
  const target = event.trace_id ? el("a", { href: `#why/${data.span_id}` }, what) : what;
  return row(["soft", clock(event.created_at * 1e3)], [event.kind === "error" ? "bad" : "", event.kind.replaceAll("_", " ")],
    ["", target], ["number optional", data.duration_ms == null ? "" : took(data.duration_ms * 1e3)], ["optional mono", event.task_id ?? ""]);
}
