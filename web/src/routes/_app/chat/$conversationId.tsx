import { useQuery, useSuspenseQuery } from "@tanstack/react-query";
import { createFileRoute, useLocation } from "@tanstack/react-router";
import { lazy, Suspense } from "react";
import { Chat } from "~/features/companion/Chat";
import { agentsQuery, conversationQuery, modelOf } from "~/features/companion/queries";
import { useRequests } from "~/features/inbox/useKept";
import { MemoryLines } from "~/features/memory/MemoryLines";
import { configQuery } from "~/features/setup/queries";
import { Header } from "~/features/shell/Frame";
import { ModelLabel } from "~/features/shell/ModelLabel";
import { useRole } from "../-role";

/** Most conversations ask nothing. */
const RequestCard = lazy(() => import("~/features/inbox/RequestCard"));

export const Route = createFileRoute("/_app/chat/$conversationId")({
  validateSearch: (search): { message?: string } => ({
    message: typeof search.message === "string" ? search.message : undefined,
  }),
  component: Page,
});

function Page() {
  const { conversationId } = Route.useParams();
  return <Conversation key={conversationId} id={conversationId} />;
}

function Conversation({ id }: { id: string }) {
  const { session, workspace } = Route.useRouteContext();
  const { message } = Route.useSearch();
  const visit = useLocation({ select: ({ state }) => state.visit });
  const { model } = useSuspenseQuery(configQuery).data;
  const agents = useQuery(agentsQuery(workspace.id)).data;
  const agent = useQuery(conversationQuery(workspace.id, id)).data?.agent_id;
  const own = modelOf(agents, agent);
  const owner = useRole() === "owner";
  const me = { id: session.user.id, email: session.user.email, owner };
  const requests = useRequests(workspace.id, id);
  return (
    <Chat
      workspace={workspace.id}
      conversationId={id}
      target={message}
      visit={visit}
      memories={(recalled, remembered) => (
        <MemoryLines workspace={workspace.id} me={me.id} recalled={recalled} remembered={remembered} />
      )}
      asked={requests.map((request) => ({
        id: request.id,
        run: request.run_id,
        decidedAt: request.decided_at,
        open: request.state === "open",
        mine: request.decider === "asker" || owner,
        node: (
          <Suspense>
            <RequestCard workspace={workspace.id} me={me} request={request} here />
          </Suspense>
        ),
      }))}
      header={(title) => (
        <Header title={title}>
          <ModelLabel model={model} own={own} />
        </Header>
      )}
    />
  );
}
