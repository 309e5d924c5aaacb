// The server's API, as far as this page uses it.

import { Stream } from "./events.js";

const TOKEN = "evalx.token";
/** How often the events are asked for again before the result is polled. */
const TRIES = 3;
/** Waits between polls, in milliseconds: soon at first, then seldom. */
const FIRST_WAIT = 500;
const LONGEST_WAIT = 5000;

/** What the server, or the way to it, had against a request. */
export class Problem extends Error {
  constructor(title, { status = 0, detail = "", errors = [], wait = null } = {}) {
    super(title);
    Object.assign(this, { status, detail, errors, wait });
  }
}

export function useToken(token) {
  try {
    sessionStorage.setItem(TOKEN, token);
  } catch {
    // Then it is asked for again.
  }
}

function headers(more = {}) {
  let token = null;
  try {
    token = sessionStorage.getItem(TOKEN);
  } catch {
    // Storage may be forbidden.
  }
  return token === null ? more : { ...more, Authorization: `Bearer ${token}` };
}

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: headers(options.headers) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server can't be reached.");
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  const text = (value) => (typeof value === "string" ? value : "");
  throw new Problem(text(said.title) || `The server answered with status ${response.status}.`, {
    status: response.status,
    detail: text(said.detail),
    errors: Array.isArray(said.errors) ? said.errors : [],
    wait: response.headers.get("Retry-After"),
  });
}

const json = async (path, options) => (await request(path, options)).json();

export const languages = () => json("v1/languages");
export const config = () => json("v1/config");
export const cancel = (token) => request(`v1/submissions/${encodeURIComponent(token)}`, { method: "DELETE" });

export const submit = (submission) =>
  json("v1/submissions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(submission),
  });

const sleep = (time) => new Promise((done) => setTimeout(done, time));

/** Whether nothing comes after this state of a submission. */
const isOver = (submission) => submission.status !== "queued" && submission.status !== "running";

/**
 * Everything that happens to a submission, as `{type, data}`: as it comes, or
 * by asking again and again where a proxy holds streams back. The last is
 * `finished`, with the whole submission.
 */
export async function* follow(token) {
  const path = `v1/submissions/${encodeURIComponent(token)}`;
  let last = null;
  for (let tries = 0; tries < TRIES; tries += 1) {
    if (tries > 0) await sleep(FIRST_WAIT * tries);
    try {
      const accept = { Accept: "text/event-stream", ...(last === null ? {} : { "Last-Event-ID": last }) };
      const response = await request(`${path}/events`, { headers: accept, cache: "no-store" });
      for await (const event of new Stream(response.body)) {
        if (event.id !== null) {
          last = event.id;
          tries = 0;
        }
        yield { type: event.type, data: JSON.parse(event.data) };
        if (event.type === "finished") return;
      }
    } catch (problem) {
      if (problem instanceof Problem && (problem.status === 401 || problem.status === 404)) throw problem;
    }
  }
  let wait = FIRST_WAIT;
  for (;;) {
    const submission = await json(path, { cache: "no-store" });
    if (isOver(submission)) {
      yield { type: "finished", data: submission };
      return;
    }
    yield { type: submission.status === "queued" ? "queued" : "started", data: submission };
    for (const [index, test] of (submission.tests ?? []).entries()) {
      if (test.verdict) yield { type: "test", data: { index, ...test } };
    }
    await sleep(wait);
    wait = Math.min(wait * 1.5, LONGEST_WAIT);
  }
}
