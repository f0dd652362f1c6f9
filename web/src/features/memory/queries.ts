import { queryOptions } from "@tanstack/react-query";
import { getMemory, getProvenance, listMembers, listProposals } from "~/api/endpoints";

export const memoryQuery = (workspace: string, id: string) =>
  queryOptions({
    queryKey: ["workspace", workspace, "memory", id],
    queryFn: () => getMemory(workspace, id),
    staleTime: 5 * 60_000,
  });

/** "Why do you remember this?" */
export const provenanceQuery = (workspace: string, id: string) =>
  queryOptions({
    queryKey: ["workspace", workspace, "memory", id, "provenance"],
    queryFn: () => getProvenance(workspace, id),
    staleTime: 60_000,
  });

/** Suggested memories that wait for a decision, newest first. */
export const proposalsQuery = (workspace: string) =>
  queryOptions({
    queryKey: ["workspace", workspace, "memory", "proposals"],
    queryFn: () => listProposals(workspace),
  });

/** The members' names, to say whose a memory is. */
export const peopleQuery = (workspace: string) =>
  queryOptions({
    queryKey: ["workspace", workspace, "people"],
    queryFn: () => listMembers(workspace),
    staleTime: 5 * 60_000,
  });
