// Where the page begins: what is on it, and what happens when something is pressed.

import * as api from "./api.js";
import { byId, element } from "./dom.js";
import { Editor } from "./editor.js";
import { Results } from "./results.js";
import * as share from "./share.js";
import { Tests } from "./tests.js";

const MEBIBYTE = 1024 * 1024;
/** The inputs of limits, each named as in the API, and how much one of its units is there. */
const LIMITS = { cpu_seconds: 1, wall_seconds: 1, memory_bytes: MEBIBYTE, processes: 1 };

const [language, run, cancel, status] = ["language", "run", "cancel", "status"].map(byId);
let languages = new Map();
/** The token of the submission that runs, `""` before there is one, or null if none runs. */
let running = null;
/** The hello world that was put into the editor, to be replaced by that of another language. */
let sample = null;

const editor = new Editor(byId("source"), { change: () => save(), leave: () => run.focus() });
const tests = new Tests(byId("tests"), () => save());
const results = new Results(status, byId("results"), editor);

function program() {
  return { language: language.value, source: editor.source, ...tests.value, limits: limits() };
}

function limits() {
  const given = Object.entries(LIMITS).filter(([name]) => byId(name).value !== "");
  return Object.fromEntries(given.map(([name, unit]) => [name, byId(name).valueAsNumber * unit]));
}

function show({ language: id, source, stdin, tests: given, limits: wanted }) {
  if (languages.has(id)) language.value = id;
  editor.source = source;
  editor.use(language.value);
  tests.value = { stdin, tests: given };
  for (const [name, unit] of Object.entries(LIMITS)) byId(name).value = name in wanted ? wanted[name] / unit : "";
  byId("limits").open = Object.keys(wanted).length > 0;
}

let saving;
function save() {
  clearTimeout(saving);
  saving = setTimeout(() => {
    if (languages.size > 0) share.keep(program());
  }, 300);
}

/** Does what needs the server; asks for an access token, once more if it must, where one is needed. */
async function withAccess(action) {
  for (;;) {
    try {
      return await action();
    } catch (problem) {
      if (problem.status !== 401 || !(await askForToken())) throw problem;
    }
  }
}

function askForToken() {
  const dialog = byId("access");
  byId("token").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((answer) => {
    dialog.addEventListener(
      "close",
      () => {
        const given = dialog.returnValue === "use" && byId("token").value !== "";
        if (given) api.useToken(byId("token").value);
        answer(given);
      },
      { once: true },
    );
  });
}

async function start() {
  if (running !== null || run.disabled) return;
  running = "";
  run.disabled = true;
  const given = limits();
  const submission = {
    language: language.value,
    source: editor.source,
    ...tests.submission,
    ...(Object.keys(given).length > 0 ? { limits: given } : {}),
  };
  results.begin(submission, languages.get(language.value)?.source ?? "");
  try {
    const { token } = await withAccess(() => api.submit(submission));
    running = token;
    cancel.disabled = false;
    for await (const event of api.follow(token)) results.take(event);
  } catch (problem) {
    results.fail(problem);
  } finally {
    // A button that is disabled loses the focus, and with it the keyboard's place.
    const had = document.activeElement === cancel;
    running = null;
    run.disabled = false;
    cancel.disabled = true;
    if (had || document.activeElement === document.body) run.focus();
  }
}

async function stop() {
  if (!running) return;
  try {
    await api.cancel(running);
    status.textContent = "Cancelling…";
  } catch (problem) {
    // It may have ended by itself in the meantime.
    if (running !== null) status.textContent = problem.message;
  }
}

async function copyLink() {
  const address = await share.linkTo(program());
  history.replaceState(null, "", address);
  try {
    await navigator.clipboard.writeText(address);
    status.textContent = "A link with this program was copied.";
  } catch {
    status.textContent = "The address of this page now carries this program.";
  }
}

function choose() {
  const { hello } = languages.get(language.value) ?? {};
  if (hello && (editor.source === "" || editor.source === sample)) {
    sample = hello;
    editor.source = hello;
  }
  editor.use(language.value);
  save();
}

function offer(list) {
  languages = new Map(list.map((one) => [one.id, one]));
  const option = (one) => element("option", { value: one.id, disabled: !one.available }, one.available ? one.name : `${one.name} (not installed)`);
  // A title says which version; absent ones come last.
  const sorted = [...list.filter((one) => one.available), ...list.filter((one) => !one.available)];
  language.replaceChildren(...sorted.map(option));
  if (languages.get("python")?.available) language.value = "python";
}

function bound({ limits: known = {} }) {
  for (const [name, unit] of Object.entries(LIMITS)) {
    const { default: usual, max } = known[name] ?? {};
    if (Number.isFinite(usual)) byId(name).placeholder = usual / unit;
    if (Number.isFinite(max)) byId(name).max = max / unit;
  }
}

async function open() {
  run.addEventListener("click", start);
  cancel.addEventListener("click", stop);
  byId("share").addEventListener("click", copyLink);
  language.addEventListener("change", choose);
  byId("limits").addEventListener("input", save);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing) {
      event.preventDefault();
      start();
    }
  });
  window.addEventListener("hashchange", () => showLink());
  try {
    offer(await withAccess(api.languages));
  } catch (problem) {
    results.fail(problem);
    return;
  }
  api.config().then(bound, () => {});
  if (!(await showLink())) {
    const draft = share.draft();
    if (draft !== null && draft.source !== "") show(draft);
    else choose();
  }
  run.disabled = false;
}

/** Shows the program that the address carries, if it carries one. It is not run. */
async function showLink() {
  try {
    const linked = await share.fromLink();
    if (linked !== null) show(linked);
    return linked !== null;
  } catch {
    status.textContent = "The link does not carry a whole program.";
    return false;
  }
}

open();
