import { type QueryClient, queryOptions } from "@tanstack/react-query";
import { getSession } from "~/api/endpoints";
import { Problem } from "~/api/http";
import type { SessionAnswer } from "~/api/types";

/** Whether this browser has signed in before. It says nothing about who and grants nothing: that is the cookie's part. */
const MARK = "duet.signed-in";

const marked = () => {
  try {
    return localStorage.getItem(MARK) !== null;
  } catch {
    // No storage: ask the server.
    return true;
  }
};

/** The signed-in person's session, or `null`. A browser that never signed in does not ask. */
export const sessionQuery = queryOptions({
  queryKey: ["session"],
  queryFn: async (): Promise<SessionAnswer | null> => {
    if (!marked()) return null;
    try {
      return await getSession();
    } catch (error) {
      if (!(error instanceof Problem) || error.code !== "not_signed_in") throw error;
      forgetSignIn();
      return null;
    }
  },
  staleTime: 5 * 60_000,
  // Lets an idle page notice that its person was removed from the workspace.
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
