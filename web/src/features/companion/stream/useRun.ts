import { useEffect, useState } from "react";
import { runEvents } from "~/api/endpoints";
import { hearing } from "~/api/realtime";
import { emptyReply, type LiveReply } from "./fold";
import { type Following, follow } from "./follow";
import { followHinted } from "./hinted";

/** What this page has read of each run, so that returning to a conversation continues where it was. */
const known = new Map<string, LiveReply>();

/** Follows a run while the component is mounted. */
export function useRun(workspace: string, run: string | undefined): Following | undefined {
  const [state, setState] = useState<{ run: string; following: Following }>();
  useEffect(() => {
    if (!run) return;
    const from = known.get(run) ?? emptyReply;
    setState({ run, following: { reply: from } });
    const stop = new AbortController();
    const options = {
      url: (after: number) => runEvents(workspace, run, after),
      from,
      signal: stop.signal,
      onChange: (following: Following) => {
        if (stop.signal.aborted) return;
        known.set(run, following.reply);
        setState({ run, following });
      },
    };
    const hear = hearing();
    void (hear ? followHinted({ ...options, hear, topic: `run:${workspace}:${run}` }) : follow(options));
    return () => stop.abort();
  }, [workspace, run]);
  if (!run) return undefined;
  return state?.run === run ? state.following : { reply: known.get(run) ?? emptyReply };
}
