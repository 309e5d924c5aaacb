// The input: either one stdin, or tests with what is expected of each.

import { byId, element } from "./dom.js";

export class Tests {
  #root;
  #change;
  #list = element("div", { className: "tests" });
  #stdin = element("textarea", { rows: 4, spellcheck: false, autocapitalize: "off" });
  #single = element("label", { className: "wide" }, "Standard input", this.#stdin);

  constructor(root, change) {
    this.#root = root;
    this.#change = change;
    const add = element("button", { type: "button", id: "add-test" }, "Add test");
    add.addEventListener("click", () => {
      const first = this.#list.children.length === 0;
      const test = this.#add(first ? { stdin: this.#stdin.value } : {});
      test.querySelector("textarea").focus();
      this.#change();
    });
    root.append(this.#single, this.#list, add);
    root.addEventListener("input", () => this.#change());
  }

  /** What is typed, as a program keeps it. */
  get value() {
    const tests = [...this.#list.children].map((test) => ({
      name: test.querySelector(".name").value,
      stdin: test.querySelector(".stdin").value,
      expected_output: test.querySelector(".expected").value,
    }));
    return { stdin: this.#stdin.value, tests };
  }

  set value({ stdin, tests }) {
    this.#stdin.value = stdin;
    this.#list.replaceChildren();
    for (const test of tests) this.#add(test);
    this.#arrange();
  }

  /** The same, as a submission has it: a test whose output is not given takes any. */
  get submission() {
    const { stdin, tests } = this.value;
    if (tests.length === 0) return { stdin };
    const test = ({ name, stdin, expected_output }) => ({
      ...(name.trim() === "" ? {} : { name: name.trim() }),
      stdin,
      ...(expected_output === "" ? {} : { expected_output }),
    });
    return { tests: tests.map(test) };
  }

  #add({ name = "", stdin = "", expected_output = "" }) {
    const area = (className, text) => element("textarea", { className, rows: 3, value: text, spellcheck: false, autocapitalize: "off" });
    const field = element("input", { className: "name", value: name, placeholder: "optional", autocomplete: "off" });
    const remove = element("button", { type: "button", className: "remove" }, "Remove");
    const test = element(
      "fieldset",
      { className: "test" },
      element("legend", {}),
      element("div", { className: "row" }, element("label", {}, "Name", field), remove),
      element("label", { className: "wide" }, "Input", area("stdin", stdin)),
      element("label", { className: "wide" }, "Expected output", area("expected", expected_output)),
    );
    remove.addEventListener("click", () => {
      const next = test.nextElementSibling ?? test.previousElementSibling;
      if (next === null) this.#stdin.value = test.querySelector(".stdin").value;
      test.remove();
      this.#arrange();
      // The focus must not fall back to the top of the page.
      (next?.querySelector(".remove") ?? byId("add-test")).focus();
      this.#change();
    });
    this.#list.append(test);
    this.#arrange();
    return test;
  }

  #arrange() {
    const tests = [...this.#list.children];
    this.#single.hidden = tests.length > 0;
    for (const [index, test] of tests.entries()) {
      test.querySelector("legend").textContent = `Test ${index + 1}`;
      test.querySelector(".remove").ariaLabel = `Remove test ${index + 1}`;
    }
  }
}
