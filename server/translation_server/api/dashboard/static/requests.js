// The newest requests of the log, with a filter and a pause.

import { button, byId, h, setText } from "./dom.js";

const SHOWN = 200;

/** @param {import("./model.js").Model} model */
export function requestsView(model) {
  const section = byId("requests-view"), text = h("input", { type: "search", id: "filter", input: () => update(true) });
  const faulty = h("input", { type: "checkbox", id: "faulty", change: () => update(true) });
  const pause = button("Pause", () => {
    paused = !paused;
    setText(pause, paused ? "Continue" : "Pause");
    update(true);
  });
  let paused = false;
  const note = h("p", { class: "empty" }), body = h("tbody", {});
  const columns = ["number", "time", "request", "status", "took", "faults", "jobs"];
  section.append(h("h2", { id: "requests-title" }, "Requests"), h("div", { class: "tools" },
    h("label", { for: "filter" }, "Filter ", text),
    h("label", { for: "faulty" }, faulty, " only with faults or errors"),
    pause), note,
  h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Request log" }, h("table", {},
    h("thead", {}, h("tr", {}, ...columns.map((column) => h("th", { scope: "col" }, column)))), body)));
  let newest = -1;

  /** @param {import("./model.js").Entry} entry */
  function wanted(entry) {
    const target = `${entry.method} ${entry.path} ${entry.status} ${entry.action ?? ""} ${entry.agent ?? ""}`;
    const bad = entry.faults.length > 0 || entry.status >= 400 || entry.status === 0;
    return target.toLowerCase().includes(text.value.trim().toLowerCase()) && (!faulty.checked || bad);
  }

  /** @param {import("./model.js").Entry} entry */
  function row(entry) {
    const time = new Date(entry.at * 1000).toLocaleTimeString([], { hour12: false });
    const target = `${entry.method} ${entry.path}${entry.query ? `?${entry.query}` : ""}`;
    const status = `${entry.status || "none"}${entry.hidden_status ? ` (for ${entry.hidden_status})` : ""}`;
    const jobs = entry.jobs.slice(0, 3).map((job) => `${job.job_id.slice(0, 8)} ${job.state}`).join(", ");
    const more = entry.jobs.length > 3 ? ` and ${entry.jobs.length - 3} more` : "";
    const cells = [entry.number, time, target, status, `${(1000 * entry.took).toFixed(0)} ms`, entry.faults.join(", "), jobs + more];
    return h("tr", { class: entry.faults.length ? "faulty" : null }, ...cells.map((cell) => h("td", {}, cell)));
  }

  /** @param {boolean} [anew] */
  function update(anew = false) {
    const last = model.entries.at(-1)?.number ?? 0;
    if (paused && last !== newest) setText(note, `Paused at request ${newest}. The newest is ${last}.`);
    note.hidden = note.textContent === "";
    if (!anew && (paused || last === newest)) return;
    if (!paused) newest = last;
    const found = model.entries.filter((entry) => entry.number <= newest && wanted(entry));
    body.replaceChildren(...found.slice(-SHOWN).reverse().map(row));
    setText(note, !model.sandbox ? "Loading…" : model.entries.length === 0 ? "No request has come yet."
      : found.length === 0 ? "No request matches."
        : found.length > SHOWN ? `The newest ${SHOWN} of ${found.length} requests are listed.` : "");
    note.hidden = note.textContent === "";
  }
  return { update };
}
