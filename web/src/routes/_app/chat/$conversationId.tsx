import { useSuspenseQuery } from "@tanstack/react-query";
import { createFileRoute, useLocation } from "@tanstack/react-router";
import { Chat } from "~/features/companion/Chat";
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
  const { workspace, role } = Route.useRouteContext();
  const { conversationId } = Route.useParams();
  const { message } = Route.useSearch();
  const visit = useLocation({ select: ({ state }) => state.visit });
  const { model } = useSuspenseQuery(configQuery).data;
  return (
    <Chat
      key={conversationId}
      workspace={workspace.id}
      conversationId={conversationId}
      owner={role === "owner"}
      target={message}
      visit={visit}
      memories={(recalled, remembered) => (
        <MemoryLines workspace={workspace.id} recalled={recalled} remembered={remembered} />
      )}
      header={(title) => (
        <Header title={title}>
          <ModelLabel model={model} />
        </Header>
      )}
    />
  );
}
