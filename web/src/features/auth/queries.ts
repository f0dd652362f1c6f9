import { type QueryClient, queryOptions } from "@tanstack/react-query";
import { getSession } from "~/api/endpoints";
import { Problem } from "~/api/http";
import type { SessionAnswer } from "~/api/types";

/** Whether this browser has signed in before. Says nothing about who, and opens nothing: the cookie does that. */
const MARK = "duet.signed-in";

const marked = () => {
  try {
    return localStorage.getItem(MARK) !== null;
  } catch {
    // No storage: the server knows.
    return true;
  }
};

/** Who is signed in; `null` when nobody is. A browser that never signed in does not ask. */
export const sessionQuery = queryOptions({
  queryKey: ["session"],
  queryFn: async (): Promise<SessionAnswer | null> => {
    if (!marked()) return null;
    try {
      return await getSession();
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 401) throw error;
      forgetSignIn();
      return null;
    }
  },
  staleTime: 5 * 60_000,
  // A page that is left alone learns as well that its person was removed from the workspace.
  refetchInterval: 30_000,
});

export function keepSignIn(queries: QueryClient, session: SessionAnswer) {
  try {
    localStorage.setItem(MARK, "1");
  } catch {
    // No storage: the server is asked each time.
  }
  queries.setQueryData(sessionQuery.queryKey, session);
}

export function forgetSignIn() {
  try {
    localStorage.removeItem(MARK);
  } catch {
    // No storage: nothing to forget.
  }
}
