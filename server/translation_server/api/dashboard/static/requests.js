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

  /** @param {import("./model.js").RequestRecord} record */
  function wanted(record) {
    const target = `${record.method} ${record.path} ${record.status} ${record.action ?? ""} ${record.agent ?? ""}`;
    const bad = record.faults.length > 0 || record.status >= 400 || record.status === 0;
    return target.toLowerCase().includes(text.value.trim().toLowerCase()) && (!faulty.checked || bad);
  }

  /** @param {import("./model.js").RequestRecord} record */
  function row(record) {
    const time = new Date(record.at * 1000).toLocaleTimeString([], { hour12: false });
    const target = `${record.method} ${record.path}${record.query ? `?${record.query}` : ""}`;
    const status = `${record.status || "none"}${record.hidden_status ? ` (for ${record.hidden_status})` : ""}`;
    const jobs = record.jobs.slice(0, 3).map((job) => `${job.job_id.slice(0, 8)} ${job.state}`).join(", ");
    const more = record.jobs.length > 3 ? ` and ${record.jobs.length - 3} more` : "";
    const cells = [record.number, time, target, status, `${(1000 * record.took).toFixed(0)} ms`, record.faults.join(", "), jobs + more];
    return h("tr", { class: record.faults.length ? "faulty" : null }, ...cells.map((cell) => h("td", {}, cell)));
  }

  /** @param {boolean} [anew] */
  function update(anew = false) {
    const last = model.records.at(-1)?.number ?? 0;
    if (paused && last !== newest) setText(note, `Paused at request ${newest}. The newest is ${last}.`);
    note.hidden = note.textContent === "";
    if (!anew && (paused || last === newest)) return;
    if (!paused) newest = last;
    const found = model.records.filter((record) => record.number <= newest && wanted(record));
    body.replaceChildren(...found.slice(-SHOWN).reverse().map(row));
    setText(note, !model.sandbox ? "Loading…" : model.records.length === 0 ? "No request has come yet."
      : found.length === 0 ? "No request matches."
        : found.length > SHOWN ? `The newest ${SHOWN} of ${found.length} requests are listed.` : "");
    note.hidden = note.textContent === "";
  }
  return { update };
}
