// What every transport has in common: requests that wait for their responses, and a connection that comes back.
//
//     await client.connect();
//     const { tools } = await client.request("tools/list");
//     const result = await client.request("tools/call", { name: "add", arguments: { a: 1, b: 2 } }, { onProgress, signal });
//     client.close();
//
// A client tells its `hooks` what happens: `state(name, why)`, `opened()`, `notified(message)`, and for those who want to
// watch, `log(direction, what, detail, id)`.

export const WITH_SESSION = "2025-11-25";
export const WITHOUT_SESSION = "2026-07-28";
export const CLIENT_INFO = { name: "browser-example", version: "1.0" };

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Thrown by `request` when the server answers with an error. */
export class McpError extends Error {
  constructor({ code, message }) {
    super(`${message} (${code})`);
    this.code = code;
  }
}

export class Client {
  constructor(server, hooks) {
    this.server = server;
    this.hooks = hooks;
    this.closed = false;
    this.leaving = new AbortController(); // ends every fetch when the client is closed
    this.waiting = new Map(); // the id of a request → what waits for its response
    this.count = 0;
    // Two tabs may share a session, so the ids of one must not be those of the other.
    this.tab = Math.random().toString(36).slice(2, 8);
  }

  /**
   * Send a request and wait for its result.
   *
   * `onProgress` is called with {progress, total, message}; `signal`, of an AbortController, cancels the request.
   */
  request(method, params = {}, { onProgress, signal } = {}) {
    const id = `${this.tab}-${++this.count}`;
    const message = { jsonrpc: "2.0", id, method, params };
    if (onProgress) message.params = { ...params, _meta: { progressToken: id } };
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, onProgress });
      signal?.addEventListener("abort", () => {
        if (!this.waiting.has(id)) return;
        this.fail(id, new Error("cancelled"));
        this.cancel(id);
      });
      this.send(message, signal).catch((error) => this.fail(id, error));
    });
  }

  /** Take in what the server said. */
  receive(message) {
    if (message.method === "notifications/progress") {
      this.waiting.get(message.params.progressToken)?.onProgress?.(message.params);
    } else if (message.method && message.id !== undefined) {
      this.answer(message);
    } else if (message.method) {
      this.hooks.notified(message);
    } else if (this.waiting.has(message.id)) {
      const { resolve, reject } = this.waiting.get(message.id);
      this.waiting.delete(message.id);
      if (message.error) reject(new McpError(message.error));
      else resolve(message.result);
    } else {
      this.hooks.log("info", "nobody waits for", message.id); // another tab's, or cancelled
    }
  }

  /** The server may ask, too. This page declares no capabilities, so it is only asked whether it is there. */
  answer({ id, method }) {
    const error = { code: -32601, message: `${method} is not supported here` };
    const response = { jsonrpc: "2.0", id, ...(method === "ping" ? { result: {} } : { error }) };
    this.send(response).catch(() => {});
  }

  /** Greet the server, in the revisions that have a handshake. */
  async handshake() {
    const params = { protocolVersion: WITH_SESSION, capabilities: {}, clientInfo: CLIENT_INFO };
    const result = await this.request("initialize", params);
    await this.send({ jsonrpc: "2.0", method: "notifications/initialized" });
    return result;
  }

  /** Tell the server that nobody waits any more. */
  cancel(id) {
    const params = { requestId: id, reason: "the user cancelled it" };
    this.send({ jsonrpc: "2.0", method: "notifications/cancelled", params }).catch(() => {});
  }

  fail(id, error) {
    this.waiting.get(id)?.reject(error);
    this.waiting.delete(id);
  }

  failAll(why) {
    for (const id of [...this.waiting.keys()]) this.fail(id, new Error(why));
  }

  close() {
    this.state("closed");
    this.closed = true;
    this.failAll("disconnected");
    this.leaving.abort();
  }

  state(name, why = "") {
    if (!this.closed) this.hooks.state(name, why);
  }

  /** Connected, and as if for the first time: what was known of the server may not hold any more. */
  opened(how) {
    this.state("connected", how);
    if (!this.closed) this.hooks.opened();
  }

  /** POST a message; the response. Whatever is no success is thrown, with the server's words. */
  async post(path, message, { headers = {}, signal } = {}) {
    this.hooks.log("out", `POST ${path.split("?")[0]}`, message);
    headers = { "Content-Type": "application/json", ...headers };
    return this.fetch(path, { method: "POST", headers, body: JSON.stringify(message), signal });
  }

  async fetch(path, options) {
    const signals = [this.leaving.signal, options.signal].filter(Boolean);
    const response = await fetch(this.server + path, { ...options, signal: AbortSignal.any(signals) });
    if (response.ok) return response;
    const body = await response.json().catch(() => null);
    this.hooks.log("in", `status ${response.status}`, body);
    const error = body?.error ? new McpError(body.error) : new Error(`the server answered ${response.status}`);
    throw Object.assign(error, { status: response.status });
  }

  /** Take a JSON reply in. */
  async receiveJson(response) {
    const message = await response.json();
    this.hooks.log("in", "reply", message);
    this.receive(message);
  }

  /** Try `connect`, with longer and longer pauses, until it works or the client is closed; what it returns. */
  async comeBack(why, connect) {
    for (let wait = 250; !this.closed; wait = Math.min(2 * wait, 4000)) {
      this.state("reconnecting", why);
      await pause(wait);
      try {
        if (!this.closed) return await connect();
      } catch (error) {
        this.hooks.log("info", "not yet", error.message);
      }
    }
  }
}

export const isJson = (response) => response.headers.get("Content-Type").startsWith("application/json");
