import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import { getAgents, getConversation, getRun, listMessages } from "~/api/endpoints";

export const agentsQuery = (workspace: string) =>
  queryOptions({
    queryKey: ["workspace", workspace, "agents"],
    queryFn: () => getAgents(workspace),
    staleTime: 5 * 60_000,
  });

export const conversationQuery = (workspace: string, id: string) =>
  queryOptions({
    queryKey: ["workspace", workspace, "conversations", id],
    queryFn: () => getConversation(workspace, id),
  });

/** The messages of a conversation, newest page first. */
export const messagesQuery = (workspace: string, id: string) =>
  infiniteQueryOptions({
    queryKey: ["workspace", workspace, "conversations", id, "messages"],
    queryFn: ({ pageParam }) => listMessages(workspace, id, pageParam),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
  });

export const runQuery = (workspace: string, id: string) =>
  queryOptions({
    queryKey: ["workspace", workspace, "runs", id],
    queryFn: () => getRun(workspace, id),
  });
