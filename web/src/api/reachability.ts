import { useSyncExternalStore } from "react";

/**
 * Whether Duet can be reached. A request that got no answer reports "lost"; then `/health` is polled with growing
 * pauses until it answers, and all subscribers are notified.
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
      // Still unreachable.
    }
    if (state === "lost") probe(Math.min(pause * 1.6, 5000));
  }, pause);
}

/** Calls back each time Duet is reachable again after an outage. */
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
