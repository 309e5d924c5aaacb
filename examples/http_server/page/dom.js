// Making elements. Text is always text: nothing on this page is ever parsed as
// HTML, whatever a program has written or a server has said.

/** An element with properties and children; a string among them is text. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export const byId = (id) => document.getElementById(id);

/** The most characters of one output that are shown: more would stop the browser, and nobody reads it. */
const SHOWN = 100_000;

/** A text in a box that can be scrolled, with the keyboard too. */
export function output(label, text) {
  const box = element("pre", { tabIndex: 0, ariaLabel: label, role: "region" }, text.slice(0, SHOWN));
  const [shown, all] = [SHOWN, text.length].map((number) => number.toLocaleString("en"));
  const cut = text.length > SHOWN ? element("p", { className: "note" }, `The first ${shown} of ${all} characters.`) : null;
  return element("div", { className: "output" }, element("h4", {}, label), box, cut);
}

/** A link, if the address is one of the web; else nothing. */
export function link(text, address) {
  const url = URL.canParse(address) ? new URL(address) : null;
  if (url?.protocol !== "https:" && url?.protocol !== "http:") return null;
  return element("a", { href: url.href, target: "_blank", rel: "noopener noreferrer" }, text);
}
