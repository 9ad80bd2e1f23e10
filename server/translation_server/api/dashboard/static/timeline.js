// A job as a bar in time, with every poll, every fault, the true end and the time at which the caller learned of it.

import { h } from "./dom.js";
import { answeredAt, duration, endOf, stateOf } from "./model.js";

const WIDTH = 1000; // units; the bar is as wide as its place, and its marks are lines that keep their own width
const TOP = 8, THICKNESS = 12; // in pixels
const MIDDLE = TOP + THICKNESS / 2;
const MAX_MARKS = 300; // how many faults of a job are drawn; of more, the first and the last ones

/** @typedef {import("./model.js").Job} Job */
/** @typedef {import("./model.js").RequestRecord} RequestRecord */
/** @typedef {import("./model.js").Model} Model */

/**
 * Draws a job. Its marks have the times of the job as coordinates, so while it moves only their scale changes.
 * @param {Model} model
 */
export function timeline(model) {
  const image = h("svg:svg", { class: "timeline", role: "img" });
  const polls = h("svg:path", { class: "poll" }), longPolls = h("svg:path", { class: "long-poll" });
  const scaled = h("svg:g", {}, longPolls, polls);
  /** @type {readonly RequestRecord[]} */
  let drawn = [];
  let count = 0, structure = "", label = "", began = 0;
  let pollMarks = "", longPollMarks = "";
  /** @type {RequestRecord[]} */
  let faults = [];
  /** @type {(scale: number) => void} */
  let place = () => {};

  /**
   * @param {Job} job
   * @param {number} now
   */
  function update(job, now) {
    const records = model.pollsOf(job), rate = model.rate(), state = stateOf(job, now), end = endOf(job);
    const learned = model.learnedBy(job), learnedAt = learned ? answeredAt(learned, rate) : null;
    if (records !== drawn || job.created_at !== began) restart(records, job);
    if (count < records.length) addMarks(records, rate);
    const ended = state === "pending" || end === null ? now : end, last = records.at(-1);
    const until = Math.max(began + 0.001, state === "pending" ? now : end ?? 0, learnedAt ?? 0, last ? answeredAt(last, rate) : 0);
    const pauses = pausesOf(job, ended);
    const current = JSON.stringify([state, learnedAt, end, pauses.length, pauses.at(-1)?.[0], faults.length]);
    if (current !== structure) {
      structure = current;
      build(job, state, end, learnedAt);
    }
    const scale = 1 / (until - began);
    scaled.setAttribute("transform", `scale(${WIDTH * scale},1)`);
    place(scale);
    const words = inWords(job, model, now);
    if (words !== label) image.setAttribute("aria-label", (label = words));
  }

  /**
   * @param {readonly RequestRecord[]} records
   * @param {Job} job
   */
  function restart(records, job) {
    drawn = records;
    began = job.created_at;
    count = 0;
    pollMarks = longPollMarks = "";
    faults = [];
    structure = "";
  }

  /**
   * Adds the marks of new requests.
   * @param {readonly RequestRecord[]} records
   * @param {number} rate
   */
  function addMarks(records, rate) {
    for (; count < records.length; count++) {
      const record = records[count], x = Math.max(0, record.virtual_at - began).toFixed(3);
      if (record.faults.length || record.status >= 400 || record.status === 0) faults.push(record);
      else {
        pollMarks += `M${x} ${TOP - 2}v${THICKNESS + 4}`;
        if (record.wait) longPollMarks += `M${x} ${TOP + THICKNESS + 4}h${(record.took * rate).toFixed(3)}`;
      }
    }
    polls.setAttribute("d", pollMarks);
    longPolls.setAttribute("d", longPollMarks);
  }

  /**
   * Makes all parts anew. They are placed by `place`.
   * @param {Job} job
   * @param {import("./model.js").State} state
   * @param {number | null} end
   * @param {number | null} learnedAt
   */
  function build(job, state, end, learnedAt) {
    const hasEnded = state !== "pending" && end !== null;
    const bar = rect(TOP, THICKNESS, `bar ${state}`);
    const late = hasEnded && learnedAt !== null && learnedAt > end ? rect(TOP + 4, THICKNESS - 8, "late") : null;
    const trueEnd = hasEnded ? h("svg:path", { class: "end" }) : null;
    const pauses = pausesOf(job, 0).map(() => h("svg:path", { class: "paused" }));
    const signs = some(faults).map((fault) => ({ fault, sign: sign(fault) }));
    const circle = learnedAt === null ? null : h("svg:circle", { cy: MIDDLE, r: 4, class: "learned" });
    image.replaceChildren(
      h("svg:svg", { viewBox: `0 0 ${WIDTH} 28`, preserveAspectRatio: "none", width: "100%", height: 28, "aria-hidden": "true" },
        ...[bar, late, ...pauses, scaled, trueEnd].filter(Boolean)),
      ...signs.map(({ sign: each }) => each), ...(circle ? [circle] : []));
    place = (scale) => {
      const x = (/** @type {number} */ time) => Math.max(0, time - began) * scale * WIDTH;
      const span = (/** @type {Element | null} */ part, /** @type {number} */ from, /** @type {number} */ to) => {
        part?.setAttribute("x", x(from).toFixed(1));
        part?.setAttribute("width", Math.max(2, x(to) - x(from)).toFixed(1));
      };
      const ended = hasEnded ? end : began + 1 / scale;
      span(bar, began, Math.min(ended, began + 1 / scale));
      if (late && end !== null && learnedAt !== null) span(late, end, learnedAt);
      trueEnd?.setAttribute("d", `M${x(end ?? 0).toFixed(1)} ${TOP - 6}v${THICKNESS + 12}`);
      for (const [number, [from, to]] of pausesOf(job, ended).entries()) {
        const left = x(from).toFixed(1), width = Math.max(2, x(to) - x(from)).toFixed(1);
        pauses[number]?.setAttribute("d", `M${left} ${TOP}h${width}v${THICKNESS}h-${width}z`);
      }
      for (const { fault, sign: each } of signs) each.setAttribute("x", `${((fault.virtual_at - began) * scale * 100).toFixed(2)}%`);
      circle?.setAttribute("cx", `${(((learnedAt ?? 0) - began) * scale * 100).toFixed(2)}%`);
    };
  }
  return { image, update };
}

