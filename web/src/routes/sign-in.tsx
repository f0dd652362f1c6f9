import { useQueryClient } from "@tanstack/react-query";
import { createFileRoute, useRouter } from "@tanstack/react-router";
import { sessionQuery } from "~/features/auth/queries";
import { SignIn } from "~/features/auth/SignIn";
import { Threshold } from "~/features/shell/Pages";

type Search = { next?: string; ended?: boolean };

export const Route = createFileRoute("/sign-in")({
  validateSearch: (search): Search => ({
    // Only a place in this app; never another site.
    next: typeof search.next === "string" && /^\/(?![/\\])/.test(search.next) ? search.next : undefined,
    ended: search.ended === true ? true : undefined,
  }),
  component: Page,
});

function Page() {
  const queries = useQueryClient();
  const router = useRouter();
  const { next, ended } = Route.useSearch();
  return (
    <Threshold>
      <SignIn
        returning={ended === true}
        onDone={(session) => {
          queries.setQueryData(sessionQuery.queryKey, session);
          router.history.replace(next ?? "/chat");
        }}
      />
    </Threshold>
  );
}
