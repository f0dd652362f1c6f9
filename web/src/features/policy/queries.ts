import { queryOptions } from "@tanstack/react-query";
import { getAgents, getPolicy } from "~/api/endpoints";

export const policyQuery = (workspace: string) =>
  queryOptions({
    queryKey: ["workspace", workspace, "policy"],
    queryFn: () => getPolicy(workspace),
  });

/** Names of the agents that rules are about. */
export const agentsQuery = (workspace: string) =>
  queryOptions({
    queryKey: ["workspace", workspace, "agents"],
    queryFn: () => getAgents(workspace),
    staleTime: 5 * 60_000,
  });
