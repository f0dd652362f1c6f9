import { describe, expect, it } from "vitest";
import type { AguiCustom, AguiEvent } from "~/api/types";
import { emptyReply, type Fold, foldFrame, type LiveReply, reconnected, startFold } from "./fold";
import type { Frame } from "./sse";

const raw = (data: object, seq?: number): Frame => ({
  event: "x",
  data: JSON.stringify(data),
  ...(seq === undefined ? {} : { id: String(seq) }),
});
const frame = (event: AguiEvent, seq?: number) => raw(event, seq);
const text = (delta: string, seq?: number) => frame({ type: "TEXT_MESSAGE_CONTENT", messageId: "r", delta }, seq);
const custom = (custom: AguiCustom, seq: number) => frame({ type: "CUSTOM", ...custom }, seq);
const run = (frames: Frame[], from: Fold = startFold()) => frames.reduce(foldFrame, from);
const begun: AguiEvent = {
  type: "RUN_STARTED",
  threadId: "c",
  runId: "run",
  protocolVersion: "1.0",
  metadata: { duet: { reply_id: "r" } },
};
const step = (step: number, attempt: number): AguiEvent => ({
  type: "STEP_STARTED",
  stepName: `model ${step}`,
  metadata: { duet: { step, attempt } },
});
const usage = { input_tokens: 10, output_tokens: 4, cached_input_tokens: 0, cache_write_tokens: 0 };
const labels = { integrity: "trusted", egress: "any", sensitive: false, others: false } as const;

/** A complete run with tools, a failed attempt, and an event that arrives as several frames. */
const log: Frame[] = [
  frame(begun, 1),
  custom(
    {
      name: "context",
      value: {
        model: "offline/rules",
        offline: true,
        recalled: ["m1", "m2"],
        text_only_recall: true,
        untrusted: false,
        labels,
      },
    },
    2,
  ),
  frame(step(1, 1), 3),
  frame({ type: "TEXT_MESSAGE_START", messageId: "r", role: "assistant" }),
  text("void ", 4),
  frame({ type: "STEP_FINISHED", stepName: "model 1" }),
  custom(
    { name: "retry", value: { step: 1, attempt: 1, failure: "busy", message: "The model is busy.", text: "" } },
    5,
  ),
  frame(step(1, 2), 6),
  frame({ type: "TEXT_MESSAGE_START", messageId: "r", role: "assistant" }),
  text("Your ", 7),
  frame(
    {
      type: "STEP_FINISHED",
      stepName: "model 1",
      metadata: { duet: { step: 1, usage, cost_micros: 30, stop: "tool_use" } },
    },
    8,
  ),
  frame({ type: "TOOL_CALL_START", toolCallId: "t", toolCallName: "recall", parentMessageId: "r" }),
  frame({ type: "TOOL_CALL_ARGS", toolCallId: "t", delta: "query: sister" }),
  frame({ type: "TOOL_CALL_END", toolCallId: "t" }, 9),
  frame(
    {
      type: "TOOL_CALL_RESULT",
      messageId: "x",
      toolCallId: "t",
      content: "2 memories",
      metadata: { duet: { status: "succeeded", memories: ["m2", "m3", "m4"], remembered: ["m4"] } },
    },
    10,
  ),
  text("sister", 11),
  text(" is Ada.", 12),
  frame(
    {
      type: "STEP_FINISHED",
      stepName: "model 2",
      metadata: { duet: { step: 2, usage, cost_micros: 12, stop: "end" } },
    },
    13,
  ),
  frame({ type: "TEXT_MESSAGE_END", messageId: "r" }),
  frame(
    {
      type: "RUN_FINISHED",
      threadId: "c",
      runId: "run",
      outcome: { type: "success" },
      usage: [{ inputTokens: 20, outputTokens: 8, totalTokens: 28 }],
      metadata: { duet: { outcome: "completed", message_id: "r", status: "complete", usage, cost_micros: 42 } },
    },
    14,
  ),
];
const end = run(log).reply;

