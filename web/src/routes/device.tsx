import { useQuery, useQueryClient } from "@tanstack/react-query";
import { createFileRoute, redirect, useLocation, useNavigate } from "@tanstack/react-router";
import { keepSignIn, sessionQuery } from "~/features/auth/queries";
import { SignIn } from "~/features/auth/SignIn";
import { codeIn } from "~/features/device/code";
import { Device, Heading } from "~/features/device/Device";
import { configQuery } from "~/features/setup/queries";
import { Threshold } from "~/features/shell/Pages";

export const Route = createFileRoute("/device")({
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
  const code = codeIn(useLocation({ select: ({ hash }) => hash }));
  const session = useQuery(sessionQuery).data ?? null;
  return (
    <Threshold>
      {session ? (
        <Device
          named={code}
          email={session.user.email}
          onCode={(typed) => void navigate({ to: "/device", hash: `code=${typed}` })}
        />
      ) : (
        <SignIn
          heading={<Heading>Sign in here first; then you decide whether the device may.</Heading>}
          onDone={(signedIn) => keepSignIn(queries, signedIn)}
        />
      )}
    </Threshold>
  );
}
