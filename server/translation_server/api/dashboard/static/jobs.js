// The jobs of the sandbox: filters, a row for each job, and the details of one.

import { details } from "./details.js";
import { byId, h, setText } from "./dom.js";
import { duration, endOf, keyOf, stateOf, STATES } from "./model.js";
import { faultsOf, lateness, timeline } from "./timeline.js";

const SHOWN = 100; // how many jobs are listed at a time
const STEPS = 300; // a moving timeline is drawn anew when the age of its job has grown by one part of so many
const SIGNS = { pending: "…", completed: "✓", error: "✗", cancelled: "–" };

/** @param {import("./model.js").Model} model */
export function jobsView(model) {
  const section = byId("jobs-view"), counts = h("span", { class: "count" }), list = h("ol", { class: "jobs" });
  const states = Object.fromEntries(STATES.map((state) => [state, h("span", {})]));
  const filters = h("fieldset", { class: "filters" }, h("legend", {}, "State"), filter("all", "All", counts),
    ...STATES.map((state) => filter(state, state, states[state])));
  const search = h("input", { type: "search", id: "search", input: () => update() });
  const empty = h("p", { class: "empty" });
  section.append(h("h2", { id: "jobs-title" }, "Jobs"),
    h("div", { class: "tools" }, filters, h("label", { for: "search" }, "Id ", search)), legend(), empty, list);
  /** @type {Map<string, ReturnType<typeof row>>} */
  const rows = new Map();
  /** @type {Set<Element>} the rows on the screen and near it: only their timelines move */
  const near = new Set();
  const observer = new IntersectionObserver((changes) => {
    for (const { target, isIntersecting } of changes) (isIntersecting ? near.add(target) : near.delete(target));
  }, { rootMargin: "200px" });

  /** @param {string} value @param {string} text @param {Node} count */
  function filter(value, text, count) {
    const input = h("input", { type: "radio", name: "state", value, checked: value === "all", change: () => update() });
    return h("label", {}, input, " ", text, " ", count);
  }

  function update() {
    const now = model.now(), jobs = model.newest(), wanted = section.querySelector("[name=state]:checked").value;
    setText(counts, String(jobs.length));
    for (const state of STATES) {
      setText(states[state], String(jobs.filter((job) => stateOf(job, now) === state).length));
    }
    const text = search.value.trim();
    const found = jobs.filter((job) => (wanted === "all" || stateOf(job, now) === wanted) && job.job_id.includes(text));
    const shown = found.slice(0, SHOWN), keys = new Set(shown.map(keyOf));
    for (const [key, { element }] of rows) if (!keys.has(key)) (element.remove(), observer.unobserve(element), near.delete(element), rows.delete(key));
    let before = null;
    for (const job of shown) {
      const key = keyOf(job);
      let known = rows.get(key);
      if (!known) {
        rows.set(key, (known = row(key, model)));
        observer.observe(known.element);
      }
      known.update(job, now, near.has(known.element));
      if (known.element.previousSibling !== before || known.element.parentNode !== list) {
        if (before) before.after(known.element);
        else list.prepend(known.element);
      }
      before = known.element;
    }
    const more = found.length > SHOWN ? `The newest ${SHOWN} of ${found.length} jobs are listed.` : "";
    setText(empty, !model.sandbox ? "Loading…" : jobs.length === 0 ? "There are no jobs yet. Start one, or point your client at this server."
      : found.length === 0 ? "No job matches." : more);
    empty.hidden = empty.textContent === "";
  }
  return { update };
}

/** Explains the signs of the timelines. */
function legend() {
  const sign = (/** @type {string} */ kind, /** @type {string} */ text) => h("li", { class: `sign ${kind}` }, text);
  return h("ul", { class: "legend", "aria-label": "Signs" }, sign("poll", "poll"), sign("held", "long poll"),
    sign("fault", "fault or error"), sign("end", "true end"), sign("late", "ended, but the client does not know"), sign("learned", "the client learned of it"),
    sign("paused", "paused"));
}

/**
 * The row of a job.
 * @param {string} key
 * @param {import("./model.js").Model} model
 */
function row(key, model) {
  const state = h("span", { class: "state" }), id = h("span", { class: "id" }), facts = h("span", { class: "facts" });
  const bar = h("span", { class: "bar-of-job" });
  const open = h("button", { type: "button", class: "job", click: () => details(key, model) }, state, id, bar, facts);
  const element = h("li", {}, open);
  let drawn = "";

  /**
   * @param {import("./model.js").Job} job
   * @param {number} now
   * @param {boolean} isNear whether the row is on the screen or near it
   */
  function update(job, now, isNear) {
    const current = stateOf(job, now), polls = model.pollsOf(job);
    const moving = current === "pending" || !model.learnedBy(job);
    const step = Math.round(STEPS * Math.log(Math.max(0.001, now - job.created_at)));
    const version = JSON.stringify([job, current, isNear && [polls.length, moving && step], model.rate()]);
    if (version === drawn) return;
    drawn = version;
    state.className = `state ${current}`;
    setText(state, `${SIGNS[current]} ${current}${job.paused_at !== null && current === "pending" ? ", paused" : ""}`);
    setText(id, job.api === "native" ? job.job_id : `${job.job_id} (${job.api}/${job.kind})`);
    bar.replaceChildren(timeline(job, model, now));
    const late = lateness(job, model), end = endOf(job);
    setText(facts, [`${polls.length} ${polls.length === 1 ? "poll" : "polls"}`, faultsOf(polls),
      job.paused_for > 0 ? `was paused for ${duration(job.paused_for)}` : null,
      current !== "pending" && end !== null ? `took ${duration(end - job.created_at)}` : null,
      late !== null ? `the client learned it ${duration(late)} later` : current === "pending" ? null : "the client does not know yet"].filter(Boolean).join(" · "));
  }
  return { element, update };
}
