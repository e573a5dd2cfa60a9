"use strict";
// One trace: its turn's timeline, waterfall, sequence diagram.
views.trace = async (id) => {
  const detail = await ask(`traces/${id}`);
  const rows = detail.lines.map((line) => line.row);
  const all = el("input", { type: "checkbox" });
  const fall = el("div", {});
  const draw = () => fall.replaceChildren(waterfall(detail.lines.filter((line) => all.checked || failed(line.row) || !PLUMBING.has(line.row.message_type))));
  all.addEventListener("change", draw);
  draw();
  const faults = rows.filter(failed).length;
  state.textContent = `${rows.length} rows`;
  main.replaceChildren(
    el("h2", {}, rows[0].path, " ", el("code", { class: "soft" }, id)),
    el("p", { class: "facts" }, el("span", {}, clock(rows[0].at)), el("span", { class: faults ? "bad" : "good" }, faults ? `${faults} failed` : "nothing failed"), el("a", { href: `#why/${id}` }, "Why did it go so?")),
    timeline(rows),
    el("h3", {}, "Waterfall"), el("label", {}, all, " with the store and the log"), fall,
    el("h3", {}, "Sequence"), sequence(rows.filter((row) => failed(row) || !PLUMBING.has(row.message_type))));
};
const PLUMBING = new Set(["Read", "Write", "Append"]);

function waterfall(lines) {
  if (!lines.length) return empty("Nothing but reads and writes.");
  const begin = Math.min(...lines.map((line) => line.row.at));
  const end = Math.max(...lines.map((line) => line.row.at + line.row.handling_us));
  const total = Math.max(end - begin, 1);
  const grid = el("div", { class: "fall" });
  for (const { depth, row, gap } of lines) {
    const bad = failed(row);
    const left = Math.min(99.5, (row.at - begin) / total * 100);
    const width = Math.min(100 - left, row.handling_us / total * 100);
    const about = [row.outcome !== "ok" ? row.outcome : "", row.detail, row.message].filter(Boolean).join("\n");
    grid.append(
      el("details", { class: "label", style: `padding-left:${Math.min(depth, 9) * 0.8}rem` },
        el("summary", { class: bad ? "bad" : "", title: row.path }, (gap ? "… " : "") + named(row) + (bad && row.kind !== "crash" ? ` · ${row.outcome}` : "")),
        el("div", { class: "detail mono soft" }, `${row.path}\nwaited ${took(row.wait_us)}\n${about}`)),
      el("div", { class: "track" }, el("div", { class: `bar ${row.kind}${bad ? " failed" : ""}`, style: `left:${left}%;width:${width}%`, title: `${named(row)}: ${took(row.handling_us)}` })),
      el("div", { class: "took soft", style: "text-align:right" }, took(row.handling_us)));
  }
  return grid;
}

function sequence(rows) {
  const bySpan = new Map(rows.map((row) => [row.span_id, row]));
  const lane = (row) => { while (row && row.kind === "span") row = bySpan.get(row.parent_id); return row ? short(row.path) : "client"; };
  const steps = rows.toSorted((a, b) => a.at - b.at).slice(0, 120).map((row) => ({ row, from: lane(bySpan.get(row.parent_id)), to: lane(row) }));
  const lanes = [...new Set(steps.flatMap((step) => [step.from, step.to]))];
  const wide = 128, high = 26, x = (name) => lanes.indexOf(name) * wide + wide / 2;
  const svg = el("svg", { width: lanes.length * wide + 40, height: steps.length * high + 40, role: "img", "aria-label": `sequence of ${steps.length} messages` });
  for (const name of lanes) {
    svg.append(el("svg:text", { x: x(name), y: 14, "text-anchor": "middle" }, name.length > 17 ? name.slice(0, 16) + "…" : name));
    svg.append(el("svg:line", { class: "axis", x1: x(name), x2: x(name), y1: 22, y2: steps.length * high + 36 }));
  }
  steps.forEach(({ row, from, to }, place) => {
    const y = 44 + place * high, bad = failed(row), a = x(from), b = x(to);
    const text = (row.kind === "message" ? row.message_type : named(row)) + (bad ? ` ✗ ${row.outcome}` : "");
    if (a === b) svg.append(el("svg:circle", { cx: a, cy: y, r: 3, fill: "none", class: "arrow" + (bad ? " failed" : "") }));
    else {
      const tip = a < b ? -6 : 6;
      svg.append(el("svg:path", { class: "arrow" + (bad ? " failed" : ""), fill: "none", d: `M${a} ${y}H${b}m${tip} -4L${b} ${y}l${tip} 4` }));
    }
    const middle = a === b ? a + 8 : Math.min(a, b) + 8;
    svg.append(el("svg:text", { x: middle, y: y - 5, class: bad ? "bad" : "soft" }, text.slice(0, 60)));
  });
  const note = rows.length > 120 ? el("p", { class: "soft" }, `the first 120 of ${rows.length}`) : null;
  return el("div", {}, el("div", { class: "wide", tabindex: 0 }, svg), note);
}
