// The dashboard: the model is kept up to date, and the visible view is drawn from it.

import { clockView } from "./clock.js";
import { byId, setText } from "./dom.js";
import { jobsView } from "./jobs.js";
import { follow } from "./live.js";
import { Model } from "./model.js";
import { reportView } from "./report.js";
import { requestsView } from "./requests.js";
import { settingsView } from "./settings.js";
import { startView } from "./start.js";
import { webhooksView } from "./webhooks.js";

const INTERVAL = 250; // milliseconds between two drawings
const CONNECTIONS = {
  connecting: "Connecting…", streaming: "Connected",
  polling: "Polling: there is no event stream, what you see may be seconds old",
  disconnected: "Disconnected: what you see is old. Connecting again…",
};

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
  const user = model.sandbox?.user;
  setText(byId("user"), user ? `of ${user}` : "");
  clock.update();
  views[current()].update();
}

addEventListener("hashchange", () => {
  show();
  scrollTo(0, 0);
});
setInterval(() => requestAnimationFrame(draw), INTERVAL); // a hidden page has no frames
follow(model, (connection) => {
  setText(byId("connection"), CONNECTIONS[connection]);
  document.body.dataset.connection = connection;
});
show();
