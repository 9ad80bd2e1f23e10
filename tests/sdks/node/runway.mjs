// Point it at the server: `new RunwayML({ apiKey: "secretpassword", baseURL: "http://127.0.0.1:8000/runway" })`.
//
// Covered: tasks with waitForTaskOutput, retrieve and delete. Not covered: recipes, routers, workflows, avatars, uploads.
// There is no list of tasks. The client polls about every six seconds, which nobody can change, and at once where a
// wait begins with `tasks.retrieve(id)`. An answer that breaks off ends a call, whatever `maxRetries` is.

import assert from "node:assert/strict";
import RunwayML, { TaskFailedError, TaskTimedOutError } from "@runwayml/sdk";
import { assertVideo, insist } from "./sandbox.mjs";

const UNKNOWN = "00000000-0000-4000-8000-000000000000";
const VIDEO = { model: "gen4.5", promptText: "A cat", ratio: "1280:720", duration: 5 };

function clientOf({ url, key }, options = {}) {
  return new RunwayML({ apiKey: key, baseURL: `${url}/runway`, maxRetries: 0, ...options });
}

export async function videoIsAwaitedAndDownloaded(server) {
  const created = clientOf(server).textToVideo.create(VIDEO);
  const task = await created.waitForTaskOutput();
  assert.deepEqual([task.status, task.id], ["SUCCEEDED", (await created).id]);
  await assertVideo(task.output[0]);
}

export async function imagesAndAudioAreAwaited(server) {
  const client = clientOf(server);
  const voice = { type: "runway-preset", presetId: "Leslie" };
  const created = [
    await client.textToImage.create({ model: "gen4_image", promptText: "A cat", ratio: "1280:720" }),
    await client.textToSpeech.create({ model: "eleven_multilingual_v2", promptText: "A cat", voice }),
  ];
  for (const { id } of created) {
    await server.sandbox.finish(id, "completed");
    assert.equal((await client.tasks.retrieve(id).waitForTaskOutput()).status, "SUCCEEDED");
  }
}

export async function failedTaskIsAnError(server) {
  const { tasks, textToVideo } = clientOf(server);
  await server.sandbox.change({ error_probability: 1 });
  const { id } = await textToVideo.create(VIDEO);
  await server.sandbox.finish(id, "error");
  const error = await tasks.retrieve(id).waitForTaskOutput().then(assert.fail, (reason) => reason);
  assert(error instanceof TaskFailedError);
  const { error_message: message } = await server.sandbox.job(id);
  assert.deepEqual([error.message, error.taskDetails.status], [message, "FAILED"]);
}

export async function cancelledTaskIsAnError(server) {
  const { tasks, textToVideo } = clientOf(server);
  await server.sandbox.change({ paused: true });
  const { id } = await textToVideo.create(VIDEO);
  await server.sandbox.cancel(id);
  const error = await tasks.retrieve(id).waitForTaskOutput().then(assert.fail, (reason) => reason);
  assert(error instanceof TaskFailedError);
  assert.equal(error.taskDetails.status, "CANCELLED");
}

export async function waitEndsWithItsTimeout(server) {
  const { tasks, textToVideo } = clientOf(server);
  await server.sandbox.change({ paused: true });
  const { id } = await textToVideo.create(VIDEO);
  await assert.rejects(tasks.retrieve(id).waitForTaskOutput({ timeout: 100 }), TaskTimedOutError);
}

export async function deletedTaskIsCancelledAndGone(server) {
  const { tasks, textToVideo } = clientOf(server);
  await server.sandbox.change({ paused: true });
  const { id } = await textToVideo.create(VIDEO);
  await tasks.delete(id);
  assert.equal((await server.sandbox.job(id)).status, "cancelled");
  await assert.rejects(tasks.retrieve(id).waitForTaskOutput(), RunwayML.NotFoundError);
}

export async function wrongKeyIsAnAuthenticationError(server) {
  await assert.rejects(clientOf(server, { apiKey: "wrong" }).textToVideo.create(VIDEO), RunwayML.AuthenticationError);
}

export async function unknownIdIsNotFound(server) {
  const { tasks } = clientOf(server);
  await assert.rejects(tasks.retrieve(UNKNOWN), RunwayML.NotFoundError);
  await assert.rejects(tasks.delete(UNKNOWN), RunwayML.NotFoundError);
}

export async function missingFieldIsABadRequest(server) {
  const submission = clientOf(server).textToVideo.create({ promptText: "A cat" });
  const error = await submission.then(assert.fail, (reason) => reason);
  assert(error instanceof RunwayML.BadRequestError);
  assert.deepEqual(error.error.issues[0].path, ["model"]);
}

export async function clientGetsThereWhenTheServerIsFlakyAndTheCallerGoesOnWaiting(server) {
  const { tasks, textToVideo } = clientOf(server, { maxRetries: 8 });
  await server.sandbox.whileFlaky(async () => {
    const created = [];
    for (let n = 0; n < 3; n++) created.push(await insist(() => textToVideo.create(VIDEO)));
    const waits = created.map(({ id }) => insist(() => tasks.retrieve(id).waitForTaskOutput()));
    for (const { status } of await Promise.all(waits)) assert.equal(status, "SUCCEEDED");
  });
}
