import { bearer } from "./bearer";
import { personFeed } from "./endpoints";
import { tellChanged } from "./hints";
import { problemOf } from "./http";
import { noteLost, noteReached } from "./reachability";
import { sseReader } from "./sse";
import { chunks, pause } from "./stream";
import type { Changed } from "./types";

const FIRST_MS = 500;
const LONGEST_MS = 15_000;

/** The kinds of change that this page knows; a newer server may tell of more. */
const KNOWN: Record<Changed, true> = { runs: true, inbox: true };

/** What a frame of the feed says has changed. */
export function changeOf(data: string): Changed | undefined {
  try {
    const { changed } = JSON.parse(data) as { changed?: unknown };
    return typeof changed === "string" && Object.hasOwn(KNOWN, changed) ? (changed as Changed) : undefined;
  } catch {
    return undefined;
  }
}

/** Reads the feed until the signal, reconnecting with growing pauses. Gives up only where trying again cannot help. */
async function read(workspace: string, onChange: (changed: Changed) => void, signal: AbortSignal) {
  let failures = 0;
  while (!signal.aborted) {
    let wait = Math.min(FIRST_MS * 2 ** failures, LONGEST_MS);
    failures += 1;
    try {
      let answer: Response;
      try {
        answer = await fetch(personFeed(workspace), {
          headers: { accept: "text/event-stream", ...(await bearer()) },
          credentials: "same-origin",
          cache: "no-store",
          signal,
        });
      } catch (error) {
        if (!signal.aborted) noteLost();
        throw error;
      }
      noteReached();
      if (!answer.ok) {
        const problem = await problemOf(answer);
        // Signed out, or no longer a member: other requests of the page find out as well, and act on it.
        if (problem.status < 500 && problem.status !== 429) return;
        wait = Math.max(wait, (problem.retryAfterSeconds ?? 0) * 1000);
      } else if (answer.body) {
        const frames = sseReader();
        for await (const chunk of chunks(answer.body, signal)) {
          failures = 0;
          for (const { data } of frames(chunk)) {
            const changed = changeOf(data);
            if (changed) onChange(changed);
          }
        }
        wait = FIRST_MS;
      }
    } catch {
      // Cut off, silent or unreachable: connect again. The feed then begins with everything, so nothing is missed.
    }
    if (!signal.aborted) await pause(wait, signal);
  }
}

/**
 * Listens to the person's feed while the page is visible. All tabs of a browser share one connection where the browser can
 * agree on who holds it (Web Locks need a secure context): a browser opens few connections to one server.
 */
export function listenToFeed(workspace: string): () => void {
  const channel = typeof BroadcastChannel === "function" ? new BroadcastChannel(`duet.feed.${workspace}`) : undefined;
  if (channel) channel.onmessage = ({ data }) => tellChanged(workspace, data as Changed);
  const told = (changed: Changed) => {
    channel?.postMessage(changed);
    tellChanged(workspace, changed);
  };
  let stop: AbortController | undefined;
  const begin = () => {
    if (stop) return;
    stop = new AbortController();
    const { signal } = stop;
    const hold = () => read(workspace, told, signal);
    if (channel && navigator.locks) {
      navigator.locks.request(`duet.feed.${workspace}`, { signal }, hold).catch(() => undefined);
    } else void hold();
  };
  const end = () => {
    stop?.abort();
    stop = undefined;
  };
  const look = () => {
    if (document.visibilityState === "hidden") return end();
    // A tab that was frozen may have missed what the others were told.
    if (!stop) tellChanged(workspace, "runs", "inbox");
    begin();
  };
  if (document.visibilityState !== "hidden") begin();
  document.addEventListener("visibilitychange", look);
  return () => {
    document.removeEventListener("visibilitychange", look);
    end();
    channel?.close();
  };
}
