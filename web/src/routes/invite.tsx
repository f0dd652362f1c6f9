import { useQuery, useQueryClient } from "@tanstack/react-query";
import { createFileRoute, redirect, useNavigate } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { getSession } from "~/api/endpoints";
import { forgetSignIn, keepSignIn, sessionQuery } from "~/features/auth/queries";
import { SignIn } from "~/features/auth/SignIn";
import { Accept } from "~/features/members/Accept";
import { entered, forgetEntered, keepEntered } from "~/features/setup/kept";
import { configQuery } from "~/features/setup/queries";
import { forgetToken, onToken, tokenFromAddress } from "~/features/setup/token";
import { Threshold } from "~/features/shell/Pages";
import { keepChosen } from "~/features/workspaces/choice";

export const Route = createFileRoute("/invite")({
  beforeLoad: async ({ context }) => {
    const config = await context.queries.ensureQueryData(configQuery);
    if (config.setup_needed) throw redirect({ to: "/setup", replace: true });
    await context.queries.fetchQuery({ ...sessionQuery, staleTime: 0 });
  },
  component: Page,
});

function Page() {
  const queries = useQueryClient();
  const navigate = useNavigate();
  const [token, setToken] = useState(() => tokenFromAddress() || (entered("invitation").token ?? ""));
  useEffect(() => {
    if (token) keepEntered("invitation", { token });
  }, [token]);
  useEffect(() => {
    return onToken(setToken);
  }, []);
  const session = useQuery(sessionQuery).data ?? null;
  return (
    <Threshold>
      <Accept
        token={token}
        session={session}
        onAccepted={async ({ workspace }) => {
          forgetToken();
          forgetEntered("invitation");
          keepChosen(workspace.id);
          keepSignIn(queries, await getSession());
          await navigate({ to: "/chat", replace: true });
        }}
        onSignedOut={() => {
          forgetSignIn();
          queries.clear();
          queries.setQueryData(sessionQuery.queryKey, null);
        }}
        signIn={(email, heading) => (
          <SignIn email={email} heading={heading} onDone={(signedIn) => keepSignIn(queries, signedIn)} />
        )}
      />
    </Threshold>
  );
}
