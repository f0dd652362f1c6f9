import { infiniteQueryOptions, keepPreviousData, queryOptions } from "@tanstack/react-query";
import { listConversations, searchConversations } from "~/api/endpoints";

export const conversationsQuery = (workspace: string, archived: boolean) =>
  infiniteQueryOptions({
    queryKey: ["workspace", workspace, "conversations", { archived }],
    queryFn: ({ pageParam }) => listConversations(workspace, archived, pageParam),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
  });

export const conversationSearchQuery = (workspace: string, words: string) =>
  queryOptions({
    queryKey: ["workspace", workspace, "conversation-search", words],
    queryFn: ({ signal }) => searchConversations(workspace, words, signal),
    enabled: words.length > 0,
    placeholderData: keepPreviousData,
    staleTime: 10_000,
  });
