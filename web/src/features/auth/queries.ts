import { queryOptions } from "@tanstack/react-query";
import { getSession } from "~/api/endpoints";
import { Problem } from "~/api/http";
import type { SessionAnswer } from "~/api/types";

/** Who is signed in; `null` when nobody is. */
export const sessionQuery = queryOptions({
  queryKey: ["session"],
  queryFn: async (): Promise<SessionAnswer | null> => {
    try {
      return await getSession();
    } catch (error) {
      if (error instanceof Problem && error.status === 401) return null;
      throw error;
    }
  },
  staleTime: 5 * 60_000,
});
