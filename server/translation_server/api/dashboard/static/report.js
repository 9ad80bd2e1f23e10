// The report card, made anew while it is on the screen and requests come.

import { request } from "./api.js";
import { byId, h, setText, table } from "./dom.js";
import { duration } from "./model.js";

const INTERVAL = 2000; // the least time between two report cards, in milliseconds

/** @param {import("./model.js").Model} model */
export function reportView(model) {
  const section = byId("report-view"), body = h("div", {}), note = h("p", { class: "empty" }, "Loading…");
  section.append(h("h2", { id: "report-title" }, "Report card"), note, body);
  let version = "", asked = -Infinity, waiting = false;

  async function update() {
    const current = `${model.records.at(-1)?.number ?? 0} ${model.jobs.size}`;
    if (waiting || current === version || performance.now() < asked + INTERVAL) return;
    waiting = true;
    asked = performance.now();
    try {
      show(await request("GET", "sandbox/report"));
      version = current;
      setText(note, model.records.length === 0 ? "No request has come yet, so there is nothing to grade." : "");
    } catch (error) {
      setText(note, `The report card cannot be had: ${/** @type {Error} */ (error).message}`);
    }
    note.hidden = note.textContent === "";
    waiting = false;
  }

  /** @param {any} card */
  function show(card) {
    const { overall } = card, seconds = (/** @type {number | null} */ value) => (value === null ? "–" : duration(value));
    const figures = {
      requests: overall.requests, jobs: overall.jobs, submissions: overall.submits, polls: overall.polls,
      "polls per job": overall.polls_per_job?.toFixed(2) ?? "–", "lateness, median": seconds(overall.lateness_median),
      "lateness, p99": seconds(overall.lateness_p99), "early polls": overall.early_polls,
      "never collected": overall.never_collected, "duplicate submissions": overall.duplicate_submits,
    };
    body.replaceChildren(
      h("dl", { class: "figures" }, ...Object.entries(figures).map(([name, value]) =>
        h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
      h("h3", {}, "Findings"),
      card.findings.length === 0 ? h("p", {}, "None.") : h("ul", { class: "findings" }, ...card.findings.map(
        (/** @type {any} */ one) => h("li", { class: one.severity }, h("strong", {}, `${one.severity} ${one.rule}`), ` ${one.message}`))),
      ...(card.faults.length ? [table("Faults that fired, and what the client did next", ["fault", "fired", "came again", "after, at least", "after, median", "gave up"],
        card.faults.map((/** @type {any} */ one) => [one.kind, one.fired, one.came_again, seconds(one.again_soonest),
          seconds(one.again_median), one.gave_up]))] : []));
  }
  return { update };
}
