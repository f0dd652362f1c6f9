import { infiniteQueryOptions } from "@tanstack/react-query";
import { listNotices } from "~/api/endpoints";

/** The person's open decisions. */
export const noticesQuery = (workspace: string) =>
  infiniteQueryOptions({
    queryKey: ["workspace", workspace, "notices"],
    queryFn: ({ pageParam }) => listNotices(workspace, pageParam),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
  });
