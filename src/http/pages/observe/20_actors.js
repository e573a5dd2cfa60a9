"use strict";
// The live tree of actors.
views.actors = async () => {
  const { query } = route();
  const name = el("input", { type: "search", name: "actor", value: query.get("actor") ?? "", placeholder: "Filter by name", "aria-label": "Filter by name" });
  const lively = el("input", { type: "checkbox", checked: query.has("lively") ? "" : null });
  const form = el("form", { role: "search" }, name, el("label", {}, lively, " busy, queued or restarted only"));
  const restarts = el("p", { class: "warn", role: "status" }), found = el("div");
  let look = null;
  const draw = () => {
    const shown = look.actors.filter((one) => (one.path.includes(name.value.trim())) && (!lively.checked || one.restarts || one.mailbox_depth || working(one) || one.state !== "running"));
    fill(found, shown.length ? actorTable(shown, look) : empty("No actor fits this filter."));
    const restarted = look.actors.filter((one) => one.restarts);
    fill(restarts, ...(restarted.length ? ["Restarted: ", ...restarted.flatMap((one, place) => [place ? ", " : "", el("a", { href: whyOf(one) }, `why did ${short(one.path)}?`)])] : []));
    say(`${look.actors.length} actors, live`, true);
  };
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => { remember({ actor: name.value, lively: lively.checked && "1" }); if (look) draw(); });
  main.replaceChildren(el("h2", {}, "Actors"), form, restarts, found);
  await follow("actors/stream?every_ms=1000", (fresh) => {
    const early = !look;
    look = fresh;
    draw();
    if (early) settle();
  });
};

function whyOf(one) { return place("why", one.path); }

function actorTable(actors, look) {
  const rates = new Map(look.rates.map((one) => [one.path, one.per_second]));
  const heads = [["Actor", ""], ["State", ""], ["Restarts", "number"], ["Mailbox", "number"], ["Peak", "number optional"], ["Handled", "number optional"], ["Per second", "number optional"], ["Now", "optional"]];
  return table(heads, actors.map((one) => actorRow(one, rates)));
}

// The message in hand, or else the oldest that is worked on beside the inbox.
function working(one) {
  const [work, ...more] = [...(one.message_type ? [one] : []), ...one.beside];
  if (!work) return "";
  const waits = work.waiting_on.length ? `, waits for ${work.waiting_on.map(short).join(", ")}` : "";
  return `${work.message_type} for ${took(Math.round((work.busy_s ?? 0) * 1e6))}${waits}${more.length ? ` and ${more.length} more` : ""}`;
}

function actorRow(one, rates) {
  const depth = one.path.split("/").length - 1;
  const now = working(one);
  const made = row(
    ["", item(whyOf(one), short(one.path), one.path, one.path), now ? el("span", { class: "only-narrow soft" }, now) : null],
    [one.state === "running" ? "good" : "warn", one.state],
    ["number" + (one.restarts ? " warn" : " soft"), `${one.restarts}`],
    ["number" + (one.mailbox_depth > one.mailbox_capacity / 2 ? " bad" : one.mailbox_depth ? "" : " soft"), `${one.mailbox_depth}`],
    ["number optional soft", `${one.mailbox_high_water}`],
    ["number optional" + (one.handled ? "" : " soft"), one.handled.toLocaleString("en")],
    ["number optional" + (rates.has(one.path) ? "" : " soft"), rates.has(one.path) ? rates.get(one.path).toFixed(1) : "–"],
    ["optional" + (now ? "" : " soft"), now || "idle"]);
  made.dataset.key = one.path;
  made.cells[0].style.paddingLeft = `${depth * 0.9}rem`;
  made.cells[3].title = `${one.mailbox_depth} of ${one.mailbox_capacity} places taken, at most ${one.mailbox_high_water} so far`;
  return made;
}
