import { useSuspenseQuery } from "@tanstack/react-query";
import { createFileRoute, Outlet, redirect, useParams } from "@tanstack/react-router";
import { forgetSignIn, sessionQuery } from "~/features/auth/queries";
import { forgetDrafts } from "~/features/companion/drafts";
import { ConversationList } from "~/features/conversations/ConversationList";
import { configQuery } from "~/features/setup/queries";
import { Account } from "~/features/shell/Account";
import { Frame } from "~/features/shell/Frame";

export const Route = createFileRoute("/_app")({
  beforeLoad: async ({ context, location }) => {
    const config = await context.queries.ensureQueryData(configQuery);
    if (config.setup_needed) throw redirect({ to: "/setup", replace: true });
    const session = await context.queries.ensureQueryData(sessionQuery);
    if (!session) throw redirect({ to: "/sign-in", search: { next: location.href }, replace: true });
    const membership = session.workspaces[0];
    if (!membership) throw new Error("You are in no workspace. Ask the owner to invite you.");
    return { session, workspace: membership.workspace };
  },
  component: App,
});

function App() {
  const { session, workspace } = Route.useRouteContext();
  const config = useSuspenseQuery(configQuery).data;
  const { conversationId } = useParams({ strict: false });
  return (
    <Frame
      side={(close) => <ConversationList workspace={workspace.id} current={conversationId} onGo={close} />}
      foot={
        <Account
          session={session}
          workspace={workspace.name}
          version={config.version}
          onSignedOut={() => {
            forgetSignIn();
            forgetDrafts();
            // A new page: nothing of this person stays in the old one's memory.
            window.location.assign("/sign-in");
          }}
        />
      }
    >
      <Outlet />
    </Frame>
  );
}
