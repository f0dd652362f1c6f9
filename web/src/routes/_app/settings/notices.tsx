import { createFileRoute } from "@tanstack/react-router";
import { Proposals, useProposals } from "~/features/memory/Proposals";
import { Notices } from "~/features/notices/Notices";
import { Header } from "~/features/shell/Frame";

export const Route = createFileRoute("/_app/settings/notices")({ component: Page });

function Page() {
  const { session, workspace } = Route.useRouteContext();
  const proposals = useProposals(workspace.id, session.user.id).length > 0;
  return (
    <Notices
      key={workspace.id}
      workspace={workspace.id}
      header={<Header title="Notices" />}
      first={proposals && <Proposals workspace={workspace.id} me={session.user.id} />}
    />
  );
}
