import type { Frame } from "~/api/sse";
import type { AguiCustom, AguiEvent, MessageStatus, RunResult, ToolStatus, Usage } from "~/api/types";

/** A tool call as shown while the reply is being written. */
export type LiveTool = {
  callId: string;
  name: string;
  args: string;
  status: ToolStatus;
  summary: string;
  /** It waits for a person. */
  asked?: boolean;
};

/**
 * A run's state according to its events so far. A run that waits tells its story in stretches, each with a message of its own
 * if it has said anything: everything here is of the newest stretch.
 */
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
  pauseRequested: boolean;
  recovered: boolean;
  /** Events whose payload has since been redacted. */
  redacted: number;
  usage?: Usage;
  costMicros?: number;
  /** What the earlier messages of this run say it used. */
  told?: Told;
  /** The run waits; what comes next begins another stretch. */
  wait?: Waiting;
  end?: Ending;
};

type Told = { usage: Usage; costMicros: number };

/** For what a run waits. */
export type Waiting = {
  /** The requests that have to be decided; none if the run is paused. */
  requests: string[];
  /** Whether the stretch has left a message. */
  stored: boolean;
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
  pauseRequested: false,
  recovered: false,
  redacted: 0,
};

/** The types that this page knows: a newer server may send more. */
const KNOWN: Record<AguiEvent["type"], true> = {
  RUN_STARTED: true,
  STEP_STARTED: true,
  STEP_FINISHED: true,
  TEXT_MESSAGE_START: true,
  TEXT_MESSAGE_CONTENT: true,
  TEXT_MESSAGE_END: true,
  TOOL_CALL_START: true,
  TOOL_CALL_ARGS: true,
  TOOL_CALL_END: true,
  TOOL_CALL_RESULT: true,
  CUSTOM: true,
  RUN_FINISHED: true,
  RUN_ERROR: true,
};

const isKnown = (event: unknown): event is AguiEvent =>
  typeof event === "object" &&
  event !== null &&
  "type" in event &&
  typeof event.type === "string" &&
  Object.hasOwn(KNOWN, event.type);

/**
 * A domain event can arrive as several frames, of which only the last carries the `id`. Frames are therefore held back until
 * the last one arrives, and then applied together: a connection cut between them changes nothing, and neither does a frame
 * that was seen before.
 */
export type Fold = { reply: LiveReply; held: AguiEvent[] };

export const startFold = (reply: LiveReply = emptyReply): Fold => ({ reply, held: [] });

/** A new connection sends the held-back frames again. */
export const reconnected = (fold: Fold): Fold => (fold.held.length ? { ...fold, held: [] } : fold);

/** Applies one frame. */
export function foldFrame(fold: Fold, frame: Frame): Fold {
  let event: unknown;
  try {
    event = JSON.parse(frame.data);
  } catch {
    return fold;
  }
  return foldEvent(fold, event, frame.id === undefined ? undefined : Number(frame.id));
}

/** Applies one object of an event; `seq` comes with the last one. */
export function foldEvent(fold: Fold, event: unknown, seq: number | undefined): Fold {
  const events = isKnown(event) ? [...fold.held, event] : fold.held;
  if (seq === undefined) return { ...fold, held: events };
  if (!Number.isSafeInteger(seq) || seq <= fold.reply.seq) return { ...fold, held: [] };
  return { reply: { ...events.reduce(apply, fold.reply), seq }, held: [] };
}

function apply(reply: LiveReply, event: AguiEvent): LiveReply {
  switch (event.type) {
    case "RUN_STARTED":
      return begin(reply, event.metadata.duet.reply_id);
    case "TEXT_MESSAGE_START":
      return { ...reply, replyId: event.messageId };
    case "TEXT_MESSAGE_CONTENT":
      return { ...reply, text: reply.text + event.delta, trouble: undefined };
    case "STEP_FINISHED":
      return event.metadata ? spend(reply, event.metadata.duet) : reply;
    case "TOOL_CALL_START":
      return { ...reply, tools: started(reply.tools, event.toolCallId, event.toolCallName) };
    case "TOOL_CALL_ARGS":
      return withTool(reply, event.toolCallId, { args: event.delta });
    case "TOOL_CALL_RESULT": {
      const { status, memories, remembered } = event.metadata.duet;
      return {
        ...withTool(reply, event.toolCallId, { status, summary: event.content, asked: false }),
        recalled: union(reply.recalled, without(memories, remembered)),
        remembered: union(reply.remembered, remembered),
      };
    }
    case "RUN_FINISHED": {
      const { outcome } = event.metadata.duet;
      if (outcome === "waiting" || outcome === "paused") {
        const interrupts = event.outcome.type === "interrupt" ? event.outcome.interrupts : [];
        return suspend(
          reply,
          event.metadata.duet,
          interrupts.map(({ id }) => id),
        );
      }
      return finish(reply, event.metadata.duet, { outcome, failed: false });
    }
    case "RUN_ERROR":
      return finish(reply, event.metadata.duet, { outcome: event.code, message: event.message, failed: true });
    case "CUSTOM":
      return custom(reply, event);
    default:
      return reply;
  }
}

