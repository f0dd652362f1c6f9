import { noteAbsent } from "~/api/absent";
import { bearer } from "~/api/bearer";
import { type Problem, problemOf } from "~/api/http";
import { noteReached } from "~/api/reachability";
import type { Hear } from "~/api/realtime";
import type { EventsPage } from "~/api/types";
import { emptyReply, type Fold, foldEvent, startFold } from "./fold";
import { type FollowOptions, follow } from "./follow";

/** How often the log is read without a hint, since hints may get lost. */
const LOOK_MS = 3_000;
/** The same for a run that waits for a person, perhaps for days. */
const LOOK_WAITING_MS = 30_000;

/** Refusals that the stream would meet as well: the person is not signed in, may not read the run, or it is not there. */
const final: ReadonlySet<Problem["code"]> = new Set([
  "not_signed_in",
  "no_access_token",
  "bad_access_token",
  "denied",
  "not_granted",
  "not_found",
]);

type Options = FollowOptions & {
  topic: string;
  hear: Hear;
};

/**
 * Follows a run by hints: joins its topic first, then reads the log, and reads on at each hint. The log alone decides what is
 * shown, so lost, duplicate or reordered hints change nothing. If the topic cannot be joined or is lost, or the
 * log cannot be read in pages, the stream continues from the same position.
 */
export async function followHinted({ topic, hear, ...options }: Options) {
  const { url, onChange, signal, from = emptyReply, fetch: get = fetch } = options;
  let fold: Fold = startFold(from);
  let look: () => void = () => undefined;
  let hinted = false;
  const hint = () => {
    hinted = true;
    look();
  };
  try {
    const { lost, leave } = await hear(topic, hint);
    try {
      while (!signal.aborted && !fold.reply.end) {
        hinted = false;
        const answer = await get(url(fold.reply.seq), {
          headers: { accept: "application/json", ...(await bearer()) },
          credentials: "same-origin",
          cache: "no-store",
          signal,
        });
        noteReached();
        if (!answer.ok) {
          const problem = await problemOf(answer);
          noteAbsent(problem, url(fold.reply.seq));
          if (final.has(problem.code)) return onChange({ reply: fold.reply, problem });
          break;
        }
        const page: EventsPage = await answer.json();
        const before = fold;
        for (const { seq, data } of page.events) {
          for (const [place, event] of data.entries()) {
            fold = foldEvent(fold, event, place === data.length - 1 ? seq : undefined);
          }
        }
        if (fold.reply !== before.reply) onChange({ reply: fold.reply });
        // The page was not the last, or more events came in the meantime.
        if (hinted || (fold.reply.seq > before.reply.seq && fold.reply.seq < page.last_seq)) continue;
        if (page.ended && !fold.reply.wait) break;
        await Promise.race([
          lost,
          new Promise<void>((resolve) => {
            const timer = setTimeout(resolve, fold.reply.wait ? LOOK_WAITING_MS : LOOK_MS);
            const stop = () => {
              clearTimeout(timer);
              signal.removeEventListener("abort", stop);
              resolve();
            };
            signal.addEventListener("abort", stop);
            look = stop;
          }),
        ]);
      }
    } finally {
      leave();
    }
  } catch {
    // The topic cannot be heard, or the log cannot be read: the stream reports the problem, or continues.
  }
  if (!signal.aborted && !fold.reply.end) await follow({ ...options, from: fold.reply });
}
