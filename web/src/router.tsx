import { QueryClient } from "@tanstack/react-query";
import { createRouter } from "@tanstack/react-router";
import { whenAbsent } from "~/api/absent";
import { Problem } from "~/api/http";
import { onReturn } from "~/api/reachability";
import { whenSignedOut } from "~/api/signed-out";
import { sessionQuery } from "~/features/auth/queries";
import { Failed, NotFound, Splash } from "~/features/shell/Pages";
import { routeTree } from "./routeTree.gen";

export function getRouter() {
  const queries = new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: 2_000,
        // Missing or forbidden things stay so; after an outage, `onReturn` retries.
        retry: (count, error) => error instanceof Problem && error.status >= 500 && count < 2,
        refetchOnReconnect: "always",
      },
      mutations: { networkMode: "always" },
    },
  });
  const router = createRouter({
    routeTree,
    context: { queries },
    defaultPendingComponent: Splash,
    defaultErrorComponent: Failed,
    defaultNotFoundComponent: NotFound,
    defaultPreload: false,
    scrollRestoration: false,
  });
  onReturn(() => void queries.invalidateQueries());
  // A 404 may mean that the person is no longer a member: the session says where they are one.
  whenAbsent(() => void queries.invalidateQueries({ queryKey: sessionQuery.queryKey }));
  let leaving = false;
  whenSignedOut(() => {
    const here = router.state.location;
    // Several requests may find out at once.
    if (leaving || here.pathname === "/sign-in" || here.pathname === "/setup") return;
    leaving = true;
    queries.clear();
    queries.setQueryData(sessionQuery.queryKey, null);
    void router.navigate({ to: "/sign-in", search: { next: here.href, ended: true } }).finally(() => {
      leaving = false;
    });
  });
  return router;
}

declare module "@tanstack/react-router" {
  interface Register {
    router: ReturnType<typeof getRouter>;
  }
}
