import { noteAbsent } from "~/api/absent";
import { bearer } from "~/api/bearer";
import { type Problem, problemOf } from "~/api/http";
import { noteLost, noteReached } from "~/api/reachability";
import { emptyReply, type Fold, foldFrame, type LiveReply, reconnected, startFold } from "./fold";
import { sseReader } from "./sse";

/** Keep-alives come every 15 s; a connection that is silent for longer than this is dead. */
const SILENCE_MS = 40_000;

export type Following = { reply: LiveReply; problem?: Problem };

/** Parameters for following a run. */
export type FollowOptions = {
  /** The address of the events after a `seq`. */
  url: (after: number) => string;
  onChange: (state: Following) => void;
  signal: AbortSignal;
  /** The state to continue from. */
  from?: LiveReply;
  fetch?: typeof fetch;
  sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
};

/**
 * Follows a run to its end: reads the stream and, when it breaks, continues after the last applied event.
 * Gives up only if trying again cannot help (signed out, not found).
 */
export async function follow({
  url,
  onChange,
  signal,
  from = emptyReply,
  fetch: get = fetch,
  sleep = pause,
}: FollowOptions) {
  let fold: Fold = startFold(from);
  let failures = 0;
  while (!signal.aborted && !fold.reply.end) {
    fold = reconnected(fold);
    const before = fold.reply.seq;
    let wait = Math.min(250 * 2 ** failures, 8000);
    try {
      const answer = await get(url(fold.reply.seq), {
        headers: { accept: "text/event-stream", ...(await bearer()) },
        credentials: "same-origin",
        cache: "no-store",
        signal,
      });
      noteReached();
      if (!answer.ok) {
        const problem = await problemOf(answer);
        if (problem.code === "no_such_event" && fold.reply.seq > 0) {
          // The log is shorter than this page remembers: read it from the start.
          fold = startFold();
          continue;
        }
        noteAbsent(problem, url(fold.reply.seq));
        if (problem.status < 500 && problem.status !== 429) return onChange({ reply: fold.reply, problem });
        wait = (problem.retryAfterSeconds ?? 1) * 1000;
      } else if (answer.body) {
        const read = sseReader();
        for await (const chunk of chunks(answer.body, signal)) {
          const was = fold;
          for (const frame of read(chunk)) fold = foldFrame(fold, frame);
          if (fold.reply !== was.reply) onChange({ reply: fold.reply });
        }
      }
    } catch {
      if (signal.aborted) return;
      noteLost();
    }
    failures = fold.reply.seq > before ? 0 : failures + 1;
    if (!fold.reply.end) await sleep(wait, signal);
  }
}

/** The body's chunks; fails after too long a silence. */
async function* chunks(body: ReadableStream<Uint8Array>, signal: AbortSignal) {
  const reader = body.getReader();
  try {
    for (;;) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const silence = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error("silent")), SILENCE_MS);
      });
      const { done, value } = await Promise.race([reader.read(), silence]).finally(() => clearTimeout(timer));
      if (done || signal.aborted) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

/** Waits, but not past an abort, and only until the machine is online again. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      globalThis.removeEventListener?.("online", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
    globalThis.addEventListener?.("online", end);
  });
}
