import { useQuery, useSuspenseQuery } from "@tanstack/react-query";
import { createFileRoute, useNavigate } from "@tanstack/react-router";
import { NewChat } from "~/features/companion/NewChat";
import { agentsQuery, modelOf } from "~/features/companion/queries";
import { configQuery } from "~/features/setup/queries";
import { Header } from "~/features/shell/Frame";
import { ModelLabel } from "~/features/shell/ModelLabel";

export const Route = createFileRoute("/_app/chat/")({ component: Page });

function Page() {
  const { session, workspace } = Route.useRouteContext();
  const { model } = useSuspenseQuery(configQuery).data;
  const own = modelOf(useQuery(agentsQuery(workspace.id)).data, undefined);
  const navigate = useNavigate();
  return (
    <NewChat
      key={workspace.id}
      workspace={workspace.id}
      person={session.user.display_name}
      header={
        <Header>
          <ModelLabel model={model} own={own} />
        </Header>
      }
      onStarted={(conversationId) => navigate({ to: "/chat/$conversationId", params: { conversationId } })}
    />
  );
}
