"use strict";
// From an effect to its root cause.
views.why = async (target) => {
  const input = el("input", { type: "search", name: "of", value: target, "aria-label": "What to explain", placeholder: "Event, turn, task, trace or span id, or an actor" });
  const form = el("form", { role: "search" }, input, el("button", {}, "Explain"));
  const answer = el("div");
  form.addEventListener("submit", (event) => { event.preventDefault(); location.hash = `why/${encodeURIComponent(input.value)}`; });
  main.replaceChildren(el("h2", {}, "Why"), form, answer);
  if (!target) {
    answer.append(empty("Name a turn, a task, an actor or an event, and see what its state goes back to."));
    return;
  }
  let why;
  try {
    why = await ask("traces/why", { of: target });
  } catch (error) {
    if (error.name !== "AbortError") answer.append(empty(error.message));
    return;
  }
  const root = why.steps.at(-1);
  const item = (row, label) => el("li", {}, el("a", { href: `#trace/${row.trace_id}`, class: "soft" }, clock(row.at)), " ", label ?? named(row), failed(row) ? el("span", { class: "bad" }, ` ${row.outcome} ${row.detail}`) : null);
  answer.append(el("p", { class: "verdict" + (failed(root) ? " bad" : "") }, why.verdict));
  answer.append(el("h3", {}, "From the effect to the cause"), el("ol", { class: "steps" }, ...why.steps.map((row) => item(row))));
  const killer = root.kind === "crash" ? why.origin.find((row) => row.kind === "message") : null;
  if (killer) answer.append(el("h3", {}, "The message that killed it"), el("pre", {}, `${killer.message_type} to ${killer.path}, incarnation ${killer.incarnation}\n${killer.message || "(no fields)"}`));
  else if (root.message) answer.append(el("pre", {}, root.message.slice(0, 600)));
  if (why.origin.length) answer.append(el("h3", {}, "It happened in"), el("ol", { class: "steps" }, ...why.origin.map((row) => item(row))));
  if (why.also.length) answer.append(el("h3", {}, "Failed beside it"), el("ol", { class: "steps" }, ...why.also.map((row) => item(row))));
};
