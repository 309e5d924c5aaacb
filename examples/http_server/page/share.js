// The program in a link, and as a draft of this browser.
//
// Both are somebody's text: what is read is checked, and never run by itself.

const DRAFT = "evalx.draft";
const FRAGMENT = "#program=";
/** The most characters that a link may unpack to. */
const LONGEST = 1024 * 1024;
const MOST_TESTS = 1000;

/** A link to this page that carries the program; nothing of it reaches the server. */
export async function linkTo(program) {
  const packed = new Blob([JSON.stringify(program)]).stream().pipeThrough(new CompressionStream("deflate-raw"));
  const bytes = new Uint8Array(await new Response(packed).arrayBuffer());
  const text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  const code = btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return new URL(FRAGMENT + code, location.href).href;
}

/** The program in the address, or null if there is none. Throws if there is half of one. */
export async function fromLink() {
  if (!location.hash.startsWith(FRAGMENT)) return null;
  const code = location.hash.slice(FRAGMENT.length).replaceAll("-", "+").replaceAll("_", "/");
  const bytes = Uint8Array.from(atob(code), (character) => character.charCodeAt(0));
  const reader = new Blob([bytes])
    .stream()
    .pipeThrough(new DecompressionStream("deflate-raw"))
    .pipeThrough(new TextDecoderStream())
    .getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return checked(JSON.parse(text));
    text += value;
    if (text.length > LONGEST) {
      await reader.cancel();
      throw new Error("the program in the link is too long");
    }
  }
}

/** The program that was last edited here, or null. */
export function draft() {
  try {
    return checked(JSON.parse(localStorage.getItem(DRAFT)));
  } catch {
    return null;
  }
}

export function keep(program) {
  try {
    localStorage.setItem(DRAFT, JSON.stringify(program));
  } catch {
    // Storage is full or forbidden: then there is no draft.
  }
}

/** What is well-formed of a program that came from outside. */
function checked(program) {
  if (program === null || typeof program !== "object") return null;
  const text = (value) => (typeof value === "string" ? value : "");
  const tests = Array.isArray(program.tests) ? program.tests.slice(0, MOST_TESTS) : [];
  const limits = {};
  for (const [name, value] of Object.entries(program.limits ?? {})) {
    if (typeof value === "number" && Number.isFinite(value)) limits[name] = value;
  }
  return {
    language: text(program.language),
    source: text(program.source),
    stdin: text(program.stdin),
    tests: tests.map((test) => ({
      name: text(test?.name),
      stdin: text(test?.stdin),
      expected_output: text(test?.expected_output),
    })),
    limits,
  };
}
