import { useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { listenToFeed } from "~/api/feed";
import { onChanged } from "~/api/hints";
import { readAgain } from "./queries";

/** Keeps what waits for the person, and their conversations, as they are elsewhere. */
export function useFeed(workspace: string) {
  const queries = useQueryClient();
  useEffect(() => {
    const silence = onChanged(workspace, (changed) => readAgain(queries, workspace, changed));
    const leave = listenToFeed(workspace);
    return () => {
      leave();
      silence();
    };
  }, [queries, workspace]);
}
