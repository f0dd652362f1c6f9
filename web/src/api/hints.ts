import type { Changed } from "./types";

/**
 * Hints that something of the person's may have changed. They come from the person's feed, and from this page after its own
 * actions, so that it need not wait for the feed. Like all hints they carry no content: whoever hears one reads again.
 */
type Listener = (changed: Changed) => void;

const listeners = new Map<string, Set<Listener>>();
const counts = new Map<string, number>();

/** Tells this page. */
export function tellChanged(workspace: string, ...changes: Changed[]) {
  counts.set(workspace, countOf(workspace) + 1);
  for (const changed of changes) for (const listener of [...(listeners.get(workspace) ?? [])]) listener(changed);
}

/** Calls back at each hint, until the returned function is called. */
export function onChanged(workspace: string, listener: Listener): () => void {
  const set = listeners.get(workspace) ?? new Set();
  listeners.set(workspace, set);
  set.add(listener);
  return () => void set.delete(listener);
}

/** How many hints there have been. */
export const countOf = (workspace: string): number => counts.get(workspace) ?? 0;

/** Resolves once there have been more than `count` hints, so that none is missed between looking and waiting. */
export function changedSince(workspace: string, count: number, signal: AbortSignal): Promise<void> {
  if (countOf(workspace) !== count || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const end = () => {
      stop();
      signal.removeEventListener("abort", end);
      resolve();
    };
    const stop = onChanged(workspace, end);
    signal.addEventListener("abort", end);
  });
}
