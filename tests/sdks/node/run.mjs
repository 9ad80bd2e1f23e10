// Runs cases of one SDK: `node run.mjs openai`. Each line of the input names a case; each line of the output is null, or
// says as a JSON string why the case failed. The environment says where the server is.

import { Console } from "node:console";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { inspect } from "node:util";
import { Sandbox } from "./sandbox.mjs";

const LIMIT = 60_000; // milliseconds for a case

globalThis.console = new Console(process.stderr); // the output is for answers; SDKs log here, too
const { SERVER_URL: url, SERVER_USERNAME: username, SERVER_KEY: key } = process.env;
const server = { url, key, sandbox: new Sandbox(url, username, key) };
const cases = await import(`./${process.argv[2]}.mjs`);

async function late() {
  await setTimeout(LIMIT, null, { ref: false });
  throw new Error(`the case took longer than ${LIMIT} ms`);
}

for await (const name of createInterface({ input: process.stdin })) {
  const failure = await Promise.race([cases[name](server), late()]).then(() => null, inspect);
  process.stdout.write(`${JSON.stringify(failure)}\n`);
}
