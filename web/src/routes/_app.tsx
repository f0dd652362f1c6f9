import { useSuspenseQuery } from "@tanstack/react-query";
import { createFileRoute, Outlet, redirect, retainSearchParams, useNavigate, useParams } from "@tanstack/react-router";
import { forgetSignIn, sessionQuery } from "~/features/auth/queries";
import { forgetDrafts } from "~/features/companion/drafts";
import { ConversationList } from "~/features/conversations/ConversationList";
import { configQuery } from "~/features/setup/queries";
import { Account } from "~/features/shell/Account";
import { Frame } from "~/features/shell/Frame";
import { chosen, keepChosen, naming, toName } from "~/features/workspaces/choice";
import { Switcher } from "~/features/workspaces/Switcher";

type Search = { workspace?: string };

export const Route = createFileRoute("/_app")({
  validateSearch: (search): Search => ({
    workspace: typeof search.workspace === "string" ? search.workspace : undefined,
  }),
  // Every link stays in the workspace that the page shows.
  search: { middlewares: [retainSearchParams<Search>(["workspace"])] },
  beforeLoad: async ({ context, location, search }) => {
    const config = await context.queries.ensureQueryData(configQuery);
    if (config.setup_needed) throw redirect({ to: "/setup", replace: true });
    const session = await context.queries.ensureQueryData(sessionQuery);
    if (!session) throw redirect({ to: "/sign-in", search: { next: location.href }, replace: true });
    const membership = chosen(session.workspaces, search.workspace);
    if (!membership) throw new Error("You are in no workspace. Ask the owner to invite you.");
    // The address says it, so that a reload, a link or a second tab shows the same.
    const name = toName(session.workspaces, membership);
    if (search.workspace !== name) throw redirect({ href: naming(location.href, name), replace: true });
    return { session, workspace: membership.workspace };
  },
  component: App,
});

function App() {
  const { session, workspace } = Route.useRouteContext();
  const config = useSuspenseQuery(configQuery).data;
  const { conversationId } = useParams({ strict: false });
  const navigate = useNavigate();
  return (
    <Frame
      head={(close) => (
        <Switcher
          memberships={session.workspaces}
          current={workspace.id}
          onChoose={(id) => {
            close();
            keepChosen(id);
            void navigate({ to: "/chat", search: { workspace: id } });
          }}
        />
      )}
      side={(close) => (
        <ConversationList key={workspace.id} workspace={workspace.id} current={conversationId} onGo={close} />
      )}
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
