// What comes of a run: its state, the compiler's words, each test as it
// arrives, and hints, beside their lines where they name one.

import { element, link, output } from "./dom.js";

const GOOD = "accepted";

const words = (name) => String(name ?? "").replaceAll("_", " ");

function size(bytes) {
  return bytes < 1024 * 1024 ? `${Math.round(bytes / 1024)} KiB` : `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}

function time(seconds) {
  return seconds < 1 ? `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms` : `${seconds.toFixed(2)} s`;
}

/** How a step went, in one line. */
function summary(report) {
  const parts = [];
  if (report.signal) parts.push(report.signal);
  else if (report.exit_code) parts.push(`exit code ${report.exit_code}`);
  else if (report.outcome && report.outcome !== "exited") parts.push(words(report.outcome));
  if (Number.isFinite(report.cpu_seconds)) parts.push(`${time(report.cpu_seconds)} CPU`);
  if (Number.isFinite(report.memory_peak_bytes)) parts.push(size(report.memory_peak_bytes));
  return parts.join(" · ");
}

/** What a test is called, by its author or by its place. */
const nameOf = (test, index) => test?.name ?? `Test ${index + 1}`;

/** What one hint says. */
function hintNote(hint) {
  const place = Number.isInteger(hint.line) ? `Line ${hint.line}: ` : "";
  const more = link("Read more", hint.documentation);
  return element(
    "div",
    { className: "hint", role: "note" },
    element("strong", {}, place + String(hint.title ?? "")),
    hint.explanation ? element("p", {}, String(hint.explanation)) : null,
    hint.suggestion ? element("p", { className: "suggestion" }, String(hint.suggestion)) : null,
    more === null ? null : element("p", {}, more),
  );
}

export class Results {
  #status;
  #root;
  #editor;
  #compile;
  #tests;
  #general;
  #expected;
  #sourceFile;
  #done;
  #hinted;

  constructor(status, root, editor) {
    this.#status = status;
    this.#root = root;
    this.#editor = editor;
  }

  /** A run begins, of a program whose source file is called so on the server. */
  begin(submission, sourceFile) {
    this.#sourceFile = sourceFile;
    this.#expected = submission.tests ?? [];
    this.#done = new Map();
    this.#hinted = new Set();
    this.#editor.clearHints();
    this.#general = element("div", {});
    this.#compile = element("div", {});
    this.#tests = element("ol", { className: "outcomes" });
    for (const [index, test] of this.#expected.entries()) {
      const verdict = element("span", { className: "verdict" }, "waiting");
      this.#tests.append(element("li", { className: "waiting" }, verdict, ` ${nameOf(test, index)}`));
    }
    this.#root.replaceChildren(this.#general, this.#compile, this.#tests);
    this.#say("Sending…");
    this.#status.scrollIntoView({ block: "nearest" });
  }

  /** Takes in one event of the submission. */
  take({ type, data }) {
    if (type === "queued") this.#say(data.position > 0 ? `Waiting: ${data.position} before this one.` : "Waiting for its turn.");
    else if (type === "started") this.#say("Running…");
    else if (type === "compiled") this.#showCompile(data);
    else if (type === "test") this.#showTest(data);
    else if (type === "finished") this.#finish(data);
  }

  /** Nothing comes of this run; why. */
  fail(problem) {
    this.#say(problem.message, "bad");
    const list = (problem.errors ?? []).map(({ pointer, detail }) =>
      element("li", {}, pointer ? `${String(pointer).replace(/^#?\//, "").replaceAll("/", " › ")}: ` : "", String(detail ?? "")),
    );
    const wait = /^\d+$/.test(problem.wait ?? "") ? element("p", {}, `Try again in ${problem.wait} s.`) : null;
    const text = problem.detail ? element("p", {}, problem.detail) : null;
    this.#root.replaceChildren(element("div", { className: "problem" }, text, list.length > 0 ? element("ul", {}, ...list) : null, wait));
  }

  #say(text, kind = "") {
    this.#status.textContent = text;
    this.#status.className = kind;
  }

  #showCompile(compile) {
    const text = [compile.stdout, compile.stderr].filter(Boolean).join("\n");
    const failed = compile.outcome !== "exited" || compile.exit_code !== 0;
    this.#say(failed ? "It could not be compiled." : "Running…", failed ? "bad" : "");
    this.#compile.replaceChildren();
    if (text !== "") {
      const details = element("details", { open: failed }, element("summary", {}, failed ? "Compiler errors" : "Compiler warnings"), output("Compiler", text));
      this.#compile.append(details);
    }
  }

  #showTest(test) {
    const { index } = test;
    const known = this.#expected[index];
    const single = this.#expected.length === 0;
    const report = test.report ?? {};
    const good = test.verdict === GOOD;
    const skipped = test.verdict === "skipped";
    const hints = Array.isArray(test.hints) ? test.hints : [];
    const firstBad = !good && !skipped && [...this.#done.values()].every((verdict) => verdict === GOOD || verdict === "skipped");
    this.#done.set(index, test.verdict);

    const title = element(
      "summary",
      {},
      element("span", { className: "verdict" }, single && good ? "finished" : words(test.verdict)),
      single ? " " : ` ${nameOf(known, index)} `,
      element("span", { className: "note" }, summary(report)),
    );
    const expected = !good && known?.expected_output !== undefined ? output("Expected output", known.expected_output) : null;
    const nothing = !report.stdout && !report.stderr && !skipped ? element("p", { className: "note" }, "It wrote nothing.") : null;
    const details = element(
      "details",
      { open: single || firstBad },
      title,
      test.message ? element("p", { className: "message" }, String(test.message)) : null,
      ...this.#hintsBelow(hints),
      nothing,
      report.stdout ? output("Output", report.stdout) : null,
      report.stdout_truncated ? element("p", { className: "note" }, "The output was cut at its limit.") : null,
      expected,
      report.stderr ? output("Errors", report.stderr) : null,
      !single && known?.stdin ? output("Input", known.stdin) : null,
    );
    const item = element("li", { className: good ? "good" : skipped ? "waiting" : "bad" }, details);
    const old = this.#tests.children[index];
    if (old === undefined) this.#tests.append(item);
    else old.replaceWith(item);
    if (!single) this.#say(`Running: ${this.#done.size} of ${this.#expected.length} tests are done.`);
  }

  /** Puts those hints that name a line of the program beside it, and gives back all the others. */
  #hintsBelow(hints) {
    const below = [];
    for (const hint of hints) {
      const here = Number.isInteger(hint.line) && hint.line >= 1 && this.#isProgram(hint.file);
      // Many tests fail for one reason.
      const key = JSON.stringify([hint.rule, hint.line, hint.title]);
      if (here && !this.#hinted.has(key)) this.#editor.addHint(hint.line, hintNote(hint));
      if (here) this.#hinted.add(key);
      else below.push(hintNote(hint));
    }
    return below;
  }

  /** Whether a file is the one in the editor, and not one of a library. Java's is called as its class is. */
  #isProgram(file) {
    const ending = (name) => name.slice(name.lastIndexOf("."));
    const name = String(file ?? this.#sourceFile).replace(/^(\/box\/|\.\/)/, "");
    return !name.includes("/") && ending(name) === ending(this.#sourceFile);
  }

  #finish(submission) {
    const tests = Array.isArray(submission.tests) ? submission.tests : [];
    if (submission.compile && this.#compile.children.length === 0) this.#showCompile(submission.compile);
    for (const [index, test] of tests.entries()) {
      if (!this.#done.has(index)) this.#showTest({ index, ...test });
    }
    if (submission.verdict === "compilation_error") {
      this.#general.append(...this.#hintsBelow(Array.isArray(submission.hints) ? submission.hints : []));
    }
    for (const waiting of this.#tests.querySelectorAll(":scope > li.waiting > span.verdict")) waiting.textContent = "not run";
    if (submission.status === "cancelled") return this.#say("Cancelled.");
    if (!submission.verdict) return this.#say(`It ended without a verdict: ${words(submission.status)}.`, "bad");
    const good = submission.verdict === GOOD;
    const all = this.#expected.length;
    const accepted = [...this.#done.values()].filter((verdict) => verdict === GOOD).length;
    const verdict = all > 0 ? `${words(submission.verdict)}: ${accepted} of ${all} tests passed.` : good ? "Done." : `${words(submission.verdict)}.`;
    this.#say(verdict[0].toUpperCase() + verdict.slice(1), good ? "good" : "bad");
  }
}
