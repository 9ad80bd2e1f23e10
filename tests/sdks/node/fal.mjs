// Point it at the server, with HTTP or HTTPS: the client's addresses are fixed, but its `requestMiddleware` changes them.
//
//   fal.config({
//     credentials: "secretpassword",
//     requestMiddleware: async (request) => ({
//       ...request,
//       url: request.url.replace("https://queue.fal.run", "http://127.0.0.1:8000/fal"),
//     }),
//   });
//
// Covered: the queue (subscribe, submit, status with logs, result, cancel). Not covered: streams, `mode: "streaming"`,
// `run` without the queue, uploads, realtime. An answer that breaks off ends a call.

import assert from "node:assert/strict";
import { ApiError, ValidationError, createFalClient } from "@fal-ai/client";
import { assertVideo, insist } from "./sandbox.mjs";

const APP = "fal-ai/wan/v2/text-to-video";
const OPTIONS = { input: { prompt: "A cat" }, pollInterval: 20 };
const UNKNOWN = { requestId: "00000000-0000-4000-8000-000000000000" };

function clientOf({ url, key }, options = {}) {
  return createFalClient({
    credentials: key,
    requestMiddleware: async (request) => ({
      ...request,
      url: request.url.replace("https://queue.fal.run", `${url}/fal`),
    }),
    ...options,
  });
}

function refusal(kind, status) {
  return (error) => {
    assert(error instanceof kind);
    assert.equal(error.status, status);
    assert(error.body.detail);
    return true;
  };
}

export async function subscribeReturnsTheOutput(server) {
  let submitted;
  const onEnqueue = (requestId) => {
    submitted = requestId;
  };
  const { data, requestId } = await clientOf(server).subscribe(APP, { ...OPTIONS, onEnqueue });
  assert.equal(requestId, submitted);
  assert.equal(data.video.content_type, "video/mp4");
  await assertVideo(data.video.url);
}

export async function updatesShowTheQueueThenTheLogs(server) {
  await server.sandbox.change({ after_polls: 4 });
  const updates = [];
  const onQueueUpdate = (update) => updates.push(update);
  await clientOf(server).subscribe(APP, { ...OPTIONS, logs: true, onQueueUpdate });
  const statuses = updates.map(({ status }) => status);
  assert.deepEqual(statuses, ["IN_QUEUE", "IN_PROGRESS", "IN_PROGRESS", "COMPLETED"]);
  assert(updates[0].queue_position > 0);
  assert(updates[3].logs.length > updates[2].logs.length);
}

export async function statusAndResultOfASubmittedRequest(server) {
  const { queue } = clientOf(server);
  await server.sandbox.change({ paused: true });
  const { request_id: requestId } = await queue.submit(APP, OPTIONS);
  assert.equal((await queue.status(APP, { requestId })).status, "IN_QUEUE");
  await server.sandbox.finish(requestId, "completed");
  assert.equal((await queue.subscribeToStatus(APP, { requestId, pollInterval: 20 })).status, "COMPLETED");
  assert((await queue.result(APP, { requestId })).data.video);
}

export async function failedRequestSaysWhy(server) {
  const { queue, subscribe } = clientOf(server);
  await server.sandbox.change({ error_probability: 1 });
  let requestId;
  const onEnqueue = (id) => {
    requestId = id;
  };
  const error = await subscribe(APP, { ...OPTIONS, onEnqueue }).then(assert.fail, (reason) => reason);
  assert(error instanceof ValidationError);
  const { error_message: message } = await server.sandbox.job(requestId);
  assert.deepEqual([error.status, error.requestId, error.fieldErrors[0].msg], [422, requestId, message]);
  assert.equal((await queue.status(APP, { requestId })).error, message);
}

export async function requestIsCancelled(server) {
  const { queue } = clientOf(server);
  await server.sandbox.change({ paused: true });
  const { request_id: requestId } = await queue.submit(APP, OPTIONS);
  await queue.cancel(APP, { requestId });
  assert.equal((await server.sandbox.job(requestId)).status, "cancelled");
  await queue.subscribeToStatus(APP, { requestId, pollInterval: 20 });
  await assert.rejects(queue.result(APP, { requestId }), refusal(ValidationError, 422));
}

export async function requestIsCancelledWhenItsTimeIsUp(server) {
  await server.sandbox.change({ paused: true });
  const { queue } = clientOf(server);
  const { request_id: requestId } = await queue.submit(APP, OPTIONS);
  const options = { requestId, pollInterval: 20, timeout: 200 };
  await assert.rejects(queue.subscribeToStatus(APP, options), /timed out waiting/);
  await queue.subscribeToStatus(APP, { requestId, pollInterval: 20 });
  assert.equal((await server.sandbox.job(requestId)).status, "cancelled");
}

export async function completedRequestCannotBeCancelled(server) {
  const { queue, subscribe } = clientOf(server);
  const { requestId } = await subscribe(APP, OPTIONS);
  const error = await queue.cancel(APP, { requestId }).then(assert.fail, (reason) => reason);
  assert(error instanceof ApiError);
  assert.deepEqual([error.status, error.body], [400, { status: "ALREADY_COMPLETED" }]);
}

export async function wrongKeyIsRefused(server) {
  await assert.rejects(clientOf(server, { credentials: "wrong" }).subscribe(APP, OPTIONS), refusal(ApiError, 401));
}

export async function unknownIdIsNotFound(server) {
  const { queue } = clientOf(server);
  for (const call of [queue.status, queue.result, queue.cancel]) {
    await assert.rejects(call(APP, UNKNOWN), refusal(ApiError, 404));
  }
}

export async function clientGetsThereWhenTheServerIsFlakyAndTheCallerGoesOnWaiting(server) {
  const { queue } = clientOf(server);
  await server.sandbox.whileFlaky(async () => {
    for (let n = 0; n < 3; n++) {
      const { request_id: requestId } = await insist(() => queue.submit(APP, OPTIONS));
      await insist(() => queue.subscribeToStatus(APP, { requestId, pollInterval: 20 }));
      assert((await insist(() => queue.result(APP, { requestId }))).data.video);
    }
  });
}
