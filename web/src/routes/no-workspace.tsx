import { createFileRoute, redirect, useNavigate } from "@tanstack/react-router";
import { forgetSignIn, sessionQuery } from "~/features/auth/queries";
import { Gone } from "~/features/members/Gone";

export const Route = createFileRoute("/no-workspace")({
  beforeLoad: async ({ context }) => {
    const session = await context.queries.fetchQuery({ ...sessionQuery, staleTime: 0 });
    if (!session) throw redirect({ to: "/sign-in", replace: true });
    if (session.workspaces.length > 0) throw redirect({ to: "/chat", replace: true });
  },
  component: Page,
});

function Page() {
  const navigate = useNavigate();
  return (
    <Gone
      others={false}
      onOthers={() => void navigate({ to: "/chat" })}
      onSignedOut={() => {
        forgetSignIn();
        window.location.assign("/sign-in");
      }}
    />
  );
}