function custom(reply: LiveReply, event: AguiCustom): LiveReply {
  switch (event.name) {
    case "context":
      return {
        ...reply,
        model: event.value.model,
        offline: event.value.offline,
        textOnlyRecall: event.value.text_only_recall,
        untrusted: event.value.untrusted,
        recalled: union(reply.recalled, event.value.recalled),
      };
    case "retry":
      // The failed attempt's text is void: the server says what remains.
      return { ...reply, text: event.value.text, trouble: event.value.message || reply.trouble };
    case "asked":
      return withTool(reply, event.value.toolCallId, { asked: true });
    case "tool_started":
      return withTool(reply, event.value.toolCallId, { asked: false });
    case "pause_requested":
      // The model call under way is given up, and made again later.
      return { ...reply, pauseRequested: true, text: event.value.text, trouble: undefined };
    case "resume_requested":
      return { ...reply, pauseRequested: false };
    case "cancel_requested":
      return { ...reply, cancelRequested: true };
    case "recovered":
      // The lost worker may have left a half-written attempt, which is also void.
      return { ...reply, recovered: true, text: event.value.text };
    case "redacted":
      return { ...reply, redacted: reply.redacted + 1 };
    default:
      return reply;
  }
}

/** The run begins, or goes on after a wait. What was stored before the wait is a message of its own, so it is left out here. */
function begin(reply: LiveReply, replyId: string): LiveReply {
  const { wait } = reply;
  const next = { ...reply, replyId, wait: undefined };
  if (!wait?.stored) return next;
  return {
    ...next,
    text: "",
    // A call that was asked about ends in the stretch that follows.
    tools: reply.tools.filter((tool) => tool.status === "started"),
    remembered: [],
    usage: undefined,
    costMicros: undefined,
  };
}

/** The run waits. */
const suspend = (reply: LiveReply, result: RunResult, requests: string[]): LiveReply => {
  const stored = Boolean(result.message_id);
  return {
    ...used(reply, result),
    told: stored ? { usage: result.usage, costMicros: result.cost_micros ?? 0 } : reply.told,
    trouble: undefined,
    wait: { requests, stored },
  };
};

/** What the stretch has used: the whole run less what earlier messages tell. */
const used = (reply: LiveReply, { usage, cost_micros }: RunResult): LiveReply => ({
  ...reply,
  usage: usage && reply.told ? less(usage, reply.told.usage) : usage,
  costMicros: cost_micros == null ? reply.costMicros : cost_micros - (reply.told?.costMicros ?? 0),
});

const less = (all: Usage, told: Usage): Usage => ({
  input_tokens: all.input_tokens - told.input_tokens,
  output_tokens: all.output_tokens - told.output_tokens,
});

/** Adds what a model call used. */
const spend = (reply: LiveReply, { usage, cost_micros }: { usage: Usage; cost_micros?: number | null }): LiveReply => ({
  ...reply,
  usage: sum(reply.usage, usage),
  costMicros: cost_micros == null ? reply.costMicros : (reply.costMicros ?? 0) + cost_micros,
});

const finish = (
  reply: LiveReply,
  result: RunResult,
  end: Pick<Ending, "outcome" | "message" | "failed">,
): LiveReply => ({
  ...used(reply, result),
  trouble: undefined,
  end: { message: result.message ?? undefined, status: result.status ?? undefined, ...end },
});

/** A call's id is unique only within its step: a call that has ended is never the one that starts now. */
function started(tools: LiveTool[], callId: string, name: string): LiveTool[] {
  const running = tools.some((tool) => tool.callId === callId && tool.status === "started");
  return running ? tools : [...tools, { callId, name, args: "", status: "started", summary: "" }];
}

/** Updates the newest call with that id. */
function withTool(reply: LiveReply, callId: string, change: Partial<LiveTool>): LiveReply {
  const at = reply.tools.findLastIndex((tool) => tool.callId === callId);
  return { ...reply, tools: reply.tools.map((tool, index) => (index === at ? { ...tool, ...change } : tool)) };
}

const union = (have: string[], more: string[]): string[] => {
  const fresh = more.filter((id) => !have.includes(id));
  return fresh.length ? [...have, ...new Set(fresh)] : have;
};

const without = (list: string[], gone: string[]): string[] => list.filter((id) => !gone.includes(id));

const sum = (have: Usage | undefined, more: Usage): Usage => ({
  input_tokens: (have?.input_tokens ?? 0) + more.input_tokens,
  output_tokens: (have?.output_tokens ?? 0) + more.output_tokens,
});
