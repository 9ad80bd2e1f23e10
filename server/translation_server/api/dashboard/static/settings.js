// The settings of the sandbox: scenarios, delays, errors, fault rules; and the reset.

import { attempt, control, READ_ONLY, request } from "./api.js";
import { button, byId, h, setText } from "./dom.js";

/** @param {import("./model.js").Model} model */
export function settingsView(model) {
  const section = byId("settings-view"), scenarios = h("div", { class: "tools", role: "group", "aria-label": "Scenarios" });
  const meaning = h("p", {}), form = h("form", { class: "settings", submit: save });
  const faults = h("textarea", { id: "faults", rows: 10, spellcheck: "false", readonly: READ_ONLY }), fired = h("p", {});
  section.append(h("h2", { id: "settings-title" }, "Settings"), h("h3", {}, "Scenario"), scenarios, meaning,
    h("h3", {}, "Delays and errors"), form, h("h3", {}, "Fault rules"), fired,
    h("label", { for: "faults" }, READ_ONLY ? "Rules as JSON" : "Rules as JSON; the server checks them"), faults);
  if (!READ_ONLY) {
    section.append(h("p", {}, button("Save the rules", saveFaults)), h("h3", {}, "Reset"),
      h("p", {}, "A reset deletes the jobs, the request log, the fault rules, the clock and the settings of this sandbox."),
      h("p", {}, button("Reset the sandbox", reset, { class: "dangerous" })));
  }
  const fields = {
    delay: input("delay", "Delay", "as JSON, in seconds"),
    error_probability: input("error_probability", "Error probability", "0 to 1"),
    after_polls: input("after_polls", "End after polls", "a number; empty for the clock"),
    seed: input("seed", "Seed", "empty for none"),
    hints: input("hints", "Hints", "honest, exact or none"),
    poll_cost: input("poll_cost", "Cost of a poll", "in seconds"),
    webhook: input("webhook", "Webhook of all jobs", "as JSON; empty for none"),
  };
  form.append(...Object.values(fields).map(({ label }) => label));
  if (!READ_ONLY) form.append(h("p", {}, h("button", { type: "submit" }, "Save the settings")));
  /** @type {Record<string, string>} */
  const meanings = {};
  let shown = "", listed = false;

  /** @param {string} id @param {string} name @param {string} hint */
  function input(id, name, hint) {
    const field = h("input", { id: `set-${id}`, type: "text", autocomplete: "off", readonly: READ_ONLY, "aria-describedby": `hint-${id}` });
    return { field, label: h("p", {}, h("label", { for: `set-${id}` }, name), field, h("small", { id: `hint-${id}` }, hint)) };
  }

  /** @param {Event} event */
  function save(event) {
    event.preventDefault();
    const changes = Object.fromEntries(Object.entries(fields).map(([name, { field }]) => [name, parsed(field.value)]));
    return attempt(() => request("PATCH", "sandbox", changes));
  }

  function saveFaults() {
    return attempt(async () => {
      let rules;
      try {
        rules = JSON.parse(faults.value);
      } catch (error) {
        throw new Error(`The rules are not JSON: ${/** @type {Error} */ (error).message}`);
      }
      await request("PATCH", "sandbox", { faults: rules });
    });
  }

  function reset() {
    const dialog = byId("dialog");
    dialog.replaceChildren(h("h2", { id: "dialog-title" }, "Reset the sandbox?"),
      h("p", {}, `All ${model.jobs.size} jobs and the request log are deleted.`),
      button("Reset", () => attempt(() => request("POST", "sandbox/reset")).then(() => dialog.close()), { class: "dangerous" }),
      button("Keep everything", () => dialog.close(), { autofocus: true }), h("p", { role: "alert" }));
    dialog.showModal();
  }

  async function list() {
    const found = await attempt(() => request("GET", "sandbox/scenarios"));
    scenarios.replaceChildren(...(found?.scenarios ?? []).flatMap((/** @type {any} */ one) => {
      meanings[one.scenario] = one.meaning;
      return control(one.scenario, () => attempt(() => request("PATCH", "sandbox", { scenario: one.scenario })), { title: one.meaning }) ?? [];
    }));
    shown = "";
  }

  function update() {
    if (!listed) {
      listed = true;
      list().then(update);
    }
    const { sandbox } = model, version = JSON.stringify({ ...sandbox, clock: null });
    if (!sandbox || version === shown || section.contains(document.activeElement) && isTyped(document.activeElement)) return;
    shown = version;
    for (const [name, { field }] of Object.entries(fields)) field.value = written(sandbox[name]);
    const rules = sandbox.faults.map((/** @type {any} */ { fired: _, ...rule }) => rule);
    faults.value = JSON.stringify(rules, null, 2);
    setText(fired, sandbox.faults.length === 0 ? "There are no fault rules."
      : sandbox.faults.map((/** @type {any} */ rule) => `${rule.kind}: fired ${rule.fired} ${rule.fired === 1 ? "time" : "times"}`).join("; "));
    setText(meaning, sandbox.scenario === null ? "No scenario is set." : `The scenario is ${sandbox.scenario}. ${meanings[sandbox.scenario] ?? ""}`);
    for (const each of scenarios.children) each.setAttribute("aria-pressed", String(each.textContent === sandbox.scenario));
  }
  return { update };
}

/** @param {Element | null} element */
function isTyped(element) {
  return element instanceof HTMLInputElement || element instanceof HTMLTextAreaElement;
}

/** @param {string} text */
function parsed(text) {
  if (text.trim() === "") return null;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** @param {unknown} value */
function written(value) {
  if (value === null || value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}
