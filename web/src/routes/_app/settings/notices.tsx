import { createFileRoute } from "@tanstack/react-router";
import { Notices } from "~/features/notices/Notices";
import { Header } from "~/features/shell/Frame";

export const Route = createFileRoute("/_app/settings/notices")({ component: Page });

function Page() {
  const { workspace } = Route.useRouteContext();
  return <Notices key={workspace.id} workspace={workspace.id} header={<Header title="Notices" />} />;
}
