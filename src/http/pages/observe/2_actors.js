"use strict";
// The live tree of actors.
views.actors = async () => {
  const body = el("tbody");
  const heads = [["Actor", ""], ["State", ""], ["Restarts", "number"], ["Mailbox", "number"], ["Most", "number optional"], ["Handled", "number optional"], ["Per s", "number optional"], ["Now", "optional"]];
  const head = el("tr", {}, ...heads.map(([text, kind]) => el("th", { class: kind, scope: "col" }, text)));
  const notice = el("p", { class: "warn", role: "status" });
  main.replaceChildren(el("h2", {}, "Actors"), notice, el("div", { class: "wide" }, el("table", {}, el("thead", {}, head), body)));
  const draw = (look) => {
    const rates = new Map(look.rates.map((one) => [one.path, one.per_second]));
    body.replaceChildren(...look.actors.map((one) => {
      const depth = one.path.split("/").length - 1;
      const busy = one.message_type ? `${one.message_type} for ${took(Math.round((one.busy_s ?? 0) * 1e6))}` : "idle";
      const waits = one.waiting_on.length ? `, waits for ${one.waiting_on.map(short).join(", ")}` : "";
      return el("tr", {},
        el("td", { style: `padding-left:${depth * 0.9}rem` }, el("a", { href: `#why/${encodeURIComponent(one.path)}`, title: one.path }, short(one.path)), one.message_type ? el("span", { class: "only-narrow soft" }, busy + waits) : null),
        el("td", { class: one.state === "running" ? "good" : "warn" }, one.state),
        el("td", { class: "number" + (one.restarts ? " warn" : " soft") }, String(one.restarts)),
        el("td", { class: "number" + (one.mailbox_depth > one.mailbox_capacity / 2 ? " bad" : "") }, `${one.mailbox_depth}`),
        el("td", { class: "number optional soft" }, `${one.mailbox_high_water}`),
        el("td", { class: "number optional" }, `${one.handled}`),
        el("td", { class: "number optional" }, rates.has(one.path) ? rates.get(one.path).toFixed(1) : "–"),
        el("td", { class: "optional" + (one.message_type ? "" : " soft") }, busy + waits));
    }));
    const restarted = look.actors.filter((one) => one.restarts);
    notice.replaceChildren(...(restarted.length ? ["Restarted: ", ...restarted.flatMap((one, place) => [place ? ", " : "", el("a", { href: `#why/${encodeURIComponent(one.path)}` }, `why did ${short(one.path)}?`)])] : []));
    state.textContent = `${look.actors.length} actors, live`;
  };
  await follow("actors/stream?every_ms=1000", draw);
};
