import { useQueryClient, useSuspenseQuery } from "@tanstack/react-query";
import { createFileRoute, redirect, useNavigate } from "@tanstack/react-router";
import { keepSignIn, sessionQuery } from "~/features/auth/queries";
import { configQuery } from "~/features/setup/queries";
import { Wizard } from "~/features/setup/Wizard";
import { Threshold } from "~/features/shell/Pages";

export const Route = createFileRoute("/setup")({
  beforeLoad: async ({ context }) => {
    const config = await context.queries.fetchQuery(configQuery);
    if (config.setup_needed) return;
    if (await context.queries.ensureQueryData(sessionQuery)) throw redirect({ to: "/chat", replace: true });
    throw redirect({ to: "/sign-in", search: { set_up: true }, replace: true });
  },
  component: Setup,
});

function Setup() {
  const queries = useQueryClient();
  const navigate = useNavigate();
  const { mode } = useSuspenseQuery(configQuery).data;
  return (
    <Threshold anchored>
      <Wizard
        mode={mode}
        onDone={async (session) => {
          keepSignIn(queries, session);
          await queries.fetchQuery({ ...configQuery, staleTime: 0 });
          await navigate({ to: "/chat", replace: true });
        }}
        onAlreadyDone={async () => {
          await queries.fetchQuery({ ...configQuery, staleTime: 0 });
          await navigate({ to: "/sign-in", search: { set_up: true }, replace: true });
        }}
      />
    </Threshold>
  );
}
