// The TypeScript SDK on Node's own http server: one handler for the per-request era, one transport a session before.

import { randomUUID } from "node:crypto";
import { openSync, writeSync } from "node:fs";
import { createServer } from "node:http";

import { NodeStreamableHTTPServerTransport, toNodeHandler } from "@modelcontextprotocol/node";
import { createMcpHandler, McpServer } from "@modelcontextprotocol/server";
import { z } from "zod";

const port = Number(process.argv[2]);
const mode = process.argv[3];
const stamps = process.env.BENCH_STAMPS ? openSync(process.env.BENCH_STAMPS, "w") : -1;
const stamp = (what) => writeSync(stamps, `${what} ${process.hrtime.bigint()}\n`);
const text = (value) => ({ content: [{ type: "text", text: value }] });

const message = z.object({ message: z.string() });
const listed = z.object({ message: z.string(), count: z.number().int().default(1), loud: z.boolean().default(false) });
const echoed = z.object({ result: z.string() });
const echo = async ({ message }) => text(message);
const echoStructured = async ({ message }) => ({ ...text(message), structuredContent: { result: message } });

function makeServer() {
  const server = new McpServer({ name: "bench", version: "1.0" });
  if (mode === "many") {
    for (let number = 0; number < 100; number++) {
      const description = `Do thing number ${number} with a message.`;
      server.registerTool(`tool_${number}`, { description, inputSchema: listed, outputSchema: echoed }, echoStructured);
    }
    return server;
  }
  // Text alone, as is usual there: the Python servers add the structured result that they derive from the type.
  server.registerTool("echo", { description: "Return the message.", inputSchema: message }, echo);
  server.registerTool(
    "count",
    { description: "Report progress n times.", inputSchema: z.object({ n: z.number().int() }) },
    async ({ n }, ctx) => {
      const progressToken = ctx.mcpReq._meta?.progressToken;
      for (let number = 0; number < n; number++) {
        const params = { progressToken, progress: number + 1, total: n };
        await ctx.mcpReq.notify({ method: "notifications/progress", params });
      }
      return text("done");
    },
  );
  server.registerTool("wait", { description: "Wait to be cancelled." }, async (ctx) => {
    try {
      stamp("began");
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, 30_000);
        ctx.mcpReq.signal.addEventListener("abort", () => {
          clearTimeout(timer);
          resolve();
        });
      });
    } finally {
      stamp("ended");
    }
    return text("never cancelled");
  });
  return server;
}

const perRequest = toNodeHandler(createMcpHandler(makeServer, { legacy: "reject" }));
const sessions = new Map();

async function serveSession(request, response) {
  const id = request.headers["mcp-session-id"];
  let transport = sessions.get(id);
  if (transport === undefined) {
    transport = new NodeStreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      enableJsonResponse: mode !== "stream",
      onsessioninitialized: (id) => sessions.set(id, transport),
      onsessionclosed: (id) => sessions.delete(id),
    });
    transport.onclose = () => sessions.delete(transport.sessionId);
    await makeServer().connect(transport);
  }
  await transport.handleRequest(request, response);
}

createServer((request, response) => {
  if (request.headers["mcp-protocol-version"] === "2026-07-28") perRequest(request, response);
  else serveSession(request, response);
}).listen(port, "127.0.0.1");
