// A scripted model for tests: an OpenAI-compatible server in this process.
import { once } from "node:events";
import { createServer } from "node:http";

/**
 * Starts it. `answer(question, count)` gets the person's newest message and the number of earlier requests; it returns the
 * text, or a list of pieces, or an async generator of them. The piece `"break"` cuts the connection, `{ call, arguments }` calls a
 * tool; `{ status }` instead of an answer refuses the request. The third argument are the results of the tools called so far.
 */
export async function startModel(answer) {
  let count = 0;
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    const { messages } = JSON.parse(body);
    const asked = messages.findLast(({ role }) => role === "user")?.content ?? "";
    const question = typeof asked === "string" ? asked : asked.map(({ text }) => text ?? "").join("");
    const results = messages.filter(({ role }) => role === "tool").map(({ content }) => content);
    const given = await answer(question, count++, results);
    if (given.status) {
      response.writeHead(given.status, { "content-type": "application/json" });
      response.end(JSON.stringify({ error: { message: given.message ?? "no" } }));
      return;
    }
    response.writeHead(200, { "content-type": "text/event-stream" });
    const say = (choices, usage = null) =>
      new Promise((written) => {
        response.write(`data: ${JSON.stringify({ object: "chat.completion.chunk", choices, usage })}\n\n`, written);
      });
    let calls = 0;
    for await (const piece of typeof given === "string" ? [given] : given) {
      if (piece === "break") return void response.destroy();
      if (piece.call) {
        const called = { name: piece.call, arguments: JSON.stringify(piece.arguments) };
        const tool_calls = [{ index: calls, id: `call-${count}-${calls}`, type: "function", function: called }];
        calls += 1;
        await say([{ index: 0, delta: { tool_calls }, finish_reason: null }]);
        continue;
      }
      // Each piece is sent before the next, so that a break does not discard earlier ones.
      await say([{ index: 0, delta: { content: piece }, finish_reason: null }]);
    }
    await say([{ index: 0, delta: {}, finish_reason: calls > 0 ? "tool_calls" : "stop" }]);
    await say([], { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 });
    response.end("data: [DONE]\n\n");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${server.address().port}/v1`;
  return {
    /** Configures it as a provider, and as the model of all agents if `standard`. */
    settingsFor: (standard) =>
      `${standard ? '[models]\ndefault = "test/scripted"\n' : ""}[models.providers.test]\nkind = "openai"\nbase_url = "${url}"\n`,
    stop: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
