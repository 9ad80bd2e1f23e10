// Requests to the server, with the credentials that the browser has for it.

import { button, byId, setText } from "./dom.js";

/** Whether the server refuses what the controls of the page would send. */
export const READ_ONLY = document.documentElement.hasAttribute("data-read-only");

/**
 * Sends a request and returns the JSON of its answer.
 * @param {string} method
 * @param {string} path relative to the page
 * @param {unknown} [body]
 * @returns {Promise<any>}
 * @throws {Error} with what the server's problem details say
 */
export async function request(method, path, body) {
  const headers = { Accept: "application/json", ...(body === undefined ? {} : { "Content-Type": "application/json" }) };
  const response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const text = await response.text();
  const document = text && (response.headers.get("content-type") ?? "").includes("json") ? JSON.parse(text) : null;
  if (response.ok) return document;
  const errors = (document?.errors ?? []).map((/** @type {any} */ error) => `${error.field}: ${error.message}`);
  throw new Error(errors.join("; ") || document?.detail || `The server answered ${response.status}.`);
}

/**
 * Sends a request and returns its answer, whatever it says.
 * @param {string} method
 * @param {string} path relative to the page
 * @param {Record<string, string>} headers
 * @param {BodyInit} body
 */
export async function answerTo(method, path, headers, body) {
  const response = await fetch(path, { method, headers, body });
  return { ok: response.ok, status: response.status, text: await response.text() };
}

/**
 * Runs an action of the user, and tells what went wrong if it fails.
 * @template T
 * @param {() => Promise<T>} act
 * @returns {Promise<T | undefined>}
 */
export async function attempt(act) {
  const place = document.querySelector("dialog[open] [role=alert]") ?? byId("messages"); // a dialog covers the rest
  setText(place, "");
  try {
    return await act();
  } catch (error) {
    const reason = error instanceof TypeError ? "The server does not answer." : /** @type {Error} */ (error).message;
    setText(place, reason);
    return undefined;
  }
}

/**
 * Creates a button that changes something; null if the page is read-only.
 * @param {string} text
 * @param {() => unknown} act
 * @param {Record<string, unknown>} [attributes]
 */
export function control(text, act, attributes) {
  return READ_ONLY ? null : button(text, act, attributes);
}
