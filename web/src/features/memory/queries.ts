import { queryOptions } from "@tanstack/react-query";
import { getMemory, getProvenance } from "~/api/endpoints";

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
