import { infiniteQueryOptions } from "@tanstack/react-query";
import { listInvitations, listMembers } from "~/api/endpoints";

export const membersQuery = (workspace: string) =>
  infiniteQueryOptions({
    queryKey: ["workspace", workspace, "members"],
    queryFn: ({ pageParam }) => listMembers(workspace, pageParam),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
  });

/** For owners only. */
export const invitationsQuery = (workspace: string) =>
  infiniteQueryOptions({
    queryKey: ["workspace", workspace, "invitations"],
    queryFn: ({ pageParam }) => listInvitations(workspace, pageParam),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
  });
