// How a web page speaks MCP: six ways, a class each, with nothing but the browser's own EventSource, fetch and WebSocket.
//
// All have the face of `Client`. What they differ in is how a message travels, and what a cut of the network does.

import { CLIENT_INFO, Client, WITHOUT_SESSION, WITH_SESSION, isJson, pause } from "./client.js";
import { readEvents } from "./events.js";

/**
 * Streamable HTTP with a session (2025-03-26 to 2025-11-25): POST speaks, its response answers, GET listens.
 *
 * Cut, a call goes on: its stream is resumed by a GET with the id of the last event that came. Where the session is gone
 * (404), another is opened.
 */
export class StreamableHttp extends Client {
  session = null;

  async connect() {
    this.state("connecting");
    this.session = null;
    await this.handshake();
    this.listen(this.session);
    this.opened(`session ${this.session.slice(0, 8)}…`);
  }

  get headers() {
    const headers = { Accept: "application/json, text/event-stream" };
    if (this.session) Object.assign(headers, { "Mcp-Session-Id": this.session, "MCP-Protocol-Version": WITH_SESSION });
    return headers;
  }

  async send(message) {
    const session = this.session;
    try {
      const response = await this.post("/mcp", message, { headers: this.headers });
      // From another origin this header can be read only because the server exposes it.
      if (message.method === "initialize") this.session = response.headers.get("Mcp-Session-Id");
      if (response.status === 202) return;
      if (isJson(response)) await this.receiveJson(response);
      else await this.follow(response, () => this.waiting.has(message.id));
    } catch (error) {
      if (error.status === 404) this.lost(session);
      throw error;
    }
  }

  /** What the server says of its own accord comes on a stream of its own. */
  async listen(session) {
    const current = () => !this.closed && this.session === session;
    try {
      await this.follow(await this.get(), current);
    } catch (error) {
      if (error.status === 404) this.lost(session);
      else if (current()) this.comeBack(error.message, () => this.connect());
    }
  }

  async get(lastEventId) {
    const headers = { ...this.headers, Accept: "text/event-stream" };
    if (lastEventId) headers["Last-Event-ID"] = lastEventId;
    this.hooks.log("out", "GET /mcp", undefined, lastEventId);
    return this.fetch("/mcp", { headers });
  }

  /** Read a stream, and come back to it whenever it ends, for as long as something is `owed` on it. */
  async follow(response, owed) {
    let last;
    let retry = 1000;
    for (;;) {
      try {
        for await (const event of readEvents(response.body)) {
          last = event.id ?? last;
          retry = event.retry ?? retry;
          this.hooks.log("in", event.data ? "event" : "event without data", event.data, event.id);
          if (event.data) this.receive(JSON.parse(event.data));
          if (!owed()) return;
        }
      } catch (error) {
        this.hooks.log("info", "the stream was cut", error.message);
      }
      if (!owed()) return;
      await pause(retry);
      response = await this.comeBack("resuming a stream", () => this.again(last));
      if (!response?.body) throw response ?? new Error("disconnected");
      this.state("connected", "resumed");
    }
  }

  /** GET a stream again; what the server refuses is returned, for trying once more would not help. */
  async again(last) {
    try {
      return await this.get(last);
    } catch (error) {
      if (error.status === undefined || error.status === 503) throw error; // the network, or a restart: try again
      return error;
    }
  }

  lost(session) {
    if (!session || this.session !== session) return; // somebody else has noticed already
    this.session = null;
    this.failAll("the session is gone: the server was restarted, or waited for too long");
    this.comeBack("the session is gone", () => this.connect());
  }

  close() {
    const { headers, session } = this;
    super.close();
    // `keepalive`: also while the page goes away. It is a courtesy: without it the session ends by its idle limit.
    if (session) fetch(`${this.server}/mcp`, { method: "DELETE", headers, keepalive: true }).catch(() => {});
  }
}

/**
 * Streamable HTTP without a session (2026-07-28): every request says everything about itself.
 *
 * The connection is the call: closing it, by cancelling, by leaving or by a cut, cancels the call. What the server says of
 * its own accord comes on the stream of a request that does not end, `subscriptions/listen`.
 */
export class PerRequest extends Client {
  async connect() {
    this.state("connecting");
    await this.request("server/discover");
    this.subscribe();
    this.opened("no session");
  }

  async send(message, signal) {
    const { method } = message;
    const name = "io.modelcontextprotocol/";
    const meta = { [`${name}protocolVersion`]: WITHOUT_SESSION, [`${name}clientCapabilities`]: {} };
    meta[`${name}clientInfo`] = CLIENT_INFO;
    const params = { ...message.params, _meta: { ...message.params._meta, ...meta } };
    // The headers repeat what the body says, so that a proxy can route a request without reading it.
    const headers = { "MCP-Protocol-Version": WITHOUT_SESSION, "Mcp-Method": method };
    headers.Accept = "application/json, text/event-stream";
    if (method === "tools/call") headers["Mcp-Name"] = headerValue(params.name);
    const response = await this.post("/mcp", { ...message, params }, { headers, signal });
    if (isJson(response)) return this.receiveJson(response);
    for await (const event of readEvents(response.body)) {
      this.hooks.log("in", "event", event.data);
      this.receive(JSON.parse(event.data));
    }
    throw new Error("the connection was cut, and with it the call"); // too late where the answer has come
  }

  async subscribe() {
    let why = "the server ended the subscription";
    try {
      await this.request("subscriptions/listen", { notifications: { toolsListChanged: true } });
    } catch (error) {
      why = error.message;
    }
    this.comeBack(why, () => this.connect());
  }

