// The page: it chooses a transport, makes a form of each tool's schema, and shows what travels.

import { Direct, HttpSse, Notifications, OverWebSocket, PerRequest, StreamableHttp } from "./transports.js";

const TRANSPORTS = {
  http: [StreamableHttp, "Streamable HTTP", "fetch POSTs, and reads a stream as the reply. A cut call goes on, and its stream is resumed with Last-Event-ID."],
  "per-request": [PerRequest, "2026-07-28", "fetch POSTs, without a session. Whoever closes the connection has cancelled the call: cancel one, or close the tab."],
  sse: [HttpSse, "HTTP+SSE", "EventSource listens, fetch posts. The stream is the session: cut, it has ended, and EventSource opens another."],
  notifications: [Notifications, "Notifications", "EventSource listens, fetch posts. Cut, EventSource comes back with Last-Event-ID and hears what it missed. Many tabs may share a session."],
  message: [Direct, "Direct", "fetch posts and reads the answer. No session, no stream, no progress."],
  websocket: [OverWebSocket, "WebSocket", "One connection for both directions. Cut, the session has ended; this page opens another."],
};
const MAX_ROWS = 400;
const MAX_CALLS = 4;

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
let client;

/** An element with attributes and children; text is only ever text, whatever a server says. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

// The connection

async function connect(session) {
  client?.close();
  const name = new FormData($("connect")).get("transport");
  const server = new URL($("server").value).origin;
  const [Transport, , about] = TRANSPORTS[name];
  $("about").textContent = about;
  remember({ transport: name, server: server === location.origin ? null : server, session: session ?? null });
  showTools([]);
  const mine = new Transport(server, hooks(() => client === mine), { session });
  client = mine;
  try {
    await mine.connect();
  } catch (error) {
    if (client !== mine) return;
    mine.close();
    show("failed", error.message);
  }
}

/** What a client tells; a client that was replaced has nothing to tell any more. */
function hooks(current) {
  return {
    state(...state) {
      if (current()) show(...state);
    },
    opened() {
      if (current()) listTools();
    },
    log(...what) {
      if (current()) log(...what);
    },
    notified({ method }) {
      if (current() && method === "notifications/tools/list_changed") listTools();
    },
  };
}

function show(state, why) {
  $("state").textContent = state;
  $("state").className = `badge ${state}`;
  $("why").textContent = why;
  $("disconnect").disabled = state === "closed" || state === "failed";
  const shared = state === "connected" && client instanceof Notifications;
  $("join").hidden = !shared;
  if (shared) $("second").href = address({ transport: "notifications", session: client.session });
}

function address(changes) {
  const there = new URL(location.href);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) there.searchParams.delete(name);
    else there.searchParams.set(name, value);
  }
  return there.href;
}

const remember = (changes) => history.replaceState(null, "", address(changes));

// The tools

async function listTools() {
  try {
    showTools((await client.request("tools/list")).tools);
  } catch (error) {
    log("info", "no list of tools", error.message);
  }
}

/** A card for each tool; those that are shown already stay as they are, with what is typed into them. */
function showTools(tools) {
  $("none").hidden = tools.length > 0;
  const shown = new Map([...$("tools").children].map((card) => [card.dataset.tool, card]));
  $("tools").replaceChildren(...tools.map((tool) => shown.get(tool.name) ?? card(tool)));
}

function card(tool) {
  const calls = element("div", { class: "calls" });
  const form = element("form", { "aria-label": tool.name });
  const { properties = {}, required = [] } = tool.inputSchema;
  const fields = Object.entries(properties).map(([name, schema]) => field(name, schema, required.includes(name)));
  form.append(...fields.map(({ label }) => label), element("button", { class: "primary" }, "Call"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const given = fields.map(({ name, read }) => [name, read()]).filter(([, value]) => value !== undefined);
    call(tool.name, Object.fromEntries(given), calls);
  });
  const name = element("span", { class: "name" }, tool.name);
  const description = element("span", { class: "description" }, tool.description ?? "");
  return element("details", { class: "tool", "data-tool": tool.name }, element("summary", {}, name, description), form, calls);
}

