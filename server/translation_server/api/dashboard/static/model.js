// What the page knows: the sandbox, its jobs and the newest records of its request log.

/**
 * @typedef {object} Job
 * @property {string} job_id
 * @property {string} api
 * @property {string} kind
 * @property {number} ordinal
 * @property {number} created_at
 * @property {number | null} delay
 * @property {number | null} due_at
 * @property {State} outcome
 * @property {string | null} error_message
 * @property {number | null} cancelled_at
 * @property {number | null} paused_at
 * @property {number} paused_for how long all ended pauses lasted
 * @property {[number, number][]} pauses the last ended pauses, from when to when
 * @property {number} polls
 * @property {number | null} after_polls
 * @property {boolean} is_deleted
 */

/** @typedef {"pending" | "completed" | "error" | "cancelled"} State */

/**
 * @typedef {object} RequestRecord
 * @property {number} number
 * @property {number} at
 * @property {number} virtual_at
 * @property {number} took
 * @property {string} method
 * @property {string} path
 * @property {string | null} query
 * @property {string | null} action
 * @property {number} status
 * @property {number | null} hidden_status
 * @property {{job_id: string, state: State, ended_at: number | null, kind: string | null}[]} jobs
 * @property {number | null} wait
 * @property {number | null} hint
 * @property {string[]} faults
 * @property {string | null} agent
 */

const MAX_JOBS = 2000; // how many jobs the page keeps
const MAX_RECORDS = 5000; // how many of the newest records it keeps; older ones go in steps
const POLLS = new Set(["poll", "result", "batch_poll", "event", "list", "current"]);

/** @type {readonly State[]} */
export const STATES = ["pending", "completed", "error", "cancelled"];

/** @type {readonly RequestRecord[]} */
const NONE = [];

export class Model {
  /** @type {any} */
  sandbox = null;
  receivedAt = 0;
  shownAt = 0;
  /** @type {Map<string, Job>} */
  jobs = new Map();
  /** @type {Map<string, Job>} older jobs that were searched for */
  found = new Map();
  /** @type {RequestRecord[]} */
  records = [];
  /** @type {Map<string, RequestRecord[]>} the requests that asked for a job, or that showed it, by its id */
  polls = new Map();
  /** @type {Map<string, RequestRecord>} the first request whose answer showed the caller that a job had ended, by the job's id */
  learned = new Map();
  /** @type {Job[] | null} */
  sorted = null;
  /** @type {Map<string, string>} the keys of jobs by their ids */
  keys = new Map();

  /** Drops everything: a new connection begins with all that there is. */
  clear() {
    this.sandbox = null;
    this.jobs = new Map();
    this.keys = new Map();
    this.found = new Map();
    this.records = [];
    this.polls = new Map();
    this.learned = new Map();
    this.sorted = null;
  }

  /** @param {any} sandbox */
  setSandbox(sandbox) {
    this.sandbox = sandbox;
    this.receivedAt = performance.now();
    this.shownAt = Date.parse(sandbox.clock.now) / 1000 + 0.001; // the text is rounded down: what ends at this time has ended
  }

  /** The virtual time, in seconds since the epoch. */
  now() {
    if (!this.sandbox) return Date.now() / 1000;
    const { speed, frozen } = this.sandbox.clock;
    return this.shownAt + (frozen ? 0 : (speed * (performance.now() - this.receivedAt)) / 1000);
  }

  /** @param {Job[]} jobs */
  addJobs(jobs) {
    for (const job of jobs) {
      const key = keyOf(job);
      this.jobs.set(key, job);
      this.keys.set(job.job_id, key);
      if (this.found.has(key)) this.found.set(key, job);
    }
    while (this.jobs.size > MAX_JOBS) {
      const [oldest, { job_id: id }] = /** @type {[string, Job]} */ (this.jobs.entries().next().value);
      this.jobs.delete(oldest);
      if (this.keys.get(id) === oldest) this.keys.delete(id);
    }
    this.sorted = null;
  }

