import { useQueryClient } from "@tanstack/react-query";
import { createFileRoute, redirect, useRouter } from "@tanstack/react-router";
import { keepSignIn, sessionQuery } from "~/features/auth/queries";
import { SignIn } from "~/features/auth/SignIn";
import { configQuery } from "~/features/setup/queries";
import { Threshold } from "~/features/shell/Pages";

type Search = { next?: string; ended?: boolean; set_up?: boolean };

export const Route = createFileRoute("/sign-in")({
  validateSearch: (search): Search => ({
    // Only a path in this app, never another site.
    next: typeof search.next === "string" && /^\/(?![/\\])/.test(search.next) ? search.next : undefined,
    ended: search.ended === true ? true : undefined,
    set_up: search.set_up === true ? true : undefined,
  }),
  beforeLoad: async ({ context, search }) => {
    const config = await context.queries.ensureQueryData(configQuery);
    if (config.setup_needed) throw redirect({ to: "/setup", replace: true });
    if (await context.queries.ensureQueryData(sessionQuery))
      throw redirect({ href: search.next ?? "/chat", replace: true });
  },
  component: Page,
});

function Page() {
  const queries = useQueryClient();
  const router = useRouter();
  const { next, ended, set_up } = Route.useSearch();
  return (
    <Threshold>
      <SignIn
        why={ended ? "ended" : set_up ? "set_up" : undefined}
        onDone={(session) => {
          keepSignIn(queries, session);
          router.history.replace(next ?? "/chat");
        }}
      />
    </Threshold>
  );
}
