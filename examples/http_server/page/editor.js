// The editor: CodeMirror, the colours of each language, and hints beside lines.

import { element } from "./dom.js";

/** By language: what CodeMirror calls its mode, and the file that has it. */
const MODES = {
  bash: ["text/x-sh", "shell"],
  c: ["text/x-csrc", "clike"],
  clang: ["text/x-csrc", "clike"],
  clangpp: ["text/x-c++src", "clike"],
  cpp: ["text/x-c++src", "clike"],
  csharp: ["text/x-csharp", "clike"],
  fsharp: ["text/x-fsharp", "mllike"],
  go: ["text/x-go", "go"],
  haskell: ["text/x-haskell", "haskell"],
  java: ["text/x-java", "clike"],
  javascript: ["text/javascript", "javascript"],
  kotlin: ["text/x-kotlin", "clike"],
  lua: ["text/x-lua", "lua"],
  objective_c: ["text/x-objectivec", "clike"],
  ocaml: ["text/x-ocaml", "mllike"],
  pascal: ["text/x-pascal", "pascal"],
  perl: ["text/x-perl", "perl"],
  pypy: ["text/x-python", "python"],
  python: ["text/x-python", "python"],
  python2: ["text/x-python", "python"],
  r: ["text/x-rsrc", "r"],
  ruby: ["text/x-ruby", "ruby"],
  rust: ["text/x-rustsrc", "rust"],
  scala: ["text/x-scala", "clike"],
  sql: ["text/x-sqlite", "sql"],
  swift: ["text/x-swift", "swift"],
  typescript: ["text/typescript", "javascript"],
};

/** The only addresses that scripts are added from, where browsers enforce that. */
const scripts = window.trustedTypes?.createPolicy("evalx-modes", {
  createScriptURL: (file) => {
    if (!Object.values(MODES).some(([, known]) => known === file)) throw new TypeError(`no mode ${file}`);
    return `page/codemirror/mode/${file}.js`;
  },
});
const loading = new Map();

function load(file) {
  if (!loading.has(file)) {
    const script = element("script", { async: true });
    const loaded = new Promise((done, failed) => {
      script.addEventListener("load", done);
      script.addEventListener("error", failed);
    });
    script.src = scripts?.createScriptURL(file) ?? `page/codemirror/mode/${file}.js`;
    document.head.append(script);
    loading.set(file, loaded);
  }
  return loading.get(file);
}

export class Editor {
  #mirror;
  #language = "";
  #hints = [];

  /** Takes the place of a textarea. `leave` is called when Esc is pressed. */
  constructor(textarea, { change, leave }) {
    const indent = (mirror) => mirror.execCommand(mirror.somethingSelected() ? "indentMore" : "insertSoftTab");
    this.#mirror = CodeMirror.fromTextArea(textarea, {
      theme: "evalx",
      lineNumbers: true,
      lineWrapping: true,
      indentUnit: 4,
      matchBrackets: true,
      autoCloseBrackets: true,
      screenReaderLabel: textarea.ariaLabel,
      extraKeys: { Tab: indent, "Shift-Tab": "indentLess", Esc: leave, "Ctrl-Enter": false, "Cmd-Enter": false },
    });
    this.#mirror.on("changes", change);
  }

  get source() {
    return this.#mirror.getValue();
  }

  set source(text) {
    this.clearHints();
    this.#mirror.setValue(text);
    this.#mirror.clearHistory();
  }

  /** Colours for this language; a language without them is plain text. */
  async use(language) {
    this.#language = language;
    this.#mirror.setOption("indentWithTabs", language === "go");
    const [mode, file] = Object.hasOwn(MODES, language) ? MODES[language] : [null, null];
    if (file !== null) await load(file).catch(() => {});
    // Another language may have been chosen while this one was loaded.
    if (this.#language === language) this.#mirror.setOption("mode", mode);
  }

  focus() {
    this.#mirror.focus();
  }

  clearHints() {
    for (const { line, widget } of this.#hints) {
      widget.clear();
      this.#mirror.removeLineClass(line, "background", "hinted");
      this.#mirror.removeLineClass(line, "gutter", "hinted");
    }
    this.#hints = [];
  }

  /** Puts a note below a line, counted from 1. Lines move as the program is edited; notes move along. */
  addHint(number, note) {
    const line = this.#mirror.getLineHandle(Math.min(Math.max(number, 1), this.#mirror.lineCount()) - 1);
    this.#mirror.addLineClass(line, "background", "hinted");
    this.#mirror.addLineClass(line, "gutter", "hinted");
    const widget = this.#mirror.addLineWidget(line, note, { noHScroll: true });
    if (this.#hints.length === 0) this.#mirror.scrollIntoView({ line: this.#mirror.getLineNumber(line), ch: 0 }, 80);
    this.#hints.push({ line, widget });
  }
}
