// A job as a bar in time, with every poll, every fault, the true end and the moment at which the caller learned of it.

import { h } from "./dom.js";
import { answeredAt, duration, endOf, keyOf, stateOf } from "./model.js";

const TOP = 8, THICKNESS = 12; // in pixels; times are percentages of the width
const MAX_MARKS = 300; // how many requests of a job are drawn; of more, the first and the last ones

/**
 * Draws a job.
 * @param {import("./model.js").Job} job
 * @param {import("./model.js").Model} model
 * @param {number} now
 */
export function timeline(job, model, now) {
  const polls = model.pollsOf(job), learned = model.learnedBy(job), state = stateOf(job, now), rate = model.rate();
  const end = endOf(job), learnedAt = learned ? answeredAt(learned, rate) : null;
  const last = polls.at(-1), began = job.created_at;
  const until = Math.max(began + 0.001, state === "pending" ? now : 0, state === "pending" ? 0 : end ?? 0,
    learnedAt ?? 0, last ? answeredAt(last, rate) : 0);
  const scale = 100 / (until - began);
  const x = (/** @type {number} */ time) => Math.max(0, time - began) * scale;
  const width = (/** @type {number} */ from, /** @type {number} */ to) => Math.max(0.2, x(to) - x(from));
  const ended = state === "pending" || end === null ? now : end;
  const marks = [rect(x(began), TOP, width(began, Math.min(ended, until)), THICKNESS, `bar ${state}`)];
  if (state !== "pending" && end !== null && learnedAt !== null && learnedAt > end) {
    marks.push(rect(x(end), TOP + 4, width(end, learnedAt), THICKNESS - 8, "late"));
  }
  for (const [from, to] of pauses(job, model, ended)) marks.push(rect(x(from), TOP, width(from, to), THICKNESS, "paused"));
  for (const poll of some(polls)) marks.push(...mark(poll, x, rate));
  if (state !== "pending" && end !== null) marks.push(line(x(end), TOP - 6, TOP + THICKNESS + 6, "end"));
  if (learnedAt !== null) marks.push(h("svg:circle", { cx: `${x(learnedAt)}%`, cy: TOP + THICKNESS / 2, r: 4, class: "learned" }));
  return h("svg:svg", { class: "timeline", role: "img", "aria-label": inWords(job, model, now) }, ...marks);
}

/**
 * What a timeline shows, as a sentence.
 * @param {import("./model.js").Job} job
 * @param {import("./model.js").Model} model
 * @param {number} now
 */
export function inWords(job, model, now) {
  const polls = model.pollsOf(job), end = endOf(job), learned = model.learnedBy(job), state = stateOf(job, now);
  const faults = faultsOf(polls);
  const parts = [`${polls.length} ${polls.length === 1 ? "poll" : "polls"}`];
  if (faults) parts.push(faults);
  if (state === "pending") parts.push(job.paused_at === null ? "pending" : "paused");
  else if (end !== null) {
    parts.push(`ended after ${duration(end - job.created_at)}`);
    parts.push(learned ? `the client learned it ${duration(lateness(job, model) ?? 0)} later` : "the client does not know yet");
  }
  return parts.join("; ");
}

/**
 * The faults that hit requests, in words; an empty text if there are none.
 * @param {import("./model.js").Entry[]} polls
 */
export function faultsOf(polls) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const poll of polls) {
    for (const fault of poll.faults) {
      const name = `${fault}${fault === "status" ? ` ${poll.status}` : ""}`;
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  }
  const named = [...counts].map(([name, count]) => (count === 1 ? name : `${count} × ${name}`));
  return named.length === 0 ? "" : `${named.length === 1 && [...counts.values()][0] === 1 ? "fault" : "faults"}: ${named.join(", ")}`;
}

/**
 * The known pauses of a job.
 * @param {import("./model.js").Job} job
 * @param {import("./model.js").Model} model
 * @param {number} ended
 * @returns {[number, number][]}
 */
function pauses(job, model, ended) {
  return [...(model.pausesOf.get(keyOf(job)) ?? []), ...(job.paused_at === null ? [] : [/** @type {[number, number]} */ ([job.paused_at, ended])])];
}

/**
 * How many seconds of virtual time after its end the caller learned of it; null where it has not.
 * @param {import("./model.js").Job} job
 * @param {import("./model.js").Model} model
 */
export function lateness(job, model) {
  const learned = model.learnedBy(job), end = endOf(job);
  return learned && end !== null ? Math.max(0, answeredAt(learned, model.rate()) - end) : null;
}

/**
 * @param {import("./model.js").Entry} poll
 * @param {(time: number) => number} x
 * @param {number} rate
 */
function mark(poll, x, rate) {
  const at = x(poll.virtual_at), title = h("svg:title", {}, describe(poll));
  if (poll.faults.length || poll.status >= 400 || poll.status === 0) {
    const middle = TOP + THICKNESS / 2;
    return [h("svg:svg", { x: `${at}%`, y: middle, class: "mark", "aria-hidden": "true" }, h("svg:path", { d: "M0 -7l6 12h-12z", class: "fault" }, title))];
  }
  const long = poll.wait ? [rect(at, TOP + THICKNESS + 2, Math.max(0.2, x(answeredAt(poll, rate)) - at), 3, "held")] : [];
  return [...long, h("svg:line", { x1: `${at}%`, x2: `${at}%`, y1: TOP - 2, y2: TOP + THICKNESS + 2, class: "poll" }, title)];
}

/** @param {import("./model.js").Entry} poll */
function describe(poll) {
  const what = poll.wait ? `long poll of ${duration(poll.took)}` : poll.action ?? "request";
  return `${what}: ${poll.status || "no answer"}${poll.faults.length ? `, fault ${poll.faults.join(", ")}` : ""}`;
}

/**
 * @param {number} x
 * @param {number} y
 * @param {number} width
 * @param {number} height
 * @param {string} kind
 */
function rect(x, y, width, height, kind) {
  return h("svg:rect", { x: `${x}%`, y, width: `${width}%`, height, rx: 2, class: kind });
}

/**
 * @param {number} x
 * @param {number} from
 * @param {number} to
 * @param {string} kind
 */
function line(x, from, to, kind) {
  return h("svg:line", { x1: `${x}%`, x2: `${x}%`, y1: from, y2: to, class: kind });
}

/** @param {import("./model.js").Entry[]} polls */
function some(polls) {
  return polls.length <= MAX_MARKS ? polls : [...polls.slice(0, MAX_MARKS / 2), ...polls.slice(-MAX_MARKS / 2)];
}
