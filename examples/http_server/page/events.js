// Server-sent events from the body of a response. The browser's own
// `EventSource` can't send a token, and tells nothing of a refusal.

/** The longest event that is waited for; a server that sends more is broken. */
const LONGEST = 64 * 1024 * 1024;

/** The events of a stream of bytes: iterate over it. */
export class Stream {
  #body;

  constructor(body) {
    this.#body = body;
  }

  async *[Symbol.asyncIterator]() {
    const reader = this.#body.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new Parser();
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        yield* parser.take(value);
      }
    } finally {
      await reader.cancel().catch(() => {});
    }
  }
}

/** From text, in pieces as they come, to events. */
export class Parser {
  #rest = "";
  #fields = { type: "message", data: [], id: null };

  *take(text) {
    const complete = /[\r\n]/.test(text) || this.#rest.endsWith("\r");
    this.#rest += text;
    if (this.#rest.length > LONGEST) throw new Error("an event is too long");
    if (!complete) return;
    // A line may end in CR LF; the CR alone at the end of a piece may be half of one.
    const lines = this.#rest.split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) {
      const event = this.#line(line);
      if (event !== null) yield event;
    }
  }

  #line(line) {
    if (line === "") {
      const { type, data, id } = this.#fields;
      this.#fields = { type: "message", data: [], id: null };
      return data.length === 0 ? null : { type, data: data.join("\n"), id };
    }
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") this.#fields.type = value;
    else if (name === "data") this.#fields.data.push(value);
    else if (name === "id") this.#fields.id = value;
    return null;
  }
}
