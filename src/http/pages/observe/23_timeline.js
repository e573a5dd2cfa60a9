"use strict";
// A turn on one axis: model calls with each token, tools, waits for a person.
function timeline(rows) {
  const turn = rows.find((row) => row.path.startsWith("invoke_agent "));
  const parts = rows.filter((row) => row.kind === "span" && LANE.some(([begins]) => row.path.startsWith(begins))).sort((a, b) => a.at - b.at);
  if (!turn || !parts.length) return null;
  const total = Math.max(turn.handling_us, 1);
  return el("section", {}, el("h3", {}, "Timeline of the turn"),
    el("div", { class: "facts" }, ...turnFacts(turn, parts).map((text) => el("span", {}, text))),
    legend(["chat", "model call"], ["first", "first token"], ["token", "tokens"], ["tool", "tool"], ["hitl", "waits for you"], ["failed", "failed"]),
    el("div", { class: "lanes", style: `--step:${gridStep(total)}` },
      el("div", { class: "name head" }), el("div", { class: "head" }, axis(total)),
      ...parts.flatMap((row) => lane(row, turn, total))));
}

const LANE = [["chat", "chat"], ["execute_tool ", "tool"], ["hitl ", "hitl"]];
const NAMED = {
  chat: () => "model call",
  tool: (row) => row.path.replace("execute_tool ", ""),
  hitl: (row) => `waits for you: ${row.path.replace("hitl ", "")}`,
};

function lane(row, turn, total) {
  const [, kind] = LANE.find(([begins]) => row.path.startsWith(begins));
  const at = (us) => `${Math.min(100, Math.max(0, us / total * 100))}%`;
  const facts = kind === "chat" ? chatFacts(row) : [took(row.handling_us), failed(row) ? row.outcome : ""].filter(Boolean);
  const start = row.at - turn.at;
  const bar = el("div", { class: `part ${kind}${failed(row) ? " failed" : ""}`, style: `left:${at(start)};width:${at(row.handling_us)}`, title: `${row.path}: ${took(row.handling_us)}` });
  const marks = kind === "chat" ? tokens(row).map((ms, index) => el("div", { class: index ? "token" : "first", style: `left:${at(start + ms * 1e3)}`, title: index ? null : `first token after ${took(Math.round(ms * 1e3))}` })) : [];
  return [el("div", { class: "name" + (failed(row) ? " bad" : "") }, NAMED[kind](row),
    el("small", {}, facts.join(" · "), " · ", el("a", { href: place("why", row.span_id), "aria-label": `why did ${NAMED[kind](row)} go so?` }, "why?"))),
  el("div", { class: "lane", role: "img", "aria-label": `${row.path}: ${facts.join(", ")}` }, bar, ...marks)];
}

function payload(row) { try { return JSON.parse(row.message || "{}"); } catch { return {}; } }

function tokens(row) { return payload(row).pieces ?? []; }

function chatFacts(row) {
  const chat = payload(row);
  const seconds = (chat.streamed_ms - chat.first_piece_ms) / 1000;
  return [chat.first_piece_ms == null ? "no text" : `first token ${took(Math.round(chat.first_piece_ms * 1000))}`,
    `${chat.output_tokens ?? 0} tokens`,
    chat.pieces?.length > 1 && seconds > 0 ? `${(chat.output_tokens / seconds).toFixed(0)} tokens/s` : "",
    chat.attempts > 1 ? `${chat.attempts} attempts` : "", failed(row) ? row.outcome : chat.stop_reason, chat.model].filter(Boolean);
}

function turnFacts(turn, parts) {
  const spent = (begins) => parts.filter((row) => row.path.startsWith(begins)).reduce((sum, row) => sum + row.handling_us, 0);
  const waits = spent("hitl ");
  return [turn.path.replace("invoke_agent ", "agent "), `took ${took(turn.handling_us)}`, `model ${took(spent("chat"))}`, `tools ${took(spent("execute_tool ") - waits)}`, waits ? `waited for you ${took(waits)}` : ""].filter(Boolean);
}
