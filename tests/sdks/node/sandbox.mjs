// What the cases share: the user's sandbox on the server, and small helpers.

import assert from "node:assert/strict";

/** The sandbox of the user on the server; each method checks the status of the answer. */
export class Sandbox {
  constructor(url, username, key) {
    this.url = url;
    this.headers = {
      Authorization: `Basic ${Buffer.from(`${username}:${key}`).toString("base64")}`,
      "Content-Type": "application/json",
    };
  }

  async send(method, path, body) {
    const response = await fetch(this.url + path, { method, headers: this.headers, body: JSON.stringify(body) });
    const text = await response.text();
    assert.equal(response.status, 200, text);
    return JSON.parse(text);
  }

  change(settings) {
    return this.send("PATCH", "/sandbox", settings);
  }

  job(id) {
    return this.send("GET", `/status/${id}`);
  }

  finish(id, outcome) {
    return this.send("POST", `/sandbox/jobs/${id}`, { do: "finish", outcome });
  }

  cancel(id) {
    return this.send("DELETE", `/jobs/${id}`);
  }

  async requests() {
    return (await this.send("GET", "/sandbox/requests")).requests;
  }

  /** Runs `work` while the server is flaky, and checks that something went wrong meanwhile. */
  async whileFlaky(work) {
    await this.change({ scenario: "flaky", seed: 1 });
    await work();
    await this.change({ scenario: "perfect" });
    assert((await this.requests()).some((record) => record.faults.length > 0));
  }
}

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Downloads a file and checks that it is a video. */
export async function assertVideo(url) {
  assertVideoBytes(await (await fetch(url)).arrayBuffer());
}

export function assertVideoBytes(bytes) {
  assert.equal(Buffer.from(bytes).toString("latin1", 4, 8), "ftyp");
}

/** Calls until an answer is complete: where one breaks off, fetch has an error of its own, which no client handles. */
export async function insist(call, mayPass = () => false) {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof TypeError) && !mayPass(error)) throw error;
    }
  }
}
