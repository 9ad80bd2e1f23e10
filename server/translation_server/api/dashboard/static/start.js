// Starts a job, and shows the commands that do the same.

import { attempt, READ_ONLY, request } from "./api.js";
import { button, byId, h, setText } from "./dom.js";

export function startView() {
  const section = byId("start-view"), lines = h("div", {}), result = h("p", { role: "status" });
  const source = input("source", "Source language", "en"), target = input("target", "Target language", "es");
  const length = input("length", "Length of the video, in seconds", "90", "number");
  const delay = input("ends-after", "Ends after, in seconds; empty: as the settings say", "", "number");
  const outcome = h("select", { id: "outcome", change: () => show() }, h("option", { value: "" }, "as the settings say"),
    h("option", { value: "completed" }, "completed"), h("option", { value: "error" }, "error"));
  section.append(h("h2", { id: "start-title" }, "Start a job"),
    h("form", { submit: start }, ...[source, target, length, delay].map(({ line }) => line),
      h("p", {}, h("label", { for: "outcome" }, "Ends as"), outcome), READ_ONLY ? null : h("p", {}, h("button", { type: "submit" }, "Start"))),
    result, h("h3", {}, "The same elsewhere"), lines);

  /** @param {string} id @param {string} name @param {string} value @param {string} [type] */
  function input(id, name, value, type = "text") {
    const field = h("input", { id, type, value, min: 0, step: "any", input: () => show() });
    return { field, line: h("p", {}, h("label", { for: id }, name), field) };
  }

  /** The fields of the submission. */
  function fields() {
    const found = { source_language: source.field.value, target_language: target.field.value, video_length: length.field.valueAsNumber };
    return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== "" && !Number.isNaN(value)));
  }

  /** What the job is to do, if that is not left to the settings. */
  function simulate() {
    const seconds = delay.field.valueAsNumber;
    return { ...(Number.isNaN(seconds) ? {} : { delay: seconds }), ...(outcome.value ? { outcome: outcome.value } : {}) };
  }

  function body() {
    const wanted = simulate();
    return Object.keys(wanted).length ? { ...fields(), simulate: wanted } : fields();
  }

  /** @param {Event} event */
  async function start(event) {
    event.preventDefault();
    const job = await attempt(() => request("POST", "start", body()));
    if (job) setText(result, `Started: ${job.job_id}`);
  }

  function show() {
    const server = new URL(".", document.baseURI).href.replace(/\/$/, ""), native = Object.entries(fields());
    const flag = (/** @type {string} */ name) => `--${name.replaceAll("_", "-")}`;
    const commands = [["curl", `curl -u USERNAME:PASSWORD ${server}/start -H 'Content-Type: application/json' -d ${quoted(JSON.stringify(body()))}`]];
    const values = Object.entries(body()).map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(", ");
    commands.push(["Python", `from translation_client import Client\n\nwith Client("${server}", username="USERNAME", password="PASSWORD") as client:\n`
      + `    final = client.run(${values})`]);
    if (Object.keys(simulate()).length === 0) {
      const flags = native.map(([name, value]) => `${flag(name)} ${quoted(String(value))}`).join(" ");
      commands.push(["Command line", `translation-client run --url ${server} --username USERNAME --password-file FILE ${flags}`]);
    }
    lines.replaceChildren(...commands.map(([name, command]) => h("figure", {},
      h("figcaption", {}, name, " ", button("Copy", () => attempt(() => navigator.clipboard.writeText(command)), { "aria-label": `Copy ${name}` })),
      h("pre", { tabindex: "0" }, command))));
  }
  show();
  return { update() {} };
}

/** @param {string} text */
function quoted(text) {
  return /^[\w.-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
