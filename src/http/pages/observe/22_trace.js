"use strict";
// One trace: its turn's timeline, waterfall, sequence diagram. A trace that goes on is drawn again.
views.trace = async (id) => {
  const { query } = route();
  let most = STEPS_AT_ONCE;
  let detail = await ask(`traces/${id}`);
  const hidden = (row) => PLUMBING.has(row.message_type) && !failed(row);
  const asked = detail.lines.find((line) => line.row.span_id === query.get("at"));
  const all = el("input", { type: "checkbox", checked: query.has("all") || (asked && hidden(asked.row)) ? "" : null });
  const top = el("div"), fall = el("div"), steps = el("div");
  const draw = () => {
    const rows = detail.lines.map((line) => line.row);
    say(count(rows.length, "row"));
    fill(top, ...about(id, rows), timeline(rows));
    fill(fall, waterfall(detail.lines.filter((line) => all.checked || !hidden(line.row))));
    fill(steps, sequence(rows.filter((row) => !hidden(row)), most));
  };
  steps.addEventListener("click", (event) => { if (event.target.matches("button")) { most = Infinity; draw(); } });
  all.addEventListener("change", () => { remember({ all: all.checked && "1" }); draw(); });
  draw();
  main.replaceChildren(top, el("h3", {}, "Waterfall"),
    el("div", { class: "facts" }, el("label", {}, all, " with the store and the log"), legend(["span", "work"], ["message", "a message handled"], ["wait", "waited in the mailbox"], ["failed", "failed"])),
    fall, el("h3", {}, "Sequence"), steps);
  openAsked(fall);
  settle();
  await onRows(async () => { detail = await ask(`traces/${id}`); draw(); }, (row) => row.trace_id === id);
};
const PLUMBING = new Set(["Read", "Write", "Append"]);

function about(id, rows) {
  const faults = rows.filter(failed).length, task = rows.find((row) => row.task_id)?.task_id;
  const begin = Math.min(...rows.map((row) => row.at - row.wait_us)), end = Math.max(...rows.map((row) => row.at + row.handling_us));
  return [el("h2", {}, named(rows[0]), " ", el("code", { class: "soft" }, id)),
    el("p", { class: "facts" }, el("span", {}, clock(begin)), el("span", { class: "soft" }, moment(begin)), el("span", {}, took(end - begin)),
      task ? el("a", { href: place("traces", "", { task_id: task }) }, `task ${task}`) : null,
      el("span", { class: faults ? "bad" : "good" }, faults ? `${faults} failed` : "nothing failed"),
      el("a", { href: place("why", id) }, "Why did it go so?"))];
}

function openAsked(fall) {
  const at = route().query.get("at");
  const found = at && fall.querySelector(`[data-item="${CSS.escape(at)}"]`);
  if (found) found.parentElement.open = true;
}

function waterfall(lines) {
  if (!lines.length) return empty("Nothing but reads and writes.");
  const begin = Math.min(...lines.map((line) => line.row.at - line.row.wait_us));
  const total = Math.max(Math.max(...lines.map((line) => line.row.at + line.row.handling_us)) - begin, 1);
  const head = [el("div", { class: "label head" }), el("div", { class: "track head" }, axis(total)), el("div", { class: "took head soft" }, "took")];
  return el("div", { class: "fall", "data-list": "", style: `--step:${gridStep(total)}` }, ...head, ...lines.flatMap((line) => fallRow(line, begin, total)));
}

function fallRow({ depth, row, gap }, begin, total) {
  const bad = failed(row), instant = row.kind !== "message" && row.kind !== "span";
  const part = (us) => `${Math.min(100, us / total * 100)}%`;
  const left = (us) => `${Math.min(99.5, (us - begin) / total * 100)}%`;
  const about = [row.path, row.kind === "message" ? `waited ${took(row.wait_us)} in the mailbox` : "", row.outcome !== "ok" ? row.outcome : "", row.detail, row.message].filter(Boolean).join("\n");
  const bar = instant ? el("div", { class: `mark${bad ? " failed" : ""}`, style: `left:${left(row.at)}`, title: named(row) })
    : el("div", { class: `bar ${row.kind}${bad ? " failed" : ""}`, style: `left:${left(row.at)};width:${part(row.handling_us)}`, title: `${named(row)}: ${took(row.handling_us)}` });
  const wait = row.wait_us / total > 0.004 ? el("div", { class: "bar wait", style: `left:${left(row.at - row.wait_us)};width:${part(row.wait_us)}`, title: `waited ${took(row.wait_us)} in the mailbox` }) : null;
  return [
    el("details", { class: "label", "data-key": `${row.span_id}-label`, style: `padding-left:${Math.min(depth, 9) * 0.8}rem` },
      el("summary", { class: bad ? "bad" : "", title: row.path, "data-item": row.span_id }, (gap ? "… " : "") + named(row) + (bad && row.kind !== "crash" ? ` · ${row.outcome}` : "")),
      el("div", { class: "detail mono soft" }, about), el("a", { class: "detail", href: place("why", row.span_id) }, "Why did it go so?")),
    el("div", { class: "track", "data-key": `${row.span_id}-track` }, wait, bar),
    el("div", { class: "took soft", "data-key": `${row.span_id}-took` }, instant ? "" : took(row.handling_us))];
}
