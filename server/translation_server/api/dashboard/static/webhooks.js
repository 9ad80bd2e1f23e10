// The deliveries of webhooks and their attempts.

import { attempt, control, request } from "./api.js";
import { byId, h, setText, table } from "./dom.js";

const INTERVAL = 2000; // milliseconds

export function webhooksView() {
  const section = byId("webhooks-view"), note = h("p", { class: "empty" }, "Loading…"), list = h("ol", { class: "deliveries" });
  section.append(h("h2", { id: "webhooks-title" }, "Webhooks"), note, list);
  let asked = -Infinity, shown = "";

  async function update() {
    if (performance.now() < asked + INTERVAL) return;
    asked = performance.now();
    const page = await attempt(() => request("GET", "sandbox/webhooks?limit=100"));
    if (!page || JSON.stringify(page) === shown) return;
    shown = JSON.stringify(page);
    setText(note, page.deliveries.length ? page.next ? "The newest 100 deliveries are listed." : ""
      : "There are no deliveries. Name a webhook in a submission, or in the settings.");
    note.hidden = note.textContent === "";
    const open = new Set([...list.querySelectorAll("details[open]")].map((element) => element.dataset.id));
    list.replaceChildren(...page.deliveries.map((/** @type {any} */ one) => h("li", {}, delivery(one, open.has(one.id)))));
  }

  /** @param {any} one @param {boolean} open */
  function delivery(one, open) {
    return h("details", { "data-id": one.id, open },
      h("summary", {}, `${one.event} of ${one.job_id}: ${one.state}, ${one.attempts.length} `
        + `${one.attempts.length === 1 ? "attempt" : "attempts"}`),
      h("p", {}, `To ${one.url}`),
      one.next_attempt_at ? h("p", {}, `Next attempt at ${one.next_attempt_at}`) : null,
      control("Redeliver", () => attempt(async () => {
        await request("POST", `sandbox/webhooks/${encodeURIComponent(one.id)}/redeliver`);
        asked = -Infinity;
        await update();
      })),
      attempts(one),
      h("h3", {}, "Body"), h("pre", { tabindex: "0" }, one.body ?? ""),
      h("h3", {}, "Requests"), h("pre", { tabindex: "0" }, requests(one)));
  }
  return { update };
}

/**
 * The attempts of a delivery, as a table; null if there are none.
 * @param {any} delivery
 */
export function attempts(delivery) {
  const rows = delivery.attempts.map((/** @type {any} */ { request: _, ...one }) => one);
  return rows.length === 0 ? null : table(`Attempts of ${delivery.event}`, Object.keys(rows[0]),
    rows.map((/** @type {any} */ row) => Object.values(row).map((value) => value === null ? "" : String(value))));
}

/**
 * The requests of a delivery's attempts, as text.
 * @param {any} delivery
 */
function requests(delivery) {
  return delivery.attempts.flatMap((/** @type {any} */ { request: sent }, /** @type {number} */ index) => sent === null ? [] : [[
    `Request of attempt ${index + 1}, ${sent.size} bytes`,
    ...Object.entries(sent.headers).map(([name, value]) => `${name}: ${value}`),
    ...(sent.body === null ? [] : ["", sent.body]),
  ].join("\n")]).join("\n\n");
}
