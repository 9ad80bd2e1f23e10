// The jobs of the sandbox: filters, a row for each job, and the details of one.

import { attempt, request } from "./api.js";
import { button, byId, h, setText, table } from "./dom.js";
import { duration, endOf, keyOf, stateOf, STATES } from "./model.js";
import { describe, inWords, lateness, timeline } from "./timeline.js";

const SHOWN = 100; // how many jobs are listed at a time
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
    for (const [key, { element }] of rows) if (!keys.has(key)) (element.remove(), rows.delete(key));
    let before = null;
    for (const job of shown) {
      const key = keyOf(job);
      let known = rows.get(key);
      if (!known) rows.set(key, (known = row(key, model)));
      known.update(job, now);
      if (known.element.previousSibling !== before || known.element.parentNode !== list) {
        if (before) before.after(known.element);
        else list.prepend(known.element);
      }
      before = known.element;
    }
    const more = found.length > SHOWN ? `The newest ${SHOWN} of ${found.length} jobs are listed.` : "";
    setText(empty, jobs.length === 0 ? "There are no jobs yet. Start one, or point your client at this server."
      : found.length === 0 ? "No job matches." : more);
    empty.hidden = empty.textContent === "";
  }
  return { update };
}

/** Explains the signs of the timelines. */
function legend() {
  const sign = (/** @type {string} */ kind, /** @type {string} */ text) => h("li", { class: `sign ${kind}` }, text);
  return h("ul", { class: "legend", "aria-label": "Signs" }, sign("poll", "poll"), sign("held", "long poll"),
    sign("fault", "fault or error"), sign("end", "true end"), sign("late", "late"), sign("learned", "the caller learned of it"),
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

  /** @param {import("./model.js").Job} job @param {number} now */
  function update(job, now) {
    const current = stateOf(job, now), polls = model.pollsOf(job);
    const moving = current === "pending" || !model.learnedBy(job);
    const version = JSON.stringify([job, current, polls.length, model.rate(), moving && Math.round(now * 4)]);
    if (version === drawn) return;
    drawn = version;
    state.className = `state ${current}`;
    setText(state, `${SIGNS[current]} ${current}${job.paused_at !== null && current === "pending" ? ", paused" : ""}`);
    setText(id, job.api === "native" ? job.job_id : `${job.job_id} (${job.api}/${job.kind})`);
    bar.replaceChildren(timeline(job, model, now));
    const late = lateness(job, model), end = endOf(job);
    setText(facts, [`${polls.length} ${polls.length === 1 ? "poll" : "polls"}`,
      current !== "pending" && end !== null ? `took ${duration(end - job.created_at)}` : null,
      late !== null ? `${duration(late)} late` : current === "pending" ? null : "not learned"].filter(Boolean).join(" · "));
  }
  return { element, update };
}

/**
 * Opens the details of a job.
 * @param {string} key
 * @param {import("./model.js").Model} model
 */
async function details(key, model) {
  const job = model.jobs.get(key);
  if (!job) return;
  const dialog = byId("dialog"), path = `sandbox/jobs/${job.job_id.split("/").map(encodeURIComponent).join("/")}`;
  const message = h("input", { id: "message", type: "text", placeholder: "error message" });
  const act = (/** @type {unknown} */ body) => attempt(async () => {
    await request("POST", path, body);
    dialog.close();
  });
  const [shown, card, hooks] = await Promise.all([
    attempt(() => request("GET", path)), attempt(() => request("GET", "sandbox/report")),
    attempt(() => request("GET", "sandbox/webhooks?limit=100")),
  ]);
  const findings = (card?.findings ?? []).filter((/** @type {any} */ one) => one.jobs?.includes(job.job_id));
  const deliveries = (hooks?.deliveries ?? []).filter((/** @type {any} */ one) => one.job_id === job.job_id);
  const pending = stateOf(job, model.now()) === "pending";
  const controls = !pending ? h("p", {}, "The job has ended: it can no longer be changed.") : h("div", { class: "tools" },
    button(job.paused_at === null ? "Pause" : "Unpause", () => act({ do: job.paused_at === null ? "pause" : "unpause" })),
    button("Cancel", () => act({ do: "cancel" })),
    button("Finish as completed", () => act({ do: "finish", outcome: "completed" })),
    button("Finish as error", () => act({ do: "finish", outcome: "error", ...(message.value && { message: message.value }) })),
    h("label", { for: "message" }, "Message ", message));
  dialog.replaceChildren(
    h("h2", { id: "dialog-title" }, `Job ${job.job_id}`), h("p", {}, inWords(job, model, model.now())), controls,
    polls(job, model), h("h3", {}, "What the report card says of it"),
    findings.length === 0 ? h("p", {}, "Nothing.") : h("ul", {}, ...findings.map((/** @type {any} */ one) =>
      h("li", {}, `${one.severity} ${one.rule}: ${one.message}`))),
    deliveries.length ? table("Webhooks", ["event", "state", "attempts"], deliveries.map((/** @type {any} */ one) =>
      [one.event, one.state, one.attempts.length])) : null,
    h("h3", {}, "The job"), h("pre", { tabindex: "0" }, JSON.stringify(shown, null, 2)),
    h("h3", {}, "Its fate"), h("pre", { tabindex: "0" }, JSON.stringify(job, null, 2)),
    button("Close", () => dialog.close()));
  dialog.showModal();
}

/**
 * The requests of a job, as a table.
 * @param {import("./model.js").Job} job
 * @param {import("./model.js").Model} model
 */
function polls(job, model) {
  const found = model.pollsOf(job).slice(-200);
  let before = job.created_at;
  return table("Polls", ["after", "gap", "what", "status", "told to come back after", "fault"], found.map((poll) => {
    const gap = poll.virtual_at - before;
    before = poll.virtual_at;
    return [duration(Math.max(0, poll.virtual_at - job.created_at)), duration(Math.max(0, gap)), describe(poll),
      poll.status || "no answer", poll.hint === null ? "" : duration(poll.hint), poll.faults.join(", ")];
  }));
}
