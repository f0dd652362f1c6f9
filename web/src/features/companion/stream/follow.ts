import { noteAbsent } from "~/api/absent";
import { bearer } from "~/api/bearer";
import { type Problem, problemOf } from "~/api/http";
import { noteLost, noteReached } from "~/api/reachability";
import { sseReader } from "~/api/sse";
import { chunks, pause } from "~/api/stream";
import { emptyReply, type Fold, foldFrame, type LiveReply, reconnected, startFold } from "./fold";

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
  /** Waits until a run that waits may have gone on; the look that is asked for before it counts as the beginning. */
  watch?: (signal: AbortSignal) => () => Promise<void>;
};

/** Without a watch, how often a run that waits is looked at. */
const LOOK_MS = 30_000;

/**
 * Follows a run to its end: reads the stream and, when it breaks, continues after the last applied event. While the run waits
 * there is no stream; it is opened again, from the same position, once the run may have gone on.
 * Gives up only if trying again cannot help (signed out, not found).
 */
export async function follow({
  url,
  onChange,
  signal,
  from = emptyReply,
  fetch: get = fetch,
  sleep = pause,
  watch = (until) => () => pause(LOOK_MS, until),
}: FollowOptions) {
  let fold: Fold = startFold(from);
  let failures = 0;
  while (!signal.aborted && !fold.reply.end) {
    fold = reconnected(fold);
    const before = fold.reply.seq;
    let wait = Math.min(250 * 2 ** failures, 8000);
    let whole = false;
    const goneOn = watch(signal);
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
        whole = true;
      }
    } catch {
      if (signal.aborted) return;
      noteLost();
    }
    failures = fold.reply.seq > before ? 0 : failures + 1;
    if (fold.reply.end) return;
    if (whole && fold.reply.wait) {
      failures = 0;
      await goneOn();
    } else await sleep(wait, signal);
  }
}
