// Clients in Node: the TypeScript SDK's SSE transport, and its EventSource. What they saw goes to stdout as JSON lines.
//
//     node sse_client.mjs NODE_MODULES sdk URL
//     node sse_client.mjs NODE_MODULES source URL      (lines on stdin: a message to post, or "close")

import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [modules, what, url] = process.argv.slice(2);
const load = (path) => import(pathToFileURL(`${modules}/${path}`).href);
const say = (value) => console.log(JSON.stringify(value));

async function sdk() {
  const { Client } = await load("@modelcontextprotocol/sdk/dist/esm/client/index.js");
  const { SSEClientTransport } = await load("@modelcontextprotocol/sdk/dist/esm/client/sse.js");
  const { ElicitRequestSchema, LoggingMessageNotificationSchema } = await load("@modelcontextprotocol/sdk/dist/esm/types.js");
  const client = new Client({ name: "node", version: "1" }, { capabilities: { elicitation: {} } });
  client.setRequestHandler(ElicitRequestSchema, () => ({ action: "accept", content: { name: "Node" } }));
  await client.connect(new SSEClientTransport(new URL(url)));
  say({ server: client.getServerVersion().name });
  say({ tools: (await client.listTools()).tools.map((tool) => tool.name) });
  say((await client.callTool({ name: "weather", arguments: { city: "Ulm" } })).structuredContent);
  const logged = [];
  client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => void logged.push(params.data));
  await client.callTool({ name: "work" });
  say({ logged });
  say((await client.callTool({ name: "greet" })).content[0].text);
  const sums = await Promise.all(
    [1, 2, 3, 4, 5].map((n) => client.callTool({ name: "add", arguments: { a: n, b: n } })),
  );
  say({ sums: sums.map((sum) => sum.structuredContent.result) });
  await client.close();
}

async function source() {
  const { EventSource } = await load("eventsource/dist/index.js");
  const events = new EventSource(url);
  events.onmessage = ({ data }) => say({ data });
  events.onerror = () => say({ state: events.readyState });
  for await (const line of createInterface({ input: process.stdin })) {
    if (line === "close") break;
    const { session, message } = JSON.parse(line);
    const address = new URL(`/mcp?session_id=${session}`, url);
    const headers = { "Content-Type": "application/json" };
    const response = await fetch(address, { method: "POST", headers, body: JSON.stringify(message) });
    say({ status: response.status });
  }
  events.close();
}

await (what === "sdk" ? sdk() : source());
process.exit(0);