/** A control for one argument: what the schema's simple kinds need, and JSON for all the others. */
function field(name, schema, required) {
  const hint = schema.description ? [element("span", { class: "hint" }, schema.description)] : [];
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  const value = schema.default;
  if (type === "boolean") {
    const input = element("input", { type: "checkbox", name, checked: value === true });
    return { name, read: () => input.checked, label: element("label", { class: "switch" }, input, name, ...hint) };
  }
  let input;
  let parse = (text) => text;
  if (schema.enum) {
    const choices = schema.enum.map((one) => element("option", { selected: one === value }, String(one)));
    input = element("select", { name }, ...choices);
    parse = (text) => schema.enum.find((one) => String(one) === text);
  } else if (type === "number" || type === "integer") {
    const limits = { min: schema.minimum, max: schema.maximum, step: type === "integer" ? 1 : "any" };
    input = element("input", { type: "number", name, required, value, ...limits });
    parse = (text) => (text === "" ? undefined : Number(text));
  } else if (type === "string") {
    input = element("input", { name, required, value, pattern: schema.pattern, autocomplete: "off" });
    parse = (text) => (text === "" && !required ? undefined : text);
  } else {
    input = element("textarea", { name, required, rows: 3, placeholder: "JSON" });
    input.addEventListener("input", () => input.setCustomValidity(isJson(input.value) ? "" : "This is not JSON"));
    parse = (text) => (text.trim() === "" ? undefined : JSON.parse(text));
  }
  const title = required ? name : `${name} (optional)`;
  return { name, read: () => parse(input.value), label: element("label", {}, title, input, ...hint) };
}

function isJson(text) {
  try {
    return text.trim() === "" || JSON.parse(text) !== undefined;
  } catch {
    return false;
  }
}

async function call(name, args, calls) {
  const badge = element("span", { class: "badge running" }, "running");
  const said = element("span", { class: "said" });
  const cancel = element("button", { type: "button" }, "Cancel");
  const bar = element("progress");
  const box = element("article", { class: "call" }, element("header", {}, badge, said, cancel), bar);
  calls.prepend(box);
  while (calls.children.length > MAX_CALLS) calls.lastChild.remove();

  const controller = new AbortController();
  cancel.addEventListener("click", () => controller.abort());
  const onProgress = ({ progress, total, message }) => {
    if (total) Object.assign(bar, { max: total, value: progress });
    said.textContent = message ?? `${progress}`;
  };
  let outcome = "done";
  let text;
  try {
    const result = await client.request("tools/call", { name, arguments: args }, { onProgress, signal: controller.signal });
    if (result.isError) outcome = "failed";
    text = result.content.map((block) => block.text ?? `(${block.type})`).join("\n");
  } catch (error) {
    outcome = controller.signal.aborted ? "cancelled" : "failed";
    text = error.message;
  }
  badge.className = `badge ${outcome}`;
  badge.textContent = outcome;
  cancel.remove();
  bar.remove();
  box.append(element("pre", {}, text));
}

// The log

function log(direction, what, detail, id) {
  const list = $("log");
  const atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 8;
  const sign = { out: "→", in: "←", info: "·" }[direction];
  const row = element("li", { class: direction });
  if (id) row.append(element("span", { class: "id", title: id }, id));
  const time = new Date();
  row.append(element("time", { datetime: time.toISOString() }, time.toISOString().slice(14, 22)), ` ${sign} `);
  row.append(element("span", { class: "what" }, what));
  if (detail) {
    row.append(element("span", { class: "detail" }, typeof detail === "string" ? detail : JSON.stringify(detail)));
  }
  list.append(row);
  while (list.children.length > MAX_ROWS) list.firstChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

// The beginning, and the end

for (const [name, [, title]] of Object.entries(TRANSPORTS)) {
  const checked = name === (query.get("transport") ?? "http");
  const radio = element("input", { type: "radio", name: "transport", value: name, checked });
  radio.addEventListener("change", () => connect());
  $("transports").append(element("label", { class: "choice" }, radio, element("span", {}, title)));
}
$("server").value = query.get("server") ?? location.origin;
$("connect").addEventListener("submit", (event) => {
  event.preventDefault();
  connect();
});
$("disconnect").addEventListener("click", () => client?.close());
$("clear").addEventListener("click", () => $("log").replaceChildren());
// A page that goes away says so. Its connections end with it in any case, and the server notices that, too.
addEventListener("pagehide", () => client?.close());
addEventListener("pageshow", (event) => event.persisted && connect());
connect(query.get("session") ?? undefined);
