// Point it at the server:
//
//   const httpOptions = { baseUrl: "http://127.0.0.1:8000/google-veo" };
//   const client = new GoogleGenAI({ vertexai: true, apiKey: "secretpassword", httpOptions });
//
// Covered: `models.generateVideos` and `operations.getVideosOperation`, with an API key, or a project and a token. Not
// covered: the video's bytes in the answer. The API's own client has no function that waits, no cancel and no list.
// A failed job is the `error` of its operation. The client repeats what was refused, where `retryOptions` say so; a
// broken connection ends a call.

import assert from "node:assert/strict";
import { ApiError, GenerateVideosOperation, GoogleGenAI } from "@google/genai";
import { OAuth2Client } from "google-auth-library";
import { assertVideo, insist, sleep } from "./sandbox.mjs";

const VIDEO = { model: "veo-3.1-generate-001", source: { prompt: "A cat" } };

function clientOf({ url, key }, options = { apiKey: key }, httpOptions = {}) {
  return new GoogleGenAI({ vertexai: true, httpOptions: { baseUrl: `${url}/google-veo`, ...httpOptions }, ...options });
}

async function ended(client, operation) {
  while (!operation.done) {
    await sleep(20);
    operation = await client.operations.getVideosOperation({ operation });
  }
  return operation;
}

function refusal(status) {
  return (error) => {
    assert(error instanceof ApiError);
    assert.equal(error.status, status);
    return true;
  };
}

export async function videoIsGeneratedAndDownloaded(server) {
  const client = clientOf(server);
  const operation = await client.models.generateVideos(VIDEO);
  assert(!operation.done);
  const final = await ended(client, operation);
  assert.deepEqual([final.name, final.error], [operation.name, undefined]);
  const [{ video }] = final.response.generatedVideos;
  assert.equal(video.mimeType, "video/mp4");
  await assertVideo(video.uri);
}

export async function projectAndTokenAreAccepted(server) {
  const authClient = new OAuth2Client();
  authClient.setCredentials({ access_token: server.key });
  const options = { project: "my-project", location: "europe-west4", googleAuthOptions: { authClient } };
  const client = clientOf(server, options);
  const operation = await client.models.generateVideos(VIDEO);
  const place = `projects/my-project/locations/europe-west4/publishers/google/models/${VIDEO.model}/operations/`;
  assert(operation.name.startsWith(place));
  assert((await ended(client, operation)).response.generatedVideos);
}

export async function failedJobHasAnError(server) {
  const client = clientOf(server);
  await server.sandbox.change({ error_probability: 1 });
  const final = await ended(client, await client.models.generateVideos(VIDEO));
  assert.deepEqual([final.response, final.error.code], [undefined, 13]);
  assert.match(final.error.message, /^simulated failure/);
}

export async function wrongKeyIsRefused(server) {
  await assert.rejects(clientOf(server, { apiKey: "wrong" }).models.generateVideos(VIDEO), refusal(401));
}

export async function unknownIdIsNotFound(server) {
  const operation = new GenerateVideosOperation();
  operation.name = `projects/p/locations/us-central1/publishers/google/models/${VIDEO.model}/operations/unknown`;
  await assert.rejects(clientOf(server).operations.getVideosOperation({ operation }), refusal(404));
}

export async function missingFieldIsRefused(server) {
  await assert.rejects(clientOf(server).models.generateVideos({ model: VIDEO.model }), refusal(400));
}

export async function clientGetsThereWhenTheServerIsFlakyAndTheCallerGoesOnWaiting(server) {
  const client = clientOf(server, undefined, { retryOptions: { attempts: 5, initialDelay: 0.02 } });
  await server.sandbox.whileFlaky(async () => {
    for (let n = 0; n < 3; n++) {
      const operation = await insist(() => client.models.generateVideos(VIDEO));
      assert((await insist(() => ended(client, operation))).response.generatedVideos);
    }
  });
}
