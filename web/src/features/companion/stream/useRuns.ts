import { useEffect, useRef, useState } from "react";
import { runEvents } from "~/api/endpoints";
import { changedSince, countOf } from "~/api/hints";
import { hearing } from "~/api/realtime";
import { emptyReply, type LiveReply } from "./fold";
import { type Following, follow } from "./follow";
import { followHinted } from "./hinted";

/** What this page has read of each run, so that returning to a conversation continues where it was. */
const known = new Map<string, LiveReply>();

/** Follows one run until it is stopped. */
function followRun(workspace: string, run: string, tell: (following: Following) => void): AbortController {
  const stop = new AbortController();
  const { signal } = stop;
  const options = {
    url: (after: number) => runEvents(workspace, run, after),
    from: known.get(run) ?? emptyReply,
    signal,
    // Whatever lets a waiting run go on is also told to the person.
    watch: (until: AbortSignal) => {
      const count = countOf(workspace);
      return () => changedSince(workspace, count, until);
    },
    onChange: (following: Following) => {
      if (signal.aborted) return;
      known.set(run, following.reply);
      tell(following);
    },
  };
  const hear = hearing();
  void (hear ? followHinted({ ...options, hear, topic: `run:${workspace}:${run}` }) : follow(options));
  return stop;
}

/** Follows runs while the component is mounted: each from when it is first named until it is no longer. */
export function useRuns(workspace: string, runs: string[]): (run: string) => Following {
  const [states, setStates] = useState<ReadonlyMap<string, Following>>(new Map());
  const following = useRef(new Map<string, AbortController>());
  const names = runs.join(" ");
  useEffect(() => {
    const wanted = new Set(names ? names.split(" ") : []);
    for (const [run, stop] of following.current) {
      if (wanted.has(run)) continue;
      stop.abort();
      following.current.delete(run);
    }
    for (const run of wanted) {
      if (following.current.has(run)) continue;
      const tell = (state: Following) => setStates((all) => new Map(all).set(run, state));
      following.current.set(run, followRun(workspace, run, tell));
    }
  }, [workspace, names]);
  useEffect(() => {
    const all = following.current;
    return () => {
      for (const stop of all.values()) stop.abort();
      all.clear();
    };
  }, []);
  return (run) => states.get(run) ?? { reply: known.get(run) ?? emptyReply };
}
