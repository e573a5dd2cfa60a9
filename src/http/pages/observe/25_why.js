"use strict";
// From an effect to its root cause.
views.why = async (target) => {
  const input = el("input", { type: "search", name: "of", value: target, "aria-label": "What to explain", placeholder: engine ? "Event, turn, task, trace or span id, or an actor" : "Engine, user, trace or span id, or an actor" });
  const form = el("form", { role: "search" }, input, el("button", {}, "Explain"));
  const answer = el("div");
  form.addEventListener("submit", (event) => { event.preventDefault(); location.hash = place("why", input.value.trim()); });
  main.replaceChildren(el("h2", {}, "Why"), form, answer);
  if (!target) {
    answer.append(empty(engine ? "Name a turn, a task, an actor or an event, and see what its state goes back to." : "Name an Engine, its user or an actor, and see what its state goes back to."));
    return;
  }
  let why;
  try {
    why = await ask("traces/why", { of: target });
  } catch (error) {
    if (!(error instanceof Refused) || error.status === 401) throw error;
    answer.append(empty(error.message));
    return;
  }
  const root = why.steps.at(-1);
  answer.append(el("p", { class: "verdict" + (failed(root) ? " bad" : "") }, why.verdict));
  answer.append(el("h3", {}, "From the effect to the cause"), el("ol", { class: "steps because", "data-list": "" }, ...why.steps.map((row, index) => step(row, why.steps[index - 1], row === root))));
  answer.append(...killer(root, [...why.steps, ...why.origin]));
  const inside = why.origin.filter((row) => !why.steps.some((one) => one.span_id === row.span_id));
  if (inside.length) answer.append(el("h3", {}, "It happened in"), el("ol", { class: "steps", "data-list": "" }, ...inside.map((row) => step(row))));
  if (why.also.length) answer.append(el("h3", {}, "Failed beside it"), el("ol", { class: "steps", "data-list": "" }, ...why.also.map((row) => step(row))));
  if (root.kind === "crash") answer.append(...await aftermath(root));
  settle();
};

// A line of the way; what the step before said already is not said again.
function step(row, before, root = false) {
  const detail = row.detail && row.detail !== before?.detail ? ` ${row.detail}` : "";
  return el("li", root ? { class: "root" } : {},
    item(place("trace", row.trace_id, { at: row.span_id }), clock(row.at), row.span_id, "Show it in its trace"), " ", named(row),
    failed(row) ? el("span", { class: "bad" }, ` ${row.kind === "crash" ? "" : row.outcome}${detail}`) : null,
    root && failed(row) ? el("b", { class: "tag" }, "root cause") : null);
}

function killer(root, rows) {
  const message = root.kind === "crash" ? rows.find((row) => row.kind === "message" && row.span_id === root.parent_id) : null;
  if (message) return [el("h3", {}, "The message that killed it"), el("pre", {}, `${message.message_type} to ${message.path}, incarnation ${message.incarnation}\n${message.message || "(no fields)"}`)];
  return root.message ? [el("h3", {}, "What it was given"), el("pre", {}, root.message.slice(0, 600))] : [];
}

// What the supervisor decided after a crash.
async function aftermath(root) {
  const { lines } = await ask(`traces/${root.trace_id}`);
  const after = lines.map((line) => line.row).filter((row) => DECISIONS.has(row.kind) && row.path === root.path && row.at >= root.at);
  if (!after.length) return [];
  const said = (row) => [el("span", { class: "soft" }, `after ${took(row.at - root.at)}`), ` ${named(row)}${row.kind === "spawn" ? `, incarnation ${row.incarnation}` : ""} `, el("span", { class: "soft" }, row.detail)];
  return [el("h3", {}, "What its supervisor did"), el("ol", { class: "steps" }, ...after.map((row) => el("li", {}, ...said(row))))];
}
const DECISIONS = new Set(["restart", "spawn", "gave_up", "stop"]);
