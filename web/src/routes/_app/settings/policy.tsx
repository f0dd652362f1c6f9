import { createFileRoute } from "@tanstack/react-router";
import { Policy } from "~/features/policy/Policy";
import { Header } from "~/features/shell/Frame";
import { useRole } from "../-role";

export const Route = createFileRoute("/_app/settings/policy")({ component: Page });

function Page() {
  const { session, workspace } = Route.useRouteContext();
  return (
    <Policy
      key={workspace.id}
      workspace={workspace.id}
      email={session.user.email}
      owner={useRole() === "owner"}
      header={<Header title="What needs a yes" />}
    />
  );
}
