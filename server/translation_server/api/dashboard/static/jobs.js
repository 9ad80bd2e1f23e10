// The jobs of the sandbox: filters, a row for each job, and the details of one.

import { request } from "./api.js";
import { details } from "./details.js";
import { byId, h, setText } from "./dom.js";
import { duration, endOf, keyOf, stateOf, STATES } from "./model.js";
import { faultsOf, learnedInWords, timeline } from "./timeline.js";

const SHOWN = 100; // how many jobs are listed at a time
const STEPS = 300, FEW_STEPS = 20; // a moving timeline is drawn anew when the age of its job has grown by one part of so many
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const TYPING = 400; // milliseconds without a key until the server is asked for an id
const SIGNS = { pending: "…", completed: "✓", error: "✗", cancelled: "–" };

/** @param {import("./model.js").Model} model */
export function jobsView(model) {
  const section = byId("jobs-view"), counts = h("span", { class: "count" }), list = h("ol", { class: "jobs" });
  const states = Object.fromEntries(STATES.map((state) => [state, h("span", {})]));
  const filters = h("fieldset", { class: "filters" }, h("legend", {}, "State"), filter("all", "All", counts),
    ...STATES.map((state) => filter(state, state, states[state])));
  const search = h("input", { type: "search", id: "search", autocomplete: "off", spellcheck: "false", input: () => (update(), searchOlder()) });
  const note = h("p", { class: "empty" });
  section.append(h("h2", { id: "jobs-title" }, "Jobs"),
    h("div", { class: "tools" }, filters, h("label", { for: "search" }, "Id ", search)), legend(), note, list);
  /** @type {Map<string, ReturnType<typeof row>>} */
  const rows = new Map();
  /** @type {Set<Element>} the rows on the screen and near it: only their timelines move */
  const near = new Set();
  const observer = new IntersectionObserver((changes) => {
    for (const { target, isIntersecting } of changes) (isIntersecting ? near.add(target) : near.delete(target));
  }, { rootMargin: "200px" });
  let wanted = "all", searched = "", isSearching = false, typing = 0;

  /** @param {string} value @param {string} text @param {Node} count */
  function filter(value, text, count) {
    const input = h("input", { type: "radio", name: "state", value, checked: value === "all", change: () => ((wanted = value), update()) });
    return h("label", {}, input, " ", text, " ", count);
  }

  /** Asks the server for a job that is none of the newest ones. */
  function searchOlder() {
    clearTimeout(typing);
    const id = search.value.trim();
    if (id === "" || model.newest().some((job) => job.job_id.includes(id))) return;
    isSearching = true;
    typing = setTimeout(async () => {
      const found = await request("GET", `dashboard/jobs/${id.split("/").map(encodeURIComponent).join("/")}`).catch(() => null);
      if (id !== search.value.trim()) return;
      for (const job of found?.jobs ?? []) model.found.set(keyOf(job), job);
      searched = id;
      isSearching = false;
      update();
    }, TYPING);
  }

  function update() {
    const now = model.now(), jobs = model.newest(), text = search.value.trim();
    const numbers = { pending: 0, completed: 0, error: 0, cancelled: 0 }, found = [];
    for (const job of jobs) {
      const state = stateOf(job, now);
      numbers[state]++;
      if ((wanted === "all" || wanted === state) && (text === "" || job.job_id.includes(text))) found.push(job);
    }
    if (text !== "" && found.length === 0) found.push(...[...model.found.values()].filter((job) => job.job_id === text));
    setText(counts, String(jobs.length));
    for (const state of STATES) setText(states[state], String(numbers[state]));
    show(found.slice(0, SHOWN), now);
    setText(note, !model.sandbox ? "Loading…" : found.length > SHOWN ? `The newest ${SHOWN} of ${found.length} jobs are listed.`
      : found.length > 0 ? "" : text !== "" && isSearching ? "Searching older jobs…" : text !== "" && searched === text ? "No job matches. Of older jobs, the whole id is needed."
        : jobs.length > 0 ? "No job matches." : "There are no jobs yet. Start one, or point your client at this server.");
    note.hidden = note.textContent === "";
  }

  /**
   * Lists jobs; a row that stays is not moved.
   * @param {import("./model.js").Job[]} shown
   * @param {number} now
   */
  function show(shown, now) {
    const keys = new Set(shown.map(keyOf));
    for (const [key, { element }] of rows) {
      if (keys.has(key)) continue;
      element.remove();
      observer.unobserve(element);
      near.delete(element);
      rows.delete(key);
    }
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
  }
  return { update };
}

/** Explains the signs of the timelines. */
function legend() {
  const sign = (/** @type {string} */ kind, /** @type {string} */ text) => h("li", { class: `sign ${kind}` }, text);
  return h("ul", { class: "legend", "aria-label": "Signs" }, sign("poll", "poll"), sign("long-poll", "long poll"),
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
  const bar = timeline(model);
  const open = h("button", { type: "button", class: "job", click: () => details(key, model) }, state, id,
    h("span", { class: "bar-of-job" }, bar.image), facts);
  const element = h("li", {}, open);
  let drawn = /** @type {unknown[]} */ ([]), written = /** @type {unknown[]} */ ([]);

  /**
   * @param {import("./model.js").Job} job
   * @param {number} now
   * @param {boolean} isNear whether the row is on the screen or near it
   */
  function update(job, now, isNear) {
    const current = stateOf(job, now), polls = model.pollsOf(job), learned = model.learnedBy(job);
    const basis = [job, current, learned, model.rate(), isNear || drawn.length === 0 ? polls : null, isNear ? polls.length : 0];
    if (differ(basis, written)) {
      written = basis;
      write(job, current, polls);
    }
    const isMoving = isNear && (current === "pending" || !learned);
    const step = isMoving ? Math.round((calm.matches ? FEW_STEPS : STEPS) * Math.log(Math.max(0.001, now - job.created_at))) : 0;
    const shape = [...basis, step];
    if (differ(shape, drawn)) {
      drawn = shape;
      bar.update(job, now);
    }
  }

  /**
   * @param {import("./model.js").Job} job
   * @param {import("./model.js").State} current
   * @param {readonly import("./model.js").RequestRecord[]} polls
   */
  function write(job, current, polls) {
    const end = endOf(job);
    state.className = `state ${current}`;
    setText(state, `${SIGNS[current]} ${current}${job.paused_at !== null && current === "pending" ? ", paused" : ""}`);
    setText(id, job.api === "native" ? job.job_id : `${job.job_id} (${job.api}/${job.kind})`);
    setText(facts, [`${polls.length} ${polls.length === 1 ? "poll" : "polls"}`, faultsOf(polls),
      job.paused_for > 0 ? `was paused for ${duration(job.paused_for)}` : null,
      current !== "pending" && end !== null ? `took ${duration(end - job.created_at)}` : null,
      current === "pending" ? null : learnedInWords(job, model)].filter(Boolean).join(" · "));
  }
  return { element, update };
}

/**
 * Whether two lists have other items at a place.
 * @param {readonly unknown[]} one
 * @param {readonly unknown[]} other
 */
function differ(one, other) {
  return one.length !== other.length || one.some((item, place) => item !== other[place]);
}
