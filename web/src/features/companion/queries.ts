import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import { getAgents, getConversation, getRun, listMessages } from "~/api/endpoints";
import type { Agent } from "~/api/types";

export const agentsQuery = (workspace: string) =>
  queryOptions({
    queryKey: ["workspace", workspace, "agents"],
    queryFn: () => getAgents(workspace),
    staleTime: 5 * 60_000,
  });

/** The agent's own model: that of one conversation's agent, or of the agent that starts new ones. */
export const modelOf = (agents: { items: Agent[] } | undefined, id: string | undefined): string | null | undefined =>
  agents?.items.find((agent) => (id ? agent.id === id : agent.kind === "companion_primary"))?.model;

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
