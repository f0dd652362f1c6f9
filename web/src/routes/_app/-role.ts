import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import type { Role } from "~/api/types";
import { sessionQuery } from "~/features/auth/queries";

const app = getRouteApi("/_app");

/** The person's role in the page's workspace, which may have changed since they entered it. */
export function useRole(): Role {
  const { session, workspace, role } = app.useRouteContext();
  const now = useQuery(sessionQuery).data ?? session;
  return now.workspaces.find((membership) => membership.workspace.id === workspace.id)?.role ?? role;
}
