// The commands that submit a job outside the page: for curl, Python and the command line.

/**
 * @typedef {object} Submission a request that submits a job
 * @property {string} api
 * @property {string} kind
 * @property {string} mount
 * @property {string} method
 * @property {string} path with its parameters in braces
 * @property {string[]} parameters
 * @property {Record<string, string>} headers those that distinguish it from others at the same path
 * @property {Record<string, string>} query the same in the query
 * @property {boolean} form whether the body is a form; JSON otherwise
 * @property {Record<string, unknown>} example
 * @property {string} auth
 * @property {boolean} simulates whether it may say how the job ends
 * @property {boolean} by_client whether the project's client sends it
 */

/** @typedef {[name: string, command: string][]} Commands */

const TOKEN = "USERNAME:PASSWORD";

/**
 * Returns the commands that submit a job to the native API.
 * @param {string} server
 * @param {Record<string, unknown>} fields
 * @param {Record<string, unknown>} simulate how the job ends; empty for what the settings say
 * @returns {Commands}
 */
export function nativeCommands(server, fields, simulate) {
  const body = withSimulate(fields, simulate);
  const values = Object.entries(body).map(([name, value]) => `${name}=${python(value)}`).join(", ");
  const flags = Object.entries(fields).map(([name, value]) => `--${name.replaceAll("_", "-")} ${quoted(String(value))}`);
  if (Object.keys(simulate).length) flags.push(`--input ${quoted(`simulate=${JSON.stringify(simulate)}`)}`);
  return [
    ["curl", `curl -u ${TOKEN} ${server}/start -H 'Content-Type: application/json' -d ${quoted(JSON.stringify(body))}`],
    ["Python", program(`"${server}", username="USERNAME", password="PASSWORD"`, values)],
    ["Command line", ["translation-client run", `--url ${server}`, "--username USERNAME --password-file FILE", ...flags].join(" ")],
  ];
}

/**
 * Returns the commands that submit a job to another API.
 * @param {string} server
 * @param {Submission} submission
 * @param {Record<string, string>} parameters the values of the parameters of the path
 * @param {Record<string, unknown>} body
 * @param {Record<string, unknown>} simulate
 * @returns {Commands}
 */
export function commands(server, submission, parameters, body, simulate) {
  const { auth, mount, form } = submission, isNamed = auth === "basic" || auth === "sigv4";
  const whole = withSimulate(body, simulate), target = targetOf(submission, parameters);
  const [fields, files] = form ? parts(whole) : [whole, {}];
  const key = auth.startsWith("?") ? `${target.includes("?") ? "&" : "?"}${auth.slice(1).replace("{token}", TOKEN)}` : "";
  const headers = Object.entries({ ...(form ? {} : { "content-type": "application/json" }), ...submission.headers });
  const curl = ["curl", isNamed ? `-u ${TOKEN}` : key ? "" : `-H ${quoted(auth.replace("{token}", TOKEN))}`,
    auth === "sigv4" ? "--aws-sigv4 aws:amz:us-east-1:execute-api" : "", quoted(server + target + key),
    ...headers.map(([name, value]) => `-H ${quoted(`${name}: ${value}`)}`),
    ...(form ? Object.entries(fields).map(([name, value]) => `-F ${quoted(`${name}=${text(value)}`)}`) : [`-d ${quoted(JSON.stringify(whole))}`]),
    ...Object.entries(files).map(([name, file]) => `-F ${quoted(`${name}=@${file}`)}`)];
  /** @type {Commands} */
  const found = [["curl", curl.filter(Boolean).join(" ")]];
  if (!submission.by_client) return found;
  const dialect = `${submission.api}#${submission.kind}`, hasParameters = submission.parameters.length > 0;
  const login = isNamed ? 'username="USERNAME", password="PASSWORD"' : `token="${TOKEN}"`;
  const given = { ...(Object.keys(body).length ? { input: form ? parts(body)[0] : body } : {}), ...(Object.keys(files).length ? { files } : {}),
    ...(Object.keys(simulate).length ? { simulate } : {}) };
  const inputs = Object.entries(fields).map(([name, value]) => `--input ${quoted(`${name}=${text(value)}`)}`);
  const client = `"${server}${mount}", dialect="${dialect}", ${login}${hasParameters ? `, parameters=${python(parameters)}` : ""}`;
  return [...found,
    ["Python", program(client, Object.entries(given).map(([name, value]) => `${name}=${python(value)}`).join(", "))],
    ["Command line", ["translation-client run", `--url ${quoted(server + mount)}`, `--dialect ${quoted(dialect)}`,
      isNamed ? "--username USERNAME --password-file FILE" : "--token-file FILE",
      ...Object.entries(parameters).map(([name, value]) => `--parameter ${quoted(`${name}=${value}`)}`), ...inputs,
      ...Object.entries(files).map(([name, file]) => `--file ${quoted(`${name}=${file}`)}`)].join(" ")]];
}

/**
 * Returns the path and the query of a submission.
 * @param {Submission} submission
 * @param {Record<string, string>} parameters
 */
export function targetOf(submission, parameters) {
  const path = submission.path.replace(/\{(\w+)\}/g, (_, name) => (parameters[name] ?? "").split("/").map(encodeURIComponent).join("/"));
  const query = new URLSearchParams(submission.query).toString();
  return path + (query && `?${query}`);
}

/**
 * Returns the fields of a form and its files; a text such as `@name` is a file.
 * @param {Record<string, unknown>} body
 * @returns {[Record<string, unknown>, Record<string, string>]}
 */
export function parts(body) {
  const isFile = (/** @type {unknown} */ value) => typeof value === "string" && value.startsWith("@");
  const entries = Object.entries(body), files = entries.filter(([, value]) => isFile(value));
  return [Object.fromEntries(entries.filter(([, value]) => !isFile(value))),
    Object.fromEntries(files.map(([name, value]) => [name, String(value).slice(1)]))];
}

/** @param {unknown} value of a field of a form */
export function text(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/**
 * @param {Record<string, unknown>} body
 * @param {Record<string, unknown>} simulate
 */
export function withSimulate(body, simulate) {
  return Object.keys(simulate).length ? { ...body, simulate } : body;
}

/**
 * @param {string} client
 * @param {string} run
 */
function program(client, run) {
  return `from translation_client import Client\n\nwith Client(${client}) as client:\n    final = client.run(${run})`;
}

/**
 * Returns the literal of a value in Python.
 * @param {unknown} value a value of JSON
 * @returns {string}
 */
function python(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  return `{${Object.entries(/** @type {object} */ (value)).map(([name, one]) => `${JSON.stringify(name)}: ${python(one)}`).join(", ")}}`;
}

/** @param {string} value an argument of a command */
function quoted(value) {
  return /^[\w.:/=@-]+$/.test(value) ? value : `'${value.replaceAll("'", "'\\''")}'`;
}
