// The details of a job, in a dialog.

import { attempt, control, READ_ONLY, request } from "./api.js";
import { button, byId, h, table } from "./dom.js";
import { duration, stateOf } from "./model.js";
import { inWords } from "./timeline.js";
import { attempts } from "./webhooks.js";

const SHOWN = 200; // how many of the newest polls are listed

/**
 * Opens the details of a job.
 * @param {string} key
 * @param {import("./model.js").Model} model
 */
export async function details(key, model) {
  const job = model.jobOf(key);
  if (!job) return;
  const dialog = byId("dialog"), path = `sandbox/jobs/${job.job_id.split("/").map(encodeURIComponent).join("/")}`;
  const [shown, card, hooks] = await Promise.all([
    attempt(() => request("GET", path)), attempt(() => request("GET", "sandbox/report")),
    attempt(() => request("GET", "sandbox/webhooks?limit=100")),
  ]);
  const findings = (card?.findings ?? []).filter((/** @type {any} */ one) => one.jobs?.includes(job.job_id));
  const deliveries = (hooks?.deliveries ?? []).filter((/** @type {any} */ one) => one.job_id === job.job_id);
  const { input, pauses, paused_for, ...output } = shown ?? {};
  dialog.replaceChildren(
    h("h2", { id: "dialog-title" }, `Job ${job.job_id}`), h("p", {}, inWords(job, model, model.now())),
    ...(READ_ONLY ? [] : [controls(job, model, path)]), h("p", { role: "alert" }), polls(job, model), ...pausesOf(job),
    h("h3", {}, "What the report card says of it"),
    findings.length === 0 ? h("p", {}, "Nothing.") : h("ul", {}, ...findings.map((/** @type {any} */ one) =>
      h("li", {}, `${one.severity} ${one.rule}: ${one.message}`))),
    h("h3", {}, "Webhooks"),
    ...(deliveries.length === 0 ? [h("p", {}, "None.")] : deliveries.flatMap((/** @type {any} */ one) =>
      [h("p", {}, `${one.event} to ${one.url}: ${one.state}`), attempts(one) ?? ""])),
    h("h3", {}, "Its fate"), h("p", {}, fate(job)),
    h("h3", {}, "Its input: what the client sent"), json(input),
    h("h3", {}, "Its output: what a poll shows"), json(output),
    button("Close", () => dialog.close()));
  dialog.showModal();
}

/**
 * The buttons that change a pending job.
 * @param {import("./model.js").Job} job
 * @param {import("./model.js").Model} model
 * @param {string} path
 */
function controls(job, model, path) {
  if (stateOf(job, model.now()) !== "pending") return h("p", {}, "The job has ended: it can no longer be changed.");
  const message = h("input", { id: "message", type: "text", placeholder: "error message" });
  const act = (/** @type {unknown} */ body) => attempt(async () => {
    await request("POST", path, body);
    byId("dialog").close();
  });
  return h("div", { class: "tools" },
    control(job.paused_at === null ? "Pause" : "Unpause", () => act({ do: job.paused_at === null ? "pause" : "unpause" })),
    control("Cancel", () => act({ do: "cancel" })),
    control("Finish as completed", () => act({ do: "finish", outcome: "completed" })),
    control("Finish as error", () => act({ do: "finish", outcome: "error", ...(message.value && { message: message.value }) })),
    h("label", { for: "message" }, "Message ", message));
}

/**
 * What was drawn when the job was accepted, and what has become of it.
 * @param {import("./model.js").Job} job
 */
function fate(job) {
  const message = job.error_message ? `, with the message “${job.error_message}”` : "";
  const when = job.after_polls !== null ? `after ${job.after_polls} polls`
    : job.delay === null ? "never by itself" : `${duration(job.delay)} after it was accepted`;
  const paused = job.paused_at !== null ? " It is paused." : job.paused_for > 0 ? ` It was paused for ${duration(job.paused_for)}.` : "";
  const cancelled = job.cancelled_at === null ? "" : " It was cancelled.";
  return `Job ${job.ordinal} of this sandbox, submitted to ${job.api} as ${job.kind}. It ends ${when}, as ${job.outcome}${message}.${paused}${cancelled}`;
}

/**
 * The ended pauses of a job, as a table.
 * @param {import("./model.js").Job} job
 */
function pausesOf(job) {
  if (job.paused_for === 0 && job.pauses.length === 0) return [];
  const others = job.paused_for - job.pauses.reduce((sum, [from, to]) => sum + to - from, 0);
  return [
    table("Pauses", ["after", "for"], job.pauses.map(([from, to]) => [duration(from - job.created_at), duration(to - from)])),
    ...(others < 0.001 ? [] : [h("p", {}, `Earlier pauses, ${duration(others)} in all, are not listed.`)]),
  ];
}

/** @param {unknown} value */
function json(value) {
  return h("pre", { tabindex: "0" }, value === undefined ? "" : JSON.stringify(value, null, 2));
}

/**
 * The requests of a job, as a table.
 * @param {import("./model.js").Job} job
 * @param {import("./model.js").Model} model
 */
function polls(job, model) {
  const found = model.pollsOf(job).slice(-SHOWN);
  let before = job.created_at;
  return table("Polls", ["after", "since the last poll", "request", "status", "hint", "fault"], found.map((poll) => {
    const sinceLast = poll.virtual_at - before;
    before = poll.virtual_at;
    return [duration(Math.max(0, poll.virtual_at - job.created_at)), duration(Math.max(0, sinceLast)), poll.wait ? `long poll of ${duration(poll.took)}` : poll.action,
      poll.status || "no answer", poll.hint === null ? "" : duration(poll.hint), poll.faults.join(", ")];
  }));
}
