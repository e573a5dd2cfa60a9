"use strict";
// The fleet: Engines by state, how long they took to boot, restarts, the audit log.
const STATES = ["running", "sleeping", "stopped", "provisioning", "destroying", "failed"];
const BOOTS = new Set(["provision", "start", "wake", "auto_restart_success", "upgrade"]);
const FLEET_EVERY_S = 5;

views.fleet = async () => {
  const { query } = route();
  const wanted = { status: query.get("status") ?? "", user: query.get("user") ?? "", checks: query.has("checks") };
  const user = el("input", { type: "search", name: "user", value: wanted.user, placeholder: "User", "aria-label": "Only this user" });
  const checks = el("input", { type: "checkbox", checked: wanted.checks ? "" : null });
  const tiles = el("div", { class: "tiles" }), engines = el("div"), audit = el("div");
  const form = el("form", { role: "search" }, user, el("label", {}, checks, " with the sampled health checks"));
  const { signal } = leaving;
  const look = async () => {
    const seen = await fleetNow(wanted);
    say(count(seen.total, "Engine"));
    fill(tiles, ...fleetTiles(seen, wanted));
    fill(engines, enginesShown(seen, wanted));
    fill(audit, auditShown(seen, wanted));
  };
  const choose = (changes) => { Object.assign(wanted, changes); remember({ at: "", status: wanted.status, user: wanted.user, checks: wanted.checks && "1" }); look().catch(() => {}); };
  tiles.addEventListener("click", (event) => { const button = event.target.closest("button"); if (button) choose({ status: wanted.status === button.dataset.status ? "" : button.dataset.status }); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", () => choose({ user: user.value.trim(), checks: checks.checked }));
  await look();
  main.replaceChildren(el("h2", {}, "Fleet"), tiles, form, el("h3", {}, "Engines"), engines, el("h3", {}, "Audit"), audit);
  settle();
  for (;;) {
    await pause(FLEET_EVERY_S, signal);
    if (document.hidden) continue;
    try {
      await look();
      connected();
    } catch (error) {
      if (signal.aborted || error.status === 401) throw error;
      disconnected(FLEET_EVERY_S);
    }
  }
};

// How many there are in each state is asked for each state: a list is only its first page.
async function fleetNow(wanted) {
  const [{ engines, total }, { entries }, ...counted] = await Promise.all([
    ask("admin/engines", { limit: 500, status: wanted.status }), ask("admin/audit", { limit: 500, user_id: wanted.user }),
    ...STATES.map((status) => ask("admin/engines", { limit: 1, status }))]);
  const counts = new Map(STATES.map((status, place) => [status, counted[place].total]));
  return { engines, matching: total, entries, counts, total: [...counts.values()].reduce((sum, one) => sum + one, 0) };
}

function fleetTiles({ entries, counts }, wanted) {
  const boots = entries.filter((entry) => BOOTS.has(entry.action) && entry.duration_ms != null).map((entry) => entry.duration_ms).sort((a, b) => a - b);
  const restarts = entries.filter((entry) => entry.action === "auto_restart_success").length;
  const states = STATES.filter((status) => counts.get(status) || status === "running" || status === wanted.status);
  return [...states.map((status) => stateTile(status, counts.get(status), wanted)),
    tile("boot, median", boots.length ? tookMs(boots[boots.length >> 1]) : "–"),
    tile("boot, slowest", boots.length ? tookMs(boots.at(-1)) : "–"),
    tile("restarts", restarts, restarts ? "warn" : "")];
}

function tile(name, value, kind = "") { return el("div", { class: "tile", "data-key": name }, el("b", { class: kind }, `${value}`), name); }

function stateTile(status, count, wanted) {
  const kind = count === 0 ? "soft" : stateKind(status);
  return el("button", { type: "button", class: "tile", "data-key": status, "data-status": status, "aria-pressed": String(wanted.status === status), title: `Show only what is ${status}` }, el("b", { class: kind }, count.toLocaleString("en")), status);
}

function stateKind(status) { return { running: "good", failed: "bad", stopped: "soft", sleeping: "calm" }[status] ?? "warn"; }

function enginesShown({ engines, matching }, wanted) {
  const shown = engines.filter((one) => !wanted.user || one.user_id === wanted.user);
  if (!shown.length) return empty(wanted.status || wanted.user ? "No Engine fits this filter." : "No Engines yet. A product provisions or admits them; `september fleet` does it by hand.");
  const heads = [["User", ""], ["State", ""], ["Product", "optional"], ["Version", "optional"], ["Healthy", ""], ["Made", "optional"]];
  const note = matching > engines.length ? el("p", { class: "soft" }, `the first ${engines.length} of ${matching.toLocaleString("en")}`) : null;
  return el("div", {}, table(heads, shown.map(engineRow)), note);
}

function auditShown({ entries }, wanted) {
  const shown = entries.filter((entry) => wanted.checks || entry.action !== "health_check").slice(0, 200);
  if (!shown.length) return empty(wanted.user ? "Nothing has been done for this user." : "Nothing has been done yet.");
  return table([["At", ""], ["", "optional"], ["Action", ""], ["User", ""], ["By", "optional"], ["Took", "number"], ["About", "optional"]], shown.map(auditRow));
}

function micros(iso) { return iso ? Date.parse(iso) * 1e3 : 0; }

function engineRow(one) {
  const made = row(["", item(place("why", one.engine_id), one.user_id, one.engine_id, `Why is ${one.engine_id} as it is?`)],
    [stateKind(one.status), one.status, one.failure ? el("small", {}, one.failure) : null],
    ["optional", one.product ?? ""], ["optional mono", one.engine_version], ["soft", moment(micros(one.last_health_at))], ["optional soft", moment(micros(one.created_at))]);
  made.dataset.key = one.engine_id;
  return made;
}

function auditRow(entry) {
  const about = Object.entries(entry.metadata).map(([name, value]) => `${name.replaceAll("_", " ")}: ${typeof value === "object" ? JSON.stringify(value) : value}`).join(", ");
  const bad = /failed|exhausted|denied/.test(entry.action) || entry.metadata.outcome === "failed", at = micros(entry.timestamp);
  const made = row(["soft nowrap", clock(at)], ["soft optional nowrap", moment(at)], [bad ? "bad" : "", entry.action.replaceAll("_", " ")], ["", entry.user_id ?? "–"], ["optional", entry.actor],
    ["number", entry.duration_ms == null ? "" : tookMs(entry.duration_ms)], ["optional soft", about]);
  made.dataset.key = `${entry.id}`;
  return made;
}
