"use strict";
// A trace as a sequence diagram: a lane for each actor, an arrow for each message.
const STEPS_AT_ONCE = 120;
const STEP_HIGH = 26;
const pen = document.createElement("canvas").getContext("2d");
pen.font = "12px system-ui, sans-serif";

function sequence(rows, most = STEPS_AT_ONCE) {
  const more = rows.length - most;
  return el("div", {}, diagram(rows, most), more > 0 ? el("button", { type: "button" }, `Show the other ${more} of ${rows.length} steps`) : null);
}

function diagram(rows, most) {
  const bySpan = new Map(rows.map((row) => [row.span_id, row]));
  const lane = (row) => { while (row && row.kind === "span") row = bySpan.get(row.parent_id); return row ? short(row.path) : "client"; };
  const steps = rows.toSorted((a, b) => a.at - b.at).slice(0, most).map((row) => ({ row, from: lane(bySpan.get(row.parent_id)), to: lane(row), text: stepText(row) }));
  const lanes = [...new Set(steps.flatMap((step) => [step.from, step.to]))];
  const at = placed(lanes, steps);
  const wide = Math.ceil(at.end), high = steps.length * STEP_HIGH + 8;
  const names = el("svg", { class: "names", width: wide, height: 24, "aria-hidden": "true" }, ...lanes.map((name) => el("svg:text", { x: at.get(name), y: 16, "text-anchor": "middle" }, name)));
  const arrows = el("svg", { width: wide, height: high, role: "img", "aria-label": `sequence of ${steps.length} messages between ${lanes.length} actors` },
    ...lanes.map((name) => el("svg:line", { class: "axis", x1: at.get(name), x2: at.get(name), y1: 0, y2: high })),
    ...steps.flatMap((step, index) => arrow(step, at, (index + 1) * STEP_HIGH - 4)));
  return el("div", { class: "wide steps", tabindex: 0, role: "region", "aria-label": "Sequence diagram" }, names, arrows);
}

function stepText(row) {
  const text = (row.kind === "message" ? row.message_type : named(row)) + (failed(row) ? ` ✗ ${row.outcome}` : "");
  return text.length > 48 ? text.slice(0, 47) + "…" : text;
}

// Where each lane is: apart enough for the names, and for every text beside or between two lanes.
function placed(lanes, steps) {
  const width = (text) => pen.measureText(text).width;
  const need = lanes.map((name, index) => (width(name) + width(lanes[index + 1] ?? "")) / 2 + 18);
  for (const { from, to, text } of steps) {
    const a = lanes.indexOf(from), b = lanes.indexOf(to), left = Math.min(a, b);
    const between = Math.max(1, Math.abs(a - b));
    for (let gap = left; gap < left + between; gap++) need[gap] = Math.max(need[gap], (width(text) + 26) / between);
  }
  const at = new Map();
  let x = width(lanes[0]) / 2 + 6;
  lanes.forEach((name, index) => { at.set(name, x); x += need[index]; });
  at.end = x;
  return at;
}

function arrow({ row, from, to, text }, places, y) {
  const bad = failed(row) ? " failed" : "", a = places.get(from), b = places.get(to);
  const tip = a < b ? -6 : 6;
  const line = a === b ? el("svg:rect", { x: a - 3.5, y: y - 3.5, width: 7, height: 7, rx: row.kind === "span" ? 0 : 3.5, class: `own ${row.kind}${bad}` })
    : el("svg:path", { class: "arrow" + bad, fill: "none", d: `M${a} ${y}H${b}m${tip} -4L${b} ${y}l${tip} 4` });
  const beside = a === b;
  return [line, el("svg:text", { x: (beside ? a : Math.min(a, b)) + 9, y: beside ? y + 4 : y - 6, class: bad ? "bad" : "soft" }, text)];
}
