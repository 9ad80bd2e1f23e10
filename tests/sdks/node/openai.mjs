// Point it at the server: `new OpenAI({ baseURL: "http://127.0.0.1:8000/openai/v1", apiKey: "secretpassword" })`.
//
// Covered: videos, background responses, batches, files, vector store files, errors. The client has functions that wait
// for files and for vector store files only: a caller polls videos, responses and batches. Not covered: file batches.
// An answer that breaks off ends a call, whatever `maxRetries` is.

import assert from "node:assert/strict";
import OpenAI, { toFile } from "openai";
import { assertVideoBytes, insist, sleep } from "./sandbox.mjs";

const UNKNOWN = {
  video: `video_${"0".repeat(32)}`,
  response: `resp_${"0".repeat(48)}`,
  batch: `batch_${"0".repeat(32)}`,
};
const BATCH = { input_file_id: "file-1", endpoint: "/v1/responses", completion_window: "24h" };
const RESPONSE = { model: "gpt-5", input: "Say hello", background: true };
const PENDING = ["queued", "validating", "in_progress", "finalizing"];

function clientOf({ url, key }, options = {}) {
  return new OpenAI({ baseURL: `${url}/openai/v1`, apiKey: key, maxRetries: 0, ...options });
}

async function ended(resource, job) {
  while (PENDING.includes(job.status)) {
    await sleep(20);
    job = await resource.retrieve(job.id);
  }
  return job;
}

export async function videoIsMadeAndDownloaded(server) {
  const { videos } = clientOf(server);
  const created = await videos.create({ prompt: "A cat", model: "sora-2", seconds: "8" });
  assert.equal(created.status, "queued");
  const video = await ended(videos, created);
  assert.deepEqual([video.status, video.progress, video.error], ["completed", 100, null]);
  assert.deepEqual([video.object, video.prompt, video.seconds], ["video", "A cat", "8"]);
  assertVideoBytes(await (await videos.downloadContent(video.id)).arrayBuffer());
}

export async function videoCanHaveAReferenceFile(server) {
  const picture = await toFile(Buffer.from("picture"), "cat.png", { type: "image/png" });
  const video = await clientOf(server).videos.create({ prompt: "A cat", input_reference: picture });
  assert.equal(video.prompt, "A cat");
}

export async function remixIsMade(server) {
  const { videos } = clientOf(server);
  const video = await videos.create({ prompt: "A cat" });
  const remix = await ended(videos, await videos.remix(video.id, { prompt: "A dog" }));
  assert.deepEqual([remix.status, remix.prompt, remix.remixed_from_video_id], ["completed", "A dog", video.id]);
}

export async function failedVideoSaysWhy(server) {
  const { videos } = clientOf(server);
  await server.sandbox.change({ error_probability: 1 });
  const video = await ended(videos, await videos.create({ prompt: "A cat" }));
  assert.equal(video.status, "failed");
  assert.equal(video.error.message, (await server.sandbox.job(video.id)).error_message);
  await assert.rejects(videos.downloadContent(video.id), OpenAI.NotFoundError);
}

export async function videosAreListedPageByPage(server) {
  const { videos } = clientOf(server);
  const made = [];
  for (let n = 0; n < 5; n++) made.push((await videos.create({ prompt: `Cat ${n}` })).id);
  const listed = [];
  for await (const video of videos.list({ limit: 2 })) listed.push(video.id);
  assert.deepEqual(listed, made.toReversed());
}

export async function deletedVideoIsGone(server) {
  const { videos } = clientOf(server);
  const video = await videos.create({ prompt: "A cat" });
  assert.deepEqual(await videos.delete(video.id), { id: video.id, object: "video.deleted", deleted: true });
  await assert.rejects(videos.retrieve(video.id), OpenAI.NotFoundError);
}

export async function backgroundResponseIsCompleted(server) {
  const { responses } = clientOf(server);
  const created = await responses.create({ ...RESPONSE, metadata: { case: "1" } });
  assert.deepEqual([created.status, created.background, created.metadata], ["queued", true, { case: "1" }]);
  const response = await ended(responses, created);
  assert.deepEqual([response.status, response.model, response.error], ["completed", "gpt-5", null]);
  assert(response.output_text);
}

export async function failedResponseSaysWhy(server) {
  const { responses } = clientOf(server);
  await server.sandbox.change({ error_probability: 1 });
  const response = await ended(responses, await responses.create(RESPONSE));
  assert.deepEqual([response.status, response.error.code], ["failed", "server_error"]);
  assert.equal(response.error.message, (await server.sandbox.job(response.id)).error_message);
}

export async function responseIsCancelled(server) {
  const { responses } = clientOf(server);
  await server.sandbox.change({ paused: true });
  const { id } = await responses.create(RESPONSE);
  assert.equal((await responses.cancel(id)).status, "cancelled");
  assert.equal((await responses.retrieve(id)).status, "cancelled");
}

