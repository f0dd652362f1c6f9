import { useSyncExternalStore } from "react";

/**
 * Whether Duet can be reached. A request that got no answer says "lost"; from then on `/health` is asked with growing
 * pauses until it answers, and everyone who waits is told.
 */
type State = "reached" | "lost";

let state: State = "reached";
const listeners = new Set<() => void>();
const waiting = new Set<() => void>();
let timer: ReturnType<typeof setTimeout> | undefined;

function set(next: State) {
  if (state === next) return;
  state = next;
  for (const tell of listeners) tell();
}

export function noteReached() {
  clearTimeout(timer);
  timer = undefined;
  const returned = state === "lost";
  set("reached");
  if (returned) for (const tell of waiting) tell();
}

export function noteLost() {
  set("lost");
  if (timer === undefined) probe(500);
}

function probe(pause: number) {
  timer = setTimeout(async () => {
    try {
      const answer = await fetch("/health", { cache: "no-store", signal: AbortSignal.timeout(4000) });
      if (answer.ok) return noteReached();
    } catch {
      // Still away.
    }
    if (state === "lost") probe(Math.min(pause * 1.6, 5000));
  }, pause);
}

/** Calls back each time Duet is reached again after it was lost. */
export function onReturn(callback: () => void): () => void {
  waiting.add(callback);
  return () => waiting.delete(callback);
}

export function useReachability(): State {
  return useSyncExternalStore(
    (tell) => {
      listeners.add(tell);
      return () => listeners.delete(tell);
    },
    () => state,
    () => "reached",
  );
}