/**
 * What a timeline shows, as a sentence.
 * @param {Job} job
 * @param {Model} model
 * @param {number} now
 */
export function inWords(job, model, now) {
  const polls = model.pollsOf(job), end = endOf(job), state = stateOf(job, now);
  const parts = [`${polls.length} ${polls.length === 1 ? "poll" : "polls"}`, faultsOf(polls)].filter(Boolean);
  if (state === "pending") parts.push(job.paused_at === null ? "pending" : "paused");
  else if (end !== null) parts.push(`ended after ${duration(end - job.created_at)}`, learnedInWords(job, model));
  return parts.join("; ");
}

/**
 * When the client learned of a job's end, in words.
 * @param {Job} job
 * @param {Model} model
 */
export function learnedInWords(job, model) {
  const late = lateness(job, model);
  if (late !== null) return `the client learned it ${duration(late)} later`;
  return model.keepsAllOf(job) ? "the client does not know yet" : "its first requests are no longer kept";
}

/**
 * The faults that hit requests, in words; an empty text if there are none.
 * @param {readonly RequestRecord[]} polls
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
 * The pauses of a job, the current one too.
 * @param {Job} job
 * @param {number} ended the end of the current one
 * @returns {[number, number][]}
 */
function pausesOf(job, ended) {
  return job.paused_at === null ? job.pauses : [...job.pauses, [job.paused_at, ended]];
}

/**
 * How many seconds of virtual time after its end the caller learned of it; null where it has not.
 * @param {Job} job
 * @param {Model} model
 */
export function lateness(job, model) {
  const learned = model.learnedBy(job), end = endOf(job);
  return learned && end !== null ? Math.max(0, answeredAt(learned, model.rate()) - end) : null;
}

/**
 * The sign of a request that a fault rule hit, or that failed.
 * @param {RequestRecord} poll
 */
function sign(poll) {
  return h("svg:svg", { y: MIDDLE, class: "mark", "aria-hidden": "true" },
    h("svg:path", { d: "M0 -7l6 12h-12z", class: "fault" }, h("svg:title", {}, describe(poll))));
}

/** @param {RequestRecord} poll */
function describe(poll) {
  const request = poll.wait ? `long poll of ${duration(poll.took)}` : poll.action ?? "request";
  return `${request}: ${poll.status || "no answer"}${poll.faults.length ? `, fault ${poll.faults.join(", ")}` : ""}`;
}

/**
 * @param {number} y
 * @param {number} height
 * @param {string} kind
 */
function rect(y, height, kind) {
  return h("svg:rect", { y, height, class: kind });
}

/** @param {RequestRecord[]} marks */
function some(marks) {
  return marks.length <= MAX_MARKS ? marks : [...marks.slice(0, MAX_MARKS / 2), ...marks.slice(-MAX_MARKS / 2)];
}
