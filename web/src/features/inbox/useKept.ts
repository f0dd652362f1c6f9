import { useQueries, useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import type { InboxItem, RunRequest } from "~/api/types";
import { memoryQuery, openRequestsQuery, requestQuery } from "./queries";

const idOf = (item: InboxItem) => (item.item === "request" ? item.request.id : item.memory.id);
const timeOf = (item: InboxItem) => (item.item === "request" ? item.request.created_at : item.memory.created_at);

/**
 * Entries stay where they were once they no longer wait, with what became of them, for as long as the page is open: nothing
 * vanishes under the hand that was about to decide. Newest first.
 */
export function useKept(workspace: string, waiting: InboxItem[] | undefined): InboxItem[] {
  const [seen, setSeen] = useState<ReadonlyMap<string, InboxItem>>(new Map());
  useEffect(() => {
    if (!waiting) return;
    setSeen((all) => new Map([...all, ...waiting.map((item) => [idOf(item), item] as const)]));
  }, [waiting]);
  const open = new Set(waiting?.map(idOf));
  const ids = [...seen.keys()];
  const over = (id: string) => waiting !== undefined && !open.has(id);
  const requests = useQueries({
    queries: ids.map((id) => ({
      ...requestQuery(workspace, id),
      enabled: seen.get(id)?.item === "request" && over(id),
    })),
  });
  const memories = useQueries({
    queries: ids.map((id) => ({ ...memoryQuery(workspace, id), enabled: seen.get(id)?.item === "memory" && over(id) })),
  });
  const items = ids.flatMap((id, at): InboxItem[] => {
    const item = seen.get(id);
    if (!item) return [];
    if (item.item === "request") {
      // What this page has decided is known before the list is read again.
      const { data, isError } = requests[at] ?? {};
      if (isError && over(id)) return [];
      return [data && (over(id) || data.state !== "open") ? { item: "request", request: data } : item];
    }
    const { data, isError } = memories[at] ?? {};
    if (isError && over(id)) return [];
    return [data && over(id) ? { item: "memory", memory: data } : item];
  });
  return items.sort((one, other) => timeOf(other).localeCompare(timeOf(one)) || idOf(other).localeCompare(idOf(one)));
}

/** What the runs of a conversation ask, oldest first, with what was decided while the page has been open. */
export function useRequests(workspace: string, conversation: string): RunRequest[] {
  const open = useQuery({ ...openRequestsQuery(workspace, conversation), select: itemsOf }).data;
  return useKept(workspace, open)
    .flatMap((item) => (item.item === "request" ? [item.request] : []))
    .reverse();
}

const itemsOf = ({ items }: { items: RunRequest[] }): InboxItem[] =>
  items.map((request) => ({ item: "request", request }));
