"use strict";
// The list of traces, with its filters.
const SPANS_OF_TIME = [["", "any time"], ["600", "last 10 minutes"], ["3600", "last hour"], ["86400", "last day"]];
const TRACES_AT_ONCE = 300;
const REQUEST = /^[A-Z]+ \//;

views.traces = async () => {
  const form = traceForm(route().query);
  const found = el("div"), fresh = el("button", { type: "button", hidden: "" });
  const older = el("button", { type: "button", hidden: "" }, "Older traces");
  main.replaceChildren(el("div", { class: "heading" }, el("h2", {}, "Traces"), el("span", { role: "status" }, fresh)), form, found, older);
  let shown = [];
  const wanted = () => Object.fromEntries(new FormData(form));
  const load = async (before) => {
    const given = wanted();
    const page = await ask("traces", { task_id: given.task_id, actor: given.actor, message_type: given.message_type, errors: given.errors, slow_ms: given.slow_ms, since: given.since && Math.round((Date.now() - given.since * 1e3) * 1e3), before, limit: TRACES_AT_ONCE });
    const fits = page.traces.filter((one) => given.all || given.actor || given.message_type || REQUEST.test(one.name));
    return { fits, oldest: page.traces.length === TRACES_AT_ONCE ? page.traces.at(-1).started_at : null };
  };
  const draw = (oldest) => {
    say(count(shown.length, "trace"));
    fresh.hidden = true;
    older.hidden = !oldest;
    older.onclick = async () => { const next = await load(oldest); shown = [...shown, ...next.fits]; draw(next.oldest); };
    fill(found, shown.length ? listing(shown) : empty(engine ? "No trace fits. Run a turn with `september chat`, or ask for less." : "No trace fits. Provision or admit an Engine, or ask for less."));
  };
  const search = async () => { const { fits, oldest } = await load(); shown = fits; draw(oldest); };
  const chosen = () => { remember({ at: "", ...wanted(), ...unchecked(form) }); return search().catch((error) => { if (error.name !== "AbortError") fill(found, trouble(error)); }); };
  form.addEventListener("submit", (event) => { event.preventDefault(); chosen(); });
  form.addEventListener("change", chosen);
  fresh.addEventListener("click", search);
  await search();
  settle();
  await onRows(async () => {
    const known = new Set(shown.map((one) => one.trace_id));
    const more = (await load()).fits.filter((one) => !known.has(one.trace_id)).length;
    fresh.hidden = !more;
    fresh.textContent = `Show ${count(more, "new trace")}`;
  });
};

function traceForm(query) {
  const field = (name, label, more = {}) => el("input", { type: "search", name, placeholder: label, "aria-label": label, value: query.get(name) ?? "", ...more });
  const since = el("select", { name: "since", "aria-label": "From when" }, ...SPANS_OF_TIME.map(([value, text]) => el("option", { value, selected: value === query.get("since") ? "" : null }, text)));
  const box = (name, text) => el("label", {}, el("input", { type: "checkbox", name, value: "true", checked: query.has(name) ? "" : null }), ` ${text}`);
  return el("form", { role: "search", class: "filters" },
    engine ? field("task_id", "Task") : null, field("actor", "Actor"), field("message_type", "Message type"), since,
    field("slow_ms", "Slower than, ms", { type: "number", min: 0, "aria-label": "Slower than, in milliseconds" }),
    box("errors", "failures only"), box("all", "also what no request began"));
}

function unchecked(form) { return Object.fromEntries([...form.querySelectorAll("[type=checkbox]:not(:checked)")].map((one) => [one.name, ""])); }

function listing(traces) {
  const heads = [["Began", ""], ["", "optional"], ["What", ""], ["Took", "number"], ["Spans", "number optional"], ["Failed", "number"], engine ? ["Task", "optional"] : null].filter(Boolean);
  return table(heads, traces.map((one) => {
    const cells = [["soft nowrap", clock(one.started_at)], ["soft optional nowrap", moment(one.started_at)],
      ["", item(place("trace", one.trace_id), one.name.replace(/(engine|orchestrator)\/\S*\//, "").replace(/ to (\S+)$/, " → $1"), one.trace_id, one.name)],
      ["number", took(one.duration_us)], ["number optional", `${one.spans}`],
      ["number" + (one.failures ? " bad" : " soft"), `${one.failures}`], engine ? ["optional mono", one.task_id] : null];
    const made = row(...cells.filter(Boolean));
    made.dataset.key = one.trace_id;
    return made;
  }));
}
