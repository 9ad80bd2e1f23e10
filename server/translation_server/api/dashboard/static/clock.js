// The clock of the sandbox, in the header.

import { attempt, READ_ONLY, request } from "./api.js";
import { button, byId, h, setText } from "./dom.js";

const SPEEDS = [1, 10, 60, 600];

/** @param {import("./model.js").Model} model */
export function clockView(model) {
  const time = h("time", {}), pace = h("span", {});
  const frozen = button("Freeze", () => set({ frozen: !model.sandbox?.clock.frozen }));
  const speed = h("select", { id: "speed", change: () => set({ speed: Number(speed.value) }) });
  const seconds = h("input", { id: "advance", type: "number", min: "0", step: "any", value: "60" });
  const set = (/** @type {unknown} */ change) => attempt(() => request("POST", "sandbox/clock", change));
  const controls = [frozen, h("label", { for: "speed" }, "Speed ", speed), h("label", { for: "advance" }, "Seconds ", seconds),
    button("Advance", () => set({ advance: Number(seconds.value) }))];
  byId("clock").append(time, ...(READ_ONLY ? [pace] : controls));

  function update() {
    if (!model.sandbox) return;
    const { clock } = model.sandbox;
    setText(time, new Date(model.now() * 1000).toISOString().slice(0, 19).replace("T", " "));
    setText(pace, clock.frozen ? "frozen" : `× ${clock.speed}`);
    setText(frozen, clock.frozen ? "Unfreeze" : "Freeze");
    const speeds = [...new Set([...SPEEDS, clock.speed])].sort((one, other) => one - other);
    if (speed.options.length !== speeds.length) speed.replaceChildren(...speeds.map((one) => h("option", { value: one }, `× ${one}`)));
    if (document.activeElement !== speed) speed.value = String(clock.speed);
  }
  return { update };
}
