// A stand-in for the API, for looking at pages while no server is at hand. It is NOT what the browser tests run
// against: those start the real `duet`. Keeps everything in memory; `node e2e/support/mock.mjs [port]`.
import { createHash, randomUUID } from "node:crypto";
import { createReadStream, existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join } from "node:path";

const client = new URL("../../dist/client/", import.meta.url).pathname;
const types = {
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".html": "text/html; charset=utf-8",
};

export function startMock({ port = 0, setupNeeded = true, pace = 60, token = "mock-token" } = {}) {
  const shell = readFileSync(join(client, "_shell.html"));
  const hashes = [...shell.toString().matchAll(/<script(?![^>]*\bsrc=)[^>]*>([\s\S]*?)<\/script>/g)].map(
    ([, body]) => `'sha256-${createHash("sha256").update(body).digest("base64")}'`,
  );
  const csp = `default-src 'none'; script-src 'self' ${hashes.join(" ")}; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'`;
  const now = () => new Date().toISOString();
  const ws = "00000000-0000-7000-8000-000000000001";
  const agent = { id: "agent", kind: "companion_primary", name: "Juno", model: null, active: true };
  const state = {
    setupNeeded,
    signedIn: !setupNeeded,
    conversations: new Map(),
    messages: new Map(),
    runs: new Map(),
    memories: new Map(),
  };
  const user = { id: "user", email: "ada@example.org", display_name: "Ada", created_at: now() };
  const session = () => ({
    user,
    session: { id: "s", expires_at: now() },
    workspaces: [{ workspace: { id: ws, name: "Home", created_at: now() }, role: "owner" }],
  });

  const usage = { input_tokens: 812, output_tokens: 96 };
  function remember(text, message) {
    const id = randomUUID();
    state.memories.set(id, {
      memory: {
        id,
        domain: "semantic",
        text,
        visibility: "private",
        sensitive: false,
        egress: "any",
        taint: "trusted",
        review: "accepted",
        occurred_at: now(),
        created_at: now(),
      },
      message,
      conversation: state.conversations.get(message.conversation_id),
      agent,
      superseded: [],
    });
    return id;
  }

  function startRun(conversation, message, { replyId = randomUUID(), prefix = "" } = {}) {
    const run = {
      id: randomUUID(),
      conversation_id: conversation.id,
      message_id: message.id,
      reply_id: replyId,
      status: "running",
      attempt: 1,
      last_seq: 0,
      reason: null,
      frames: [],
      listeners: new Set(),
    };
    state.runs.set(run.id, run);
    message.run_id = run.id;
    conversation.active_run = run.id;
    let text = prefix;
    const emit = (event, ...objects) => {
      run.last_seq += 1;
      objects.forEach((data, index) => {
        const id = index === objects.length - 1 ? `id: ${run.last_seq}\n` : "";
        run.frames.push({ seq: run.last_seq, text: `${id}event: ${event}\ndata: ${JSON.stringify(data)}\n\n` });
      });
      for (const tell of run.listeners) tell();
    };
    const messageId = replyId;
    const recalled = message.text.includes("?") ? [...state.memories.keys()] : [];
    const remembered = /remember that/i.test(message.text)
      ? [remember(message.text.replace(/.*remember that /i, ""), message)]
      : [];
    const tools = remembered.length ? [{ call_id: "c1", name: "remember", status: "succeeded" }] : [];
    emit(
      "started",
      { type: "RUN_STARTED", threadId: conversation.id, runId: run.id, replyId },
      ...(prefix
        ? [
            { type: "TEXT_MESSAGE_START", messageId, role: "assistant" },
            { type: "TEXT_MESSAGE_CONTENT", messageId, delta: prefix },
          ]
        : []),
    );
    emit("context", {
      type: "CUSTOM",
      name: "context",
      value: { model: "offline/rules", offline: true, recalled, text_only_recall: false, untrusted: false },
    });
    emit("model", { type: "STEP_STARTED", stepName: "model 1", step: 1, attempt: 1 });
    for (const tool of tools) {
      emit(
        "tool",
        { type: "TOOL_CALL_START", toolCallId: tool.call_id, toolCallName: tool.name },
        { type: "TOOL_CALL_END", toolCallId: tool.call_id },
      );
      emit("tool", {
        type: "TOOL_CALL_RESULT",
        toolCallId: tool.call_id,
        status: "succeeded",
        content: "kept",
        memories: remembered,
        remembered,
      });
    }
    const answer = message.text.includes("markdown")
      ? '## A heading\n\nSome *emphasis*, **strong words** and `code`, and a [link](https://example.org/).\n\n- one\n- two\n  1. nested\n- [x] done\n- [ ] open\n\n> A quotation of some length, so that it wraps over more than one line on a phone and shows how it is set.\n\n```rust\nfn main() { println!("a long line of code that has to scroll by itself on a phone, not the page"); }\n```\n\n| name | when | note |\n|---|---|---|\n| Ada | today | first |\n| Bob | tomorrow | second |\n\n---\n\n![a picture](https://example.com/pixel.png) <img src=https://example.com/x.png onerror=alert(1)>\n\nThe end &amp; nothing more.'
      : message.text.includes("fail")
        ? ""
        : /story/i.test(message.text)
          ? "Mira went on to the next place, and wrote the day into her notebook. ".repeat(40)
          : /count to/i.test(message.text)
            ? Array.from({ length: Number(/\d+/.exec(message.text)[0]) }, (_, index) => index + 1).join(", ")
            : recalled.length
              ? `You told me: ${[...state.memories.values()].map((one) => one.memory.text).join("; ")}.`
              : remembered.length
                ? "I will keep that in mind."
                : `I hear you. You said: “${message.text}” – and I have a good deal to say about it, slowly, a few words at a time, so that there is time to stop me, to reload the page, or to lose the connection on the way.`;
    const words = answer.match(/\s*\S+\s*/g) ?? [];
    const settle = (status, messageStatus, last) => {
      clearInterval(timer);
      run.status = status;
      conversation.active_run = null;
      conversation.updated_at = now();
      const list = state.messages.get(conversation.id);
      const old = list.findIndex((one) => one.parent_id === message.id);
      if (old >= 0) list.splice(old, 1);
      if (text)
        list.push({
          id: replyId,
          conversation_id: conversation.id,
          ordinal: list.length + 1,
          role: "assistant",
          status: messageStatus,
          text,
          parent_id: message.id,
          run_id: run.id,
          agent_id: "agent",
          trace: { model: "offline/rules", offline: true, usage, cost_micros: 0, tools, recalled, remembered },
          created_at: now(),
        });
      emit(...last);
      run.ended = true;
      for (const tell of run.listeners) tell();
    };
    run.cancel = () => {
      emit("cancel", { type: "CUSTOM", name: "cancel_requested", value: {} });
      settle("cancelled", "stopped", [
        "done",
        { type: "RUN_FINISHED", result: { outcome: "cancelled", message_id: replyId, status: "stopped", usage } },
      ]);
    };
    const timer = setInterval(() => {
      if (message.text.includes("fail")) {
        run.reason = "The model `ollama/llama3.2` cannot be reached. Start Ollama, or choose another model.";
        return settle("failed", undefined, [
          "error",
          { type: "RUN_ERROR", code: "unreachable", message: run.reason, runId: run.id },
        ]);
      }
      const word = words.shift();
      if (word === undefined) {
        emit("reply", { type: "STEP_FINISHED", stepName: "model 1", step: 1, usage, cost_micros: 0, stop: "end" });
        return settle("done", "complete", [
          "done",
          { type: "TEXT_MESSAGE_END", messageId },
          {
            type: "RUN_FINISHED",
            result: { outcome: "completed", message_id: replyId, status: "complete", usage, cost_micros: 0 },
          },
        ]);
      }
      text += word;
      emit("delta", ...(text === word ? [{ type: "TEXT_MESSAGE_START", messageId, role: "assistant" }] : []), {
        type: "TEXT_MESSAGE_CONTENT",
        messageId,
        delta: word,
      });
    }, pace);
    return { message_id: message.id, run_id: run.id, reply_id: replyId };
  }

  const problem = (status, code, detail) => ({
    status,
    body: { type: `https://duet.invalid/problems/${code}`, title: code, status, code, detail },
  });
  const plain = ({ frames, listeners, cancel, ended, ...run }) => run;

  function route(method, path, query, body, key) {
    const p = path.split("/").slice(2);
    if (path === "/v1/config")
      return {
        status: 200,
        body: {
          mode: "local",
          version: "0.1.0",
          setup_needed: state.setupNeeded,
          auth: "builtin",
          model: { default: "offline/rules", offline: true },
          embedder: { id: "builtin/lexical-v1", dimensions: 256 },
        },
      };
    if (path === "/v1/setup") {
      if (body.token !== token) return problem(403, "denied", "The setup token is wrong.");
      Object.assign(user, { email: body.email, display_name: body.display_name });
      agent.name = body.companion_name;
      state.setupNeeded = false;
      state.signedIn = true;
      return { status: 201, body: session() };
    }
    if (path === "/v1/auth/sign-in") {
      if (body.password === "wrong") return problem(401, "not_signed_in", "E-mail or password is wrong.");
      state.signedIn = true;
      return { status: 200, body: session() };
    }
    if (!state.signedIn) return problem(401, "not_signed_in", "Sign in first.");
    if (path === "/v1/auth/session") return { status: 200, body: session() };
    if (path === "/v1/auth/sign-out") {
      state.signedIn = false;
      return { status: 204 };
    }
    const [, , kind, id, sub, third, verb] = p;
    if (kind === "agents") return { status: 200, body: { items: [agent] } };
    if (kind === "conversations" && id === "search") {
      const q = query.get("q").toLowerCase();
      const items = [...state.messages.values()]
        .flat()
        .filter((m) => m.text.toLowerCase().includes(q))
        .map((m) => ({
          conversation_id: m.conversation_id,
          title: state.conversations.get(m.conversation_id).title,
          message_id: m.id,
          role: m.role,
          snippet: m.text.slice(0, 200),
          created_at: m.created_at,
        }));
      return { status: 200, body: { items } };
    }
    if (kind === "conversations" && !id && method === "GET") {
      const archived = query.get("archived") === "true";
      return {
        status: 200,
        body: {
          items: [...state.conversations.values()]
            .filter((c) => c.archived === archived)
            .sort((a, b) => (a.updated_at < b.updated_at ? 1 : -1)),
        },
      };
    }
    if (kind === "conversations" && !id) {
      const conversation = {
        id: body.id,
        agent_id: agent.id,
        title: "",
        archived: false,
        created_at: now(),
        updated_at: now(),
        active_run: null,
      };
      state.conversations.set(body.id, conversation);
      state.messages.set(body.id, []);
      return { status: 201, body: conversation };
    }
    if (kind === "conversations") {
      const conversation = state.conversations.get(id);
      if (!conversation) return problem(404, "not_found", "The conversation was not found.");
      if (!sub && method === "PATCH") Object.assign(conversation, body);
      if (!sub) return { status: 200, body: conversation };
      const list = state.messages.get(id);
      if (verb === "retry") {
        const message = list.find((one) => one.id === third);
        const old = list.find((one) => one.parent_id === third);
        return {
          status: 202,
          body: startRun(
            conversation,
            message,
            body.mode === "continue" && old ? { replyId: old.id, prefix: old.text } : {},
          ),
        };
      }
      if (method === "GET") return { status: 200, body: { items: [...list].reverse() } };
      const known = list.find((one) => one.key === key);
      if (known) return { status: 202, body: { message_id: known.id, run_id: known.run_id, reply_id: "" } };
      const message = {
        id: randomUUID(),
        key,
        conversation_id: id,
        ordinal: list.length + 1,
        role: "user",
        status: "complete",
        text: body.text,
        parent_id: null,
        run_id: null,
        created_at: now(),
      };
      list.push(message);
      if (!conversation.title) conversation.title = body.text.slice(0, 60);
      return { status: 202, body: startRun(conversation, message) };
    }
    if (kind === "runs") {
      const run = state.runs.get(id);
      if (!run) return problem(404, "not_found", "The run was not found.");
      if (sub === "cancel") run.cancel();
      return { status: 200, body: plain(run) };
    }
    if (kind === "memories") {
      const found = state.memories.get(id);
      if (!found) return problem(404, "not_found", "The memory was not found.");
      return { status: 200, body: sub === "provenance" ? found : found.memory };
    }
    return problem(404, "not_found", "There is nothing here.");
  }

  const server = createServer(async (request, response) => {
    const url = new URL(request.url, "http://mock");
    response.setHeader("content-security-policy", csp);
    if (url.pathname === "/health") return response.end("ok");
    if (url.pathname.startsWith("/v1/")) {
      const events = /\/runs\/([^/]+)\/events$/.exec(url.pathname);
      if (events) {
        const run = state.runs.get(events[1]);
        if (!run || !state.signedIn) return response.writeHead(404).end();
        response.writeHead(200, { "content-type": "text/event-stream" });
        let sent = Number(url.searchParams.get("after") ?? 0);
        const push = () => {
          for (const frame of run.frames.filter((one) => one.seq > sent)) response.write(frame.text);
          sent = run.last_seq;
          if (run.ended) response.end();
        };
        run.listeners.add(push);
        request.on("close", () => run.listeners.delete(push));
        return push();
      }
      let text = "";
      for await (const chunk of request) text += chunk;
      const { status, body } = route(
        request.method,
        url.pathname,
        url.searchParams,
        text ? JSON.parse(text) : {},
        request.headers["idempotency-key"],
      );
      response.writeHead(status, { "content-type": status >= 400 ? "application/problem+json" : "application/json" });
      return response.end(body === undefined ? undefined : JSON.stringify(body));
    }
    const file = join(client, url.pathname);
    if (extname(file) && existsSync(file)) {
      response.setHeader("content-type", types[extname(file)] ?? "application/octet-stream");
      return createReadStream(file).pipe(response);
    }
    if (extname(file)) return response.writeHead(404).end();
    response.setHeader("content-type", types[".html"]);
    response.end(shell);
  });
  return new Promise((resolve) =>
    server.listen(port, "127.0.0.1", () =>
      resolve({ url: `http://127.0.0.1:${server.address().port}`, state, close: () => server.close() }),
    ),
  );
}

if (import.meta.url === `file://${process.argv[1]}`) {
  const { url } = await startMock({ port: Number(process.argv[2] ?? 8371) });
  console.log(`Mock of the API (not Duet): ${url}/#token=mock-token`);
}
