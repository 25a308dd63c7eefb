// Server-sent events out of a `fetch`.
//
// EventSource reads them by itself, but it can only GET and can send no headers. Streamable HTTP answers a POST with
// a stream, so here is what EventSource does, for any response: WHATWG HTML, section 9.2, "Parsing an event stream".

/**
 * The events of a response's body, one after the other, in whatever pieces the network brings them.
 *
 * `for await` can be left at any time; the response is then given up, and the server notices.
 */
export async function* readEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let event = newEvent();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return; // an event without its blank line is not whole, and does not count
      // Lines end with LF, CR LF or CR. A CR at the very end may be half of a CR LF: it waits for what follows.
      const lines = (rest + value).split(/\r\n|\n|\r(?=[^])/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (event.given) yield { name: event.name, data: event.data.join("\n"), id: event.id, retry: event.retry };
          event = newEvent();
        } else {
          readLine(line, event);
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // it may be broken already
  }
}

const newEvent = () => ({ given: false, name: "message", data: [], id: undefined, retry: undefined });

function readLine(line, event) {
  const colon = line.indexOf(":");
  if (colon === 0) return; // a comment: it only keeps the connection warm
  const field = colon < 0 ? line : line.slice(0, colon);
  const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
  event.given = true;
  if (field === "data") event.data.push(value);
  else if (field === "event") event.name = value;
  else if (field === "id") event.id = value;
  else if (field === "retry" && /^[0-9]+$/.test(value)) event.retry = Number(value);
}
