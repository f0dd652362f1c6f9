import { queryOptions } from "@tanstack/react-query";
import { getConfig } from "~/api/endpoints";

/** What this installation is and whether it still waits for its owner. */
export const configQuery = queryOptions({
  queryKey: ["config"],
  queryFn: getConfig,
  staleTime: 60_000,
});
