// Point it at the server: `new Replicate({ auth: "secretpassword", baseUrl: "http://127.0.0.1:8000/replicate/v1" })`.
//
// Covered: run, held by the server or with polls, FileOutput (which needs HTTPS), wait, predictions of versions, models
// and deployments. The client has one error for all refusals, ApiError, which it does not export. Not covered: streams,
// trainings. The client repeats polls that were refused, and all requests whose connection broke, submissions too, but
// no submission after 503. An answer that breaks off ends a call.

import assert from "node:assert/strict";
import Replicate from "replicate";
import { assertVideoBytes, insist } from "./sandbox.mjs";

const MODEL = "owner/model";
const VERSION = "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa";
const INPUT = { prompt: "A cat" };
const POLL = { mode: "poll", interval: 20 };

function clientOf({ url, key }, options = {}) {
  return new Replicate({ auth: key, baseUrl: `${url}/replicate/v1`, ...options });
}

function refusal(status) {
  return (error) => {
    assert.deepEqual([error.name, error.response.status], ["ApiError", status]);
    return true;
  };
}

export async function runReturnsTheOutput(server) {
  const output = await clientOf(server).run(MODEL, { input: INPUT });
  assertVideoBytes(await (await output.blob()).arrayBuffer());
  const [record] = (await server.sandbox.requests()).filter(({ action }) => action === "submit");
  assert.equal(record.wait, 60);
}

export async function runPollsUntilTheOutputIsThere(server) {
  const statuses = [];
  const options = { input: INPUT, wait: POLL };
  const output = await clientOf(server).run(`${MODEL}:${VERSION}`, options, ({ status }) => statuses.push(status));
  assertVideoBytes(await (await output.blob()).arrayBuffer());
  assert.deepEqual([statuses[0], statuses.at(-1)], ["starting", "succeeded"]);
}

export async function outputIsTheUrlWhereTheCallerWantsNoFile(server) {
  const output = await clientOf(server, { useFileOutput: false }).run(MODEL, { input: INPUT });
  assert(output.startsWith(server.url));
}

export async function predictionOfAVersionIsAwaited(server) {
  const client = clientOf(server);
  const created = await client.predictions.create({ version: VERSION, input: INPUT });
  assert.deepEqual([created.status, created.version, created.input], ["starting", VERSION, INPUT]);
  const prediction = await client.wait(created, { interval: 20 });
  assert.deepEqual([prediction.status, prediction.error], ["succeeded", null]);
  assert(prediction.metrics.predict_time > 0);
}

export async function predictionOfADeploymentIsAwaited(server) {
  const client = clientOf(server);
  const created = await client.deployments.predictions.create("owner", "deployment", { input: INPUT });
  assert.equal((await client.wait(created, { interval: 20 })).status, "succeeded");
}

export async function failedPredictionIsAnError(server) {
  const client = clientOf(server);
  await server.sandbox.change({ error_probability: 1 });
  const { id } = await client.predictions.create({ version: VERSION, input: INPUT });
  const error = await client.wait({ id }, { interval: 20 }).then(assert.fail, (reason) => reason);
  assert.equal(error.message, `Prediction failed: ${(await server.sandbox.job(id)).error_message}`);
  await assert.rejects(client.run(MODEL, { input: INPUT }), /^Error: Prediction failed: /);
  await assert.rejects(client.run(MODEL, { input: INPUT, wait: POLL }), /^Error: Prediction failed: /);
}

export async function predictionIsCancelled(server) {
  const client = clientOf(server);
  await server.sandbox.change({ paused: true });
  const { id } = await client.predictions.create({ version: VERSION, input: INPUT });
  assert.equal((await client.predictions.cancel(id)).status, "canceled");
  assert.equal((await client.wait({ id })).status, "canceled");
}

export async function runIsCancelledByItsSignal(server) {
  const abort = new AbortController();
  let last;
  await server.sandbox.change({ paused: true });
  const options = { input: INPUT, wait: POLL, signal: abort.signal };
  const output = await clientOf(server).run(MODEL, options, (prediction) => {
    last = prediction;
    abort.abort();
  });
  assert.deepEqual([output, last.status], [null, "canceled"]);
}

export async function predictionsAreListedPageByPage(server) {
  const client = clientOf(server);
  const inputs = Array.from({ length: 102 }, (_, n) => ({ n }));
  const submissions = inputs.map((input) => client.predictions.create({ version: VERSION, input }));
  const made = (await Promise.all(submissions)).map(({ id }) => id);
  const pages = [];
  for await (const page of client.paginate(client.predictions.list)) pages.push(page.map(({ id }) => id));
  assert.deepEqual(pages.map((page) => page.length), [100, 2]);
  assert.deepEqual(pages.flat().toSorted(), made.toSorted());
}

export async function wrongTokenIsRefused(server) {
  await assert.rejects(clientOf(server, { auth: "wrong" }).run(MODEL, { input: INPUT }), refusal(401));
}

export async function unknownIdIsNotFound(server) {
  const { predictions } = clientOf(server);
  await assert.rejects(predictions.get("0".repeat(26)), refusal(404));
  await assert.rejects(predictions.cancel("0".repeat(26)), refusal(404));
}

export async function missingFieldIsRefused(server) {
  await assert.rejects(clientOf(server).predictions.create({ version: VERSION }), refusal(422));
}

export async function clientGetsThereWhenTheServerIsFlakyAndTheCallerGoesOnWaiting(server) {
  const client = clientOf(server);
  const mayPass = (error) => error.response?.status === 503;
  await server.sandbox.whileFlaky(async () => {
    for (let n = 0; n < 3; n++) {
      const { id } = await insist(() => client.predictions.create({ version: VERSION, input: INPUT }), mayPass);
      const prediction = await insist(() => client.wait({ id }, { interval: 20 }), mayPass);
      assert.equal(prediction.status, "succeeded");
    }
  });
}
