import { queryOptions } from "@tanstack/react-query";
import { getConfig } from "~/api/endpoints";
import { setProject } from "~/api/project";

/** This installation's settings, and whether it still needs an owner. */
export const configQuery = queryOptions({
  queryKey: ["config"],
  queryFn: async () => {
    const config = await getConfig();
    const { mode, url, publishable_key: publishableKey } = config.auth;
    setProject(mode === "supabase" && url && publishableKey ? { url, publishableKey } : undefined);
    return config;
  },
  staleTime: 60_000,
});
