import { queryOptions } from "@tanstack/react-query";
import { getDevice } from "~/api/endpoints";
import { Problem } from "~/api/http";

/** Each look at a code counts as a try, so this asks once. */
export const deviceQuery = (code: string) =>
  queryOptions({
    queryKey: ["device", code],
    queryFn: () => getDevice(code),
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0,
    retry: (times, error) => times < 2 && error instanceof Problem && error.lost,
    refetchOnWindowFocus: false,
    refetchOnReconnect: false,
  });
