import { describe, expect, it } from "vitest";
import type { Frame } from "~/api/sse";
import type { AguiCustom, AguiEvent } from "~/api/types";
import { emptyReply, type Fold, foldFrame, type LiveReply, reconnected, startFold } from "./fold";

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

describe("a run that waits", () => {
  const call = "run:1.1";
  const spent = { ...usage, input_tokens: 30 };
  const finished = (result: object, outcome: object, seq: number) =>
    raw({ type: "RUN_FINISHED", threadId: "c", runId: "run", outcome, metadata: { duet: { usage, ...result } } }, seq);
  const again = { ...begun, runId: "run:2", parentRunId: "run", metadata: { duet: { reply_id: "r2" } } };
  const asked = custom({ name: "asked", value: { request: "q", kind: "approval", step: 1, toolCallId: call } }, 3);
  const waits: Frame[] = [
    frame(begun, 1),
    text("Let me see. ", 2),
    frame({ type: "TOOL_CALL_START", toolCallId: call, toolCallName: "remember", parentMessageId: "r" }),
    frame({ type: "TOOL_CALL_END", toolCallId: call }),
    asked,
    finished(
      { outcome: "waiting", message_id: "r", status: "complete", cost_micros: 30 },
      {
        type: "interrupt",
        interrupts: [
          { id: "q", reason: "approval", toolCallId: call, metadata: { duet: { request: "q", kind: "approval" } } },
        ],
      },
      4,
    ),
  ];
  const goesOn: Frame[] = [
    frame(again as AguiEvent),
    custom({ name: "decided", value: { request: "q", decision: "approve", by: "u", step: 1, toolCallId: call } }, 5),
    custom({ name: "resumed", value: { attempt: 2 } }, 6),
    custom({ name: "tool_started", value: { step: 1, toolCallId: call } }, 7),
    frame(
      {
        type: "TOOL_CALL_RESULT",
        messageId: call,
        toolCallId: call,
        content: "kept",
        metadata: { duet: { status: "succeeded", memories: ["m"], remembered: ["m"] } },
      },
      8,
    ),
    text("Done.", 9),
    finished(
      { outcome: "completed", message_id: "r2", status: "complete", usage: spent, cost_micros: 50 },
      { type: "success" },
      10,
    ),
  ];

  it("says what it waits for, and has not ended", () => {
    const { reply } = run(waits);
    expect(reply).toMatchObject({ text: "Let me see. ", wait: { requests: ["q"], stored: true }, costMicros: 30 });
    expect(reply.end).toBeUndefined();
    expect(reply.tools).toMatchObject([{ name: "remember", status: "started", asked: true }]);
  });

  it("goes on with a message of its own, and with the call that was asked about", () => {
    const before = run([...waits, ...goesOn.slice(0, 2)]).reply;
    expect(before).toMatchObject({ replyId: "r2", text: "", seq: 5 });
    expect(before.wait).toBeUndefined();
    expect(before.tools).toMatchObject([{ callId: call, asked: true }]);
    expect(run([...waits, ...goesOn.slice(0, 4)]).reply.tools).toMatchObject([{ callId: call, asked: false }]);
    const { reply } = run([...waits, ...goesOn]);
    expect(reply).toMatchObject({
      replyId: "r2",
      text: "Done.",
      remembered: ["m"],
      tools: [{ callId: call, status: "succeeded" }],
      // Of the whole run, what the first message did not tell.
      usage: { input_tokens: 20, output_tokens: 0 },
      costMicros: 20,
      end: { outcome: "completed", status: "complete" },
    });
  });

  it("is the same wherever the connection breaks", () => {
    const all = [...waits, ...goesOn];
    const whole = run(all).reply;
    for (let cut = 0; cut <= all.length; cut++) {
      const before = run(all.slice(0, cut));
      const { seq } = before.reply;
      const at = seq === 0 ? 0 : all.findIndex((one) => one.id === String(seq)) + 1;
      expect(run(all.slice(at), reconnected(before)).reply, `cut after ${cut} frames`).toEqual(whole);
    }
  });

  it("keeps its place where it has said nothing before it waited", () => {
    const silent = [
      frame(begun, 1),
      frame({ type: "TOOL_CALL_START", toolCallId: call, toolCallName: "ask_user", parentMessageId: "r" }, 2),
      asked,
      finished({ outcome: "waiting" }, { type: "interrupt", interrupts: [{ id: "q" }] }, 4),
    ];
    expect(run(silent).reply.wait).toEqual({ requests: ["q"], stored: false });
    const { reply } = run([...silent, frame({ ...begun, parentRunId: "run" } as AguiEvent, 5), text("Hi.", 6)]);
    expect(reply).toMatchObject({ replyId: "r", text: "Hi.", tools: [{ name: "ask_user" }] });
  });

  it("is paused, and resumed; what the given-up call wrote is void", () => {
    const paused = [
      frame(begun, 1),
      text("half a sen", 2),
      frame({ type: "STEP_FINISHED", stepName: "model 1" }),
      custom({ name: "pause_requested", value: { text: "" } }, 3),
    ];
    expect(run(paused).reply).toMatchObject({ text: "", pauseRequested: true });
    const waiting = [...paused, finished({ outcome: "paused" }, { type: "cancelled" }, 4)];
    expect(run(waiting).reply).toMatchObject({ wait: { requests: [], stored: false }, pauseRequested: true });
    const resumed = run([
      ...waiting,
      frame({ ...begun, parentRunId: "run" } as AguiEvent),
      custom({ name: "resume_requested", value: {} }, 5),
    ]).reply;
    expect(resumed).toMatchObject({ pauseRequested: false, seq: 5 });
    expect(resumed.wait).toBeUndefined();
  });

  it("ends while it waits when it is stopped", () => {
    const { reply } = run([
      ...waits,
      frame(again as AguiEvent),
      custom({ name: "cancel_requested", value: {} }, 5),
      finished({ outcome: "cancelled" }, { type: "cancelled" }, 6),
    ]);
    expect(reply).toMatchObject({ text: "", end: { outcome: "cancelled" } });
    expect(reply.wait).toBeUndefined();
  });
});
