import type { MessageStatus, ToolStatus, Usage } from "~/api/types";
import type { Frame } from "./sse";

/** A tool call as shown while the reply is being written. */
export type LiveTool = { callId: string; name: string; args: string; status: ToolStatus; summary: string };

/** A run's state according to its events so far. */
export type LiveReply = {
  /** The newest event that was applied completely. */
  seq: number;
  replyId?: string;
  text: string;
  model?: string;
  offline: boolean;
  textOnlyRecall: boolean;
  untrusted: boolean;
  recalled: string[];
  remembered: string[];
  tools: LiveTool[];
  /** The text of the newest failed attempt, until text arrives again. */
  trouble?: string;
  cancelRequested: boolean;
  recovered: boolean;
  /** Events whose payload has since been redacted. */
  redacted: number;
  usage?: Usage;
  costMicros?: number;
  end?: Ending;
};

/** How the run ended. */
export type Ending = {
  outcome: string;
  /** Status of the stored reply, if one was stored. */
  status?: MessageStatus;
  /** One sentence, if there is something to say. */
  message?: string;
  failed: boolean;
};

export const emptyReply: LiveReply = {
  seq: 0,
  text: "",
  offline: false,
  textOnlyRecall: false,
  untrusted: false,
  recalled: [],
  remembered: [],
  tools: [],
  cancelRequested: false,
  recovered: false,
  redacted: 0,
};

// biome-ignore lint/suspicious/noExplicitAny: the shape depends on `type`; each case reads only what its type promises.
type AgUi = { type: string } & Record<string, any>;

/**
 * A domain event can arrive as several frames, of which only the last carries the `id`. Frames are therefore held back until
 * the last one arrives, and then applied together: a connection cut between them changes nothing, and neither does a frame
 * that was seen before.
 */
export type Fold = { reply: LiveReply; held: AgUi[] };

export const startFold = (reply: LiveReply = emptyReply): Fold => ({ reply, held: [] });

/** A new connection sends the held-back frames again. */
export const reconnected = (fold: Fold): Fold => (fold.held.length ? { ...fold, held: [] } : fold);

/** Applies one frame. */
export function foldFrame(fold: Fold, frame: Frame): Fold {
  let event: AgUi;
  try {
    event = JSON.parse(frame.data) as AgUi;
  } catch {
    return fold;
  }
  if (frame.id === undefined) return { ...fold, held: [...fold.held, event] };
  const seq = Number(frame.id);
  if (!Number.isSafeInteger(seq) || seq <= fold.reply.seq) return { ...fold, held: [] };
  const reply = [...fold.held, event].reduce(apply, fold.reply);
  return { reply: { ...reply, seq }, held: [] };
}

function apply(reply: LiveReply, event: AgUi): LiveReply {
  switch (event.type) {
    case "RUN_STARTED":
      return { ...reply, replyId: event.replyId ?? reply.replyId };
    case "TEXT_MESSAGE_START":
      return { ...reply, replyId: event.messageId ?? reply.replyId };
    case "TEXT_MESSAGE_CONTENT":
      return { ...reply, text: reply.text + (event.delta ?? ""), trouble: undefined };
    case "STEP_FINISHED":
      return {
        ...reply,
        usage: sum(reply.usage, event.usage),
        costMicros:
          typeof event.cost_micros === "number" ? (reply.costMicros ?? 0) + event.cost_micros : reply.costMicros,
      };
    case "TOOL_CALL_START":
      return { ...reply, tools: started(reply.tools, event.toolCallId, event.toolCallName) };
    case "TOOL_CALL_ARGS":
      return withTool(reply, event.toolCallId, { args: event.delta ?? "" });
    case "TOOL_CALL_RESULT":
      return {
        ...withTool(reply, event.toolCallId, { status: event.status ?? "succeeded", summary: event.content ?? "" }),
        recalled: union(reply.recalled, without(event.memories, event.remembered)),
        remembered: union(reply.remembered, event.remembered),
      };
    case "RUN_FINISHED":
      return finish(reply, event.result ?? {}, false);
    case "RUN_ERROR":
      return finish(reply, { ...event, outcome: event.code ?? "failed" }, true);
    case "CUSTOM":
      return custom(reply, event.name, event.value ?? {});
    default:
      return reply;
  }
}

function custom(reply: LiveReply, name: string, value: Record<string, unknown>): LiveReply {
  switch (name) {
    case "context":
      return {
        ...reply,
        model: typeof value.model === "string" ? value.model : reply.model,
        offline: value.offline === true,
        textOnlyRecall: value.text_only_recall === true,
        untrusted: value.untrusted === true,
        recalled: union(reply.recalled, value.recalled),
      };
    case "retry":
      return {
        ...reply,
        // The failed attempt's text is void: the server says what remains.
        text: typeof value.text === "string" ? value.text : reply.text,
        trouble: typeof value.message === "string" && value.message ? value.message : reply.trouble,
      };
    case "cancel_requested":
      return { ...reply, cancelRequested: true };
    case "recovered":
      // The lost worker may have left a half-written attempt, which is also void.
      return { ...reply, recovered: true, text: typeof value.text === "string" ? value.text : reply.text };
    case "redacted":
      return { ...reply, redacted: reply.redacted + 1 };
    default:
      return reply;
  }
}

function finish(reply: LiveReply, result: Record<string, unknown>, failed: boolean): LiveReply {
  const usage = result.usage as Usage | undefined;
  return {
    ...reply,
    usage: usage ?? reply.usage,
    costMicros: typeof result.cost_micros === "number" ? result.cost_micros : reply.costMicros,
    trouble: undefined,
    end: {
      outcome: String(result.outcome ?? "completed"),
      status: (result.status as MessageStatus | null | undefined) ?? undefined,
      message: typeof result.message === "string" ? result.message : undefined,
      failed,
    },
  };
}

/** A call's id is unique only within its step: a call that has ended is never the one that starts now. */
function started(tools: LiveTool[], callId: string, name = "tool"): LiveTool[] {
  const running = tools.some((tool) => tool.callId === callId && tool.status === "started");
  return running ? tools : [...tools, { callId, name, args: "", status: "started", summary: "" }];
}

/** Updates the newest call with that id. */
function withTool(reply: LiveReply, callId: string, change: Partial<LiveTool>): LiveReply {
  const at = reply.tools.findLastIndex((tool) => tool.callId === callId);
  return { ...reply, tools: reply.tools.map((tool, index) => (index === at ? { ...tool, ...change } : tool)) };
}

const strings = (list: unknown): string[] =>
  Array.isArray(list) ? list.filter((item): item is string => typeof item === "string") : [];

const union = (have: string[], more: unknown): string[] => {
  const fresh = strings(more).filter((id) => !have.includes(id));
  return fresh.length ? [...have, ...new Set(fresh)] : have;
};

const without = (list: unknown, gone: unknown): string[] => {
  const drop = strings(gone);
  return strings(list).filter((id) => !drop.includes(id));
};

function sum(have: Usage | undefined, more: Usage | undefined): Usage | undefined {
  if (!more) return have;
  return {
    input_tokens: (have?.input_tokens ?? 0) + (more.input_tokens ?? 0),
    output_tokens: (have?.output_tokens ?? 0) + (more.output_tokens ?? 0),
  };
}
