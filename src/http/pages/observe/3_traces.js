"use strict";
// The list of traces, with its filters.
views.traces = async () => {
  const form = el("form", { role: "search" },
    el("input", { type: "search", name: "task_id", placeholder: "Task", "aria-label": "Task" }),
    el("input", { type: "search", name: "actor", placeholder: "Actor", "aria-label": "Actor" }),
    el("input", { type: "search", name: "message_type", placeholder: "Message type", "aria-label": "Message type" }),
    el("label", {}, el("input", { type: "checkbox", name: "errors" }), " failures only"),
    el("label", {}, el("input", { type: "checkbox", name: "turns", checked: "" }), " requests only"),
    el("button", {}, "Search"));
  const found = el("div", { class: "wide" });
  main.replaceChildren(el("h2", {}, "Traces"), form, found);
  const search = async () => {
    const given = new FormData(form);
    const page = await ask("traces", { task_id: given.get("task_id"), actor: given.get("actor"), message_type: given.get("message_type"), errors: given.has("errors"), limit: 300 });
    const shown = page.traces.filter((one) => !given.has("turns") || one.task_id || / \//.test(one.name));
    const lost = page.losses.overload + page.losses.store;
    state.textContent = lost ? `${lost} observations were not recorded` : `${shown.length} traces`;
    found.replaceChildren(shown.length ? listing(shown) : empty("No trace fits. Run a turn with `september chat`, or ask for less."));
  };
  form.addEventListener("submit", (event) => { event.preventDefault(); search(); });
  form.addEventListener("change", search);
  await search();
};

function listing(traces) {
  const heads = [["Began", ""], ["What", ""], ["Took", "number"], ["Spans", "number optional"], ["Failed", "number"], ["Task", "optional"]];
  return el("table", {},
    el("thead", {}, el("tr", {}, ...heads.map(([text, kind]) => el("th", { class: kind, scope: "col" }, text)))),
    el("tbody", {}, ...traces.map((one) => el("tr", {},
      el("td", { class: "soft" }, clock(one.started_at)),
      el("td", {}, el("a", { href: `#trace/${one.trace_id}` }, one.name.replace(/engine\/\S*\//, ""))),
      el("td", { class: "number" }, took(one.duration_us)),
      el("td", { class: "number optional" }, `${one.spans}`),
      el("td", { class: "number" + (one.failures ? " bad" : " soft") }, `${one.failures}`),
      el("td", { class: "optional mono" }, one.task_id)))));
}