  cancel() {} // the signal has closed the connection already
}

/** A header holds visible ASCII only; anything else travels in base64. */
function headerValue(text) {
  if (/^[\x21-\x7e]+$/.test(text) && !text.startsWith("=?")) return text;
  return `=?base64?${btoa(String.fromCharCode(...new TextEncoder().encode(text)))}?=`;
}

/**
 * What the two transports on EventSource have in common: it listens, and when it is cut it reconnects by itself.
 *
 * It gives up where the answer is no stream: 403, 404, 503. It does not tell which; then somebody else must try again.
 */
class OnEventSource extends Client {
  async connect() {
    this.state("connecting");
    this.source?.close();
    await new Promise((resolve, reject) => {
      this.refused = reject;
      this.source = this.open(this.path, this.handlers((greeted) => greeted.then(resolve, reject)));
    });
    this.refused = (error) => this.comeBack(error.message, () => this.connect());
  }

  open(path, handlers) {
    this.hooks.log("out", `GET ${path.split("?")[0]}`);
    const source = new EventSource(this.server + path);
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => {
        this.hooks.log("in", `event ${name}`, event.data, event.lastEventId);
        handle(event.data);
      });
    }
    source.addEventListener("error", () => {
      if (this.closed || source !== this.source) return;
      const over = source.readyState === EventSource.CLOSED;
      this.cut(over);
      if (over) this.refused(new Error("the stream was refused: is the server there, and is this page's origin allowed?"));
      else this.state("reconnecting", "EventSource comes back by itself");
    });
    return source;
  }

  close() {
    super.close();
    this.source?.close();
  }
}

/**
 * HTTP with SSE (2024-11-05): EventSource listens, `POST /messages` speaks.
 *
 * The stream is the session: cut, the session has ended with all its calls, and EventSource opens another.
 */
export class HttpSse extends OnEventSource {
  path = "/sse";

  handlers(connected) {
    return {
      endpoint: (data) => connected(this.begin(data)), // the first event, also when it has come back
      message: (data) => this.receive(JSON.parse(data)),
      connected: () => {}, // these two with `--sse-heartbeat event`: signs of life that a page can see
      heartbeat: () => {},
    };
  }

  async begin(endpoint) {
    this.endpoint = endpoint;
    await this.handshake();
    this.opened(`session ${endpoint.split("session_id=")[1].slice(0, 8)}…`);
  }

  async send(message) {
    await this.post(this.endpoint, message);
  }

  cut() {
    this.failAll("the stream was cut, and the session ended with it");
  }
}

/**
 * The notifications dialect: EventSource listens, `POST /mcp?session_id=…` speaks, and whoever listens hears everything.
 *
 * Cut, EventSource comes back with the id of its last event, and the server sends what came meanwhile. With `session`, a
 * client joins one that is there already.
 */
export class Notifications extends OnEventSource {
  constructor(server, hooks, { session } = {}) {
    super(server, hooks);
    this.session = session;
    this.greeted = Boolean(session); // by the tab that opened it
  }

  get path() {
    return this.session ? `/notifications?session_id=${this.session}` : "/notifications";
  }

  handlers(connected) {
    return {
      message: (data) => {
        const [, session] = /^Connected to session (.*)$/.exec(data) ?? [];
        if (session) connected(this.begin(session)); // the first event of every connection
        else this.receive(JSON.parse(data));
      },
    };
  }

  async begin(session) {
    this.session = session;
    if (!this.greeted) await this.handshake();
    this.greeted = true;
    const how = `session ${session.slice(0, 8)}…`;
    if (this.heard === session) this.state("connected", how); // it has come back, and missed nothing
    else this.opened(how);
    this.heard = session;
  }

  async send(message) {
    await this.post(`/mcp?session_id=${this.session}`, message);
  }

  cut(over) {
    if (!over) return; // what comes meanwhile is kept for us
    this.session = undefined;
    this.greeted = false;
    this.failAll("the session is gone");
  }
}

/** Direct replies: one POST, one JSON answer. Nothing listens, so there is no progress, and no session to lose. */
export class Direct extends Client {
  async connect() {
    this.state("connecting");
    await this.request("initialize");
    this.opened("no connection is kept");
  }

  async send(message, signal) {
    await this.receiveJson(await this.post("/message", message, { signal }));
  }

  cancel() {} // the signal has closed the connection already
}

/**
 * WebSocket: one connection for both directions.
 *
 * Cut, the session has ended with all its calls; unlike an EventSource, a WebSocket must be opened again by hand.
 */
export class OverWebSocket extends Client {
  async connect() {
    this.state("connecting");
    const socket = new WebSocket(`${this.server.replace(/^http/, "ws")}/ws`, "mcp");
    this.socket = socket;
    socket.addEventListener("message", ({ data }) => {
      this.hooks.log("in", "frame", data);
      this.receive(JSON.parse(data));
    });
    let greeted = false;
    await new Promise((resolve, reject) => {
      socket.addEventListener("open", resolve);
      socket.addEventListener("close", ({ code, reason }) => {
        reject(new Error("the WebSocket was refused: is the server there, and is this page's origin allowed?"));
        this.failAll("the connection was cut, and the session ended with it");
        if (greeted) this.comeBack(`closed: ${code} ${reason}`, () => this.connect());
      });
    });
    await this.handshake();
    greeted = true;
    this.opened("the connection is the session");
  }

  async send(message) {
    this.hooks.log("out", "frame", message);
    this.socket.send(JSON.stringify(message));
  }

  close() {
    super.close();
    this.socket?.close();
  }
}
