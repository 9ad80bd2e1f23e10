// The dashboard: one stream of the server keeps one model up to date, and the visible view is drawn from it.

import { clockView } from "./clock.js";
import { byId, setText } from "./dom.js";
import { jobsView } from "./jobs.js";
import { Model } from "./model.js";
import { reportView } from "./report.js";
import { requestsView } from "./requests.js";
import { settingsView } from "./settings.js";
import { startView } from "./start.js";
import { webhooksView } from "./webhooks.js";

const INTERVAL = 250; // milliseconds between two drawings

const model = new Model();
const clock = clockView(model);
const views = {
  jobs: jobsView(model), requests: requestsView(model), report: reportView(model), webhooks: webhooksView(),
  settings: settingsView(model), start: startView(),
};

/** The name of the view in the address. */
function current() {
  const name = location.hash.slice(1);
  return /** @type {keyof typeof views} */ (name in views ? name : "jobs");
}

function show() {
  for (const name of Object.keys(views)) byId(`${name}-view`).hidden = name !== current();
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#${current()}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  draw();
}

function draw() {
  clock.update();
  views[current()].update();
}

function connect() {
  const stream = new EventSource("dashboard/live");
  const listen = (/** @type {string} */ name, /** @type {(data: any) => void} */ take) =>
    stream.addEventListener(name, (event) => take(JSON.parse(event.data)));
  stream.addEventListener("open", () => {
    model.clear();
    setText(byId("connection"), "Connected");
    document.body.classList.remove("disconnected");
  });
  stream.addEventListener("error", () => {
    setText(byId("connection"), "Disconnected: what you see is old. Connecting again…");
    document.body.classList.add("disconnected");
    if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
  });
  listen("sandbox", (sandbox) => {
    model.setSandbox(sandbox);
    setText(byId("user"), sandbox.user ? `of ${sandbox.user}` : "");
  });
  listen("jobs", (jobs) => model.addJobs(jobs));
  listen("requests", (entries) => model.addEntries(entries));
}

addEventListener("hashchange", () => {
  show();
  scrollTo(0, 0);
});
setInterval(() => document.hidden || draw(), INTERVAL);
connect();
show();
