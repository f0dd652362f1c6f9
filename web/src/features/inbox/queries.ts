import { infiniteQueryOptions, type QueryClient, queryOptions } from "@tanstack/react-query";
import {
  countInbox,
  getAgents,
  getMemory,
  getRequest,
  listInbox,
  listMembers,
  listOpenRequests,
} from "~/api/endpoints";
import type { Changed, InboxKind } from "~/api/types";

/** What waits for the person, newest first; only one kind if given. */
export const inboxQuery = (workspace: string, kind: InboxKind | undefined) =>
  infiniteQueryOptions({
    queryKey: ["workspace", workspace, "inbox", "list", kind ?? "all"],
    queryFn: ({ pageParam }) => listInbox(workspace, kind, pageParam),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
  });

export const countQuery = (workspace: string) =>
  queryOptions({
    queryKey: ["workspace", workspace, "inbox", "count"],
    queryFn: () => countInbox(workspace),
  });

/** What the runs of a conversation wait for. */
export const openRequestsQuery = (workspace: string, conversation: string) =>
  queryOptions({
    queryKey: ["workspace", workspace, "requests", "of", conversation],
    queryFn: () => listOpenRequests(workspace, conversation),
  });

export const requestQuery = (workspace: string, id: string) =>
  queryOptions({
    queryKey: ["workspace", workspace, "requests", id],
    queryFn: () => getRequest(workspace, id),
  });

export const memoryQuery = (workspace: string, id: string) =>
  queryOptions({
    queryKey: ["workspace", workspace, "memory", id],
    queryFn: () => getMemory(workspace, id),
  });

/** Names of those who ask. */
export const agentsQuery = (workspace: string) =>
  queryOptions({
    queryKey: ["workspace", workspace, "agents"],
    queryFn: () => getAgents(workspace),
    staleTime: 5 * 60_000,
  });

/** Names of those whose runs ask, and of those who decide. */
export const peopleQuery = (workspace: string) =>
  queryOptions({
    queryKey: ["workspace", workspace, "people"],
    queryFn: () => listMembers(workspace),
    staleTime: 5 * 60_000,
  });

/** What has to be read again after a hint. */
const changes: Record<Changed, string[][]> = {
  inbox: [["inbox"], ["requests"], ["memory", "proposals"]],
  runs: [["conversations"], ["runs"]],
};

export function readAgain(queries: QueryClient, workspace: string, changed: Changed) {
  for (const key of changes[changed]) void queries.invalidateQueries({ queryKey: ["workspace", workspace, ...key] });
}
