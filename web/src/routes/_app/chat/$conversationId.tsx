import { useQuery, useSuspenseQuery } from "@tanstack/react-query";
import { createFileRoute, useLocation } from "@tanstack/react-router";
import { Chat } from "~/features/companion/Chat";
import { agentsQuery, conversationQuery, modelOf } from "~/features/companion/queries";
import { MemoryLines } from "~/features/memory/MemoryLines";
import { configQuery } from "~/features/setup/queries";
import { Header } from "~/features/shell/Frame";
import { ModelLabel } from "~/features/shell/ModelLabel";

export const Route = createFileRoute("/_app/chat/$conversationId")({
  validateSearch: (search): { message?: string } => ({
    message: typeof search.message === "string" ? search.message : undefined,
  }),
  component: Page,
});

function Page() {
  const { session, workspace } = Route.useRouteContext();
  const { conversationId } = Route.useParams();
  const { message } = Route.useSearch();
  const visit = useLocation({ select: ({ state }) => state.visit });
  const { model } = useSuspenseQuery(configQuery).data;
  const agents = useQuery(agentsQuery(workspace.id)).data;
  const agent = useQuery(conversationQuery(workspace.id, conversationId)).data?.agent_id;
  const own = modelOf(agents, agent);
  return (
    <Chat
      key={conversationId}
      workspace={workspace.id}
      conversationId={conversationId}
      target={message}
      visit={visit}
      memories={(recalled, remembered) => (
        <MemoryLines workspace={workspace.id} me={session.user.id} recalled={recalled} remembered={remembered} />
      )}
      header={(title) => (
        <Header title={title}>
          <ModelLabel model={model} own={own} />
        </Header>
      )}
    />
  );
}