describe("a reply as its events tell it", () => {
  it("has the text, the tools, the memories, the cost and the end", () => {
    expect(end).toMatchObject({
      seq: 14,
      replyId: "r",
      text: "Your sister is Ada.",
      model: "offline/rules",
      offline: true,
      textOnlyRecall: true,
      recalled: ["m1", "m2", "m3"],
      remembered: ["m4"],
      tools: [{ callId: "t", name: "recall", args: "query: sister", status: "succeeded", summary: "2 memories" }],
      costMicros: 42,
      end: { outcome: "completed", status: "complete", failed: false },
    } satisfies Partial<LiveReply>);
  });

  it("is the same when the connection breaks after any frame and goes on after the last whole event", () => {
    for (let cut = 0; cut <= log.length; cut++) {
      const before = run(log.slice(0, cut));
      const seq = before.reply.seq;
      const at = seq === 0 ? 0 : log.findIndex((one) => one.id === String(seq)) + 1;
      expect(run(log.slice(at), reconnected(before)).reply, `cut after ${cut} frames`).toEqual(end);
    }
  });

  it("is the same when events come twice", () => {
    const twice = log.flatMap((one, index) => {
      if (one.id === undefined) return [one];
      const group = [one];
      for (let back = index - 1; back >= 0 && log[back]?.id === undefined; back--) group.unshift(log[back] as Frame);
      return [one, ...group];
    });
    expect(run(twice).reply).toEqual(end);
    expect(run(log, run(log)).reply).toEqual(end);
  });

  it("drops what a failed attempt wrote and says what went wrong until text comes again", () => {
    const failed = run(log.slice(0, 7)).reply;
    expect(failed.text).toBe("");
    expect(failed.trouble).toBe("The model is busy.");
    expect(run(log.slice(0, 10)).reply.trouble).toBeUndefined();
  });

  it("starts from the kept text when a reply is continued", () => {
    const { reply } = run([
      frame(begun),
      frame({ type: "TEXT_MESSAGE_START", messageId: "r", role: "assistant" }),
      text("Kept, ", 1),
      text("and more.", 2),
    ]);
    expect(reply.text).toBe("Kept, and more.");
  });

  it("counts redacted events and goes on", () => {
    const { reply } = run([
      text("a", 1),
      custom({ name: "redacted", value: { kind: "delta" } }, 2),
      custom({ name: "redacted", value: { kind: "context" } }, 3),
      text("b", 4),
    ]);
    expect(reply).toMatchObject({ text: "ab", redacted: 2, seq: 4 });
  });

  it("knows a failed run, a cancel and a recovery", () => {
    const { reply } = run([
      custom({ name: "recovered", value: { attempt: 2, text: "" } }, 1),
      custom({ name: "cancel_requested", value: {} }, 2),
      frame(
        {
          type: "RUN_ERROR",
          code: "unreachable",
          message: "Start the model.",
          metadata: { duet: { outcome: "failed", status: "stopped", usage } },
        },
        3,
      ),
    ]);
    expect(reply).toMatchObject({
      recovered: true,
      cancelRequested: true,
      end: { outcome: "unreachable", message: "Start the model.", status: "stopped", failed: true },
    });
  });

  it("is not disturbed by what it does not know", () => {
    const fold = run([
      { event: "x", data: "not json", id: "1" },
      raw({ type: "NEW_KIND" }, 1),
      raw({ type: "CUSTOM", name: "new_name", value: { text: "not this" } }, 2),
      raw({ type: "TEXT_MESSAGE_CONTENT", messageId: "r", delta: "a", newField: 1 }),
      raw({ type: "toString" }),
      raw({ no: "type" }),
      text("b", 3),
      raw({ type: "NEW_END" }, 4),
    ]);
    expect(fold).toEqual({ reply: { ...emptyReply, text: "ab", seq: 4 }, held: [] });
  });
});

describe("what a lost worker leaves", () => {
  it("is void when the server says what stands", () => {
    const { reply } = run([
      text("half a ", 1),
      custom({ name: "recovered", value: { attempt: 2, text: "" } }, 2),
      text("whole", 3),
    ]);
    expect(reply.text).toBe("whole");
  });

  it("tells calls apart whose id repeats in another step", () => {
    const call = (seq: number, name: string) => [
      frame({ type: "TOOL_CALL_START", toolCallId: "0", toolCallName: name, parentMessageId: "r" }, seq),
      frame(
        {
          type: "TOOL_CALL_RESULT",
          messageId: "0",
          toolCallId: "0",
          content: "",
          metadata: { duet: { status: "succeeded", memories: [], remembered: [] } },
        },
        seq + 1,
      ),
    ];
    const { reply } = run([...call(1, "recall"), ...call(3, "remember")]);
    expect(reply.tools.map((tool) => tool.name)).toEqual(["recall", "remember"]);
  });
});
