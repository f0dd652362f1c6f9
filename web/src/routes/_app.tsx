import { useQuery, useQueryClient, useSuspenseQuery } from "@tanstack/react-query";
import {
  createFileRoute,
  Outlet,
  redirect,
  retainSearchParams,
  useLocation,
  useNavigate,
  useParams,
  useRouter,
} from "@tanstack/react-router";
import { forgetSignIn, sessionQuery } from "~/features/auth/queries";
import { forgetDrafts } from "~/features/companion/drafts";
import { ConversationList } from "~/features/conversations/ConversationList";
import { InboxLink } from "~/features/inbox/InboxLink";
import { useFeed } from "~/features/inbox/useFeed";
import { Gone } from "~/features/members/Gone";
import { NoticesBanner, NoticesMark } from "~/features/notices/NoticesBanner";
import { configQuery } from "~/features/setup/queries";
import { Account } from "~/features/shell/Account";
import { Frame } from "~/features/shell/Frame";
import { chosen, keepChosen, naming, toName } from "~/features/workspaces/choice";
import { Switcher } from "~/features/workspaces/Switcher";

/** Loads a new page, so that nothing of this person stays in the old page's memory. */
function signedOut() {
  forgetSignIn();
  forgetDrafts();
  window.location.assign("/sign-in");
}

type Search = { workspace?: string };

export const Route = createFileRoute("/_app")({
  validateSearch: (search): Search => ({
    workspace: typeof search.workspace === "string" ? search.workspace : undefined,
  }),
  // Every link stays in the page's workspace.
  search: { middlewares: [retainSearchParams<Search>(["workspace"])] },
  beforeLoad: async ({ context, location, search }) => {
    const config = await context.queries.ensureQueryData(configQuery);
    if (config.setup_needed) throw redirect({ to: "/setup", replace: true });
    const session = await context.queries.ensureQueryData(sessionQuery);
    if (!session) throw redirect({ to: "/sign-in", search: { next: location.href }, replace: true });
    const membership = chosen(session.workspaces, search.workspace);
    if (!membership) throw redirect({ to: "/no-workspace", replace: true });
    // Put the workspace into the address, so that a reload, a link or a second tab shows the same.
    const name = toName(session.workspaces, membership);
    if (search.workspace !== name) throw redirect({ href: naming(location.href, name), replace: true });
    return { session, workspace: membership.workspace, role: membership.role };
  },
  component: App,
});

function App() {
  const { session: entered, workspace } = Route.useRouteContext();
  const queries = useQueryClient();
  const router = useRouter();
  // Newer than when the page was entered: the person may have been removed since, or admitted elsewhere.
  const session = useQuery(sessionQuery).data ?? entered;
  const gone = !session.workspaces.some((membership) => membership.workspace.id === workspace.id);
  const config = useSuspenseQuery(configQuery).data;
  const { conversationId } = useParams({ strict: false });
  const navigate = useNavigate();
  const place = useLocation({ select: ({ pathname }) => pathname });
  useFeed(workspace.id);
  if (gone) {
    return (
      <Gone
        workspace={workspace.name}
        others={session.workspaces.length > 0}
        onOthers={() => {
          queries.removeQueries({ queryKey: ["workspace", workspace.id] });
          void router.navigate({ to: "/chat", search: {}, replace: true }).then(() => router.invalidate());
        }}
        onSignedOut={signedOut}
      />
    );
  }
  return (
    <Frame
      place={place}
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
      corner={<InboxLink workspace={workspace.id} small />}
      side={(close) => (
        <>
          <div className="px-3 pb-2 short:pb-0">
            <InboxLink workspace={workspace.id} onGo={close} />
          </div>
          <ConversationList key={workspace.id} workspace={workspace.id} current={conversationId} onGo={close} />
        </>
      )}
      foot={(close) => (
        <Account
          session={session}
          workspace={workspace.name}
          version={config.version}
          notices={<NoticesMark workspace={workspace.id} />}
          onNotices={() => {
            close();
            void navigate({ to: "/settings/notices" });
          }}
          onPolicy={() => {
            close();
            void navigate({ to: "/settings/policy" });
          }}
          onMembers={() => {
            close();
            void navigate({ to: "/settings/members" });
          }}
          onSignedOut={signedOut}
        />
      )}
    >
      {place !== "/settings/notices" && place !== "/inbox" && <NoticesBanner workspace={workspace.id} />}
      <Outlet />
    </Frame>
  );
}