  /** @param {RequestRecord[]} records */
  addRecords(records) {
    for (const record of records) {
      this.records.push(record);
      const unanswered = this.unansweredJob(record);
      for (const { job_id: id, state } of record.jobs) {
        if (state !== "pending" && !this.learned.has(id)) this.learned.set(id, record);
      }
      if (!POLLS.has(record.action ?? "")) continue;
      for (const id of unanswered === null ? record.jobs.map((job) => job.job_id) : [unanswered]) {
        const known = this.polls.get(id);
        if (known) known.push(record);
        else this.polls.set(id, [record]);
      }
    }
    if (this.records.length > 1.2 * MAX_RECORDS) {
      const recent = this.records.slice(-MAX_RECORDS);
      this.learned = new Map([...this.learned].filter(([id]) => this.keys.has(id)));
      this.records = [];
      this.polls = new Map();
      this.addRecords(recent);
    }
  }

  /**
   * The id of the job that a request asked for, if a fault kept the answer from the caller.
   * @param {RequestRecord} record
   */
  unansweredJob(record) {
    if (record.jobs.length || !record.faults.length || !POLLS.has(record.action ?? "")) return null;
    const named = record.path.split(/[/:]/).map(decoded).find((part) => this.keys.has(part));
    return named ?? [...this.keys.keys()].find((id) => id.includes("/") && record.path.includes(id)) ?? null;
  }

  /** The jobs, the newest first. */
  newest() {
    this.sorted ??= [...this.jobs.values()].sort((one, other) => other.ordinal - one.ordinal);
    return this.sorted;
  }

  /**
   * The job of a key.
   * @param {string} key
   */
  jobOf(key) {
    return this.jobs.get(key) ?? this.found.get(key);
  }

  /**
   * The requests that asked for a job, or that showed it. The list grows; it is another one when older requests are dropped.
   * @param {Job} job
   */
  pollsOf(job) {
    return this.polls.get(job.job_id) ?? NONE;
  }

  /**
   * The first request whose answer showed the caller that the job had ended.
   * @param {Job} job
   */
  learnedBy(job) {
    return this.learned.get(job.job_id);
  }

  /**
   * Whether all requests since a job was accepted may be kept. Older ones are dropped by the page and by the server.
   * @param {Job} job
   */
  keepsAllOf(job) {
    const oldest = this.records[0];
    return !oldest || oldest.number === 1 || oldest.virtual_at <= job.created_at;
  }

  /** The seconds of virtual time in a second of wall time. */
  rate() {
    return this.sandbox?.clock.frozen ? 0 : (this.sandbox?.clock.speed ?? 1);
  }
}

/** @param {string} text a part of a path */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** @param {Job} job */
export function keyOf(job) {
  return `${job.api}/${job.kind}/${job.job_id}`;
}

/**
 * A job's state at a virtual time. The server derives it in the same way: it never writes a state.
 * @param {Job} job
 * @param {number} now
 * @returns {State}
 */
export function stateOf(job, now) {
  if (job.cancelled_at !== null && now >= job.cancelled_at) return "cancelled";
  return job.due_at !== null && now >= job.due_at ? job.outcome : "pending";
}

/**
 * The virtual time at which a job ends; null where it is not known yet.
 * @param {Job} job
 */
export function endOf(job) {
  return job.cancelled_at ?? job.due_at;
}

/**
 * The virtual time at which an answer reached the caller.
 * @param {RequestRecord} record
 * @param {number} rate
 */
export function answeredAt(record, rate) {
  return record.virtual_at + record.took * rate;
}

/** @param {number} seconds */
export function duration(seconds) {
  if (seconds >= 3600) return `${(seconds / 3600).toFixed(1)} h`;
  if (seconds >= 120) return `${(seconds / 60).toFixed(1)} min`;
  return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
}
