// The connection to the server: one stream of events; polls where no stream can be had.

import { request } from "./api.js";

const PATIENCE = 5000; // milliseconds that a new stream may take to its first event: a proxy may hold it back
const SILENCE = 35_000; // milliseconds that a stream may be silent: the server says every 15 s that it is alive
const INTERVAL = 2000; // milliseconds between two polls

/** @typedef {"connecting" | "streaming" | "polling" | "disconnected"} Connection */

/**
 * Keeps a model up to date.
 * @param {import("./model.js").Model} model
 * @param {(connection: Connection) => void} report called when the connection changes
 */
export function follow(model, report) {
  let isStreaming = false, isPolling = false, receivedAt = performance.now();
  /** @type {EventSource | null} */
  let stream = null;
  let last = 0, resetAt = /** @type {unknown} */ (undefined);

  function connect() {
    const source = new EventSource("dashboard/live");
    let isNew = true;
    stream = source;
    receivedAt = performance.now();
    const listen = (/** @type {string} */ name, /** @type {(data: any) => void} */ take) =>
      source.addEventListener(name, (event) => {
        receivedAt = performance.now();
        take(JSON.parse(event.data));
      });
    source.addEventListener("open", () => (isNew = true));
    source.addEventListener("error", () => {
      if (isStreaming) report("disconnected");
      else poll();
      isStreaming = false;
      if (source.readyState === EventSource.CLOSED && stream === source) again(INTERVAL);
    });
    listen("sandbox", (sandbox) => {
      if (isNew) model.clear(); // a stream begins with all that there is
      isNew = false;
      isStreaming = true;
      model.setSandbox(sandbox);
      report("streaming");
    });
    listen("jobs", (jobs) => model.addJobs(jobs));
    listen("requests", (records) => model.addRecords(records));
    listen("alive", () => {});
  }

  /** Opens a stream after a while, in place of the one that there is. */
  function again(/** @type {number} */ delay) {
    stream?.close();
    stream = null;
    setTimeout(connect, delay);
  }

  /** Polls until there is a stream. */
  async function poll() {
    if (isPolling) return;
    isPolling = true;
    last = 0;
    resetAt = undefined;
    while (!isStreaming) {
      let more = false;
      try {
        const state = await request("GET", `dashboard/state?after=${last}`);
        if (isStreaming) break;
        if (state.reset_at !== resetAt) {
          model.clear();
          if (resetAt !== undefined) last = 0;
          more = resetAt !== undefined;
          resetAt = state.reset_at;
        }
        if (!more) {
          model.setSandbox(state.sandbox);
          model.addJobs(state.jobs);
          model.addRecords(state.requests);
          last = state.requests.at(-1)?.number ?? last;
          more = state.more;
          report("polling");
        }
      } catch {
        report("disconnected");
      }
      if (!more) await new Promise((resolve) => setTimeout(resolve, INTERVAL));
    }
    isPolling = false;
  }

  setInterval(() => {
    const silent = performance.now() - receivedAt;
    if (stream && silent > SILENCE) {
      isStreaming = false;
      again(0);
    }
    if (!isStreaming && silent > PATIENCE) poll(); // the stream takes over once it says something
  }, 1000);
  report("connecting");
  connect();
}
