// Starts a job of any API, and shows the commands that do the same.

import { answerTo, attempt, READ_ONLY, request } from "./api.js";
import { commands, nativeCommands, parts, targetOf, text, withSimulate } from "./commands.js";
import { button, byId, h, setText } from "./dom.js";

/** @typedef {import("./commands.js").Submission} Submission */

export function startView() {
  const section = byId("start-view"), lines = h("div", {}), result = h("p", { role: "status" }), answer = h("pre", { tabindex: "0", hidden: true });
  const choice = h("select", { id: "api", change: () => choose() }, h("option", { value: "" }, "the native API"));
  const source = input("source", "Source language", "en"), target = input("target", "Target language", "es");
  const length = input("length", "Length of the video, in seconds", "90", "number");
  const native = h("div", {}, source.line, target.line, length.line);
  const requestLine = h("p", { class: "request" }), places = h("div", {}), problem = h("p", { id: "body-problem", class: "problem" });
  const body = h("textarea", { id: "body", rows: 8, spellcheck: "false", "aria-describedby": "body-problem", input: () => show() });
  const bodyLabel = h("label", { for: "body" }, ""), other = h("div", { hidden: true }, requestLine, places, h("p", {}, bodyLabel, body, problem));
  const delay = input("ends-after", "Ends after, in seconds; empty: as the settings say", "", "number");
  const outcome = h("select", { id: "outcome", change: () => show() }, h("option", { value: "" }, "as the settings say"),
    h("option", { value: "completed" }, "completed"), h("option", { value: "error" }, "error"));
  const fate = h("div", {}, delay.line, h("p", {}, h("label", { for: "outcome" }, "Ends as"), outcome));
  section.append(h("h2", { id: "start-title" }, "Start a job"),
    h("form", { submit: start }, h("p", {}, h("label", { for: "api" }, "API"), choice), native, other, fate,
      READ_ONLY ? null : h("p", {}, h("button", { type: "submit" }, "Start"))),
    result, answer, h("h3", {}, "The same elsewhere"), lines);
  /** @type {Submission[]} */
  let submissions = [];
  let listed = false;

  /** @param {string} id @param {string} name @param {string} value @param {string} [type] */
  function input(id, name, value, type = "text") {
    const field = h("input", { id, type, value, min: 0, step: "any", input: () => show() });
    return { field, line: h("p", {}, h("label", { for: id }, name), field) };
  }

  /** What is chosen; null for the native API. */
  function chosen() {
    return choice.value === "" ? null : submissions[Number(choice.value)];
  }

  async function list() {
    submissions = (await attempt(() => request("GET", "dashboard/submissions")))?.submissions ?? [];
    /** @type {Map<string, any>} */
    const groups = new Map();
    for (const [number, one] of submissions.entries()) {
      const group = groups.get(one.api) ?? h("optgroup", { label: one.api });
      groups.set(one.api, group);
      group.append(h("option", { value: number }, `${one.api} ${one.kind}: ${one.path.slice(one.mount.length)}`));
    }
    choice.append(...groups.values());
  }

  function choose() {
    const one = chosen();
    native.hidden = one !== null;
    other.hidden = one === null;
    fate.hidden = one !== null && !one.simulates;
    setText(result, "");
    answer.hidden = true;
    if (one) {
      setText(requestLine, `${one.method} ${one.path}`);
      places.replaceChildren(...one.parameters.map((name) => input(`in-path-${name}`, `In the path: ${name}`, name).line));
      setText(bodyLabel, one.form ? "Fields of the form, as JSON; @name is a file" : "Body, as JSON");
      body.value = JSON.stringify(one.example, null, 2);
    }
    show();
  }

  /** The fields of a submission to the native API. */
  function fields() {
    const found = { source_language: source.field.value, target_language: target.field.value, video_length: length.field.valueAsNumber };
    return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== "" && !Number.isNaN(value)));
  }

  /** What the job is to do, if that is not left to the settings. */
  function simulate() {
    const seconds = delay.field.valueAsNumber;
    if (fate.hidden) return {};
    return { ...(Number.isNaN(seconds) ? {} : { delay: seconds }), ...(outcome.value ? { outcome: outcome.value } : {}) };
  }

  /** The values of the parameters in the path. */
  function parameters() {
    const names = chosen()?.parameters ?? [];
    return Object.fromEntries(names.map((name) => [name, byId(`in-path-${name}`).value]));
  }

  /**
   * The body that was typed.
   * @returns {Record<string, unknown>}
   */
  function typed() {
    const value = JSON.parse(body.value.trim() || "{}");
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw new SyntaxError("it must be an object");
    return value;
  }

  /** @param {Event} event */
  async function start(event) {
    event.preventDefault();
    const one = chosen();
    if (!one) {
      const job = await attempt(() => request("POST", "start", withSimulate(fields(), simulate())));
      if (job) setText(result, `Started: ${job.job_id}`);
      return;
    }
    await attempt(async () => {
      const whole = withSimulate(typed(), simulate()), to = targetOf(one, parameters());
      const headers = one.form ? one.headers : { "content-type": "application/json", ...one.headers };
      const sent = await answerTo("POST", `dashboard/submissions?target=${encodeURIComponent(to)}`, headers, one.form ? formOf(whole) : JSON.stringify(whole));
      setText(result, `${sent.ok ? "Started" : "Refused"}: ${one.api} answered ${sent.status}.`);
      setText(answer, sent.text);
      answer.hidden = sent.text === "";
    });
  }

  function show() {
    const server = new URL(".", document.baseURI).href.replace(/\/$/, ""), one = chosen();
    let found, wrong = "";
    try {
      found = one ? commands(server, one, parameters(), typed(), simulate()) : nativeCommands(server, fields(), simulate());
    } catch (error) {
      wrong = `The body is not JSON: ${/** @type {Error} */ (error).message}`;
    }
    setText(problem, wrong);
    body.setAttribute("aria-invalid", String(wrong !== ""));
    if (found) {
      lines.replaceChildren(...found.map(([name, command]) => h("figure", {},
        h("figcaption", {}, name, " ", button("Copy", () => attempt(() => navigator.clipboard.writeText(command)), { "aria-label": `Copy ${name}` })),
        h("pre", { tabindex: "0" }, command))));
    }
  }
  show();
  return {
    update() {
      if (!listed) list();
      listed = true;
    },
  };
}

/** @param {Record<string, unknown>} body */
function formOf(body) {
  const form = new FormData(), [fields, files] = parts(body);
  for (const [name, value] of Object.entries(fields)) form.append(name, text(value));
  for (const [name, file] of Object.entries(files)) form.append(name, new Blob(["A file of the dashboard.\n"]), file);
  return form;
}
