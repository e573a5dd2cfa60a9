"use strict";
// The list of traces, with its filters.
views.traces = async () => {
  const form = el("form", { role: "search" },
    el("input", { type: "search", name: "task_id", placeholder: "Task", "aria-label": "Task" }),
    el("input", { type: "search", name: "actor", placeholder: "Actor", "aria-label": "Actor" }),
    el("input", { type: "search", name: "message_type", placeholder: "Message type", "aria-label": "Message type" }),
    el("select", { name: "since", "aria-label": "From when" }, ...[["", "any time"], ["600", "last 10 minutes"], ["3600", "last hour"], ["86400", "last day"]].map(([value, text]) => el("option", { value }, text))),
    el("input", { type: "number", name: "slow_ms", min: 0, placeholder: "Slower than, ms", "aria-label": "Slower than, in milliseconds" }),
    el("label", {}, el("input", { type: "checkbox", name: "errors" }), " failures only"),
    el("label", {}, el("input", { type: "checkbox", name: "turns", checked: "" }), " requests only"),
    el("button", {}, "Search"));
  const found = el("div", { class: "wide" });
  main.replaceChildren(el("h2", {}, "Traces"), form, found);
  const search = async () => {
    const given = new FormData(form);
    const page = await ask("traces", { task_id: given.get("task_id"), actor: given.get("actor"), message_type: given.get("message_type"), errors: given.has("errors"), slow_ms: given.get("slow_ms"), since: given.get("since") && Math.round((Date.now() - given.get("since") * 1e3) * 1e3), limit: 300 });
    const shown = page.traces.filter((one) => !given.has("turns") || one.task_id || / \//.test(one.name));
    const lost = page.losses.overload + page.losses.store;
    state.textContent = lost ? `${lost} observations were not recorded` : `${shown.length} traces`;
    found.replaceChildren(shown.length ? listing(shown) : empty(engine ? "No trace fits. Run a turn with `september chat`, or ask for less." : "No trace fits. Provision or admit an Engine, or ask for less."));
  };
  form.addEventListener("submit", (event) => { event.preventDefault(); search(); });
  form.addEventListener("change", search);
  await search();
};

function listing(traces) {
  const heads = [["Began", ""], ["What", ""], ["Took", "number"], ["Spans", "number optional"], ["Failed", "number"], ["Task", "optional"]];
  return table(heads, traces.map((one) => row(
    ["soft", clock(one.started_at)],
    ["", el("a", { href: `#trace/${one.trace_id}` }, one.name.replace(/(engine|orchestrator)\/\S*\//, ""))],
    ["number", took(one.duration_us)],
    ["number optional", `${one.spans}`],
    ["number" + (one.failures ? " bad" : " soft"), `${one.failures}`],
    ["optional mono", one.task_id])));
}
