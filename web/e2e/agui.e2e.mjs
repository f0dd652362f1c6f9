// Turns through the client library of AG-UI itself, which checks the events against the protocol.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { it } from "node:test";
import { HttpAgent } from "@ag-ui/client";
import { startWithOwner } from "./support/duet.mjs";
import { startModel } from "./support/model.mjs";

/** An agent of the library that speaks to a new conversation. */
async function connect(duet) {
  const { secret } = await duet.call("POST", `${duet.home}/keys`, { name: "AG-UI", scopes: ["chat"] });
  const { id } = await duet.call("POST", `${duet.home}/conversations`, {});
  const agent = new HttpAgent({
    url: `${duet.url}${duet.home}/conversations/${id}/agui`,
    headers: { authorization: `Bearer ${secret}` },
    threadId: id,
  });
  /** Says something; returns the run's id and events, and what the library warned of. */
  const say = async (text, { runId = randomUUID(), onEvent } = {}) => {
    agent.addMessage({ id: randomUUID(), role: "user", content: text });
    const events = [];
    const warnings = [];
    const warn = console.warn;
    console.warn = (...words) => warnings.push(words.join(" "));
    try {
      const { newMessages } = await agent.runAgent(
        { runId },
        {
          onEvent: ({ event }) => {
            events.push(event);
            onEvent?.(event, runId);
          },
        },
      );
      // It warns of everything that AG-UI does not name.
      assert.deepEqual(warnings, []);
      return { runId, events, newMessages };
    } finally {
      console.warn = warn;
    }
  };
  /** The newest message as stored. */
  const newest = async () => (await duet.call("GET", `${duet.home}/conversations/${id}/messages`)).items[0];
  return { id, agent, say, newest };
}

const ofType = (events, type) => events.filter((event) => event.type === type);
const textOf = (messages) => messages.findLast(({ role }) => role === "assistant").content;

/** A test with its own installation, and a scripted model if it has one. */
function test(name, body, answer) {
  it(name, async () => {
    const model = answer && (await startModel(answer));
    const duet = await startWithOwner({ settings: model?.settingsFor(true) });
    try {
      await body(duet);
    } finally {
      await duet.stop();
      model?.stop();
    }
  });
}

test("a turn runs through AG-UI's own client, with tools, twice in one conversation", async (duet) => {
  const { id, say, newest } = await connect(duet);
  for (const fact of ["My sister is called Maria.", "I am allergic to hazelnuts."]) {
    const { runId, events, newMessages } = await say(fact);
    const [begun, end] = [events[0], events.at(-1)];
    assert.deepEqual(
      [begun.type, begun.threadId, begun.runId, begun.protocolVersion],
      ["RUN_STARTED", id, runId, "1.0"],
    );
    assert.deepEqual([end.type, end.runId, end.outcome], ["RUN_FINISHED", runId, { type: "success" }]);
    const stored = await newest();
    assert.equal(stored.id, begun.metadata.duet.reply_id);
    assert.equal(stored.run_id, runId);
    assert.equal(textOf(newMessages), stored.text);
    const [call] = ofType(events, "TOOL_CALL_START");
    assert.equal(call.toolCallName, "remember");
    const answers = newMessages.filter(({ role }) => role === "tool");
    assert.deepEqual(
      answers.map((answer) => answer.toolCallId),
      [call.toolCallId],
    );
    assert.equal(answers[0].metadata.duet.status, "succeeded");
  }
});

test(
  "a failed attempt keeps the protocol's order, and the end tells what was used",
  async (duet) => {
    const { say, newest } = await connect(duet);
    const { events } = await say("Tell me.");
    const steps = events.map(({ type, stepName }) => stepName && `${type} ${stepName}`).filter(Boolean);
    assert.deepEqual(steps, [
      "STEP_STARTED model 1",
      "STEP_FINISHED model 1",
      "STEP_STARTED model 1",
      "STEP_FINISHED model 1",
    ]);
    const tokens = { inputTokens: 10, outputTokens: 5, totalTokens: 15 };
    assert.deepEqual(events.at(-1).usage, [{ provider: "test", model: "scripted", ...tokens }]);
    assert.equal((await newest()).text, "All of it.");
  },
  (_, count) => (count === 0 ? ["Half", "break"] : "All of it."),
);

test("a stopped run is cancelled, neither complete nor failed", async (duet) => {
  const { say, newest } = await connect(duet);
  let stopped;
  const { events } = await say("Count to 200.", {
    onEvent: (event, runId) => {
      if (event.type === "TEXT_MESSAGE_CONTENT") stopped ??= duet.call("POST", `${duet.home}/runs/${runId}/cancel`);
    },
  });
  await stopped;
  assert.deepEqual([events.at(-1).type, events.at(-1).outcome], ["RUN_FINISHED", { type: "cancelled" }]);
  assert.equal(events.at(-1).metadata.duet.outcome, "cancelled");
  assert.equal((await newest()).status, "stopped");
});

test("a repeated run is the same run; a refusal reaches the client", async (duet) => {
  const { agent, say, newest } = await connect(duet);
  const text = "My sister is called Maria.";
  const first = await say(text);
  const before = await newest();
  agent.setMessages([]);
  const again = await say(text, { runId: first.runId });
  assert.deepEqual(again.events, first.events);
  assert.deepEqual(await newest(), before);
  await assert.rejects(say("Something else.", { runId: first.runId }), /409/);

  agent.threadId = randomUUID();
  await assert.rejects(say(text), /422/);
  assert.deepEqual(await newest(), before);
});