export async function batchHasAnOutputFile(server) {
  const { batches, files } = clientOf(server);
  const file = await files.create({ file: await toFile(Buffer.from("{}"), "in.jsonl"), purpose: "batch" });
  const batch = await ended(batches, await batches.create({ ...BATCH, input_file_id: file.id }));
  assert.deepEqual([batch.status, batch.input_file_id], ["completed", file.id]);
  const [line] = (await (await files.content(batch.output_file_id)).text()).trim().split("\n");
  assert.equal(JSON.parse(line).response.status_code, 200);
}

export async function failedBatchSaysWhy(server) {
  const { batches } = clientOf(server);
  await server.sandbox.change({ error_probability: 1 });
  const batch = await ended(batches, await batches.create(BATCH));
  assert.equal(batch.status, "failed");
  assert.equal(batch.errors.data[0].message, (await server.sandbox.job(batch.id)).error_message);
}

export async function batchIsCancelled(server) {
  const { batches } = clientOf(server);
  await server.sandbox.change({ paused: true });
  const batch = await batches.cancel((await batches.create(BATCH)).id);
  assert.equal(batch.status, "cancelled");
}

export async function batchesAreListedPageByPage(server) {
  const { batches } = clientOf(server);
  const made = [];
  for (let n = 0; n < 3; n++) made.push((await batches.create(BATCH)).id);
  const listed = [];
  for await (const batch of batches.list({ limit: 2 })) listed.push(batch.id);
  assert.deepEqual(listed, made.toReversed());
}

export async function fileIsAwaitedAndDeleted(server) {
  const { files } = clientOf(server);
  const file = await files.create({ file: await toFile(Buffer.from("text"), "notes.txt"), purpose: "assistants" });
  assert.deepEqual([file.status, file.filename, file.bytes], ["uploaded", "notes.txt", 4]);
  assert.equal((await files.waitForProcessing(file.id, { pollInterval: 20 })).status, "processed");
  assert((await files.delete(file.id)).deleted);
  await assert.rejects(files.retrieve(file.id), OpenAI.NotFoundError);
}

export async function fileOfAStoreIsAwaitedAndDetached(server) {
  const client = clientOf(server);
  const { files } = client.vectorStores;
  const upload = await toFile(Buffer.from("text"), "notes.txt");
  const file = await files.uploadAndPoll("vs_1", upload, { pollIntervalMs: 20 });
  assert.deepEqual([file.status, file.last_error, file.vector_store_id], ["completed", null, "vs_1"]);
  assert.equal((await client.files.retrieve(file.id)).filename, "notes.txt");
  assert((await files.delete(file.id, { vector_store_id: "vs_1" })).deleted);
  await assert.rejects(files.poll("vs_1", file.id), OpenAI.NotFoundError);
}

export async function pollsFollowTheHintsOfTheServer(server) {
  const { files } = clientOf(server).vectorStores;
  const file = await files.createAndPoll("vs_1", { file_id: "file-1", attributes: { a: 1.5 } });
  assert.deepEqual([file.id, file.status, file.attributes], ["file-1", "completed", { a: 1.5 }]);
}

export async function failedFileOfAStoreSaysWhy(server) {
  const { files } = clientOf(server).vectorStores;
  await server.sandbox.change({ error_probability: 1 });
  const file = await files.createAndPoll("vs_1", { file_id: "file-1" }, { pollIntervalMs: 20 });
  assert.deepEqual([file.status, file.last_error.code], ["failed", "server_error"]);
}

export async function wrongKeyIsAnAuthenticationError(server) {
  const { videos } = clientOf(server, { apiKey: "wrong" });
  await assert.rejects(videos.create({ prompt: "A cat" }), (error) => {
    assert(error instanceof OpenAI.AuthenticationError);
    assert.deepEqual([error.type, error.code], ["invalid_request_error", "invalid_api_key"]);
    return true;
  });
}

export async function unknownIdsAreNotFound(server) {
  const { batches, files, responses, vectorStores, videos } = clientOf(server);
  const calls = [
    () => videos.retrieve(UNKNOWN.video),
    () => videos.delete(UNKNOWN.video),
    () => videos.downloadContent(UNKNOWN.video),
    () => responses.retrieve(UNKNOWN.response),
    () => responses.cancel(UNKNOWN.response),
    () => batches.retrieve(UNKNOWN.batch),
    () => batches.cancel(UNKNOWN.batch),
    () => files.waitForProcessing("file-unknown"),
    () => vectorStores.files.poll("vs_1", "file-unknown"),
  ];
  for (const call of calls) await assert.rejects(call, OpenAI.NotFoundError);
}

export async function missingFieldIsABadRequest(server) {
  await assert.rejects(clientOf(server).responses.create({ input: "Say hello", background: true }), (error) => {
    assert(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, "model");
    return true;
  });
}

export async function clientGetsThereWhenTheServerIsFlakyAndTheCallerGoesOnWaiting(server) {
  const client = clientOf(server, { maxRetries: 5 });
  const { files } = client.vectorStores;
  await server.sandbox.whileFlaky(async () => {
    for (const id of ["file-1", "file-2", "file-3"]) {
      await insist(() => files.create("vs_1", { file_id: id }));
      const file = await insist(() => files.poll("vs_1", id, { pollIntervalMs: 20 }));
      assert.equal(file.status, "completed");
    }
  });
}
